# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot, forecast, policy and state to a plan: pure, and the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Optional, Union

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._policy.settings import MODES, Settings
from .._policy.sizing import SizingPolicy
from .._records.demand import DEMANDS
from .._records.forecast import TARGET_MEAN, Choice, Forecast
from .._records.outcomes import Outcomes
from .._records.plan import PURPOSE_SIZE, REFUSED, Decision, Plan
from .._records.snapshot import Snapshot
from .._records.vm import MEMORY_MIB, RESOURCES, VM
from .._records.wishes import Wishes
from .bounds import NO_VALUE, OVER_VALUE, Bounds, no_bounds, reduce_bounds
from .capacity import Ledger
from .constraints import Calendar
from .judge import Judge
from .layers import Layer
from .order import Proposal
from .outcomes import Services, services
from .pressure import pressed
from .state import PlanState
from .target import Clock, Wanted, wanted_size
from .written import settled, written

MAX_NAMED = 5  # VMs or gaps named in one warning


class Made(NamedTuple):
    """A plan, and by (unique_id, resource) what the next one has to know of what was wanted."""

    plan: Plan
    wishes: dict[tuple[str, str], Wishes]


def make_plan(
    snapshot: Snapshot,
    *,
    forecast: Optional[Forecast],
    table: Optional[Any],
    policy: SizingPolicy,
    state: PlanState,
    scope: Collection[str],
    now: datetime,
    snapshot_digest: str,
    forecast_digest: str,
    policy_digest: str,
    outcomes: Optional[Outcomes] = None,
) -> Made:
    """Plan the sizes of the VMs in scope; every other VM of the snapshot only counts for capacity.

    ``forecast`` and ``table`` (pyarrow.Table of COLUMNS) go together; without them nothing is wanted. ``outcomes`` are
    the forecast's. Raises ``scope.empty``, ``plan.quantile_missing``, ``forecast.columns``, ``policy.*``.
    """
    if not scope:
        raise HeadroomError(
            "scope.empty", "The plan's scope is empty.", advice="Name at least one VM, or leave the limit away."
        )
    ids = sorted(set(scope))
    known = {vm.unique_id: vm for vm in snapshot.vms}
    vms = [known[one] for one in ids if one in known]
    by_price, notes = services(outcomes, vms=vms, policy=policy, leads_ms=state.leads_ms) if outcomes else ({}, ())
    judge = Judge(
        policy=policy,
        state=state,
        now=now,
        calendar=Calendar(now=now, until=policy.until(now)),
        ledger=Ledger(snapshot, policy),
        source=Foreseen(
            bounds=_bounds(ids, forecast=forecast, table=table, policy=policy, now=now),
            choices={(choice.unique_id, choice.metric): choice for choice in forecast.choices} if forecast else {},
            services=by_price,
            pressures=state.pressures,
            clock=Clock(now),
        ),
    )
    answers: list[Union[Decision, Proposal]] = []
    for unique_id in ids:
        vm = known.get(unique_id)
        answers.extend(judge.decide(vm, first=len(answers)) if vm else _not_seen(unique_id, snapshot))
    actions, decisions = settled(answers, judge.ledger)
    made = written(
        PURPOSE_SIZE,
        actions,
        decisions,
        scope=tuple(ids),
        policy=policy,
        ledger=judge.ledger,
        now=now,
        snapshot_digest=snapshot_digest,
        policy_digest=policy_digest,
        forecast_digest=forecast_digest if forecast else "",
        warnings=(*_warnings(snapshot, forecast, judge.ledger, vms), *notes),
    )
    return Made(made, judge.wishes)


@dataclass(frozen=True)
class Foreseen:
    """What is wanted by forecast."""

    bounds: Bounds
    choices: dict[tuple[str, str], Choice]  # by (unique_id, metric)
    services: Services
    pressures: Optional[dict[str, dict[str, float]]]  # of ``PlanState``
    clock: Clock

    def wanted(self, vm: VM, layer: Layer, settings: Settings, *, granule: int) -> Wanted:
        """See Source."""
        metric = DEMANDS[layer.kind].metric
        upper = self.bounds.upper(vm.unique_id, metric=metric, quantile=layer.sizing.quantile)
        service = self.services.get((vm.unique_id, layer.resource))
        found = wanted_size(
            layer.kind,
            size=layer.size,
            granule=granule,
            upper=upper,
            choice=self.choices.get((vm.unique_id, metric)),
            sizing=layer.sizing,
            settings=settings,
            clock=self.clock,
            service=service,
            short=pressed(self.pressures, vm.unique_id, settings) if layer.resource == MEMORY_MIB else None,
        )
        return found._replace(upper=upper, service=service)


def _bounds(
    ids: list[str], *, forecast: Optional[Forecast], table: Optional[Any], policy: SizingPolicy, now: datetime
) -> Bounds:
    wanted = _bounded(policy)
    if forecast is None or table is None:
        return no_bounds(unique_ids=ids, wanted=wanted, value=NO_VALUE)
    if parse_utc(forecast.cutoff) + timedelta(seconds=forecast.horizon_s) <= now:
        return no_bounds(unique_ids=ids, wanted=wanted, value=OVER_VALUE)
    return reduce_bounds(forecast, table, unique_ids=ids, wanted=wanted)


def metrics_of(policy: SizingPolicy) -> tuple[str, ...]:
    """Whose demand a plan by this policy goes by."""
    return tuple(sorted({metric for metric, _unused in _bounded(policy)}))


def _bounded(policy: SizingPolicy) -> set[tuple[str, str]]:
    """Metrics and quantiles."""
    return {(demand.metric, quantile) for kind, demand in DEMANDS.items() for quantile in policy.quantiles(kind)}


def _not_seen(unique_id: str, snapshot: Snapshot) -> list[Decision]:
    """Decisions about a VM in scope that the snapshot does not hold."""
    gaps = [gap.message for gap in snapshot.gaps if gap.subject == unique_id]
    reason = f"it could not be observed: {gaps[0]}" if gaps else "it is not in the snapshot"
    return [
        Decision(
            unique_id=unique_id,
            vm_name=unique_id,
            resource=resource,
            verdict=REFUSED,
            code="not_observed",
            reason=reason,
            policy_line=0,
            size_now=0,
            size_wanted=0,
        )
        for resource in RESOURCES
    ]


def _warnings(snapshot: Snapshot, forecast: Optional[Forecast], ledger: Ledger, vms: list[VM]) -> tuple[str, ...]:
    found = list(ledger.warnings)
    if forecast and forecast.target == TARGET_MEAN:
        found.append("the forecast is of means: peaks inside an interval are not in it")
    strange = [vm.name for vm in vms if vm.mode is not None and vm.mode not in MODES]
    if strange:
        found.append(f"left alone, for their tag is no mode: {_some(strange)}")
    if snapshot.gaps:
        gaps = [f"{gap.endpoint} {gap.subject} ({gap.code})" for gap in snapshot.gaps]
        found.append(f"not observed, so that their room is not known: {_some(gaps)}")
    return tuple(found)


def _some(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(sorted(names)[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
