# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards: what a VM used and will use, and how its act is done and undone."""

from __future__ import annotations

from typing import Optional

from .._records.action import Action
from .._records.receipt import ALREADY_DONE, DONE
from .._records.vm import LIMITS, RESOURCES
from .chart import NO_LIMIT, Limit, chart, describe
from .curves import LOWER, UPPER, Curve, band
from .facts import METRIC_OF
from .labels import INVERSE_WORD, outcome_word
from .markup import Child, Markup, element
from .parts import Links, chart_anchor, facts, folded, policy_line, section, soft, tag, verdict_tag
from .rows import Machine, Row
from .scorecard import on_the_past
from .trust import Measured
from .view import View
from .words import count, demand, resource_word, share, size, when

MOST_CARDS = 60
MOST_OPEN = 12  # a phone shows one card at a time

_LEGEND = (
    ("past", "used: mean, and up to the maximum"),
    ("next", "expected: median, and {band}; before the dotted line by the forecast before"),
    ("now", "size until now"),
    ("after", "size after the act"),
    ("planned", "planned, not done"),
    ("limit", "CPU limit: how much of the size may be used"),
)
_SAMPLES = {
    "past": '<rect class="band-past" y="1" width="28" height="9"/><path class="line-past" d="M0 10H28"/>',
    "next": '<rect class="band-next" y="1" width="28" height="12"/><path class="line-next" d="M0 7H28"/>',
    "now": '<path class="size-now" d="M0 7H28"/>',
    "after": '<path class="size-after" d="M0 7H28"/>',
    "planned": '<path class="size-after planned" d="M0 7H28"/>',
    "limit": '<path class="limit" d="M0 7H28"/>',
}


def charted(view: View) -> tuple[Machine, ...]:
    """The VMs that get a card: those acted on first, then others of which there is something to draw."""
    drawable = [machine for machine in view.machines if machine.acted or _has_curve(view, machine)]
    return tuple(drawable[:MOST_CARDS])


def cards(view: View, links: Links) -> Markup:
    """The section of all cards: the first are open, further ones and those of VMs that stay are folded."""
    chosen = [machine for machine in view.machines if machine.unique_id in links.charted]
    acted = [_card(view, machine, links) for machine in chosen if machine.acted]
    others = [_card(view, machine, links) for machine in chosen if not machine.acted]
    missing = len(view.acted) - len(acted)
    return section(
        "charts",
        "Forecast and use",
        _legend(view) if chosen else soft("There is nothing to draw."),
        soft(on_the_past(view)) if chosen and view.facts.backtest else None,
        _grid(acted[:MOST_OPEN]),
        _folded_grid(acted[MOST_OPEN:], "that changes", "that change"),
        soft(f"{missing:,} more VMs change; their rows are above.") if missing else None,
        _folded_grid(others, "left as it is", "left as they are"),
    )


def _grid(drawn: list[Markup]) -> Child:
    return element("div", drawn, class_="cards") if drawn else None


def _folded_grid(drawn: list[Markup], one: str, many: str) -> Child:
    return folded(f"{count(len(drawn), 'more VM')} {one if len(drawn) == 1 else many}", _grid(drawn)) if drawn else None


def _has_curve(view: View, machine: Machine) -> bool:
    return any((machine.unique_id, metric) in view.facts.curves for metric in METRIC_OF.values())


def _legend(view: View) -> Markup:
    lower, upper = band(view.facts.forecast.quantiles if view.facts.forecast else (LOWER, UPPER))
    words = f"the interval of {round(100 * (float(upper) - float(lower)))} % (quantiles {lower} to {upper})"
    return element(
        "ul",
        [
            element(
                "li",
                element("svg", Markup(_SAMPLES[kind]), viewBox="0 0 28 14", aria_hidden="true"),
                told.format(band=words),
            )
            for kind, told in _LEGEND
        ],
        class_="legend",
    )


def _card(view: View, machine: Machine, links: Links) -> Markup:
    vm, anchor = machine.vm, chart_anchor(machine.unique_id)
    where = ", ".join(part for part in ((vm.host_set, vm.tenant) if vm else ()) if part)
    return element(
        "article",
        element(
            "div",
            element("h3", links.link(machine.unique_id), id=f"{anchor}:name"),
            element("span", where, class_="soft"),
            class_="head",
        ),
        [_resource(view, machine, resource) for resource in RESOURCES],
        [_act(row) for row in machine.rows if row.resource not in RESOURCES],
        class_="card",
        id=anchor,
        aria_labelledby=f"{anchor}:name",
    )


def _resource(view: View, machine: Machine, resource: str) -> Child:
    curve = view.facts.curves.get((machine.unique_id, METRIC_OF[resource]))
    row = next((row for row in machine.rows if row.resource == resource), None)
    if row is None and curve is None:
        return None
    size_now = row.size_now if row else getattr(machine.vm, resource, 0)
    measured = view.facts.measured.get((machine.unique_id, METRIC_OF[resource]))
    drawn = (_drawn(curve, row, machine, resource, size_now), _kept(curve, measured)) if curve else None
    if row is None:
        return element("h4", resource_word(resource), " ", size(resource, size_now)), drawn
    return _act(row, drawn)


def _act(row: Row, drawn: Child = None) -> Child:
    """One resource or setting: what becomes of it, why, and how that is undone."""
    ended = (" ", tag(*outcome_word(row.outcome))) if row.action else None
    return (
        element("h4", _what(row), " ", verdict_tag(row.verdict), ended),
        soft(row.reason),
        drawn,
        folded("How it is done, and undone", facts(_facts(row, row.action))) if row.action else None,
    )


def _what(row: Row) -> str:
    """The resource and what becomes of it; of limits and settings the amount says both."""
    word = resource_word(row.resource)
    return row.amount if row.amount.startswith(word) else f"{word} {row.amount}"


def _limit(machine: Machine, resource: str) -> Limit:
    """The limit of a resource, before its act and after it."""
    for limit, limited in LIMITS.items():
        if limited.size == resource:
            act = next((row for row in machine.rows if row.resource == limit and row.action), None)
            had = machine.vm.size(limit) if machine.vm else 0
            change = act.action.changes[0] if act and act.action else None
            now, after = (int(change.before or 0), int(change.after)) if change else (had, had)
            return Limit(now / limited.per_unit or None, after / limited.per_unit or None, done=_done(act))
    return NO_LIMIT


def _done(row: Optional[Row]) -> bool:
    return bool(row and row.outcome and row.outcome.state in (DONE, ALREADY_DONE))


def _drawn(curve: Curve, row: Optional[Row], machine: Machine, resource: str, size_now: int) -> Optional[Markup]:
    size_after = row.size_after if row and row.action else None
    done, limit = _done(row), _limit(machine, resource)
    words = describe(curve, resource=resource, size_now=size_now, size_after=size_after, done=done, limit=limit)
    label = f"{resource_word(resource)} of {machine.name}. {words}"
    return chart(
        curve, resource=resource, label=label, size_now=size_now, size_after=size_after, done=done, limit=limit
    )


def _kept(curve: Curve, measured: Optional[Measured]) -> Child:
    """How the forecasts did, where the time that they spoke of has come: those drawn, and those of the scorecard."""
    said = []
    if curve.checked:
        steps = count(curve.checked, "step")
        said.append(f"Use was above the interval in {curve.missed:,} of {steps} forecast and known.")
    if measured and measured.banded:
        held = f"Scorecard: the interval of 90 % covered {share(measured.ratio)}"
        said.append(f"{held} of {measured.banded:,} intervals, over {count(measured.days, 'day')}.")
    return [soft(one) for one in said] or None


def _facts(row: Row, action: Action) -> list[tuple[str, Child]]:
    fields = [
        (element("code", change.field), f" {change.before} → {change.after}", element("br"))
        for change in action.changes
    ]
    entries: list[tuple[str, Child]] = [
        ("Act", (element("code", action.action_id), " ", action.operation)),
        ("Fields", fields),
        ("Only if", ("nothing else of its definition changed since: ", element("code", action.generation[:23] + "…"))),
        ("Undone", (INVERSE_WORD.get(action.inverse.when, action.inverse.when), f", {action.inverse.operation}")),
        ("Restart", "needed" if action.restart else "not needed"),
        ("Decided by", policy_line(row.policy_line)),
    ]
    if row.upper is not None:
        entries.append(("Upper bound", demand(row.resource, row.upper)))
    if action.after:
        entries.append(("Waits for", ", ".join(action.after)))
    if action.not_before:
        entries.append(("Window", f"{when(action.not_before)} to {when(action.not_after)}"))
    if row.outcome and row.outcome.finished_at:
        entries.append(("Ended", (when(row.outcome.finished_at), f" {row.outcome.code}".rstrip())))
    return entries
