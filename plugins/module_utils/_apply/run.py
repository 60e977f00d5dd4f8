# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: take the leases, settle what an earlier run left, carry the plan out, write the receipt."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Callable

from .._core.clock import format_utc, parse_utc, utc_now
from .._core.errors import EndpointError, HeadroomError, RefusedError
from .._platform.registry import open_reader, open_writer
from .._records.receipt import BEGUN, OWED, SKIPPED, Outcome, Receipt
from .._store import journal, killswitch
from .._store.approvals import Approved
from .engine import BusyError, End, Engine, refused
from .lease import LeaseTerms, held
from .newer import NewerPlans
from .room import Room
from .schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from .._platform.base import Endpoint, Observation, Writer
    from .._records.action import Action
    from .._records.plan import Plan
    from .._store.db import Database

BUSY_WAIT_S = 60.0  # how long acts of others may use up a budget of acts at once before this run gives up on one
BUSY_POLL_S = 0.2


@dataclass
class Run:
    """What every part of one apply needs. ``stop`` is set by SIGTERM: the act in flight ends, no other begins."""

    database: Database
    endpoints: Mapping[str, Endpoint]
    load_plan: Callable[[str], Plan]  # by digest: recovery reads the plans of earlier runs
    run_id: str
    who: str
    terms: LeaseTerms = field(default_factory=LeaseTerms)
    workers: int = 4  # per endpoint; the budget of acts at once bounds them further
    stop: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], datetime] = utc_now  # for expiry and windows; leases and budgets use the database's


def apply_plan(run: Run, plan: Plan, *, plan_digest: str) -> Receipt:
    """Apply every action of the plan that its gate lets through.

    Raises ``plan.expired``, ``kill_switch.on``, ``lease.held``, ``endpoint.unknown``, ``store.*``: nothing was begun.
    """
    refuse_whole(run, plan)
    started_at = format_utc(utc_now())
    schedule = Schedule(plan)
    names = {action.endpoint for action in plan.actions}
    with held(run.database, names, run_id=run.run_id, terms=run.terms) as tokens:
        engine = _engine(run, plan, plan_digest, tokens=tokens)
        with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
            # What is left open anywhere counts in budgets: all of it is settled before the first act begins.
            list(pool.map(lambda name: _settle_first(run, engine, schedule, run.endpoints[name]), sorted(names)))
            list(pool.map(lambda name: _serve(run, engine, schedule, run.endpoints[name]), sorted(names)))
    outcomes = tuple(_outcome(action, schedule.ends[action.action_id]) for action in plan.actions)
    return _receipt(run, plan_digest, started_at, outcomes, stopped=schedule.stopped)


def recover(run: Run) -> tuple[Receipt, HeadroomError | None]:
    """Settle what earlier runs left open on these endpoints, and do nothing else.

    The receipt tells what was settled, also where something broke off: the error is the first. An endpoint that does
    not answer keeps no other from being settled; any other error does.
    """
    started_at = format_utc(utc_now())
    outcomes: list[Outcome] = []
    broken: list[HeadroomError] = []
    try:
        with held(run.database, run.endpoints, run_id=run.run_id, terms=run.terms) as tokens:
            for name, endpoint in sorted(run.endpoints.items()):
                try:
                    with closing(open_writer(endpoint)) as writer:
                        for outcome in settle(run, writer, endpoint=name, tokens=tokens):
                            outcomes.append(outcome)  # noqa: PERF402 - it stays told if the next one breaks off
                except EndpointError as error:
                    broken.append(error)
    except HeadroomError as error:
        broken.append(error)
    first = next(iter(broken), None)
    stopped = End(SKIPPED, first.code) if first else None
    return _receipt(run, "", started_at, tuple(outcomes), stopped=stopped), first


def refuse_whole(run: Run, plan: Plan) -> None:
    """What refuses a whole plan, beside its digest and schema: expiry, the kill switch, an endpoint not given."""
    if run.clock() >= parse_utc(plan.expires_at):
        raise HeadroomError("plan.expired", f"The plan expired at {plan.expires_at}.", advice="Plan again.")
    with run.database.transaction() as connection:
        killswitch.check(connection)
    for name in sorted({action.endpoint for action in plan.actions} - set(run.endpoints)):
        raise HeadroomError(
            "endpoint.unknown",
            f"The plan acts on endpoint {name}, which was not given.",
            advice="Give the same endpoints.",
        )


def settle(run: Run, writer: Writer, *, endpoint: str, tokens: dict[str, int]) -> Iterator[Outcome]:
    """Bring each act that an earlier run left open to its end. The lease is held, so no live run has any here."""
    with run.database.transaction() as connection:
        entries = journal.unsettled(connection, endpoint)
    load_plan = lru_cache(maxsize=1)(run.load_plan)  # acts of one plan stand together, and a plan can be large
    for entry in entries:
        plan = load_plan(entry.plan)
        action = _action(plan, entry.action_id)
        engine = _engine(run, plan, entry.plan, tokens=tokens)
        yield _outcome(action, engine.settle(action, writer, entry=entry))


def _action(plan: Plan, action_id: str) -> Action:
    return next(action for action in plan.actions if action.action_id == action_id)


def _engine(run: Run, plan: Plan, plan_digest: str, *, tokens: dict[str, int]) -> Engine:
    approved = Approved(plan_digest)
    newer = NewerPlans(plan, approved, run.load_plan)
    return Engine(run.database, plan, plan_digest, run.run_id, run.who, tokens, run.clock, approved, newer)


@contextmanager
def _stopping(schedule: Schedule, endpoint: Endpoint) -> Iterator[None]:
    """Let an endpoint that does not answer stop its own actions, and any other error the whole run."""
    try:
        yield
    except EndpointError as error:
        schedule.stop(End(SKIPPED, error.code, error.message), endpoint=endpoint.name)
    except HeadroomError as error:
        schedule.stop(End(SKIPPED, error.code, error.message))


def _settle_first(run: Run, engine: Engine, schedule: Schedule, endpoint: Endpoint) -> None:
    with _stopping(schedule, endpoint), closing(open_writer(endpoint)) as writer:
        list(settle(run, writer, endpoint=endpoint.name, tokens=engine.tokens))


def _serve(run: Run, engine: Engine, schedule: Schedule, endpoint: Endpoint) -> None:
    """Work off the actions of one endpoint."""
    if schedule.stopped_at(endpoint.name):
        return
    with _stopping(schedule, endpoint):
        room = Room(engine.plan, lambda: _observe(endpoint))
        count = min(run.workers, sum(action.endpoint == endpoint.name for action in engine.plan.actions))
        with ThreadPoolExecutor(max_workers=max(1, count)) as pool:
            list(pool.map(lambda _: _work(run, engine, schedule, endpoint, room), range(count)))


def _observe(endpoint: Endpoint) -> Observation:
    with closing(open_reader(endpoint)) as reader:
        return reader.observe()


def _work(run: Run, engine: Engine, schedule: Schedule, endpoint: Endpoint, room: Room) -> None:
    """One worker: its own connection, one action after another."""
    with _stopping(schedule, endpoint), closing(open_writer(endpoint)) as writer:
        while action := _next(run, schedule, endpoint.name):
            try:
                end = _perform(run, engine, schedule, action, writer=writer, room=room)
            finally:
                schedule.abandon(action)
            if end.state == BEGUN:
                schedule.stop(End(SKIPPED, end.code, "The endpoint's run broke off."), endpoint=endpoint.name)


def _next(run: Run, schedule: Schedule, endpoint: str) -> Action | None:
    if run.stop.is_set():
        schedule.stop(End(SKIPPED, "stopped", "The run was asked to stop."))
    return schedule.next_ready(endpoint)


def _perform(run: Run, engine: Engine, schedule: Schedule, action: Action, *, writer: Writer, room: Room) -> End:
    try:
        end = _begin(run, engine, schedule, action, writer=writer, room=room)
    except HeadroomError as error:
        schedule.finish(action, End(SKIPPED, error.code, error.message))
        raise
    if end is None:
        room.reserve(action)
        schedule.passed(action)
        end = engine.carry(action, writer)
        room.settle(action, state=end.state)
    schedule.finish(action, end)
    return end


def _begin(run: Run, engine: Engine, schedule: Schedule, action: Action, *, writer: Writer, room: Room) -> End | None:
    """Bring the action through the gate: None, or the end it came to there."""
    deadline = time.monotonic() + BUSY_WAIT_S
    while True:
        try:
            engine.begin(action, writer, room=room)
        except BusyError as busy:
            stopped = schedule.stopped_at(action.endpoint)
            if stopped or run.stop.is_set() or time.monotonic() >= deadline:
                return stopped or refused(busy)
            schedule.passed(action)
            time.sleep(BUSY_POLL_S)
            schedule.step_up(action)
        except RefusedError as refusal:
            return refused(refusal)
        else:
            return None


def _receipt(
    run: Run, plan_digest: str, started_at: str, outcomes: tuple[Outcome, ...], *, stopped: End | None
) -> Receipt:
    return Receipt(
        run_id=run.run_id,
        plan=plan_digest,
        started_at=started_at,
        finished_at=format_utc(utc_now()),
        outcomes=outcomes,
        stopped=stopped.code if stopped else "",
        owed=tuple(outcome.action_id for outcome in outcomes if outcome.state == OWED),
    )


def _outcome(action: Action, end: End) -> Outcome:
    return Outcome(
        action_id=action.action_id,
        unique_id=action.unique_id,
        vm_name=action.vm_name,
        operation=action.operation,
        state=end.state,
        code=end.code,
        message=end.message,
        finished_at=format_utc(utc_now()),
    )
