# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's own request for one VM, as a plan.

The person takes the place of the forecast: history, freshness, hold times, minimum change and step limits are not
asked. Everything else holds: holds, the mode ``ignore``, the policy's minimum and maximum, windows, capabilities, no
restart, the class of inverse, NUMA, room and reserve. What cannot be done exactly is refused, and all of it then.
"""

from __future__ import annotations

from datetime import datetime
from typing import Optional, Union

from .._core.errors import HeadroomError, RefusedError
from .._policy.settings import MODE_APPROVE, MODE_IGNORE, Settings
from .._policy.sizing import SizingPolicy
from .._records.plan import PURPOSE_RESIZE, REFUSED, STAY, Decision, Plan
from .._records.snapshot import Snapshot
from .._records.vm import GROW, MEMORY_MIB, RESOURCES, SHRINK, VCPUS, VM
from .capacity import Ledger
from .constraints import Against, Calendar, against_numa, against_vm, choose, common_granule, effective_mode
from .order import Proposal
from .settings import NOTHING_ASKED, Asked, plan_settings
from .state import PlanState
from .target import Wanted
from .written import settled, written


def make_resize(
    snapshot: Snapshot,
    *,
    unique_id: str,
    vcpus: Optional[int],
    memory_mib: Optional[int],
    asked: Asked = NOTHING_ASKED,
    policy: SizingPolicy,
    state: PlanState,
    now: datetime,
    snapshot_digest: str,
    policy_digest: str,
) -> Plan:
    """Plan one VM's sizes and settings as asked for; what is so already gets no action.

    Raises RefusedError with the code of what speaks against it (``resize.no_room``, ``resize.held``, the platform's
    own), ``resize.nothing``, ``resize.vm_unknown``, ``policy.*``.
    """
    goals = {name: goal for name, goal in ((VCPUS, vcpus), (MEMORY_MIB, memory_mib)) if goal is not None}
    if not goals and not asked.goals:
        raise HeadroomError("resize.nothing", "Nothing is asked for.", advice="Give a size or a setting.")
    vm = next((one for one in snapshot.vms if one.unique_id == unique_id), None)
    if vm is None:
        raise HeadroomError(
            "resize.vm_unknown", f"There is no VM {unique_id} in the snapshot.", advice="Look at the inventory."
        )
    settings = policy.effective(vm)
    whole = against_vm(vm, settings, state)
    if whole is not None:
        raise _refusal(vm, whole)
    ledger, calendar = Ledger(snapshot, policy), Calendar(now=now, until=policy.until(now))
    answers = [
        _propose(vm, resource, goals[resource], settings, ledger=ledger, calendar=calendar, index=index)
        for index, resource in enumerate(one for one in RESOURCES if one in goals)
    ]
    actions, decided = settled(answers, ledger, exact=True)
    for one in decided:
        if one.verdict == REFUSED:
            raise _refusal(vm, Against(one.code, one.reason, one.policy_line))
    opening = calendar.find(settings)
    if isinstance(opening, Against):
        raise _refusal(vm, opening)
    set_to = plan_settings(vm, asked, opening=opening, first=len(actions) + 1)
    if isinstance(set_to, Against):
        raise _refusal(vm, set_to)
    return written(
        PURPOSE_RESIZE,
        (*actions, *set_to.actions),
        (*decided, *set_to.decisions),
        scope=(unique_id,),
        policy=policy,
        ledger=ledger,
        now=now,
        snapshot_digest=snapshot_digest,
        policy_digest=policy_digest,
        warnings=ledger.warnings,
    )


def _propose(
    vm: VM, resource: str, goal: int, settings: Settings, *, ledger: Ledger, calendar: Calendar, index: int
) -> Union[Proposal, Decision]:
    size: int = getattr(vm, resource)
    if goal == size:
        return Decision(
            unique_id=vm.unique_id,
            vm_name=vm.name,
            resource=resource,
            verdict=STAY,
            code="already_done",
            reason=f"it has {size}, as asked for",
            policy_line=0,
            size_now=size,
            size_wanted=goal,
        )
    direction = GROW if goal > size else SHRINK
    sizing = settings.sizing[resource]
    mode, why = effective_mode(vm, settings, direction)
    landing = choose(vm, resource, direction, goal=goal, size=size)
    opening = calendar.find(settings)
    host = ledger.hosts.get(vm.host_id)
    numa = against_numa(vm, host, resource, after=goal) if host else None
    for wrong, against in (
        (mode == MODE_IGNORE, why),
        (
            direction == GROW and goal > sizing.maximum,
            Against(
                "policy_maximum", f"{goal} is above the policy's maximum {sizing.maximum}", sizing.lines["maximum"]
            ),
        ),
        (
            direction == SHRINK and goal < sizing.minimum,
            Against(
                "policy_minimum", f"{goal} is below the policy's minimum {sizing.minimum}", sizing.lines["minimum"]
            ),
        ),
        (numa is not None, numa),
    ):
        if wrong and against is not None:
            raise _refusal(vm, against)
    if isinstance(landing, Against):
        raise _refusal(vm, landing)
    if landing.size != goal:
        raise _refusal(vm, Against("inexact", landing.note))
    if isinstance(opening, Against):
        raise _refusal(vm, opening)
    reason = f"a person asked for {goal}, it has {size}"
    return Proposal(
        vm=vm,
        settings=settings,
        resource=resource,
        size=size,
        direction=direction,
        mode=MODE_APPROVE,
        capability=landing.capability,
        granule=common_granule(vm, resource, sizing),
        size_after=goal,
        wanted=Wanted(goal, direction, direction, reason, 0),
        opening=opening,
        reason=reason,
        line=0,
        decision=index,
        code=direction,
    )


def _refusal(vm: VM, against: Against) -> RefusedError:
    code = against.code if "." in against.code else f"resize.{against.code}"
    line = f" (line {against.line} of the policy)" if against.line else ""
    return RefusedError(code, f"{vm.name} is left as it is: {against.reason}{line}.", vm=vm.name)
