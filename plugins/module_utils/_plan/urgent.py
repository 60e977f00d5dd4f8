# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's plan: what is short of something now grows at once.

It is judged, arranged and carried out like every other plan; only what is wanted comes from the newest telemetry and
not from a forecast. It only grows. What an act has changed since a signal began is not judged by that signal: after an
act the same telemetry wants nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Union

from .._core.needs import needs
from .._core.units import MS_PER_S, ceil_div
from .._policy.settings import SECTIONS, Settings
from .._policy.sizing import SizingPolicy
from .._records.demand import DEMANDS
from .._records.plan import PURPOSE_GUARD, Decision, Plan
from .._records.snapshot import Snapshot
from .._records.vm import GROW, LIMITS, RESOURCES, VM
from .capacity import Ledger
from .constraints import Calendar
from .guard import GuardRule, grown
from .judge import Judge
from .layers import Layer, planned_limits, size_layer, standing_limit
from .order import Proposal
from .signals import Reading, Want, wants
from .state import PlanState
from .target import SECONDS_PER_MINUTE, Wanted, up
from .written import settled, written

STILL = 2  # intervals after an act of growth: what begins in them is short in spite of it

Readings = Mapping[str, Mapping[str, Reading]]  # unique_id -> metric -> its newest interval
Peaks = Mapping[tuple[str, str], float]  # (unique_id, metric) -> largest value of the last day


@dataclass(frozen=True)
class Short:
    """What is wanted by the newest telemetry: that what is short grows, and nothing else."""

    readings: Readings
    peaks: Peaks
    last_acts: Mapping[tuple[str, str], tuple[str, int]]  # of ``PlanState``
    now: datetime
    interval_s: int

    def wanted(self, vm: VM, layer: Layer, settings: Settings, *, granule: int) -> Wanted:
        """See Source; the upper bound is the use of the last day."""
        demand = DEMANDS[layer.kind]
        line = settings.lines.get(f"guard.{SECTIONS[layer.kind][0]}", 0)
        stay = Wanted(layer.size, "", "no_signal", "nothing tells that it is short of it", 0)
        if not settings.guard.grows[layer.kind]:
            return stay._replace(code="guard_none", reason="the policy leaves it to the plans", line=line)
        found = self.wants(vm, layer, settings)
        peak = max(self.peaks.get((vm.unique_id, demand.metric), 0.0), _use(self.readings[vm.unique_id], demand.metric))
        stay = stay._replace(upper=_whole(peak))
        if not found and 0 < layer.whole < layer.sizing.maximum:
            reason = f"its {LIMITS[layer.kind].size} grow: a limit of {demand.size(layer.size)} would hold them"
            return stay._replace(size=layer.sizing.maximum, direction=GROW, code=GROW, reason=reason, line=line)
        if not found:
            return stay
        stay = stay._replace(signals=tuple(want.record(self.interval_s) for want in found))
        has, rule = layer.size * demand.per_unit, _rule(settings, layer.kind)
        with needs("numpy"):
            import numpy as np
        unhelped = self._unhelped(vm, layer, found)
        amount = grown(
            rule, allocation=np.array([float(has)]), peak=np.array([peak]), saturated=np.array([[unhelped, True]])
        )
        least = layer.size + settings.guard.jump_least[layer.kind]
        size = up(max(ceil_div(_whole(float(amount[0])), demand.per_unit), least), granule)
        ceiling = layer.sizing.maximum // granule * granule or layer.sizing.maximum
        told = "; ".join(want.told(layer) for want in found)
        reason = f"{told}; it has {demand.size(layer.size)} and used {demand.amount(_whole(peak))} at most in a day"
        if unhelped:
            reason = f"{reason}; it grew just before, and that was too little"
        if ceiling <= layer.size:
            reason = f"{reason}; the policy's maximum is {layer.sizing.maximum}"
            return stay._replace(code="policy_maximum", reason=reason, line=layer.sizing.lines["maximum"])
        line = settings.lines[f"guard.{found[0].signal.setting or 'memory_jump_mib'}"]
        return stay._replace(size=min(size, ceiling), direction=GROW, code=GROW, reason=reason, line=line)

    def wants(self, vm: VM, layer: Layer, settings: Settings) -> list[Want]:
        """The signals that a layer gives: fresh ones, that began after the last act on it."""
        fresh_s = settings.guard.freshness_minutes * SECONDS_PER_MINUTE
        fresh_ms = round(self.now.timestamp() * MS_PER_S) - fresh_s * MS_PER_S
        acted_ms = self.last_acts.get((vm.unique_id, layer.resource), ("", 0))[1]
        since_ms = max(fresh_ms, acted_ms)
        return wants(vm, layer, settings.guard, self.readings[vm.unique_id], since_ms=since_ms)

    def _unhelped(self, vm: VM, layer: Layer, found: Collection[Want]) -> bool:
        """Whether it is still short in the intervals next to its last growth."""
        direction, acted_ms = self.last_acts.get((vm.unique_id, layer.resource), ("", 0))
        late_ms = acted_ms + STILL * self.interval_s * MS_PER_S
        return direction == GROW and any(want.start_ms <= late_ms for want in found)

    def tells_of(self, vm: VM, settings: Settings) -> bool:
        """Whether any layer that the guard may let grow gives a signal."""
        layers = [
            *(size_layer(vm, resource, settings) for resource in RESOURCES),
            *(standing_limit(vm, limit, settings) for limit in planned_limits(vm, settings)),
        ]
        return any(settings.guard.grows[layer.kind] and self.wants(vm, layer, settings) for layer in layers)


def make_guard(
    snapshot: Snapshot,
    *,
    suspects: Collection[VM],
    readings: Readings,
    peaks: Peaks,
    interval_s: int,
    policy: SizingPolicy,
    state: PlanState,
    now: datetime,
    snapshot_digest: str,
    policy_digest: str,
) -> Plan:
    """Plan what is short of something among ``suspects``; of other VMs ``snapshot`` need only hold what they have.

    The plan's scope are the VMs that it decides about; ``interval_s``: of the readings. Raises ``policy.*``.
    """
    source = Short(readings=readings, peaks=peaks, last_acts=state.last_acts, now=now, interval_s=interval_s)
    judge = Judge(
        policy=policy,
        state=replace(state, demoted={}),  # a forecast that does badly has no part in it
        now=now,
        calendar=Calendar(now=now, until=policy.until(now)),
        ledger=Ledger(snapshot, policy),
        source=source,
    )
    short = sorted((vm for vm in suspects if source.tells_of(vm, policy.effective(vm))), key=lambda vm: vm.unique_id)
    answers: list[Union[Decision, Proposal]] = []
    for vm in short:
        answers.extend(judge.decide(vm, first=len(answers)))
    actions, decisions = settled(answers, judge.ledger)
    return written(
        PURPOSE_GUARD,
        actions,
        decisions,
        scope=tuple(vm.unique_id for vm in short),
        policy=policy,
        ledger=judge.ledger,
        now=now,
        snapshot_digest=snapshot_digest,
        policy_digest=policy_digest,
        warnings=judge.ledger.warnings if actions else (),
    )


def _rule(settings: Settings, resource: str) -> GuardRule:
    """At once as far as it is likely to need: headroom that is kept between sizes is the plans' matter."""
    return GuardRule(jump=settings.guard.jump_percent[resource] / 100, peak=1.0, step=0.0, most=0.0, half_life=1.0)


def _use(readings: Mapping[str, Reading], metric: str) -> float:
    """The largest use of the newest interval; 0 where nothing is known."""
    reading = readings.get(metric)
    return max((one for one in reading[:2] if not math.isnan(one)), default=0.0) if reading else 0.0


def _whole(amount: float) -> int:
    """Rounded up; a hair's breadth above a whole number is the noise of a multiplication."""
    return -int(-(amount - 1e-6) // 1)
