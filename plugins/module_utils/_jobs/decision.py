# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why, or why not, a VM: everything that is known about its last decisions, as data and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from .._core.clock import format_ms
from .._core.errors import HeadroomError
from .._core.units import MS_PER_S, PPM_PER_PERCENT
from .._plan.explain import act_line, decisions_of, verdict_lines
from .._plan.target import SECONDS_PER_DAY
from .._policy.explain import explain_settings
from .._policy.sizing import SizingPolicy, load_policy
from .._records.codec import Artifact, check_schema, decode_artifact, encode
from .._records.demand import DEMANDS
from .._records.forecast import Forecast
from .._records.plan import Decision, Plan
from .._records.receipt import FAILED, OWED
from .._records.snapshot import Snapshot
from .._records.vm import kind_of
from .._store import approvals, holds, journal, references
from .context import Result
from .plan import action_summary
from .standing import scorecard_lines, vm_scorecard

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .._records.action import Action
    from .._records.vm import VM
    from .._store.approvals import Approval
    from .._store.journal import Entry
    from .context import Context

T = TypeVar("T")
A = TypeVar("A", bound=Artifact)

MOST_ACTS = 10  # of the journal, the newest


def decision(context: Context, *, vm: str, plan: str = "") -> Result:
    """What the plan (by default the newest that says anything about the VM) decided about it, and what came of it.

    ``vm``: name or unique_id. An artifact that is gone by now leaves its part empty, with a warning. Raises
    ``decision.none``, ``plan.vm_unknown``, ``plan.vm_ambiguous``, ``artifact.*``.
    """
    warnings: list[str] = []
    with context.database.transaction() as connection:
        candidates = (plan,) if plan else references.newest_first(connection, "plan/")
    digest, made, decisions = _find(context, candidates, vm)
    unique_id = decisions[0].unique_id

    def kept(read: Callable[[], T]) -> Optional[T]:
        """What an artifact holds, if it is still there."""
        try:
            return read()
        except HeadroomError as error:
            warnings.append(str(error))
            return None

    text = kept(lambda: context.artifacts.get_bytes(made.policy).decode())
    policy = load_policy(text, name=made.policy_name) if text else None
    lines = text.splitlines() if text else []
    seen = kept(lambda: _vm(context, made, unique_id))
    choices = kept(lambda: _choices(context, made, unique_id)) or {}
    with context.database.transaction() as connection:
        given = approvals.of_plan(connection, digest)
        acts = journal.of_vm(connection, unique_id)
        values: dict[str, Any] = {
            "vm": {"unique_id": unique_id, "name": decisions[0].vm_name},
            "plan": {
                "digest": digest,
                "purpose": made.purpose,
                "made_at": made.made_at,
                "expires_at": made.expires_at,
                "policy": made.policy,
                "policy_name": made.policy_name,
            },
            "hold": _hold(context, connection, unique_id),
            "scorecard": vm_scorecard(connection, unique_id, now=context.now),
        }
    quantiles = _quantiles(policy, seen) if made.forecast else {}
    actions = {action.action_id: action for action in made.actions}
    mine = [(one, actions.get(one.action_id)) for one in decisions]
    values["resources"] = [
        {
            "resource": one.resource,
            "verdict": one.verdict,
            "code": one.code,
            "reason": one.reason,
            "size_now": one.size_now,
            "size_wanted": one.size_wanted,
            "policy": _policy_line(made, one, lines),
            "demand": _demand(one, choices, quantiles),
            "service": encode(one.service) or {},
            "signals": encode(one.signals),
            "action": _action(action) if action else {},
            "approvals": _approvals(one, given, now_ms=round(context.now.timestamp() * MS_PER_S)),
            "journal": [_act(entry) for entry in acts if (entry.plan, entry.action_id) == (digest, one.action_id)],
        }
        for one, action in mine
    ]
    values["acts"] = [_act(entry) for entry in reversed(acts[-MOST_ACTS:])]
    values["owed"] = [_act(entry) for entry in acts if entry.state in (OWED, FAILED)]
    values["settings"] = explain_settings(policy, seen) if policy and seen else ""
    return Result(changed=False, values={**values, "text": _text(values, mine)}, warnings=tuple(warnings))


def _find(context: Context, candidates: tuple[str, ...], vm: str) -> tuple[str, Plan, list[Decision]]:
    """The first of these plans that says anything about the VM."""
    for digest in candidates:
        made = _about(context, Plan, digest, vm, rows=("decisions", "actions"))
        if made.decisions:
            return digest, made, decisions_of(made, vm)
    if candidates:
        decisions_of(context.artifacts.get(Plan, candidates[0]), vm)  # raises, with the name that is nearest
    raise HeadroomError(
        "decision.none", f"No plan says anything about {vm!r}: there is none.", advice="Plan first, or name a plan."
    )


def _about(context: Context, kind: type[A], digest: str, vm: str, *, rows: tuple[str, ...]) -> A:
    """The artifact with ``rows`` about this VM alone: of a large fleet, to make records of all would take long."""
    data = context.artifacts.get_json(digest)
    check_schema(kind, data)
    own = {
        name: [one for one in data[name] if vm in (one["unique_id"], one.get("vm_name"))]
        for name in rows
        if name in data
    }
    return decode_artifact(kind, {**data, **own})


def _vm(context: Context, made: Plan, unique_id: str) -> Optional[VM]:
    return next(iter(_about(context, Snapshot, made.snapshot, unique_id, rows=("vms",)).vms), None)


def _choices(context: Context, made: Plan, unique_id: str) -> dict[str, dict[str, Any]]:
    """By metric: which engine spoke and why, how much of the past is known, and what was used lately."""
    if not made.forecast:
        return {}
    found = _about(context, Forecast, made.forecast, unique_id, rows=("choices",)).choices
    return {
        one.metric: {
            "engine": one.engine,
            "engine_reason": one.reason,
            "history_s": one.history_s,
            "coverage_percent": one.coverage_ppm // PPM_PER_PERCENT,
            "observed_until": one.observed_until,
            "recent_maximum": None if one.recent_maximum < 0 else one.recent_maximum,
        }
        for one in found
    }


def _quantiles(policy: Optional[SizingPolicy], vm: Optional[VM]) -> dict[str, str]:
    if policy is None or vm is None:
        return {}
    return {resource: sizing.quantile for resource, sizing in policy.effective(vm).sizing.items()}


def _policy_line(made: Plan, one: Decision, lines: list[str]) -> dict[str, Any]:
    """The line that decided, as FILE:LINE and in its words; all empty where it is built in or shipped."""
    line = one.policy_line
    return {
        "line": line,
        "place": f"{made.policy_name or 'policy'}:{line}" if line else "",
        "text": lines[line - 1].strip() if 0 < line <= len(lines) else "",
    }


def _demand(one: Decision, choices: dict[str, dict[str, Any]], quantiles: dict[str, str]) -> dict[str, Any]:
    kind = kind_of(one.resource)
    demand = DEMANDS.get(kind)
    if demand is None:
        return {}
    upper = {"metric": demand.metric, "upper": one.upper, "quantile": quantiles.get(kind, "")}
    return {**upper, **choices.get(demand.metric, {})}


def _action(action: Action) -> dict[str, Any]:
    return {
        **action_summary(action),
        "after_actions": list(action.after),
        "inverse": {"operation": action.inverse.operation, "when": action.inverse.when},
        "not_before": action.not_before,
        "not_after": action.not_after,
    }


def _approvals(one: Decision, given: tuple[Approval, ...], *, now_ms: int) -> list[dict[str, Any]]:
    return [
        {
            "who": approval.who,
            "at": _time(approval.at_ms),
            "expires_at": _time(approval.expires_at_ms),
            "expired": approval.expires_at_ms <= now_ms,
        }
        for approval in given
        if one.action_id and one.action_id in approval.actions
    ]


def _hold(context: Context, connection: Connection, unique_id: str) -> dict[str, str]:
    hold = holds.in_force(context.database, connection).get(unique_id)
    if hold is None:
        return {}
    until = "" if hold.until_ms is None else _time(hold.until_ms)
    return {"who": hold.who, "reason": hold.reason, "until": until}


def _act(entry: Entry) -> dict[str, Any]:
    return {
        "run_id": entry.run_id,
        "plan": entry.plan,
        "action_id": entry.action_id,
        "resource": entry.resource,
        "direction": entry.direction,
        "state": entry.state,
        "code": entry.code,
        "message": entry.message,
        "begun_at": _time(entry.begun_at_ms),
        "updated_at": _time(entry.updated_at_ms),
    }


def _time(ms: int) -> str:
    return format_ms(ms // MS_PER_S * MS_PER_S)  # to the second: a person reads it


def _text(values: dict[str, Any], mine: list[tuple[Decision, Optional[Action]]]) -> str:
    """The same for people; ``mine``: the decisions of ``resources`` with their acts."""
    vm, plan, hold = values["vm"], values["plan"], values["hold"]
    lines = [f"{vm['name']} ({vm['unique_id']}), plan of {plan['made_at']}, expires {plan['expires_at']}"]
    for known, (one, action) in zip(values["resources"], mine):
        lines += [f"  {line}" for line in _resource_lines(known, one, action)]
    if hold:
        until = f" until {hold['until']}" if hold["until"] else ""
        lines.append(f"  held by {hold['who']}{until}: {hold['reason']}")
    lines += [f"  {line}" for line in scorecard_lines(values["scorecard"])]
    lines += [f"  OWED since {act['updated_at']}: {_act_line(act)}" for act in values["owed"]]
    lines += [f"  {act['updated_at']}: {_act_line(act)}" for act in values["acts"]]
    return "\n".join([*lines, ""])


def _resource_lines(known: dict[str, Any], one: Decision, action: Optional[Action]) -> list[str]:
    policy, demand = known["policy"], known["demand"]
    lines = verdict_lines(one, place=f"{policy['place']}: {policy['text']}" if policy["place"] else "")
    if demand.get("upper") is not None:
        quantile = demand["quantile"]
        what = f"forecast of {demand['metric']}" if quantile else f"use of {demand['metric']} in the last day"
        lines.append(f"  {what}: at most {demand['upper']}{f' (quantile {quantile})' if quantile else ''}")
    if "engine" in demand:
        history = f"{demand['history_s'] / SECONDS_PER_DAY:.1f} days, {demand['coverage_percent']} % of them"
        lately = "unknown" if demand["recent_maximum"] is None else demand["recent_maximum"]
        lines += [
            f"  by the engine {demand['engine']}: {demand['engine_reason']}",
            f"  known for {history}, until {demand['observed_until'] or '-'}; its last hour's maximum is {lately}",
        ]
    if action:
        lines.append(f"  {act_line(action)}")
        lines += [
            f"  approved by {given['who']} until {given['expires_at']}{', which is over' if given['expired'] else ''}"
            for given in known["approvals"]
        ] or ["  approved by nobody"]
        lines += [f"  {act['updated_at']}: {_act_line(act)}" for act in known["journal"]] or ["  not begun"]
    return lines


def _act_line(act: dict[str, Any]) -> str:
    why = f": {act['message']} [{act['code']}]" if act["code"] else ""
    return f"{act['direction']} {act['resource']} {act['state']}{why} ({act['action_id']} of run {act['run_id']})"
