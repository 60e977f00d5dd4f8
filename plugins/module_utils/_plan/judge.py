# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM at a time: what is wanted, what speaks against it, and else a proposal that only needs room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Optional, Union

from .._policy.settings import MODE_IGNORE, MODE_RECOMMEND, Settings
from .._policy.sizing import SizingPolicy
from .._records.forecast import Choice
from .._records.plan import REFUSED, STAY, Decision
from .._records.vm import LIMITS, MEMORY_MIB, RESOURCES, SHRINK, VM
from .bounds import Bounds
from .capacity import Ledger
from .constraints import (
    Against,
    Calendar,
    against_hold_time,
    against_numa,
    against_small_change,
    against_vm,
    choose,
    common_granule,
    effective_mode,
    step_goal,
)
from .layers import Layer, brought_down, limit_layer, size_layer
from .order import Proposal
from .pressure import pressed
from .state import PlanState
from .target import DEMANDS, Clock, Wanted, wanted_size

DEMOTED = "demoted"  # code of an act that is only recommended, for its VM's forecasts did not earn more


@dataclass(frozen=True)
class Judge:
    """Everything that a decision about one VM looks at."""

    policy: SizingPolicy
    state: PlanState
    now: datetime
    clock: Clock
    calendar: Calendar
    ledger: Ledger
    bounds: Bounds
    choices: dict[tuple[str, str], Choice]  # by (unique_id, metric)

    def decide(self, vm: VM, *, first: int) -> list[Union[Decision, Proposal]]:
        """One answer per resource and planned limit; ``first``: the index of the first decision in the plan."""
        settings = self.policy.effective(vm)
        whole = against_vm(vm, settings, self.state)
        found = {
            resource: self._decide(vm, size_layer(vm, resource, settings), settings, whole, first + offset)
            for offset, resource in enumerate(RESOURCES)
        }
        for limit, limited in LIMITS.items():
            size = found[limited.size]
            shrinks = isinstance(size, Proposal) and size.direction == SHRINK
            after = size.size_after if isinstance(size, Proposal) and shrinks else vm.has(limited.size)
            layer = limit_layer(vm, limit, settings, size_after=after)
            if layer is not None:
                found[limit] = self._decide(vm, layer, settings, whole, first + len(found))
                if layer.above is not None and isinstance(size, Proposal):
                    found[limited.size] = _after_limit(size, found[limit], first + len(found) - 1)
        return list(found.values())

    def _decide(
        self, vm: VM, layer: Layer, settings: Settings, whole: Optional[Against], index: int
    ) -> Union[Decision, Proposal]:
        resource = layer.resource
        granule = common_granule(vm, resource, layer.sizing)
        wanted, upper = self.wish(vm, layer, settings, granule=granule)
        wanted = brought_down(layer, wanted)
        if whole is not None:
            return _stay(vm, resource, wanted, upper, whole)
        if not wanted.direction:
            return _stay(vm, resource, wanted, upper, Against(wanted.code, wanted.reason, wanted.line, refused=False))
        found = self._propose(vm, layer, settings, wanted=wanted, granule=granule, upper=upper, index=index)
        return found if isinstance(found, Proposal) else _stay(vm, resource, wanted, upper, found)

    def wish(self, vm: VM, layer: Layer, settings: Settings, *, granule: int) -> tuple[Wanted, int]:
        """What is wanted of a layer, and the demand that says so in the metric's unit; below 0: none is known."""
        metric = DEMANDS[layer.resource].metric
        upper = self.bounds.upper(vm.unique_id, metric=metric, quantile=layer.sizing.quantile)
        wanted = wanted_size(
            layer.resource,
            size=layer.size,
            granule=granule,
            upper=upper,
            choice=self.choices.get((vm.unique_id, metric)),
            sizing=layer.sizing,
            settings=settings,
            clock=self.clock,
            service=self.bounds.services.get((vm.unique_id, layer.resource)),
            short=pressed(self.state.pressures, vm.unique_id, settings) if layer.resource == MEMORY_MIB else None,
        )
        return wanted, upper

    def _propose(
        self, vm: VM, layer: Layer, settings: Settings, *, wanted: Wanted, granule: int, upper: int, index: int
    ) -> Union[Proposal, Against]:
        """Take the first thing that speaks against the act, else propose it."""
        direction, resource, size, sizing = wanted.direction, layer.resource, layer.size, layer.sizing
        mode, why = effective_mode(vm, settings, direction)
        if mode == MODE_IGNORE:
            return why
        scored = LIMITS[resource].size if resource in LIMITS else resource  # both go by the same forecasts
        demoted = self.state.demoted.get((vm.unique_id, scored), "")
        held = against_hold_time(vm, resource, direction, settings=settings, state=self.state, now=self.now)
        if held is not None:
            return held
        goal = step_goal(size, wanted.size, direction=direction, granule=granule, sizing=sizing)
        goal = goal if layer.above is None else min(goal, layer.above)
        landing = choose(vm, resource, direction, goal=goal)
        if isinstance(landing, Against):
            return landing._replace(reason=f"{wanted.reason}; {landing.reason}")
        host = self.ledger.hosts.get(vm.host_id)
        small = against_small_change(size, landing.size, sizing=sizing) if layer.above is None else None
        numa = against_numa(vm, host, resource, after=landing.size) if host else None
        opening = self.calendar.find(settings)
        against = small or numa
        if against is not None:
            return against
        if isinstance(opening, Against):
            return opening
        limited = goal != wanted.size
        to = DEMANDS[resource].size(goal, unit=False)
        step = f"one step of {sizing.step_limit_percent[direction]} % goes to {to}" if limited else ""
        return Proposal(
            vm=vm,
            settings=settings,
            resource=resource,
            direction=direction,
            mode=MODE_RECOMMEND if demoted else mode,
            capability=landing.capability,
            granule=granule,
            size_after=landing.size,
            size_wanted=wanted.size,
            upper=upper,
            opening=opening,
            reason="; ".join(part for part in (wanted.reason, step, landing.note, demoted) if part),
            line=sizing.lines[f"step_limit.{direction}"] if limited else wanted.line,
            decision=index,
            code=DEMOTED if demoted else direction,
            lead_ms=self.state.leads_ms.get((vm.endpoint, landing.capability.operation), 0),
        )


def decision_of(one: Proposal, *, verdict: str, code: str, reason: str, line: int, action_id: str = "") -> Decision:
    """Return the decision that a proposal came to."""
    return Decision(
        unique_id=one.vm.unique_id,
        vm_name=one.vm.name,
        resource=one.resource,
        verdict=verdict,
        code=code,
        reason=reason,
        policy_line=line,
        size_now=one.size,
        size_wanted=one.size_wanted,
        upper=one.upper,
        action_id=action_id,
    )


def _after_limit(size: Proposal, limit: Union[Decision, Proposal], index: int) -> Union[Decision, Proposal]:
    """The shrink of a size that waits for its limit's; ``index``: the limit's decision."""
    if isinstance(limit, Proposal):
        return replace(size, after=(index,))
    reason = f"{size.reason}; its limit must come down first, but {limit.reason}"
    return decision_of(size, verdict=limit.verdict, code="limit_first", reason=reason, line=limit.policy_line)


def _stay(vm: VM, resource: str, wanted: Wanted, upper: int, why: Against) -> Decision:
    return Decision(
        unique_id=vm.unique_id,
        vm_name=vm.name,
        resource=resource,
        verdict=REFUSED if why.refused else STAY,
        code=why.code,
        reason=why.reason,
        policy_line=why.line,
        size_now=vm.has(resource),
        size_wanted=wanted.size,
        upper=upper if upper >= 0 else None,
    )
