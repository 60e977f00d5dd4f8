# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot, forecast, policy and state to a plan: pure, and the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any, Optional, Union

from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._policy.settings import MODES
from .._policy.sizing import SizingPolicy
from .._records.action import Action, Change, Inverse
from .._records.forecast import TARGET_MEAN, Forecast
from .._records.outcomes import Outcomes
from .._records.plan import ACT, PURPOSE_SIZE, REFUSED, Decision, Plan
from .._records.snapshot import Snapshot
from .._records.vm import RESOURCES, VM
from .bounds import NO_VALUE, OVER_VALUE, Bounds, no_bounds, reduce_bounds
from .capacity import Ledger
from .constraints import Calendar
from .judge import Judge, decision_of
from .order import Placed, Proposal, arrange
from .outcomes import services
from .state import PlanState
from .target import DEMANDS, Clock

MAX_NAMED = 5  # VMs or gaps named in one warning


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
) -> Plan:
    """Plan the sizes of the VMs in scope; every other VM of the snapshot only counts for capacity.

    ``forecast`` and ``table`` (pyarrow.Table of COLUMNS) go together; without them nothing is wanted. ``outcomes`` are
    the forecast's. Raises ``scope.empty``, ``plan.quantile_missing``, ``forecast.columns``, ``policy.*``.
    """
    if not scope:
        raise HeadroomError(
            "scope.empty", "The plan's scope is empty.", advice="Name at least one VM, or leave the limit away."
        )
    ids = sorted(set(scope))
    until = now + timedelta(hours=policy.expires_hours)
    known = {vm.unique_id: vm for vm in snapshot.vms}
    vms = [known[one] for one in ids if one in known]
    by_price, notes = services(outcomes, vms=vms, policy=policy, leads_ms=state.leads_ms) if outcomes else ({}, ())
    judge = Judge(
        policy=policy,
        state=state,
        now=now,
        clock=Clock(now),
        calendar=Calendar(now=now, until=until),
        ledger=Ledger(snapshot, policy),
        bounds=replace(_bounds(ids, forecast=forecast, table=table, policy=policy, now=now), services=by_price),
        choices={(choice.unique_id, choice.metric): choice for choice in forecast.choices} if forecast else {},
    )
    answers: list[Union[Decision, Proposal]] = []
    for unique_id in ids:
        vm = known.get(unique_id)
        answers.extend(judge.decide(vm, first=len(answers)) if vm else _not_seen(unique_id, snapshot))
    actions, decisions = settled(answers, judge.ledger)
    return Plan(
        made_at=format_utc(now),
        expires_at=format_utc(until),
        scope=tuple(ids),
        purpose=PURPOSE_SIZE,
        policy=policy_digest,
        snapshot=snapshot_digest,
        forecast=forecast_digest if forecast else "",
        budget=policy.budget,
        actions=actions,
        decisions=tuple(
            replace(one, service=by_price[one.unique_id, one.resource])
            if (one.unique_id, one.resource) in by_price
            else one
            for one in decisions
        ),
        warnings=(*_warnings(snapshot, forecast, judge, vms), *notes),
        ha_reserve_hosts=judge.ledger.reserves,
        policy_name=PurePath(policy.name).name,
    )


def settled(
    answers: Sequence[Union[Decision, Proposal]], ledger: Ledger
) -> tuple[tuple[Action, ...], tuple[Decision, ...]]:
    """Give out the room: the acts in the order of the plan, and what each answer came to."""
    placed, refused = arrange([one for one in answers if isinstance(one, Proposal)], ledger)
    actions = build_actions(placed)
    acts = {one.proposal.decision: (one, action) for one, action in zip(placed, actions)}

    def settle(index: int, answer: Union[Decision, Proposal]) -> Decision:
        if isinstance(answer, Decision):
            return answer
        if index in refused:
            why = refused[index]
            return decision_of(answer, verdict=REFUSED, code=why.code, reason=why.reason, line=why.line)
        one, action = acts[index]
        return decision_of(
            answer, verdict=ACT, code=answer.code, reason=one.reason, line=answer.line, action_id=action.action_id
        )

    return actions, tuple(settle(index, answer) for index, answer in enumerate(answers))


def build_actions(placed: Sequence[Placed]) -> tuple[Action, ...]:
    """Number the acts in the order of the plan and write each out."""
    width = max(4, len(str(len(placed))))
    names = [f"a{number:0{width}}" for number in range(1, len(placed) + 1)]
    return tuple(
        _action(one, action_id=name, after=tuple(names[position] for position in one.after))
        for one, name in zip(placed, names)
    )


def _action(placed: Placed, *, action_id: str, after: tuple[str, ...]) -> Action:
    one, vm, capability = placed.proposal, placed.proposal.vm, placed.proposal.capability
    return Action(
        action_id=action_id,
        unique_id=vm.unique_id,
        vm_name=vm.name,
        endpoint=vm.endpoint,
        host_id=vm.host_id,
        host_set=vm.host_set,
        tenant=vm.tenant,
        operation=capability.operation,
        resource=one.resource,
        direction=one.direction,
        mode=one.mode,
        size_before=one.size,
        size_after=placed.size_after,
        changes=tuple(
            Change(field=name, before=vm.fields[name], after=vm.field_value(one.resource, placed.size_after))
            for name in capability.fields
        ),
        generation=vm.generation,
        inverse=Inverse(operation=capability.operation, when=capability.inverse),
        restart=capability.restart,
        reason=placed.reason,
        after=after,
        not_before=one.opening.not_before,
        not_after=one.opening.not_after,
        lead_ms=one.lead_ms,
    )


def _bounds(
    ids: list[str], *, forecast: Optional[Forecast], table: Optional[Any], policy: SizingPolicy, now: datetime
) -> Bounds:
    wanted = {
        (demand.metric, quantile) for resource, demand in DEMANDS.items() for quantile in policy.quantiles(resource)
    }
    if forecast is None or table is None:
        return no_bounds(unique_ids=ids, wanted=wanted, value=NO_VALUE)
    if parse_utc(forecast.cutoff) + timedelta(seconds=forecast.horizon_s) <= now:
        return no_bounds(unique_ids=ids, wanted=wanted, value=OVER_VALUE)
    return reduce_bounds(forecast, table, unique_ids=ids, wanted=wanted)


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


def _warnings(snapshot: Snapshot, forecast: Optional[Forecast], judge: Judge, vms: list[VM]) -> tuple[str, ...]:
    found = list(judge.ledger.warnings)
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
