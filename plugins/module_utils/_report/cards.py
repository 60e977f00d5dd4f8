# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cards: what a VM used and will use, and how its act is done and undone."""

from __future__ import annotations

from typing import Optional

from .._records.action import Action
from .._records.vm import RESOURCES
from .chart import chart, describe
from .facts import METRIC_OF
from .labels import INVERSE_WORD, outcome_word
from .markup import Child, Markup, element
from .parts import facts, folded, tag, verdict_tag
from .view import Machine, Row, View
from .words import RESOURCE_WORD, count, demand, size, step, when

MOST_CARDS = 60

_LEGEND = (
    ("past", "used: mean, and up to the maximum"),
    ("next", "expected: median and interval"),
    ("now", "size"),
    ("after", "planned size"),
)
_SAMPLES = {
    "past": ('<rect class="band-past" y="1" width="28" height="9"/><path class="line-past" d="M0 10H28"/>'),
    "next": ('<rect class="band-next" y="1" width="28" height="12"/><path class="line-next" d="M0 7H28"/>'),
    "now": '<path class="size-now" d="M0 7H28"/>',
    "after": '<path class="size-after" d="M0 7H28"/>',
}


def charted(view: View) -> tuple[Machine, ...]:
    """The VMs that get a card: those acted on first, then others of which there is something to draw."""
    drawable = [machine for machine in view.machines if machine.acted or _has_curve(view, machine)]
    return tuple(drawable[:MOST_CARDS])


def cards(view: View) -> Markup:
    """The section of all cards; of VMs that stay it shows them folded."""
    chosen = list(enumerate(charted(view)))
    acted = [_card(view, machine, place) for place, machine in chosen if machine.acted]
    others = [_card(view, machine, place) for place, machine in chosen if not machine.acted]
    missing = len(view.acted) - len(acted)
    return element(
        "section",
        element("h2", "Forecast and use"),
        element("p", "There is nothing to draw.", class_="soft") if not chosen else _legend(),
        element("div", acted, class_="cards") if acted else None,
        element("p", f"{missing:,} more VMs change; their rows are above.", class_="soft") if missing else None,
        folded(f"{count(len(others), 'VM')} left as is", element("div", others, class_="cards")) if others else None,
        id="charts",
    )


def _has_curve(view: View, machine: Machine) -> bool:
    return any((machine.unique_id, metric) in view.facts.curves for metric in METRIC_OF.values())


def _legend() -> Markup:
    return element(
        "ul",
        [
            element("li", element("svg", Markup(_SAMPLES[kind]), viewBox="0 0 28 14", aria_hidden="true"), words)
            for kind, words in _LEGEND
        ],
        class_="legend",
    )


def _card(view: View, machine: Machine, place: int) -> Markup:
    vm = machine.vm
    where = ", ".join(part for part in ((vm.host_set, vm.tenant) if vm else ()) if part)
    return element(
        "article",
        element(
            "div",
            element("h3", element("bdi", machine.name), id=f"vm-{place}-name"),
            element("span", where, class_="soft"),
            class_="head",
        ),
        [_resource(view, machine, resource) for resource in RESOURCES],
        class_="card",
        id=f"vm-{place}",
        aria_labelledby=f"vm-{place}-name",
    )


def _resource(view: View, machine: Machine, resource: str) -> Child:
    curve = view.facts.curves.get((machine.unique_id, METRIC_OF[resource]))
    row = next((row for row in machine.rows if row.resource == resource), None)
    if row is None and curve is None:
        return None
    drawn = None
    size_now = row.size_now if row else getattr(machine.vm, resource, 0)
    if curve:
        size_after = row.size_wanted if row and row.action else None
        words = describe(curve, resource=resource, size_now=size_now, size_after=size_after)
        label = f"{RESOURCE_WORD[resource]} of {machine.name}. {words}"
        drawn = chart(curve, resource=resource, label=label, size_now=size_now, size_after=size_after)
    return (
        element("h4", RESOURCE_WORD[resource], " ", *_headline(row, size_now, resource)),
        element("p", row.reason, class_="soft") if row else None,
        drawn,
        _details(row, row.action) if row and row.action else None,
    )


def _headline(row: Optional[Row], size_now: int, resource: str) -> list[Child]:
    if row is None:
        return [size(resource, size_now)]
    if not row.action:
        return [size(resource, size_now), " ", verdict_tag(row.verdict)]
    change = step(resource, row.size_now, row.size_wanted)
    return [change, " ", verdict_tag(row.verdict), " ", tag(*outcome_word(row.outcome))]


def _details(row: Row, action: Action) -> Markup:
    return folded("How it is done, and undone", facts(_facts(row, action)))


def _facts(row: Row, action: Action) -> list[tuple[str, Child]]:
    fields = [
        (element("code", change.field), f" {change.before:,} → {change.after:,}", element("br"))
        for change in action.changes
    ]
    entries: list[tuple[str, Child]] = [
        ("Act", (element("code", action.action_id), " ", action.operation)),
        ("Fields", fields),
        ("Only if", ("nothing else of its definition changed since: ", element("code", action.generation[:23] + "…"))),
        ("Undone", (INVERSE_WORD.get(action.inverse.when, action.inverse.when), f", {action.inverse.operation}")),
        ("Restart", "needed" if action.restart else "not needed"),
        ("Decided by", f"line {row.policy_line} of the sizing policy" if row.policy_line else "a built-in rule"),
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
