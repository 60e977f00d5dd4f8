# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on models: which speak in the fleet, for how many VMs, what they learnt from and how old that is."""

from __future__ import annotations

from .._core.clock import parse_utc
from .labels import METRIC_WORD
from .markup import Markup, element
from .parts import cell, number, row, section, soft, table, why
from .trust import Speaking
from .view import View
from .words import span, when

SHORT = 12  # digits of a digest


def models(view: View) -> Markup:
    """The table."""
    if not view.facts.models:
        said = "No model speaks. headroom.fleet.train makes them, and needs telemetry of some days."
        return section("models", "Models", soft(said))
    columns = ("Model", "For", "Stands as", "VMs", "Learnt from", "Age")
    rows = [_row(one, view) for one in view.facts.models]
    caption = "What is learnt from the fleet's own past; a canary speaks for some VMs before it may for all."
    return section("models", "Models", table(caption, columns, rows, name="Models", stacked=True))


def _row(one: Speaking, view: View) -> Markup:
    made_at = parse_utc(view.facts.made_at)
    age_s = (made_at - parse_utc(one.end)).total_seconds() if one.end else None
    learnt = f"{one.rows:,} examples of {one.vms:,} VMs, {when(one.start)} to {when(one.end)}" if one.end else ""
    lead = f", {span(one.lead_s)} ahead" if one.lead_s else ""
    return row(
        element("code", one.model.rpartition(":")[2][:SHORT]),
        cell(f"{METRIC_WORD.get(one.metric, one.metric)}: {one.purpose}{lead}"),
        cell(f"{one.status}, {one.share_percent} % of VMs since {when(one.since)}"),
        number(f"{one.vms_now:,} of {len(view.facts.snapshot.vms):,} VMs", sort=one.vms_now),
        why(learnt, soft(f"Not used: {one.refused}") if one.refused else None),
        number("not known" if age_s is None else f"{span(max(0, age_s))} old", sort=age_s),
    )
