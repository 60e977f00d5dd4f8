# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on the scorecard: whose forecasts did too badly to act on, since when, and how the fleet's did."""

from __future__ import annotations

from typing import Optional

from .labels import METRIC_WORD
from .markup import Child, Markup
from .parts import Links, cell, left_out, number, row, section, soft, table, why
from .trust import Demoted, Trust
from .view import View
from .words import share

MOST_DEMOTED = 200


def scorecard(view: View, links: Links) -> Markup:
    """Who is only recommended for, and the totals."""
    card = view.facts.scorecard
    if card is None or not (card.totals or card.demoted):
        return section("scorecard", "Scorecard", soft("No forecast is old enough to be held against what came."))
    rule = f"Each interval of the last {card.days} days is held against the newest forecast made before it, at the size"
    rule += " its VM had. Where they do badly Headroom only recommends, until they have done well for a week."
    return section("scorecard", "Scorecard", soft(rule), _demoted(card.demoted, links), _totals(card.totals))


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
