# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a plan from a snapshot, a forecast and the sizing policy, and keep it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.canonical import digest as digest_of
from .._core.canonical import digest_bytes
from .._core.errors import HeadroomError
from .._core.units import MS_PER_S
from .._plan.diff import after_text, before_text
from .._plan.plan import make_plan
from .._plan.pressure import SIGNS
from .._plan.state import PlanState
from .._plan.target import SECONDS_PER_MINUTE
from .._policy.default import DEFAULT_POLICY
from .._policy.sizing import load_policy
from .._records.codec import encode
from .._records.forecast import Forecast
from .._records.outcomes import read_outcomes
from .._records.plan import Plan
from .._records.receipt import DONE
from .._records.series import DAY_S
from .._records.snapshot import Snapshot
from .._store import approvals, glance, holds, journal, leads, references, wishes
from .._store.tables import table_from_bytes
from .actions import planned_actions
from .context import Result, find_vm_name
from .scorecard import demoted, fleet_of, issue, keep_scorecard

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from .._policy.sizing import SizingPolicy
    from .._records.action import Action
    from .context import Context

MOST_NAMED = 5  # VMs in one warning


def plan(
    context: Context,
    *,
    snapshot: str,
    forecast: str,
    policy_text: str = "",
    policy_name: str = "",
    scope: Optional[Collection[str]] = None,
) -> Result:
    """Store a plan and return its digest, its actions and counts; changed: other actions than the scope's last plan.

    ``scope``: names or unique_ids of the VMs that may be acted on; None: all. Raises ``scope.empty``, ``policy.*`` and
    ``artifact.*``.
    """
    seen = context.artifacts.get(Snapshot, snapshot)
    header = context.artifacts.get(Forecast, forecast)
    table = table_from_bytes(context.artifacts.get_bytes(header.table))
    outcomes = (
        read_outcomes(table_from_bytes(context.artifacts.get_bytes(header.outcomes))) if header.outcomes else None
    )
    policy, text = read_policy(policy_text, policy_name)
    ids, missing = resolve_scope(seen, scope)
    said = keep_scorecard(context, snapshot=seen, policy=policy)
    with context.database.transaction() as connection:
        state = replace(read_state(context, connection), wishes=wishes.known(connection))
    pressed, unread = known_pressures(context, policy)
    state = replace(state, pressures=pressed)
    made, wished = make_plan(
        seen,
        forecast=header,
        table=table,
        policy=policy,
        state=state,
        scope=ids,
        now=context.now,
        snapshot_digest=snapshot,
        forecast_digest=forecast,
        policy_digest=digest_bytes(text),
        outcomes=outcomes,
    )
    scope_name = scope_digest(made)
    with context.database.transaction() as connection:
        last = references.get(connection, f"plan/{scope_name}")
    changed = not last or acts_of(planned_actions(context, last)) != acts_of(made.actions)
    warnings = (*made.warnings, *said, *unread, *missing_warning(missing), *opposed_warnings(context, made))
    # All that it rests on is read by now: from here on it is stored, or nothing is.
    context.artifacts.put_bytes(text)
    digest = context.artifacts.put(made)
    with context.database.transaction() as connection:
        before = references.get(connection, f"plan/{scope_name}")  # not ``last``, where another plan came between
        references.put(context.database, connection, f"plan/{scope_name}", digest)
        wishes.put(connection, wished, now_ms=int(context.now.timestamp() * MS_PER_S))
        issue(connection, forecast=header, table=table, digests=(forecast, snapshot), fleet=fleet_of(seen))
        if before and before != digest:
            references.put(context.database, connection, f"before/{scope_name}", before)
    return Result(
        changed=changed,
        values={"plan": digest, **summary(made)},
        before=before_text(made),
        after=after_text(made),
        warnings=warnings,
    )


def scope_digest(made: Plan) -> str:
    """What plans of one scope and policy have in common: "plan/" and this names the last, "before/" the one before."""
    return digest_of({"scope": list(made.scope), "policy": made.policy})


def plan_before(context: Context, made: Plan, digest: str) -> Optional[Plan]:
    """The plan before this one, if this is the last of its scope and policy, and the one before is still kept."""
    scope_name = scope_digest(made)
    with context.database.transaction() as connection:
        last = references.get(connection, f"plan/{scope_name}")
        before = references.get(connection, f"before/{scope_name}")
    return context.artifacts.get(Plan, before) if before and last == digest else None


def read_policy(text: str, name: str) -> tuple[SizingPolicy, bytes]:
    """The policy of this text, or the shipped one, and the text: the plan names its digest, so it is to be kept."""
    text = text or DEFAULT_POLICY
    return load_policy(text, name=name or "the shipped policy"), text.encode()


def resolve_scope(snapshot: Snapshot, scope: Optional[Collection[str]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The unique_ids a plan may act on, and those asked for that the snapshot lacks: gone, or behind a gap.

    An empty scope is refused, since elsewhere it would mean everyone, and so is a name that is none.
    """
    names = {vm.unique_id: vm.name for vm in snapshot.vms}
    if scope is None:
        return tuple(sorted(names)), ()
    # Only an identifier can have been right once; a name that is not there is a mistake.
    missing = {wanted for wanted in scope if "/" in wanted and wanted not in names}
    found = {find_vm_name(names, wanted) for wanted in scope if wanted not in missing}
    if not found:
        raise HeadroomError(
            "scope.empty",
            "The scope names no VM of the snapshot.",
            advice="Check the limit and the snapshot's gaps, or leave the scope out.",
        )
    return tuple(sorted(found)), tuple(sorted(missing))


def known_pressures(
    context: Context, policy: SizingPolicy
) -> tuple[Optional[dict[str, dict[str, float]]], tuple[str, ...]]:
    """``pressures``, or None and a warning where the telemetry cannot be read: a plan is made all the same."""
    try:
        return pressures(context, policy), ()
    except HeadroomError as error:
        return None, (f"No memory shrinks, for nothing is known of a want of it: {error}",)


def pressures(context: Context, policy: SizingPolicy) -> dict[str, dict[str, float]]:
    """By VM, what told in the last day of a want of memory."""
    start, end = context.now - timedelta(seconds=DAY_S), context.now + timedelta(seconds=1)
    scan = context.series.scan((), metrics=tuple(SIGNS), start=start, end=end, interval_s=SECONDS_PER_MINUTE)
    found: dict[str, dict[str, float]] = {}
    for metric, sign in SIGNS.items():
        least = policy.least(sign.setting) * sign.per_unit if sign.setting else 0.0
        for unique_id, largest in glance.above(scan, metric, least).items():
            found.setdefault(unique_id, {})[metric] = largest
    return found


def missing_warning(missing: tuple[str, ...]) -> tuple[str, ...]:
    """VMs that were asked for and are not there."""
    if not missing:
        return ()
    named = ", ".join(missing[:MOST_NAMED]) + (", ..." if len(missing) > MOST_NAMED else "")
    return (f"{len(missing)} VMs of the scope are not in the snapshot: {named}.",)


def opposed_warnings(context: Context, made: Plan) -> tuple[str, ...]:
    """Approved acts of earlier plans, not begun yet, of which this one wants the opposite: they are held back."""
    with context.database.transaction() as connection:
        waiting = {
            plan: _waiting(connection, plan, given)
            for plan, given in approvals.active(context.database, connection).items()
        }
    directions = {(one.unique_id, one.resource): one.direction for one in made.actions}
    found = [
        f"{one.vm_name}: {given[one.action_id]} approved to {one.direction} its {one.resource} in the plan {plan}, of "
        "which this plan wants the opposite. That act is held back."
        for plan, given in waiting.items()
        for one in (planned_actions(context, plan) if given else ())
        if one.action_id in given and directions.get((one.unique_id, one.resource), one.direction) != one.direction
    ]
    more = (f"{len(found) - MOST_NAMED} more approved acts are held back.",) if len(found) > MOST_NAMED else ()
    return (*found[:MOST_NAMED], *more)


def _waiting(connection: Connection, plan: str, given: dict[str, str]) -> dict[str, str]:
    """The approved acts that no run has begun, and who approved them."""
    begun = {entry.action_id for entry in journal.of_plan(connection, plan)}
    return {action_id: who for action_id, who in given.items() if action_id not in begun}


def read_state(context: Context, connection: Connection) -> PlanState:
    """What earlier runs say about each VM: holds, the newest acts, what was reverted, and how its forecasts did."""
    return PlanState(
        holds={
            unique_id: f"{hold.who}: {hold.reason}"
            for unique_id, hold in holds.active(context.database, connection).items()
        },
        last_acts=journal.newest_acts(connection, state=DONE),
        leads_ms={key: lead.p95_ms for key, lead in leads.measured(context.database, connection).items()},
        reverted_twice=holds.reverted_twice(connection),
        demoted=demoted(connection),
    )


def summary(made: Plan) -> dict[str, Any]:
    """Counts and the actions of a plan, small enough for a playbook's output."""
    verdicts: dict[str, int] = {}
    for decision in made.decisions:
        verdicts[decision.code] = verdicts.get(decision.code, 0) + 1
    return {
        "purpose": made.purpose,
        "made_at": made.made_at,
        "expires_at": made.expires_at,
        "actions": [action_summary(action) for action in made.actions],
        "decisions": verdicts,
    }


def action_summary(action: Action) -> dict[str, Any]:
    """One action for people and playbooks."""
    before, after = action.span
    return {
        "action_id": action.action_id,
        "vm": action.vm_name,
        "unique_id": action.unique_id,
        "operation": action.operation,
        "direction": action.direction,
        "resource": action.resource,
        "before": before,
        "after": after,
        "mode": action.mode,
        "restart": action.restart,
        "reason": action.reason,
        "changes": encode(action.changes),
    }


def acts_of(actions: tuple[Action, ...]) -> list[tuple[str, str, str, int]]:
    """What tells acts apart, whatever the plan says of them beside."""
    return sorted((action.unique_id, action.resource, action.operation, action.size_after) for action in actions)
