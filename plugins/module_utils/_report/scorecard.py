# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on the scorecard: whose forecasts did too badly to act on, since when, and how the fleet's did."""

from __future__ import annotations

from datetime import timedelta
from typing import Optional

from .._core.clock import format_utc, parse_utc
from .._core.units import PPM
from .._records.backtest import SELECTED, Backtest, Interval
from .curves import LOWER, UPPER
from .labels import METRIC_WORD
from .markup import Child, Markup, element
from .parts import Links, cell, left_out, number, row, section, soft, table, why
from .trust import Demoted, Trust
from .view import View
from .words import count, share, span, when

MOST_DEMOTED = 200


def scorecard(view: View, links: Links) -> Markup:
    """Who is only recommended for, and the totals."""
    card = view.facts.scorecard
    past = _past(view)
    if card is None or not (card.totals or card.demoted):
        said = "No forecast is old enough to be held against what came."
        if view.facts.forecast:
            begin = parse_utc(view.facts.forecast.cutoff) + timedelta(seconds=view.facts.forecast.interval_s)
            said += f" That of this run is scored from {when(format_utc(begin))} on, by the runs after it."
        return section("scorecard", "Scorecard", soft(said), past)
    rule = f"Each interval of the last {card.days} days is held against the newest forecast made before it, at the size"
    rule += " its VM had. Where they do badly Headroom only recommends, until they have done well for a week."
    return section("scorecard", "Scorecard", soft(rule), _demoted(card.demoted, links), _totals(card.totals), past)


def on_the_past(view: View) -> str:
    """How often the interval of 90 % held what came, of forecasts made for the past; "" without a back-test."""
    back = view.facts.backtest
    held = [f"{share(one.coverage_ppm / PPM)} of {METRIC_WORD.get(one.metric, one.metric)}" for one in _intervals(back)]
    if back is None or not held:
        return ""
    moments = count(len(back.origins), "moment")
    return f"Back-tested at {moments} of the past, the interval of 90 % held {' and '.join(held)}."


def _intervals(back: Optional[Backtest]) -> list[Interval]:
    return [
        one
        for one in (back.intervals if back else ())
        if (one.engine, one.lower, one.upper) == (SELECTED, LOWER, UPPER)
    ]


def _past(view: View) -> Child:
    """The back-test, where one was named: the same measures, of forecasts made for the past."""
    back = view.facts.backtest
    if back is None:
        return None
    covered = {one.metric: one.coverage_ppm / PPM for one in _intervals(back)}
    rows = [
        row(
            METRIC_WORD.get(one.metric, one.metric),
            number(f"{one.vms:,}"),
            number(f"{one.points:,}"),
            number(share(float(one.pinball) / float(one.naive_pinball)) if float(one.naive_pinball) else "not known"),
            number(share(one.coverage_ppm / PPM)),
            number(share(covered.get(one.metric))),
        )
        for one in back.scores
        if (one.engine, one.quantile) == (SELECTED, UPPER)
    ]
    told = f"{count(len(back.origins), 'moment')} from {when(back.origins[-1])} to {when(back.origins[0])}"
    caption = f"Forecasts as they would have been made at {told}, each for {span(back.horizon_s)}."
    columns = (
        "Metric",
        "VMs",
        "Values",
        f"Loss at {UPPER}, of naive's",
        f"At or below {UPPER}",
        "90 % interval covered",
    )
    return element("h3", "On the past"), table(caption, columns, rows, name="Back-test")


def _demoted(found: tuple[Demoted, ...], links: Links) -> Child:
    if not found:
        return soft("Nobody is demoted.")
    rows = [
        row(
            links.link(one.unique_id, chart=True),
            cell(METRIC_WORD.get(one.metric, one.metric)),
            why(one.reason),
            number(one.since),
            number(one.may_return),
        )
        for one in found[:MOST_DEMOTED]
    ]
    columns = ("VM", "What", "Why", "Since", "May return from")
    caption = "Only recommended for. A person's own request is not bound by it."
    return (
        table(caption, columns, rows, name="Demoted VMs", stacked=True),
        left_out(len(found), most=MOST_DEMOTED, where="headroom.fleet.vm_info tells of any one"),
    )


def _totals(totals: tuple[Trust, ...]) -> Markup:
    rows = [
        row(
            METRIC_WORD.get(one.metric, one.metric),
            number(f"{one.vms:,}"),
            number(f"{one.scored:,}"),
            number(f"{one.missed:,}"),
            *(_share(value) for value in (one.violation_ratio, one.loss_ratio, one.coverage_ratio)),
        )
        for one in totals
    ]
    columns = ("Metric", "VMs", "Intervals", "Not known", "Violated", "Loss, of naive's", "90 % interval covered")
    return table("The whole fleet.", columns, rows, name="Scorecard of the fleet")


def _share(value: Optional[float]) -> Markup:
    return number(share(value), sort=value)
