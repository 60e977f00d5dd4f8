# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was judged, written out: the acts in their order, what each answer came to, and the plan around them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Union

from .._core.clock import format_utc
from .._policy.sizing import SizingPolicy
from .._records.action import Action, Change, Inverse
from .._records.plan import ACT, REFUSED, Decision, Plan
from .capacity import Ledger
from .judge import decision_of
from .order import Placed, Proposal, arrange


def settled(
    answers: Sequence[Union[Decision, Proposal]], ledger: Ledger, *, exact: bool = False
) -> tuple[tuple[Action, ...], tuple[Decision, ...]]:
    """Give out the room: the acts in the order of the plan, and what each answer came to. ``exact``: see arrange."""
    placed, refused = arrange([one for one in answers if isinstance(one, Proposal)], ledger, exact=exact)
    actions = _actions(placed)
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


def written(
    purpose: str,
    actions: tuple[Action, ...],
    decisions: tuple[Decision, ...],
    *,
    scope: tuple[str, ...],
    policy: SizingPolicy,
    ledger: Ledger,
    now: datetime,
    snapshot_digest: str,
    policy_digest: str,
    forecast_digest: str = "",
    warnings: Sequence[str] = (),
) -> Plan:
    """The plan of these acts and decisions by this policy, made now."""
    return Plan(
        made_at=format_utc(now),
        expires_at=format_utc(policy.until(now)),
        scope=scope,
        purpose=purpose,
        policy=policy_digest,
        snapshot=snapshot_digest,
        forecast=forecast_digest,
        budget=policy.budget,
        actions=actions,
        decisions=decisions,
        warnings=tuple(warnings),
        ha_reserve_hosts=ledger.reserves,
        policy_name=PurePath(policy.name).name,
    )


def _actions(placed: Sequence[Placed]) -> tuple[Action, ...]:
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
        size_after=placed.value if one.of_no_size else placed.size_after,
        changes=tuple(Change(field=name, before=vm.fields[name], after=placed.value) for name in capability.fields),
        generation=vm.generation,
        inverse=Inverse(operation=capability.operation, when=capability.inverse),
        restart=capability.restart,
        reason=placed.reason,
        after=after,
        not_before=one.opening.not_before,
        not_after=one.opening.not_after,
        lead_ms=one.lead_ms,
    )
