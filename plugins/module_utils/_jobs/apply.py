# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out a stored plan, check it, undo it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._apply.engine import NO_ROOM
from .._apply.lease import DEFAULT_TERMS, LeaseTerms
from .._apply.preview import preview, verify
from .._apply.run import Run, apply_plan, recover
from .._core.clock import format_utc, utc_now
from .._core.errors import HeadroomError
from .._plan.diff import after_text, before_text
from .._plan.rollback import make_rollback
from .._records.codec import encode
from .._records.plan import ACT, Plan
from .._records.receipt import DONE, FAILED, OPEN_STATES, OWED, REVERTED, Outcome, Receipt
from .._store import approvals, journal
from .context import Result
from .observe import take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from .context import Context

# Ends after which the platform was written to, for good or for a while.
_WRITTEN = (DONE, REVERTED, OWED, FAILED)
# What stops a run because somebody wanted it to stop; "" is no stop.
_ASKED_FOR = ("", "stopped", "kill_switch.on")


def apply(
    context: Context,
    *,
    plan: str,
    stop: threading.Event,
    terms: LeaseTerms = DEFAULT_TERMS,
    workers: int = 4,
    pinned_clock: bool = False,
) -> Result:
    """Apply the plan with this digest; under check, say what that would do.

    Raises ``plan.expired``, ``kill_switch.on``, ``lease.held``, ``endpoint.unknown``, ``artifact.*``, ``store.*``;
    ``apply.failed`` when an act could not be set back; the code of what broke the run off (``lease.lost``,
    ``store.unreachable``, ``endpoint.*``) when it left an act open or could begin no more.
    """
    made = context.artifacts.get(Plan, plan)
    if context.check:
        outcomes = preview(
            context.database,
            made,
            plan_digest=plan,
            load_plan=lambda digest: context.artifacts.get(Plan, digest),
            endpoints=context.endpoints_by_name,
            now=context.now,
        )
        return _result(outcomes, made=made, values={"plan": plan, "receipt": ""})
    run = _run(context, stop=stop, terms=terms, workers=workers, pinned_clock=pinned_clock)
    receipt = apply_plan(run, made, plan_digest=plan)
    return _finish(context, receipt, made=made)


def recover_only(context: Context, *, stop: threading.Event, terms: LeaseTerms = DEFAULT_TERMS) -> Result:
    """Settle what earlier runs left open on the given endpoints. Under check: nothing is looked at.

    Raises as ``apply``; what was settled before that has its receipt, which the error names.
    """
    if context.check:
        return Result(changed=False, values={"receipt": "", "outcomes": []})
    receipt, broken = recover(_run(context, stop=stop, terms=terms, workers=1, pinned_clock=False))
    if broken and not receipt.outcomes:
        raise broken
    try:
        result = _finish(context, receipt, made=None)
    except HeadroomError as error:
        if not broken:
            raise
        both = f"{error.message} Also, the recovery broke off: {broken.message}"
        raise HeadroomError(error.code, both, advice=error.advice, **{**broken.details, **error.details}) from error
    if broken:
        details = {**broken.details, **result.values}
        raise HeadroomError(broken.code, broken.message, advice=broken.advice, **details) from broken
    return result


def verify_receipt(context: Context, *, receipt: str) -> Result:
    """Whether each act that the receipt calls done still holds on the platform."""
    kept = context.artifacts.get(Receipt, receipt)
    made = context.artifacts.get(Plan, kept.plan)
    done = [outcome.action_id for outcome in kept.outcomes if outcome.state == DONE]
    outcomes = verify(made, done, endpoints=context.endpoints_by_name, now=context.now)
    values = {"receipt": receipt, "verified": all(one.state == DONE for one in outcomes), "outcomes": encode(outcomes)}
    return Result(changed=False, values=values)


def rollback(
    context: Context,
    *,
    stop: threading.Event,
    receipt: str = "",
    plan: str = "",
    terms: LeaseTerms = DEFAULT_TERMS,
    workers: int = 4,
) -> Result:
    """Undo a run, by its receipt, or all that any run has done of a plan: then also one that died without a receipt.

    The inverse is planned on a fresh snapshot, approved as the caller and applied. An act that is undone already, or
    whose VM changed since, is reported and left. Raises ``rollback.which``, ``rollback.nothing``, and as ``apply``.
    """
    if bool(receipt) == bool(plan):
        raise HeadroomError("rollback.which", "What is to be undone?", advice="Give a receipt, or a plan, not both.")
    kept = context.artifacts.get(Receipt, receipt) if receipt else _done_of_plan(context, plan)
    if not kept.plan:
        raise HeadroomError(
            "rollback.nothing", "This receipt is of a recovery: it has no plan.", advice="Give an apply's receipt."
        )
    snapshot = take_snapshot(context)
    with context.database.transaction() as connection:
        owed = {(entry.unique_id, entry.resource) for entry in journal.owed(connection)}
    made = make_rollback(
        context.artifacts.get(Plan, kept.plan),
        kept,
        snapshot,
        owed=owed,
        now=context.now,
        snapshot_digest=context.artifacts.put(snapshot),
    )
    result = approve_and_apply(context, made, stop=stop, terms=terms, workers=workers)
    left = [one for one in made.decisions if one.verdict != ACT]
    waiting = [one for one in made.decisions if one.code == NO_ROOM]
    return replace(
        result,
        values={**result.values, "left": encode(left)},
        warnings=tuple(
            f"{one.vm_name}, {one.resource}: not undone, {one.reason} [{one.code}]" for one in (*left, *waiting)
        ),
    )


def _done_of_plan(context: Context, plan: str) -> Receipt:
    """What the journal has as done of a plan, whichever runs did it, in the form of one receipt."""
    actions = {action.action_id: action for action in context.artifacts.get(Plan, plan).actions}
    with context.database.transaction() as connection:
        entries = [entry for entry in journal.of_plan(connection, plan) if entry.state == DONE]
    now = format_utc(context.now)
    outcomes = {
        entry.action_id: Outcome(
            action_id=entry.action_id,
            unique_id=entry.unique_id,
            vm_name=actions[entry.action_id].vm_name,
            operation=actions[entry.action_id].operation,
            state=DONE,
            code=entry.code,
            message=entry.message,
            finished_at=now,
        )
        for entry in entries
    }
    run_id = entries[-1].run_id if entries else ""
    return Receipt(run_id=run_id, plan=plan, started_at=now, finished_at=now, outcomes=tuple(outcomes.values()))


def approve_and_apply(
    context: Context, made: Plan, *, stop: threading.Event, terms: LeaseTerms = DEFAULT_TERMS, workers: int = 1
) -> Result:
    """A person's own request: an approval whose ``who`` is the caller, then the common gate."""
    digest = context.artifacts.put(made)
    ids = [action.action_id for action in made.actions]
    if ids:
        with context.database.transaction() as connection:
            approvals.grant(
                context.database, connection, digest, who=context.who, ttl_s=3600, actions=ids, run_id=context.run
            )
    return apply(context, plan=digest, stop=stop, terms=terms, workers=workers, pinned_clock=True)


def _run(context: Context, *, stop: threading.Event, terms: LeaseTerms, workers: int, pinned_clock: bool) -> Run:
    def clock() -> datetime:
        return context.now if pinned_clock else utc_now()

    return Run(
        database=context.database,
        endpoints=context.endpoints_by_name,
        load_plan=lambda digest: context.artifacts.get(Plan, digest),
        run_id=context.run,
        who=context.who,
        terms=terms,
        workers=workers,
        stop=stop,
        clock=clock,
    )


def _finish(context: Context, receipt: Receipt, *, made: Plan | None) -> Result:
    values = {"plan": receipt.plan, "receipt": context.artifacts.put(receipt), "stopped": receipt.stopped}
    failed = [outcome for outcome in receipt.outcomes if outcome.state == FAILED]
    if failed:
        raise HeadroomError(
            "apply.failed",
            "COULD NOT BE SET BACK: " + "; ".join(f"{one.vm_name}, {one.operation}: {one.message}" for one in failed),
            advice="Nothing else begins on its host set. Look at the VM, then run allocation_apply with recover: only.",
            **values,
            outcomes=encode(receipt.outcomes),
        )
    broken = [one for one in receipt.outcomes if one.state in OPEN_STATES] or [
        one for one in receipt.outcomes if one.code == receipt.stopped and one.code not in _ASKED_FOR
    ]
    if broken:
        raise HeadroomError(
            broken[0].code,
            f"The run broke off at {broken[0].vm_name}, {broken[0].operation}: {broken[0].message}",
            advice="Nothing else was begun there. Apply again: that first settles what was left open.",
            **values,
            outcomes=encode(receipt.outcomes),
        )
    return _result(receipt.outcomes, made=made, values=values)


def _result(outcomes: Iterable[Outcome], *, made: Plan | None, values: dict[str, Any]) -> Result:
    outcomes = tuple(outcomes)
    states: dict[str, int] = {}
    for outcome in outcomes:
        states[outcome.state] = states.get(outcome.state, 0) + 1
    done = [one.action_id for one in outcomes if one.state in (DONE, OWED) and one.code != NO_ROOM]
    return Result(
        changed=any(outcome.state in _WRITTEN for outcome in outcomes),
        values={**values, "outcomes": encode(outcomes), "states": states},
        before=before_text(made, only=done) if made else "",
        after=after_text(made, only=done) if made else "",
    )
