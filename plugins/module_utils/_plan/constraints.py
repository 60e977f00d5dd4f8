# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done to one VM: its mode, holds, hold times, windows, capabilities, NUMA cells.

Each check returns None, or why not: a stable code, a reason for people, and the line of the policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Optional, Union

from .._core.clock import format_utc
from .._policy.settings import MODE_IGNORE, MODES, PROFILE_ELASTIC, SECTIONS, Settings, Sizing
from .._policy.windows import Window, opening
from .._records.host import Host
from .._records.vm import (
    DIRECTIONS,
    GROW,
    INVERSE_AT_NEXT_RESTART,
    INVERSE_LIVE,
    LIMITS,
    RESOURCES,
    SET,
    SHRINK,
    VM,
    Capability,
    kind_of,
)
from .state import PlanState
from .target import SECONDS_PER_MINUTE

SECONDS_PER_HOUR = 3600

# Classes of inverse with which an act may be planned: what shrinks must be given back at once.
INVERSES_ALLOWED = {GROW: (INVERSE_LIVE, INVERSE_AT_NEXT_RESTART), SHRINK: (INVERSE_LIVE,), SET: (INVERSE_LIVE,)}


class Against(NamedTuple):
    """Why not. ``refused``: a rule or the platform says no; else the VM merely stays as it is for now."""

    code: str
    reason: str
    line: int = 0
    refused: bool = True


class Landing(NamedTuple):
    """The capability that carries the act, and the size it ends at; ``note`` when that is not the goal."""

    capability: Capability
    size: int
    note: str = ""


@dataclass(frozen=True)
class Opening:
    """When an act may begin: RFC 3339, empty for any time."""

    not_before: str = ""
    not_after: str = ""


def effective_mode(vm: VM, settings: Settings, direction: str) -> tuple[str, Against]:
    """The stricter of the policy's mode and the VM's own tag, and what to say where that is ``ignore``.

    A tag can make a VM stricter than the policy, never freer; one that is no mode makes the VM ``ignore``.
    """
    mode, line = settings.mode[direction], settings.lines[f"mode.{direction}"]
    if vm.mode is None or vm.mode == mode:
        return mode, Against("mode_ignore", f"the policy's mode for {direction} is {mode}", line, refused=False)
    if vm.mode not in MODES:
        reason = f"its tag asks for the mode {vm.mode!r}, which is none of {', '.join(MODES)}"
        return MODE_IGNORE, Against("mode_invalid", reason, refused=False)
    if MODES.index(vm.mode) < MODES.index(mode):
        return vm.mode, Against("mode_ignore", f"its own tag says {vm.mode}", refused=False)
    return mode, Against("mode_ignore", f"the policy's mode for {direction} is {mode}", line, refused=False)


def against_vm(vm: VM, settings: Settings, state: PlanState) -> Optional[Against]:
    """What speaks against any act on this VM."""
    if vm.refused:
        return Against(vm.refused_code or "refused", f"{vm.name} {vm.refused}")
    if vm.unique_id in state.holds:
        return Against("held", f"it is held: {state.holds[vm.unique_id]}")
    if vm.unique_id in state.reverted_twice:
        return Against("reverted_twice", "it was changed and reverted twice: a person must look and release it")
    modes = [effective_mode(vm, settings, direction) for direction in DIRECTIONS]
    if all(mode == MODE_IGNORE for mode, _unused in modes):
        return modes[0][1]
    return None


def against_hold_time(
    vm: VM, resource: str, direction: str, *, settings: Settings, state: PlanState, now: datetime
) -> Optional[Against]:
    """The time since the last act on the same resource is shorter than the policy's hold time."""
    last = state.last_acts.get((vm.unique_id, resource))
    if last is None:
        return None
    sizing = settings.sizing[kind_of(resource)]
    holds = {
        GROW: (settings.grow_hold_minutes * SECONDS_PER_MINUTE, "grow.hold_minutes"),
        SHRINK: (settings.shrink_hold_hours * SECONDS_PER_HOUR, "shrink.hold_hours"),
    }
    if sizing.profile == PROFILE_ELASTIC:
        key = f"{SECTIONS[kind_of(resource)][0]}.shrink_hold_minutes"
        holds = {GROW: (0, key), SHRINK: (sizing.shrink_hold_minutes * SECONDS_PER_MINUTE, key)}
    hold, key = holds[direction]
    last_direction, finished_ms = last
    age = (int(now.timestamp() * 1000) - finished_ms) // 1000
    if not hold or age >= hold:  # the end is of the state store's clock, which may be ahead of this one
        return None
    ago, wait = age // SECONDS_PER_MINUTE, hold // SECONDS_PER_MINUTE
    reason = f"the last act ({last_direction}) was {ago} minutes ago; the policy waits {wait} to {direction}"
    return Against("hold_time", reason, settings.lines[key], refused=False)


def step_goal(size: int, wanted: int, *, direction: str, granule: int, sizing: Sizing) -> int:
    """The wanted size, or as far towards it as one step goes: the limit's share of the present size, in granules."""
    percent = sizing.step_limit_percent[direction]
    if percent is None:
        return wanted
    step = max(1, -(-size * percent // 100))
    if direction == GROW:
        return min(wanted, -(-(size + step) // granule) * granule)
    return max(wanted, (size - step) // granule * granule)


def against_small_change(size: int, after: int, *, sizing: Sizing) -> Optional[Against]:
    """The change is smaller than the policy's minimum."""
    if abs(after - size) * 100 >= size * sizing.minimum_change_percent:
        return None
    reason = f"from {size} to {after} is less than {sizing.minimum_change_percent} %"
    return Against("small_change", reason, sizing.lines["minimum_change_percent"], refused=False)


def common_granule(vm: VM, resource: str, sizing: Sizing) -> int:
    """What every size of the resource is a multiple of, whichever capability carries the act.

    The steps of both directions count: a size that only growing could reach would be shrunk away again.
    """
    steps = {
        capability.step for capability in vm.capabilities if capability.allowed and capability.resource == resource
    }
    granule = sizing.granule
    for step in steps:
        granule = granule * step // math.gcd(granule, step)
    return granule


def choose(vm: VM, resource: str, direction: str, *, goal: int, size: int) -> Union[Landing, Against]:
    """The first capability that can hold the goal; else the one that comes nearest to it, from the size it has."""
    way = SET if kind_of(resource) in LIMITS else direction
    ways = [one for one in vm.capabilities if (one.resource, one.direction) == (resource, way)]
    judged = [(one, _unfit(one, vm)) for one in ways]
    able = [one for one, why in judged if why is None]
    if not ways:
        return Against("no_capability", f"the platform has no way to {direction} {resource}")
    if not able:
        against = [(one.operation, why) for one, why in judged if why is not None]
        return against[0][1]._replace(reason="; ".join(f"{operation}: {why.reason}" for operation, why in against))
    for capability in able:
        if capability.minimum <= goal <= capability.maximum and goal % capability.step == 0:
            return Landing(capability, goal)
    grows = direction == GROW
    nearest = [(_reach(capability, goal, grows=grows), capability) for capability in able]
    reached = [
        (reach, capability)
        for reach, capability in nearest
        if reach is not None and (reach > size if grows else reach < size)
    ]
    if not reached:
        limit = max(one.maximum for one in able) if grows else min(one.minimum for one in able)
        word = "maximum" if grows else "minimum"
        return Against(f"capability_{word}", f"{goal} is wanted, but its {word} without a restart is {limit}")
    reach, capability = (max if grows else min)(reached, key=lambda pair: pair[0])
    return Landing(capability, reach, note=f"{goal} is wanted, {capability.operation} reaches {reach}")


def _reach(capability: Capability, goal: int, *, grows: bool) -> Optional[int]:
    """The capability's size nearest to the goal, on the safe side of it: a grow falls short, a shrink stays above."""
    step = capability.step
    if grows:
        size = min(goal, capability.maximum) // step * step
        return size if size >= capability.minimum else None
    size = -(-max(goal, capability.minimum) // step) * step
    return size if size <= capability.maximum else None


def _unfit(capability: Capability, vm: VM) -> Optional[Against]:
    """Why this capability cannot carry an act."""
    absent = [name for name in capability.fields if name not in vm.fields]
    for wrong, code, reason in (
        (not capability.allowed, capability.code or "refused", capability.reason),
        (capability.restart, "needs_restart", "it needs a restart, and the policy allows none"),
        (
            capability.inverse not in INVERSES_ALLOWED[capability.direction],
            "no_live_inverse",
            f"its inverse is {capability.inverse or 'unknown'}",
        ),
        (not capability.fields, "no_field", "it names no field to set"),
        (bool(absent), "field_absent", f"{', '.join(absent)} is absent, so that the act could not be undone"),
    ):
        if wrong:
            return Against(code, reason)
    return None


def against_numa(vm: VM, host: Host, resource: str, *, after: int) -> Optional[Against]:
    """A VM that fits into one NUMA cell must not outgrow it while it runs."""
    if resource not in RESOURCES:
        return None  # a limit uses no more than its size, which fits
    largest = host.outgrown_cell(resource, before=vm.has(resource), after=after)
    if largest:
        return Against("numa", f"{after} would not fit into one NUMA cell of {host.name}, which has {largest}")
    return None


class Calendar:
    """Openings of windows, once for each list of windows."""

    def __init__(self, *, now: datetime, until: datetime) -> None:
        self._now = now
        self._until = until
        self._known: dict[tuple[Window, ...], Union[Opening, Against]] = {}

    def find(self, settings: Settings) -> Union[Opening, Against]:
        """When an act planned now may begin, or that no window opens before the plan expires."""
        if settings.windows not in self._known:
            self._known[settings.windows] = self._find(settings)
        return self._known[settings.windows]

    def _find(self, settings: Settings) -> Union[Opening, Against]:
        if not settings.windows:
            return Opening()
        found = opening(settings.windows, now=self._now, until=self._until)
        if found is None:
            reason = f"no window of the policy opens before {format_utc(self._until)}"
            return Against("window_closed", reason, settings.lines["windows"], refused=False)
        return Opening(format_utc(found[0]), format_utc(found[1]))
