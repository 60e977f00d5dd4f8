# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of one VM - limits, maxima and the like - as a person asks for them: what already is so, and the acts.

A setting takes no room of its host, so nothing is counted; one of disks or interfaces is an act for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Union

from .._core.cpuset import format_cpuset, parse_cpuset
from .._policy.settings import MODE_APPROVE
from .._records.action import Action, Change, Inverse
from .._records.plan import ACT, STAY, Decision
from .._records.vm import INVERSE_LIVE, SET, SETTINGS, VM, Capability, Value, kind_of, target_of
from .constraints import Against, Opening


@dataclass(frozen=True)
class Asked:
    """Settings by name, and the one disk or interface that is meant where it is not all of them."""

    goals: Mapping[str, Value] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)  # vm.DISK, vm.INTERFACE -> its name


class Planned(NamedTuple):
    """A decision for each setting of each target, and an act where it is not so yet."""

    decisions: tuple[Decision, ...]
    actions: tuple[Action, ...]


NOTHING_ASKED = Asked()


def plan_settings(vm: VM, asked: Asked, *, opening: Opening, first: int) -> Union[Planned, Against]:
    """Return the plan of all that is asked for, or why one of it cannot be. ``first``: number of the first act."""
    decisions: list[Decision] = []
    actions: list[Action] = []
    for setting in SETTINGS:
        if setting not in asked.goals:
            continue
        goal = _canonical(setting, asked.goals[setting])
        if isinstance(goal, Against):
            return goal
        ways = _ways(vm, setting, asked.targets.get(SETTINGS[setting], ""))
        if isinstance(ways, Against):
            return ways
        for way in ways:
            against = _against(vm, way, goal)
            if against is not None:
                return against
            done = all(vm.fields[name] == goal for name in way.fields)
            action = None if done else _action(vm, way, goal, opening=opening, number=first + len(actions))
            decisions.append(_decision(vm, way, goal, action))
            actions += [] if action is None else [action]
    return Planned(tuple(decisions), tuple(actions))


def _ways(vm: VM, setting: str, only: str) -> Union[list[Capability], Against]:
    found = [one for one in vm.capabilities if one.direction == SET and kind_of(one.resource) == setting]
    targets = [target_of(one.resource) for one in found]
    chosen = [one for one, target in zip(found, targets) if not only or target == only]
    if not found:
        return Against("no_capability", f"the platform has no way to set its {setting}")
    if not chosen:
        known = ", ".join(targets)
        return Against("no_target", f"it has no {SETTINGS[setting]} {only} whose {setting} can be set, but {known}")
    return chosen


def _against(vm: VM, way: Capability, goal: Value) -> Optional[Against]:
    absent = [name for name in way.fields if name not in vm.fields]
    for wrong, code, reason in (
        (not way.allowed, way.code or "refused", way.reason),
        (way.inverse != INVERSE_LIVE or way.restart, "no_live_inverse", f"its inverse is {way.inverse or 'unknown'}"),
        (bool(absent), "field_absent", f"{', '.join(absent)} is absent, so that the act could not be undone"),
    ):
        if wrong:
            return Against(code, f"{way.resource}: {reason}")
    outside = [one for one in _numbers(goal) if not way.minimum <= one <= way.maximum or one % way.step]
    if outside:
        steps = f" in steps of {way.step}" if way.step > 1 else ""
        return Against("out_of_range", f"{way.resource}: {goal} is not within {way.minimum} to {way.maximum}{steps}")
    return None


def _canonical(setting: str, goal: Value) -> Union[Value, Against]:
    """A set of CPUs in the one way of writing it; a number as it is."""
    if isinstance(goal, int):
        return goal
    try:
        return format_cpuset(parse_cpuset(goal)) or Against("no_cpus", f"{setting} names no CPU")
    except ValueError as error:
        return Against("no_cpus", f"{setting}: {error}")


def _numbers(goal: Value) -> list[int]:
    """What must lie in the bounds: the number, or each of a set of CPUs."""
    return [goal] if isinstance(goal, int) else sorted(parse_cpuset(goal))


def _action(vm: VM, way: Capability, goal: Value, *, opening: Opening, number: int) -> Action:
    changes = tuple(Change(field=name, before=vm.fields[name], after=goal) for name in way.fields)
    return Action(
        action_id=f"a{number:04}",
        unique_id=vm.unique_id,
        vm_name=vm.name,
        endpoint=vm.endpoint,
        host_id=vm.host_id,
        host_set=vm.host_set,
        tenant=vm.tenant,
        operation=way.operation,
        resource=way.resource,
        direction=SET,
        mode=MODE_APPROVE,
        size_before=_size(changes[0].before),
        size_after=_size(goal),
        changes=changes,
        generation=vm.generation,
        inverse=Inverse(operation=way.operation, when=way.inverse),
        restart=False,
        reason=f"a person asked for {goal}, it has {changes[0].before}{_when(changes)}",
        not_before=opening.not_before,
        not_after=opening.not_after,
    )


def _when(changes: tuple[Change, ...]) -> str:
    return "; in force from its next start" if all(one.persistent for one in changes) else ""


def _decision(vm: VM, way: Capability, goal: Value, action: Optional[Action]) -> Decision:
    return Decision(
        unique_id=vm.unique_id,
        vm_name=vm.name,
        resource=way.resource,
        verdict=ACT if action else STAY,
        code=SET if action else "already_done",
        reason=action.reason if action else f"it has {goal}, as asked for",
        policy_line=0,
        size_now=action.size_before if action else _size(goal),
        size_wanted=_size(goal),
        action_id=action.action_id if action else "",
    )


def _size(value: Value) -> int:
    """Of what is no number the changes tell; its size is 0."""
    return value if isinstance(value, int) else 0
