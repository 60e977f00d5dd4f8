# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two tables of the page: what changes, and every VM with the reason why it does or does not."""

from __future__ import annotations

from typing import Optional

from .._records.vm import MEMORY_MIB, RESOURCES, VCPUS, VM
from .cards import charted
from .labels import VERDICT_WORD, outcome_word
from .markup import Child, Markup, element
from .parts import MOST_ROWS, cell, folded, number, row, table, tag, verdict_tag, why
from .view import VERDICTS, Machine, Row, View
from .words import RESOURCE_WORD, count, size, step

MOST_OPEN_REASONS = 6


def changes(view: View) -> Markup:
    """One row per action."""
    linked = {machine.unique_id: place for place, machine in enumerate(charted(view))}
    rows = [
        _change(machine, one, linked.get(machine.unique_id))
        for machine in view.acted
        for one in machine.rows
        if one.action
    ]
    if not rows:
        return element(
            "section",
            element("h2", "Changes"),
            element("p", "The plan changes nothing." if view.facts.plan else "Nothing was planned."),
            id="changes",
        )
    columns = ("VM", "What", "Size", "Why", "Mode", "Result")
    caption = f"{count(len(rows), 'act')} on {count(len(view.acted), 'VM')}."
    return element(
        "section",
        element("h2", "Changes"),
        table(caption, columns, rows[:MOST_ROWS], name="Changes", stacked=True),
        _left_out(len(rows)),
        id="changes",
    )


def _change(machine: Machine, change: Row, place: Optional[int]) -> Markup:
    colour, word = outcome_word(change.outcome)
    message = change.outcome.message if change.outcome else ""
    name: Child = machine.name if place is None else element("a", machine.name, href=f"#vm-{place}")
    return element(
        "tr",
        element("th", element("bdi", name), scope="row"),
        cell(verdict_tag(change.verdict)),
        number(step(change.resource, change.size_now, change.size_wanted)),
        why(change.reason),
        cell(change.action.mode if change.action else ""),
        cell(tag(colour, word), element("p", message, class_="soft") if message else None),
    )


def everyone(view: View) -> Markup:
    """One row per VM, with search and filter, and before it why the others stay, by reason."""
    rows = [_machine(machine) for machine in view.machines[:MOST_ROWS]]
    columns = ("VM", "Where", "vCPU", "Memory")
    caption = "Why each VM changes or stays."
    return element(
        "section",
        element("h2", "Every VM"),
        _reasons(view),
        _controls(),
        table(caption, columns, rows, name="Every VM", identity="everyone", stacked=True),
        _left_out(len(view.machines)),
        id="all",
    )


def _controls() -> Markup:
    """Hidden until the script runs: without it they would do nothing."""
    options = [element("option", "every verdict", value="")]
    options += [element("option", VERDICT_WORD[verdict], value=verdict) for verdict in VERDICTS]
    search = element("input", type="search", id="search", autocomplete="off")
    return element(
        "div",
        element("label", "Search name, place, reason", search),
        element("label", "Show", element("select", options, id="verdict")),
        element("p", "Shown: ", element("output", id="count", for_="search verdict"), class_="soft", role="status"),
        class_="controls",
        id="controls",
        hidden=True,
    )


def _machine(machine: Machine) -> Markup:
    verdicts = sorted({one.verdict for one in machine.rows} or {machine.verdict}, key=VERDICTS.index)
    vm = machine.vm
    where = [vm.host_set, vm.tenant, vm.owner] if vm else ["not seen"]
    return row(
        machine.name,
        element("td", ", ".join(part for part in where if part), class_="soft"),
        *(_resource(machine, resource, vm) for resource in RESOURCES),
        data_is=" ".join(verdicts),
    )


def _resource(machine: Machine, resource: str, vm: Optional[VM]) -> Markup:
    rows = [one for one in machine.rows if one.resource == resource]
    if rows:
        return why([_decided(one) for one in rows])
    sizes = {VCPUS: vm.vcpus, MEMORY_MIB: vm.memory_mib} if vm else {}
    now = size(resource, sizes[resource]) if resource in sizes else ""
    refused = f"{vm.name} {vm.refused}" if vm and vm.refused else ""
    return why(element("p", now), element("p", refused, class_="soft") if refused else None)


def _decided(one: Row) -> Child:
    sizes = step(one.resource, one.size_now, one.size_wanted) if one.action else size(one.resource, one.size_now)
    return (
        element("p", verdict_tag(one.verdict), " ", sizes),
        element("p", one.reason, " ", element("code", one.code), class_="soft"),
    )


def _reasons(view: View) -> Child:
    if not view.reasons:
        return None
    rows = [
        element(
            "tr",
            element("th", verdict_tag(one.verdict), scope="row"),
            cell(RESOURCE_WORD.get(one.resource, one.resource)),
            number(f"{one.vms:,}"),
            cell(element("code", one.code)),
            why(one.example),
        )
        for one in view.reasons
    ]
    columns = ("Verdict", "Of", "VMs", "Reason", "For example")
    return folded(
        "Why others stay, by reason",
        table("Decisions that led to no act.", columns, rows, name="Reasons"),
        opened=len(rows) <= MOST_OPEN_REASONS,
    )


def _left_out(total: int) -> Child:
    if total <= MOST_ROWS:
        return None
    words = f"{total - MOST_ROWS:,} more are not listed here; the plan artifact holds them all."
    return element("p", words, class_="soft")
