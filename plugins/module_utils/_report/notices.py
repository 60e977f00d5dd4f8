# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know before anything else, the loudest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .._core.clock import parse_utc
from .labels import METRIC_WORD
from .view import View
from .words import count, resource_word, span, when

STALE_S = 3600  # telemetry older than this is told on top


@dataclass(frozen=True)
class Item:
    """One line of a notice; ``unique_id`` "": of no VM."""

    words: str
    unique_id: str = ""


@dataclass(frozen=True)
class Notice:
    """A sentence with its items. ``section``: id of the section of the page that says more."""

    words: str
    items: tuple[Item, ...] = ()
    section: str = ""
    loud: bool = False


def notices(view: View) -> tuple[Notice, ...]:
    """Return them; none where all is well."""
    return tuple(notice for part in _PARTS for notice in part(view))


def _failed(view: View) -> Iterator[Notice]:
    told = {outcome.unique_id for outcome in view.failed}
    items = [Item(f"{one.vm_name}, {one.operation}: {one.message}", one.unique_id) for one in view.failed]
    items += [
        Item(f"{view.names.get(one.unique_id, one.unique_id)}: {one.message}", one.unique_id)
        for one in view.facts.owed
        if one.failed and one.unique_id not in told
    ]
    if items:
        words = "Could not be set back. Nothing else begins on that host set until a person has looked:"
        yield Notice(words, tuple(items), "journal", loud=True)


def _kill_switch(view: View) -> Iterator[Notice]:
    if view.facts.kill_switch:
        yield Notice(f"The kill switch is on ({view.facts.kill_switch}): no act begins.", loud=True)


def _owed(view: View) -> Iterator[Notice]:
    names = view.names
    items = [
        Item(
            f"{names.get(one.unique_id, one.unique_id)} ({resource_word(one.resource)}), "
            f"since {when(one.since)}: {one.message}",
            one.unique_id,
        )
        for one in view.facts.owed
        if not one.failed
    ]
    if items:
        verb = "waits for a restart of its VM" if len(items) == 1 else "wait for a restart of their VMs"
        words = f"{count(len(items), 'rollback')} owed: {verb}, or for a person."
        yield Notice(words, tuple(items), "journal", loud=True)


def _stopped(view: View) -> Iterator[Notice]:
    if view.facts.receipt and view.facts.receipt.stopped:
        yield Notice(f"The apply stopped early: {view.facts.receipt.stopped}.", (), "journal")


def _approval(view: View) -> Iterator[Notice]:
    if view.waiting:
        verb = "waits" if view.waiting == 1 else "wait"
        yield Notice(f"{count(view.waiting, 'act')} {verb} for approval (headroom.fleet.plan_approve).")


def _gaps(view: View) -> Iterator[Notice]:
    gaps = view.facts.snapshot.gaps
    if gaps:
        items = tuple(Item(f"{gap.endpoint}, {gap.subject}: {gap.message}") for gap in gaps)
        yield Notice("Part of the fleet could not be read; nothing is planned there:", items)


def _stale(view: View) -> Iterator[Notice]:
    forecast = view.facts.forecast
    if forecast is None:
        return
    names, made_at = view.names, parse_utc(forecast.made_at)
    items: dict[str, Item] = {}
    for choice in forecast.choices:
        name, metric = names.get(choice.unique_id, choice.unique_id), METRIC_WORD.get(choice.metric, choice.metric)
        if not choice.observed_until:
            items.setdefault(choice.unique_id, Item(f"{name}: no {metric} at all", choice.unique_id))
            continue
        age_s = (made_at - parse_utc(choice.observed_until)).total_seconds()
        if age_s > STALE_S:
            items.setdefault(choice.unique_id, Item(f"{name}: newest {metric} {span(age_s)} old", choice.unique_id))
    if items:
        words = f"Telemetry of {count(len(items), 'VM')} is missing or more than {span(STALE_S)} old: no shrink there."
        yield Notice(words, tuple(items.values()), "coverage")


def _violations(view: View) -> Iterator[Notice]:
    found = view.facts.violations
    if found and found.found:
        vms = len({one.unique_id for one in found.found})
        since, until = when(found.start), when(found.end)
        yield Notice(f"{count(vms, 'VM')} ran into a limit between {since} and {until}.", (), "violations")


def _demoted(view: View) -> Iterator[Notice]:
    card = view.facts.scorecard
    if card and card.demoted:
        vms = len({one.unique_id for one in card.demoted})
        yield Notice(f"{count(vms, 'VM')} only recommended for: their forecasts did badly.", (), "scorecard")


def _warnings(view: View) -> Iterator[Notice]:
    plan = view.facts.plan
    if plan and plan.warnings:
        yield Notice("The plan warns:", tuple(Item(words) for words in plan.warnings))


_PARTS = (_failed, _kill_switch, _owed, _stopped, _approval, _gaps, _stale, _violations, _demoted, _warnings)
