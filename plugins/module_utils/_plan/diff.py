# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan for people: the diff that is the plan, and a table for terminals."""

from __future__ import annotations

from collections.abc import Collection
from typing import Callable, Optional

from .._policy.settings import MODE_RECOMMEND
from .._records.action import Action
from .._records.demand import demand_of
from .._records.plan import REFUSED, STAY, Plan
from .._records.vm import CPU_LIMIT_MILLICORES, GROW, LIMITS, MEMORY_MIB, RESOURCES, SET, SHRINK, VCPUS, Value, kind_of

MIB_PER_GIB = 1024
_MAX_CELL = 60  # characters of one cell of the table; the reasons stand in full in the diff and in the plan


def before_text(plan: Plan, *, only: Optional[Collection[str]] = None) -> str:
    """The sizes that the plan's acts (those with an action_id in ``only``) start from, VM by VM."""
    return _blocks(plan, only, lambda action: _lines(action, before=True))


def after_text(plan: Plan, *, only: Optional[Collection[str]] = None) -> str:
    """The sizes that the acts end at, each with how it gets there and why. Diff it against ``before_text``."""
    return _blocks(plan, only, lambda action: [*_lines(action, before=False), f"    # {_how(action)}"])


def plan_table(plan: Plan) -> str:
    """One line per act, and a summary; made for a terminal."""
    rows = [("ID", "VM", "RESOURCE", "NOW", "PLANNED", "MODE", "RESTART", "AFTER", "WHY")]
    rows += [
        (
            action.action_id,
            action.vm_name,
            action.resource,
            size_text(action.resource, action.span[0]),
            size_text(action.resource, action.span[1]),
            action.mode,
            "yes" if action.restart else "no",
            ",".join(action.after) or "-",
            action.reason,
        )
        for action in plan.actions
    ]
    cells = [[cell if len(cell) <= _MAX_CELL else cell[: _MAX_CELL - 3] + "..." for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([*(lines if plan.actions else []), summary_line(plan), ""])


def summary_line(plan: Plan) -> str:
    """How many acts of each kind, what they come to, and how many VMs' resources stay or are refused."""
    counts = [f"{sum(one.direction == way for one in plan.actions)} {way}" for way in (GROW, SHRINK)]
    settings = sum(one.direction == SET for one in plan.actions)
    counts += [f"{settings} {SET}"] if settings else []
    sums = [
        f"{sum(one.size_after - one.size_before for one in plan.actions if one.resource == resource):+d} {unit}"
        for resource, unit in ((VCPUS, "vCPU"), (MEMORY_MIB, "MiB"))
    ]
    planned = [one for one in plan.actions if one.resource == CPU_LIMIT_MILLICORES and one.direction != SET]
    sums += [f"{sum(one.size_after - one.size_before for one in planned):+d} millicores of limit"] if planned else []
    verdicts = [f"{sum(one.verdict == verdict for one in plan.decisions)} {verdict}" for verdict in (STAY, REFUSED)]
    recommended = sum(one.mode == MODE_RECOMMEND for one in plan.actions)
    only = f", {recommended} of them recommended only" if recommended else ""
    return f"{len(plan.actions)} acts ({', '.join(counts)}{only}): {', '.join(sums)}; {', '.join(verdicts)}"


def size_text(resource: str, size: Value) -> str:
    """A size with its unit: 4 vCPU, 1536 MiB (1.5 GiB), 1.5 vCPU (1500 millicores), 20 MB/s."""
    if resource == VCPUS:
        return f"{size} vCPU"
    limit = LIMITS.get(kind_of(resource))
    if limit is not None and limit.lifted and isinstance(size, int):
        exact = f" ({size} millicores)" if resource == CPU_LIMIT_MILLICORES else ""
        return f"{demand_of(resource).size(size)}{exact}" if size else "none"
    if resource != MEMORY_MIB or isinstance(size, str):
        return str(size)  # a setting, whose name ends in its unit
    return f"{size} MiB" if size < MIB_PER_GIB else f"{size} MiB ({size / MIB_PER_GIB:.4g} GiB)"


def _blocks(plan: Plan, only: Optional[Collection[str]], lines: Callable[[Action], list[str]]) -> str:
    chosen = [action for action in plan.actions if only is None or action.action_id in only]
    found: dict[tuple[str, str], list[Action]] = {}
    for action in sorted(chosen, key=lambda one: (one.vm_name, one.unique_id, _place(one.resource))):
        found.setdefault((action.vm_name, action.unique_id), []).append(action)
    text: list[str] = []
    for (name, unique_id), actions in found.items():
        text.append(f"{name} ({unique_id})")
        for action in actions:
            text.extend(lines(action))
    return "".join(f"{line}\n" for line in text)


def _lines(action: Action, *, before: bool) -> list[str]:
    if action.direction == SET:  # its fields may have differed, and their values need not be numbers
        return [f"  {one.field}: {one.before if before else one.after}" for one in action.changes]
    return [f"  {action.resource}: {size_text(action.resource, action.size_before if before else action.size_after)}"]


def _place(resource: str) -> tuple[int, str]:
    return (RESOURCES.index(resource) if resource in RESOURCES else len(RESOURCES)), resource


def _how(action: Action) -> str:
    deferred = "at the next restart" if action.deferred else ""
    window = f"from {action.not_before} until {action.not_after}" if action.not_before else ""
    restart = "with a restart" if action.restart else "without a restart"
    waits = f"after {', '.join(action.after)}" if action.after else ""
    mode = "recommended only" if action.mode == MODE_RECOMMEND else action.mode
    how = ", ".join(part for part in (action.operation, mode, deferred or restart, window, waits) if part)
    return f"{action.action_id}: {how}: {action.reason}"
