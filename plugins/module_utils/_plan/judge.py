# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One VM at a time: what is wanted, what speaks against it, and else a proposal that only needs room."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Optional, Protocol, Union

from .._policy.settings import MODE_IGNORE, MODE_RECOMMEND, Settings
from .._policy.sizing import SizingPolicy
from .._records.demand import DEMANDS
from .._records.plan import REFUSED, STAY, Decision
from .._records.vm import GROW, LIMITS, RESOURCES, SHRINK, VM, kind_of
from .._records.wishes import Wishes
from .capacity import Ledger
from .careful import kept, renewed
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
from .layers import Layer, brought_down, limit_layer, planned_limits, size_layer
from .order import Proposal
from .signals import OOM
from .state import PlanState
from .target import Wanted

_SCORED = {DEMANDS[resource].metric: resource for resource in RESOURCES}  # by whose forecasts a limit goes as well
DEMOTED = "demoted"  # code of an act that is only recommended, for its VM's forecasts did not earn more


class Source(Protocol):
    """Where what is wanted comes from."""

    def wanted(self, vm: VM, layer: Layer, settings: Settings, *, granule: int) -> Wanted:
        """What is wanted of a layer, and what says so; ``granule``: what every size is a multiple of."""


@dataclass(frozen=True)
class Judge:
    """Everything that a decision about one VM looks at; ``wishes``: what is to be kept of what they wanted."""

    policy: SizingPolicy
    state: PlanState
    now: datetime
    calendar: Calendar
    ledger: Ledger
    source: Source
    wishes: dict[tuple[str, str], Wishes] = field(default_factory=dict)

    def decide(self, vm: VM, *, first: int) -> list[Union[Decision, Proposal]]:
        """One answer per resource and planned limit; ``first``: the index of the first decision in the plan."""
        settings = self.policy.effective(vm)
        whole = against_vm(vm, settings, self.state)
        found = {
            resource: self._decide(vm, size_layer(vm, resource, settings), settings, whole, first + offset)
            for offset, resource in enumerate(RESOURCES)
        }
        for limit in planned_limits(vm, settings):
            of, index = LIMITS[kind_of(limit)].size, first + len(found)
            size = found.get(of)
            moves = isinstance(size, Proposal) and (size.direction == SHRINK or vm.size(limit) > 0)
            after = size.size_after if isinstance(size, Proposal) and moves else vm.has(of) if of else 0
            layer = limit_layer(vm, limit, settings, size_after=after)
            own = found[limit] = self._decide(vm, layer, settings, whole, index)
            if isinstance(size, Proposal) and layer.above is not None:
                found[of] = _after_limit(size, own, index)
            elif isinstance(size, Proposal) and isinstance(own, Proposal) and size.direction == own.direction == GROW:
                found[limit] = replace(own, beside=size.decision)
        return list(found.values())

    def _decide(
        self, vm: VM, layer: Layer, settings: Settings, whole: Optional[Against], index: int
    ) -> Union[Decision, Proposal]:
        resource = layer.resource
        granule = common_granule(vm, resource, layer.sizing)
        wanted = self.source.wanted(vm, layer, settings, granule=granule)
        wishes = renewed(vm, layer, settings, wished=wanted.wished, state=self.state, now=self.now)
        if wishes is not None:
            self.wishes[vm.unique_id, resource] = wishes
        wanted = brought_down(layer, wanted)
        if layer.supposed and wanted.wished is not None:
            wanted = wanted._replace(reason=f"{wanted.reason}, for it has no limit")
        if whole is not None:
            return _stay(vm, layer, wanted, whole)
        if not wanted.direction:
            return _stay(vm, layer, wanted, Against(wanted.code, wanted.reason, wanted.line, refused=False))
        found = self._propose(vm, layer, settings, wanted=wanted, granule=granule, index=index)
        return found if isinstance(found, Proposal) else _stay(vm, layer, wanted, found)

    def _propose(
        self, vm: VM, layer: Layer, settings: Settings, *, wanted: Wanted, granule: int, index: int
    ) -> Union[Proposal, Against]:
        """Take the first thing that speaks against the act, else propose it."""
        direction, resource, size, sizing = wanted.direction, layer.resource, layer.size, layer.sizing
        mode, why = effective_mode(vm, settings, direction)
        if mode == MODE_IGNORE:
            return why
        demoted = self.state.demoted.get((vm.unique_id, _SCORED.get(DEMANDS[layer.kind].metric, "")), "")
        held = against_hold_time(vm, resource, direction, settings=settings, state=self.state, now=self.now)
        floor = None
        if direction == SHRINK:
            floor = kept(vm, layer, settings, granule=granule, state=self.state, now=self.now)
        if held is None and floor is not None and floor.size >= size:
            held = Against("hold_time", floor.reason, floor.line, refused=False)
        if held is not None and OOM not in {one.code for one in wanted.signals}:  # who was killed cannot wait
            return held
        spared = floor if floor is not None and floor.size > wanted.size else None
        aim = spared.size if spared else wanted.size
        goal = step_goal(size, aim, direction=direction, granule=granule, sizing=sizing)
        goal = goal if layer.above is None else min(goal, layer.above)
        landing = choose(vm, resource, direction, goal=goal, size=layer.size)
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
        limited = goal != aim
        to = DEMANDS[layer.kind].size(goal, unit=False)
        told = f"{wanted.reason}; {spared.reason}" if spared else wanted.reason
        step = f"one step of {sizing.step_limit_percent[direction]} % goes to {to}" if limited else ""
        return Proposal(
            vm=vm,
            settings=settings,
            resource=resource,
            size=layer.has,
            whole=layer.whole,
            direction=direction,
            mode=MODE_RECOMMEND if demoted else mode,
            capability=landing.capability,
            granule=granule,
            size_after=landing.size,
            wanted=wanted,
            opening=opening,
            reason="; ".join(part for part in (told, step, landing.note, demoted) if part),
            line=sizing.lines[f"step_limit.{direction}"] if limited else spared.line if spared else wanted.line,
            decision=index,
            code=DEMOTED if demoted else direction,
            lead_ms=self.state.leads_ms.get((vm.endpoint, landing.capability.operation), 0),
        )


def decision_of(one: Proposal, *, verdict: str, code: str, reason: str, line: int, action_id: str = "") -> Decision:
    """Return the decision that a proposal came to."""
    return _decision(
        one.vm,
        one.resource,
        one.size,
        one.wanted,
        verdict=verdict,
        code=code,
        reason=reason,
        line=line,
        action_id=action_id,
    )


def _stay(vm: VM, layer: Layer, wanted: Wanted, why: Against) -> Decision:
    verdict = REFUSED if why.refused else STAY
    return _decision(
        vm, layer.resource, layer.has, wanted, verdict=verdict, code=why.code, reason=why.reason, line=why.line
    )


def _decision(
    vm: VM,
    resource: str,
    has: int,
    wanted: Wanted,
    *,
    verdict: str,
    code: str,
    reason: str,
    line: int,
    action_id: str = "",
) -> Decision:
    return Decision(
        unique_id=vm.unique_id,
        vm_name=vm.name,
        resource=resource,
        verdict=verdict,
        code=code,
        reason=reason,
        policy_line=line,
        size_now=has,
        size_wanted=wanted.size,
        upper=wanted.upper if wanted.upper >= 0 else None,
        action_id=action_id,
        service=wanted.service,
        signals=wanted.signals,
    )


def _after_limit(size: Proposal, limit: Union[Decision, Proposal], index: int) -> Union[Decision, Proposal]:
    """The shrink of a size that waits for its limit's; ``index``: the limit's decision."""
    if isinstance(limit, Proposal):
        return replace(size, after=(index,))
    reason = f"{size.reason}; its limit must come down first, but {limit.reason}"
    return decision_of(size, verdict=limit.verdict, code="limit_first", reason=reason, line=limit.policy_line)
