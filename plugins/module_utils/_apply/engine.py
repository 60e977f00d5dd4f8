# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The write gate: a state machine over the journal through which every write to a platform passes.

An action goes pending -> begun -> acted -> done, or ends reverted, owed, skipped or failed. ``begin`` puts the intent
on record before the first write; whatever kills the process after that, the next run reads the platform and settles it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

from .._core.clock import parse_utc, wait_until
from .._core.errors import HeadroomError, RefusedError, UnreadableError
from .._platform.base import GUEST_TIMEOUT
from .._policy.settings import MODE_AUTO, MODE_RECOMMEND
from .._records.plan import PURPOSE_ROLLBACK
from .._records.receipt import ACTED, ALREADY_DONE, BEGUN, DONE, FAILED, OWED, REVERTED, SKIPPED
from .._records.vm import INVERSE_LIVE
from .._store import budgets, holds, journal, killswitch, leases
from .._store.journal import RECOVERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from .._platform.base import Current, Writer
    from .._records.action import Action
    from .._records.plan import Plan
    from .._records.vm import Value
    from .._store.approvals import Approved
    from .._store.db import Database
    from .newer import NewerPlans
    from .room import Room


VM_VANISHED = "vm.vanished"
READ_BACK = "read_back"  # the platform took a value and does not show it
_MAY_SHOW_LATER = (READ_BACK, GUEST_TIMEOUT)  # the write may change the VM yet, however it reads now
NO_ROOM = "no_room"  # of a rollback that is owed until its host has room


class BusyError(RefusedError):
    """As many acts as the budget allows at once are under way: not now, but soon."""


@dataclass(frozen=True)
class End:
    """How an action ended: a state of ``_records.receipt``, and why."""

    state: str
    code: str = ""
    message: str = ""


@dataclass(frozen=True)
class Engine:
    """The gate of one run over one plan. Each endpoint's lease is held by the caller; ``tokens`` are their fences."""

    database: Database
    plan: Plan
    plan_digest: str
    run_id: str
    who: str
    tokens: dict[str, int]
    clock: Callable[[], datetime]
    approved: Approved  # of the plan's actions
    newer: NewerPlans
    broken_off: set[str] = field(default_factory=set)  # action_ids of this run's acts that broke off

    def begin(self, action: Action, writer: Writer, *, room: Room) -> None:
        """Check everything that must hold, and put the intent on record.

        Raises RefusedError with the reason, BusyError, EndpointError, and HeadroomError where the whole run must stop;
        nothing is on record then.
        """
        check_precondition(action, writer.current(action.unique_id))
        room.check(action)
        self.newer.check(action, self.database)
        with self.database.transaction() as connection:
            leases.check(self.database, connection, action.endpoint, token=self.tokens[action.endpoint])
            killswitch.check(connection)
            check_allowed(action, self.database, connection, plan=self.plan, approved=self.approved, now=self.clock())
            if under_way := budgets.at_once_exceeded(connection, action, self.plan.budget):
                self._check_left_open(action, connection)
                raise BusyError("budget.at_once", f"As much is under way as the budget allows: {under_way}.")
            journal.begin(
                self.database,
                connection,
                action,
                run_id=self.run_id,
                plan=self.plan_digest,
                purpose=self.plan.purpose,
                who=self.who,
                token=self.tokens[action.endpoint],
            )

    def _check_left_open(self, action: Action, connection: Connection) -> None:
        """Raises RefusedError where to wait for the acts under way would be in vain."""
        left = budgets.left_open(self.database, connection, action, run_id=self.run_id, broken_off=self.broken_off)
        if under_way := budgets.at_once_exceeded(connection, action, self.plan.budget, among=left):
            reason = f"As much as the budget allows at once was left open by runs that broke off: {under_way}."
            raise RefusedError("budget.left_open", f"{reason} It counts until recovery has settled it.")

    def carry(self, action: Action, writer: Writer) -> End:
        """Carry a begun action to its end, or leave it begun where endpoint, lease or store broke off under way."""
        try:
            try:
                self.act(action, writer)
            except RefusedError as refusal:
                return self.revert(action, writer, code=refusal.code, message=refusal.message)
            return self.commit(action)
        except HeadroomError as broken:
            self.broken_off.add(action.action_id)
            return End(BEGUN, broken.code, f"{broken.message} The next apply settles it.")

    def act(self, action: Action, writer: Writer) -> None:
        """Write each field, read it back, and record that all of it holds. Raises RefusedError, EndpointError."""
        with self.database.transaction() as connection:
            leases.check(self.database, connection, action.endpoint, token=self.tokens[action.endpoint])
            try:
                killswitch.check(connection)
            except HeadroomError as switched:  # nothing is written yet: the act ends, the run stops at its next begin
                raise RefusedError(switched.code, switched.message) from switched
        self.set_fields(action, writer, ((change.field, change.after) for change in action.changes))
        self._move(action, End(ACTED))

    def commit(self, action: Action) -> End:
        """Close an action whose fields all read back."""
        end = completed(action)
        self._move(action, end)
        return end

    def revert(self, action: Action, writer: Writer, *, code: str, message: str, token: int = 0) -> End:
        """Set back what was written, in reverse, and close the action.

        Reverted; owed where a field only comes back with the VM's restart; failed where setting back fails. Raises
        UnreadableError where nothing is known of the VM: the act stays open.
        """
        live = action.inverse.when == INVERSE_LIVE
        back = [change for change in reversed(action.changes) if live or change.persistent]
        written = True  # as far as is known
        try:
            # A first write that was refused changed nothing.
            written = code in _MAY_SHOW_LATER or not at_before(action, writer.current(action.unique_id))
            self.set_fields(action, writer, ((change.field, change.before) for change in back))
            whole = live or at_before(action, writer.current(action.unique_id))
            end = End(REVERTED if whole else OWED, code, message)
        except UnreadableError:
            raise
        except RefusedError as refusal:
            if refusal.code == VM_VANISHED:
                end = End(REVERTED, VM_VANISHED, f"{message} {refusal.message}")
            else:
                end = End(FAILED, "rollback_failed", f"{message} Setting it back failed: {refusal.message}")
        self._move(action, end, token=token, written=written)
        return end

    def set_fields(self, action: Action, writer: Writer, wanted: Iterable[tuple[str, Value]]) -> None:
        """Bring each field to its value, in order, and read it back. The fence is asked before every write.

        Raises RefusedError, READ_BACK among others.
        """
        for name, value in wanted:
            if writer.current(action.unique_id).fields.get(name) == value:
                continue
            with self.database.transaction() as connection:
                leases.check(self.database, connection, action.endpoint, token=self.tokens[action.endpoint])
            writer.write(action.unique_id, name, value)
            if not _reads(writer, action.unique_id, name, value):
                raise RefusedError(READ_BACK, f"{name} was set to {value} and does not read so.")

    def settle(self, action: Action, writer: Writer, *, entry: journal.Entry) -> End:
        """End an action that a dead run left open, or that is owed: wholly after, or wholly before.

        All fields at ``after``: done. Else back to ``before``; an act without a live inverse goes forward instead,
        and one that only puts on record what is owed.
        While the VM cannot be read, the act stays as it is.
        """
        try:
            current = writer.current(action.unique_id)
            if entry.state == OWED:
                return self._settle_owed(action, current, entry=entry)
            if at_after(action, current):
                end = End(DONE, RECOVERED, "Found done after an interruption.")
            elif not action.changes:
                end = completed(action)
            elif action.inverse.when == INVERSE_LIVE or at_before(action, current):
                return self.revert(
                    action, writer, code=RECOVERED, message="Set back after an interruption.", token=entry.token
                )
            else:
                end = self._forward(action, writer)
        except RefusedError as refusal:
            if refusal.code != VM_VANISHED:
                return End(entry.state, refusal.code, refusal.message)
            end = End(REVERTED, refusal.code, refusal.message)
        self._move(action, end, token=entry.token)
        return end

    def _forward(self, action: Action, writer: Writer) -> End:
        try:
            self.set_fields(action, writer, ((change.field, change.after) for change in action.changes))
        except UnreadableError:
            raise
        except RefusedError as refusal:
            return End(FAILED, "rollback_failed", f"Interrupted, and could not be finished: {refusal.message}")
        return End(DONE, RECOVERED, "Finished after an interruption.")

    def _settle_owed(self, action: Action, current: Current, *, entry: journal.Entry) -> End:
        if not action.changes and any(current.fields.get(one.field) != one.before for one in action.deferred):
            # It waited for room, and what it was to undo is not there any more.
            end = End(DONE, RECOVERED) if at_after(action, current) else End(SKIPPED, "superseded", "The VM changed.")
            self._move(action, end, token=entry.token)
            return end
        # A rollback owes its deferred fields their ``after``; an act that was set back owes its fields ``before``.
        undone = action.deferred and at_after(action, current)
        if not undone and (action.deferred or not at_before(action, current)):
            return End(OWED, entry.code, entry.message)
        end = End(DONE if undone else REVERTED, RECOVERED, "The restart that this waited for has happened.")
        self._move(action, end, token=entry.token)
        return end

    def _move(self, action: Action, end: End, *, token: int = 0, written: bool = True) -> None:
        """``token``: of the lease under which the action was begun; 0: this run's."""
        with self.database.transaction() as connection:
            journal.move(
                self.database,
                connection,
                endpoint=action.endpoint,
                token=token or self.tokens[action.endpoint],
                action_id=action.action_id,
                state=end.state,
                run_id=self.run_id,
                who=self.who,
                code=end.code,
                message=end.message,
                written=written,
            )


def check_allowed(
    action: Action,
    database: Database,
    connection: Connection,
    *,
    plan: Plan,
    approved: Approved,
    now: datetime,
    foreseen: Sequence[Action] = (),
) -> None:
    """Raises RefusedError where a failed rollback, a hold, the window, the mode, approvals or a rolling budget say no.

    ``foreseen``: acts that a rehearsal counts as begun.
    """
    if journal.failed_host_set(connection, action.host_set):
        raise RefusedError(
            "host_set_stopped", f"An act on host set {action.host_set} could not be set back: nothing begins there."
        )
    if plan.purpose != PURPOSE_ROLLBACK:
        _check_held(action, database, connection)
    if (action.not_before and now < parse_utc(action.not_before)) or (
        action.not_after and now >= parse_utc(action.not_after)
    ):
        raise RefusedError("outside_window", f"It may begin from {action.not_before} until {action.not_after} only.")
    if action.mode == MODE_RECOMMEND:
        raise RefusedError("recommend_only", "The policy recommends this act and lets nobody apply it.")
    if action.mode != MODE_AUTO and not approved.has(database, connection, action.action_id):
        raise RefusedError("not_approved", "Nobody approved this act, or the approval ran out.")
    if used_up := budgets.window_exceeded(database, connection, action, plan.budget, foreseen=foreseen):
        raise RefusedError("budget.window", f"The rolling budget is used up: {used_up}.")


def _check_held(action: Action, database: Database, connection: Connection) -> None:
    held = holds.active(database, connection).get(action.unique_id)
    if held:
        raise RefusedError("held", f"{held.who} holds this VM: {held.reason}.")
    if holds.reverted_twice(connection, unique_id=action.unique_id):
        raise RefusedError("reverted_twice", "It was changed and reverted twice: a person must look and release it.")


def completed(action: Action) -> End:
    """What an action comes to whose ``changes`` are all made."""
    if not action.deferred:
        return End(DONE)
    if not action.changes:
        return End(OWED, NO_ROOM, action.reason)
    return End(OWED, "owed", "It takes effect at the VM's next restart.")


def refused(refusal: RefusedError) -> End:
    """What an action comes to that was not begun."""
    if refusal.code == ALREADY_DONE:
        return End(ALREADY_DONE, "", refusal.message)
    return End(SKIPPED, refusal.code, refusal.message)


def check_precondition(action: Action, current: Current) -> None:
    """Raises RefusedError ``already_done``, ``superseded``, or the code of why the VM may not be touched now."""
    if at_after(action, current):
        raise RefusedError(ALREADY_DONE, "It is already so.")
    if current.refused:
        raise RefusedError(current.refused_code, current.refused)
    if current.generation != action.generation:
        raise RefusedError("superseded", "The VM's definition, or whether it runs, has changed since the plan.")
    for change in action.changes:
        found = current.fields.get(change.field)
        if found != change.before:
            raise RefusedError("superseded", f"{change.field} is {found}, not {change.before} as planned on.")


def at_before(action: Action, current: Current) -> bool:
    """Whether every field is as it was before the action."""
    return all(current.fields.get(change.field) == change.before for change in action.changes)


def at_after(action: Action, current: Current) -> bool:
    """Whether every field, deferred ones included, is as the action wants it."""
    return all(current.fields.get(change.field) == change.after for change in (*action.changes, *action.deferred))


def _reads(writer: Writer, unique_id: str, field: str, value: Value) -> bool:
    return wait_until(
        lambda: writer.current(unique_id).fields.get(field) == value, timeout_s=writer.settle_s(field), poll_s=0.2
    )
