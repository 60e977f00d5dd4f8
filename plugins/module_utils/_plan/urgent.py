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
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Union

from .._core.clock import format_utc
from .._core.needs import needs
from .._core.units import ceil_div
from .._policy.settings import SECTIONS, Settings
from .._policy.sizing import SizingPolicy
from .._records.plan import PURPOSE_GUARD, Decision, Plan
from .._records.snapshot import Snapshot
from .._records.vm import GROW, LIMITS, RESOURCES, VM
from .bounds import Bounds
from .capacity import Ledger
from .constraints import Calendar
from .guard import GuardRule, grown
from .judge import Judge
from .layers import Layer, limit_layer, size_layer
from .order import Proposal
from .plan import settled
from .signals import Reading, Want, wants
from .state import PlanState
from .target import DEMANDS, SECONDS_PER_MINUTE, Clock, Wanted, up

Readings = Mapping[str, Mapping[str, Reading]]  # unique_id -> metric -> its newest interval
Peaks = Mapping[tuple[str, str], float]  # (unique_id, metric) -> largest value of the last day
NOT_KNOWN = -1


@dataclass(frozen=True)
class GuardJudge(Judge):
    """A judge that wants what is short now to grow, and nothing else."""

    readings: Readings = field(default_factory=dict)
    peaks: Peaks = field(default_factory=dict)

    def wish(self, vm: VM, layer: Layer, settings: Settings, *, granule: int) -> tuple[Wanted, int]:
        """What is wanted of a layer, and the use that says so in the metric's unit; below 0: none is known."""
        demand = DEMANDS[layer.resource]
        line = settings.lines[f"guard.{SECTIONS[layer.resource][0]}"]
        stay = Wanted(layer.size, "", "no_signal", "nothing tells that it is short of it", 0)
        if not settings.guard.grows[layer.resource]:
            return stay._replace(code="guard_none", reason="the policy leaves it to the plans", line=line), NOT_KNOWN
        found = self.wants(vm, layer, settings)
        peak = max(self.peaks.get((vm.unique_id, demand.metric), 0.0), _use(self.readings[vm.unique_id], demand.metric))
        if not found:
            return stay, _whole(peak)
        first = found[0].signal
        has, rule = layer.size * demand.per_unit, _rule(settings, layer.resource)
        with needs("numpy"):
            import numpy as np
        amount = float(grown(rule, allocation=np.array([float(has)]), peak=np.array([peak]))[0])
        least = layer.size + settings.guard.jump_least[layer.resource]
        size = up(max(ceil_div(_whole(amount), demand.per_unit), least), granule)
        ceiling = layer.sizing.maximum // granule * granule or layer.sizing.maximum
        told = "; ".join(want.told(layer) for want in found)
        reason = f"{told}; it has {demand.size(layer.size)} and used {demand.amount(_whole(peak))} at most in a day"
        if ceiling <= layer.size:
            reason = f"{reason}; the policy's maximum is {layer.sizing.maximum}"
            return Wanted(layer.size, "", "policy_maximum", reason, layer.sizing.lines["maximum"]), _whole(peak)
        threshold = first.setting or "memory_jump_mib"
        return Wanted(min(size, ceiling), GROW, GROW, reason, settings.lines[f"guard.{threshold}"]), _whole(peak)

    def wants(self, vm: VM, layer: Layer, settings: Settings) -> list[Want]:
        """The signals that a layer gives: fresh ones, that began after the last act on it."""
        fresh_ms = round(self.now.timestamp() * 1000) - settings.guard.freshness_minutes * SECONDS_PER_MINUTE * 1000
        acted_ms = self.state.last_acts.get((vm.unique_id, layer.resource), ("", 0))[1]
        since_ms = max(fresh_ms, acted_ms)
        return wants(vm, layer, settings.guard, self.readings[vm.unique_id], since_ms=since_ms)

    def is_short(self, vm: VM) -> bool:
        """Whether any layer that the guard may let grow gives a signal."""
        settings = self.policy.effective(vm)
        layers = [
            *(size_layer(vm, resource, settings) for resource in RESOURCES),
            *(limit_layer(vm, limit, settings, size_after=vm.has(limited.size)) for limit, limited in LIMITS.items()),
        ]
        return any(
            settings.guard.grows[layer.resource] and self.wants(vm, layer, settings)
            for layer in layers
            if layer is not None
        )


def make_guard(
    snapshot: Snapshot,
    *,
    suspects: Collection[VM],
    readings: Readings,
    peaks: Peaks,
    policy: SizingPolicy,
    state: PlanState,
    now: datetime,
    snapshot_digest: str,
    policy_digest: str,
) -> Plan:
    """Plan what is short of something among ``suspects``; of other VMs ``snapshot`` need only hold what they have.

    The plan's scope are the VMs that it decides about. Raises ``policy.*``.
    """
    until = now + timedelta(hours=policy.expires_hours)
    judge = GuardJudge(
        policy=policy,
        state=replace(state, demoted={}),  # a forecast that does badly has no part in it
        now=now,
        clock=Clock(now),
        calendar=Calendar(now=now, until=until),
        ledger=Ledger(snapshot, policy),
        bounds=Bounds({}, {}),
        choices={},
        readings=readings,
        peaks=peaks,
    )
    short = sorted((vm for vm in suspects if judge.is_short(vm)), key=lambda vm: vm.unique_id)
    answers: list[Union[Decision, Proposal]] = []
    for vm in short:
        answers.extend(judge.decide(vm, first=len(answers)))
    actions, decisions = settled(answers, judge.ledger)
    return Plan(
        made_at=format_utc(now),
        expires_at=format_utc(until),
        scope=tuple(vm.unique_id for vm in short),
        purpose=PURPOSE_GUARD,
        policy=policy_digest,
        snapshot=snapshot_digest,
        forecast="",
        budget=policy.budget,
        actions=actions,
        decisions=decisions,
        warnings=tuple(judge.ledger.warnings) if actions else (),
        ha_reserve_hosts=judge.ledger.reserves,
        policy_name=PurePath(policy.name).name,
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
