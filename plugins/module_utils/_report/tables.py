# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changes, why the others stay, and every VM with the decision about it."""

from __future__ import annotations

from .._records.vm import RESOURCES
from .labels import VERDICT_WORD, outcome_word
from .markup import Child, Markup, element
from .parts import (
    MOST_ROWS,
    Links,
    cell,
    folded,
    left_out,
    number,
    policy_line,
    row,
    section,
    soft,
    table,
    tag,
    verdict_tag,
    vm_anchor,
    why,
)
from .rows import VERDICTS, Machine, Row
from .view import Reason, View
from .words import cost, count, resource_word, size

MOST_CHANGES = 1000
MOST_OF_REASON = 50  # VMs that are named under one reason
IN_PLAN = "the plan holds them all, and headroom.fleet.decision_info tells of any one"


def changes(view: View, links: Links) -> Markup:
    """One row per act."""
    acts = view.acts
    if not acts:
        return section(
            "changes",
            "Changes",
            element("p", "The plan changes nothing." if view.facts.plan else "Nothing was planned."),
        )
    caption = f"{count(len(acts), 'act')} on {count(len(view.acted), 'VM')}: what went wrong first, then by cost."
    rows = [_change(act, links) for act in acts[:MOST_CHANGES]]
    columns = ("VM", "What", "Size", "Cost", "Why", "Mode", "Result")
    return section(
        "changes",
        "Changes",
        table(caption, columns, rows, name="Changes", stacked=True),
        left_out(len(acts), most=MOST_CHANGES, where=IN_PLAN),
    )


def _change(act: Row, links: Links) -> Markup:
    colour, word = outcome_word(act.outcome)
    message = act.outcome.message if act.outcome else ""
    return row(
        links.link(act.unique_id, chart=True),
        cell(verdict_tag(act.verdict)),
        number(act.amount, sort=act.size_after - act.size_now),
        number(cost(act.cost) if act.cost else "", sort=act.cost),
        why(act.reason, soft(policy_line(act.policy_line))),
        cell(act.action.mode if act.action else ""),
        cell(tag(colour, word), soft(message) if message else None),
    )


def reasons(view: View, links: Links) -> Markup:
    """Why no act was planned, reason by reason, with the VMs it holds for."""
    if not view.reasons:
        return section(
            "reasons", "Why others stay", soft("Nothing was planned." if not view.facts.plan else "None do.")
        )
    said = "Decisions that led to no act, the most frequent first. A VM with two resources may stand under two."
    return section("reasons", "Why others stay", soft(said), [_reason(reason, links) for reason in view.reasons])


def _reason(reason: Reason, links: Links) -> Markup:
    first = reason.rows[0]
    example = element("span", f" {first.vm_name} ({resource_word(first.resource)}): {first.reason}", class_="soft")
    counted = f" {count(reason.vms, 'VM')}"
    summary = verdict_tag(reason.verdict), " ", element("code", reason.code), counted, example
    named = [
        element(
            "li",
            links.link(one.unique_id),
            f" ({resource_word(one.resource)}): {one.reason} ",
            element("span", policy_line(one.policy_line), class_="soft"),
        )
        for one in reason.rows[:MOST_OF_REASON]
    ]
    return folded(
        summary,
        element("ul", named),
        left_out(len(reason.rows), most=MOST_OF_REASON, where="search for the code below"),
    )


def everyone(view: View, links: Links) -> Markup:
    """One row per VM, with search and filter."""
    rows = [_machine(machine, links) for machine in view.machines[:MOST_ROWS]]
    columns = ("VM", "Where", *(resource_word(resource) for resource in RESOURCES), "Limits and settings")
    caption = "Why each VM changes or stays. A name is a link to its own row, to be handed on."
    return section(
        "all",
        "Every VM",
        _controls() if rows else soft("No VM was seen."),
        table(caption, columns, rows, name="Every VM", identity="everyone", stacked=True) if rows else None,
        left_out(len(view.machines), most=MOST_ROWS, where=IN_PLAN),
    )


def _controls() -> Markup:
    """Hidden until the script runs: without it they would do nothing."""
    options = [element("option", "every verdict", value="")]
    options += [element("option", VERDICT_WORD[verdict], value=verdict) for verdict in VERDICTS]
    search = element("input", type="search", id="search", autocomplete="off")
    return element(
        "div",
        element("label", "Search name, place, reason, code", search),
        element("label", "Show", element("select", options, id="verdict")),
        element("p", "Shown: ", element("output", id="count", for_="search verdict"), class_="soft", role="status"),
        class_="controls",
        id="controls",
        hidden=True,
    )


def _machine(machine: Machine, links: Links) -> Markup:
    verdicts = sorted({one.verdict for one in machine.rows} or {machine.verdict}, key=VERDICTS.index)
    vm = machine.vm
    where = [vm.host_set, vm.tenant, vm.owner] if vm else ["not seen"]
    return row(
        links.link(machine.unique_id),
        element("td", ", ".join(part for part in where if part), class_="soft"),
        *(_resource(machine, resource) for resource in RESOURCES),
        why([_decided(one) for one in machine.rows if one.resource not in RESOURCES]),
        id=vm_anchor(machine.unique_id),
        data_is=" ".join(verdicts),
    )


def _resource(machine: Machine, resource: str) -> Markup:
    rows = [one for one in machine.rows if one.resource == resource]
    if rows:
        return why([_decided(one) for one in rows])
    vm = machine.vm
    refused = f"{vm.name} {vm.refused}" if vm and vm.refused else ""
    now = size(resource, getattr(vm, resource)) if vm else ""
    return why(element("p", now), soft(refused) if refused else None)


def _decided(one: Row) -> Child:
    return (
        element("p", verdict_tag(one.verdict), " ", one.amount),
        soft(one.reason, " ", element("code", one.code), f", {policy_line(one.policy_line)}"),
    )
