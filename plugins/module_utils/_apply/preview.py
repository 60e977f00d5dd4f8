# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode of apply, and verification: what would be done, or whether what was done holds. Nothing is written."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Callable

from .._core.clock import format_utc
from .._core.errors import EndpointError, RefusedError
from .._platform.base import Current
from .._platform.registry import open_reader
from .._records.receipt import ALREADY_DONE, DONE, SKIPPED, Outcome
from .._store import killswitch
from .._store.approvals import Approved
from .engine import End, at_after, check_allowed, check_precondition, completed, refused
from .newer import NewerPlans
from .room import Room

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from .._platform.base import Endpoint, Observation
    from .._records.action import Action
    from .._records.plan import Plan
    from .._store.db import Database


def preview(
    database: Database,
    plan: Plan,
    *,
    plan_digest: str,
    load_plan: Callable[[str], Plan],
    endpoints: Mapping[str, Endpoint],
    now: datetime,
) -> tuple[Outcome, ...]:
    """For each action the outcome that an apply at this moment would have, from read-only connections."""
    observations = _observe(plan.actions, endpoints)
    rooms = {name: _room(plan, found) for name, found in observations.items() if not isinstance(found, End)}
    approved = Approved(plan_digest)
    newer = NewerPlans(plan, approved, load_plan)
    ends: dict[str, End] = {}
    foreseen: list[Action] = []
    with database.transaction() as connection:
        killswitch.check(connection)
    for action in plan.actions:
        found = observations[action.endpoint]
        if isinstance(found, End):
            ends[action.action_id] = found
            continue
        try:
            check_precondition(action, _current(found, action.unique_id))
            _check_order_and_room(action, ends, rooms[action.endpoint])
            newer.check(action, database)
            with database.transaction() as connection:
                check_allowed(action, database, connection, plan=plan, approved=approved, now=now, foreseen=foreseen)
        except RefusedError as refusal:
            ends[action.action_id] = refused(refusal)
            continue
        rooms[action.endpoint].reserve(action)
        rooms[action.endpoint].settle(action, state=DONE)
        foreseen.append(action)
        end = completed(action)
        ends[action.action_id] = replace(end, message=end.message or "Would be done.")
    return tuple(_outcome(action, ends[action.action_id], now) for action in plan.actions)


def verify(plan: Plan, done: Iterable[str], *, endpoints: Mapping[str, Endpoint], now: datetime) -> tuple[Outcome, ...]:
    """For each of the actions done, whether the platform still shows it: ``done``, or ``skipped`` with ``drift``."""
    ids = set(done)
    actions = [action for action in plan.actions if action.action_id in ids]
    observations = _observe(actions, endpoints)
    outcomes = []
    for action in actions:
        found = observations[action.endpoint]
        if isinstance(found, End):
            end = found
        else:
            try:
                holds = at_after(action, _current(found, action.unique_id))
                end = End(DONE) if holds else End(SKIPPED, "drift", "The VM is not as the action left it.")
            except RefusedError as refusal:
                end = refused(refusal)
        outcomes.append(_outcome(action, end, now))
    return tuple(outcomes)


def _observe(actions: Iterable[Action], endpoints: Mapping[str, Endpoint]) -> dict[str, Observation | End]:
    found: dict[str, Observation | End] = {}
    for name in sorted({action.endpoint for action in actions}):
        try:
            with closing(open_reader(endpoints[name])) as reader:
                found[name] = reader.observe()
        except EndpointError as error:
            found[name] = End(SKIPPED, error.code, error.message)
    return found


def _room(plan: Plan, observation: Observation) -> Room:
    return Room(plan, lambda: observation)


def _check_order_and_room(action: Action, ends: Mapping[str, End], room: Room) -> None:
    if any(ends[before].state not in (DONE, ALREADY_DONE) for before in action.after):
        raise RefusedError("dependency", "What has to be done first cannot be done.")
    room.check(action)


def _current(observation: Observation, unique_id: str) -> Current:
    for vm in observation.vms:
        if vm.unique_id == unique_id:
            return Current(vm.generation, vm.fields, vm.refused, vm.refused_code)
    raise RefusedError("vm.vanished", "The VM is not there any more.")


def _outcome(action: Action, end: End, now: datetime) -> Outcome:
    return Outcome(
        action_id=action.action_id,
        unique_id=action.unique_id,
        vm_name=action.vm_name,
        operation=action.operation,
        state=end.state,
        code=end.code,
        message=end.message,
        finished_at=format_utc(now),
    )
