# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: one row per action begun, from the intent before the first write to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core.errors import HeadroomError
from .._records.receipt import BEGUN, FAILED, OPEN_STATES, OWED
from .audit import append

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select

    from .._records.action import Action
    from .db import Database

# What recovery looks at: acts that never ended, could not be set back, or wait for a restart.
UNSETTLED_STATES = (*OPEN_STATES, FAILED, OWED)

RECOVERED = "recovered"  # code of what a later run brought to its end


@dataclass(frozen=True)
class Entry:
    """One action as the journal has it; it was begun under the lease of ``endpoint`` with ``token``, once."""

    token: int
    run_id: str
    action_id: str
    plan: str
    unique_id: str
    resource: str
    direction: str
    endpoint: str
    host_set: str
    state: str
    code: str
    message: str
    begun_at_ms: int
    updated_at_ms: int
    purpose: str  # of the plan


def begin(
    database: Database,
    connection: Connection,
    action: Action,
    *,
    run_id: str,
    plan: str,
    purpose: str,
    who: str,
    token: int,
) -> None:
    """Put the intent on record, with the audit row of the same transaction."""
    import sqlalchemy

    now_ms = database.now_ms(connection)
    connection.execute(
        sqlalchemy.text(
            "INSERT INTO journal (run_id, action_id, plan, unique_id, resource, direction, endpoint, host_id, "
            "host_set, tenant, state, code, message, token, begun_at_ms, updated_at_ms, purpose, operation) "
            "VALUES (:run_id, :action_id, :plan, :unique_id, :resource, :direction, :endpoint, :host_id, "
            ":host_set, :tenant, :state, '', '', :token, :now_ms, :now_ms, :purpose, :operation)"
        ),
        {
            "run_id": run_id,
            "action_id": action.action_id,
            "plan": plan,
            "unique_id": action.unique_id,
            "resource": action.resource,
            "direction": action.direction,
            "endpoint": action.endpoint,
            "host_id": action.host_id,
            "host_set": action.host_set,
            "tenant": action.tenant,
            "state": BEGUN,
            "token": token,
            "now_ms": now_ms,
            "purpose": purpose,
            "operation": action.operation,
        },
    )
    body = {
        "plan": plan,
        "action_id": action.action_id,
        "unique_id": action.unique_id,
        "operation": action.operation,
        "changes": [[change.field, change.before, change.after] for change in action.changes],
    }
    append(database, connection, run_id=run_id, who=who, event="action.begun", body=body)


def move(
    database: Database,
    connection: Connection,
    *,
    endpoint: str,
    token: int,
    action_id: str,
    state: str,
    run_id: str,
    who: str,
    code: str = "",
    message: str = "",
    written: bool = True,
) -> None:
    """Write the next state of the action begun under this lease, with its audit row of the run that moves it.

    ``written``: whether the act may have changed its VM.
    """
    import sqlalchemy

    moved = connection.execute(
        sqlalchemy.text(
            "UPDATE journal SET state = :state, code = :code, message = :message, updated_at_ms = :now_ms, "
            "written = :written WHERE endpoint = :endpoint AND token = :token AND action_id = :action_id"
        ),
        {
            "state": state,
            "code": code,
            "message": message,
            "now_ms": database.now_ms(connection),
            "written": int(written),
            "endpoint": endpoint,
            "token": token,
            "action_id": action_id,
        },
    )
    if moved.rowcount != 1:
        raise HeadroomError(
            "journal.missing",
            f"The journal has no action {action_id} begun on {endpoint} under lease {token}.",
            advice="The state store was changed from outside; compare it with a backup.",
        )
    body = {"endpoint": endpoint, "token": token, "action_id": action_id, "code": code, "message": message}
    append(database, connection, run_id=run_id, who=who, event=f"action.{state}", body=body)


def unsettled(connection: Connection, endpoint: str) -> tuple[Entry, ...]:
    """Actions on the endpoint that recovery must look at, oldest first."""
    import sqlalchemy

    here = sqlalchemy.column("endpoint") == endpoint
    return _entries(connection, _select().where(here, sqlalchemy.column("state").in_(UNSETTLED_STATES)))


def owed(connection: Connection) -> tuple[Entry, ...]:
    """Rollbacks that wait for a restart of their VM."""
    import sqlalchemy

    return _entries(connection, _select().where(sqlalchemy.column("state") == OWED))


def of_run(connection: Connection, run_id: str) -> tuple[Entry, ...]:
    """Every action that a run began."""
    import sqlalchemy

    statement = _select().where(sqlalchemy.column("run_id") == run_id)
    return _entries(connection, statement)


def of_plan(connection: Connection, plan: str) -> tuple[Entry, ...]:
    """Every action of a plan that any run began, oldest first."""
    import sqlalchemy

    return _entries(connection, _select().where(sqlalchemy.column("plan") == plan))


def of_vm(connection: Connection, unique_id: str) -> tuple[Entry, ...]:
    """Every action on a VM that any run began, oldest first."""
    import sqlalchemy

    return _entries(connection, _select().where(sqlalchemy.column("unique_id") == unique_id))


def written_between(connection: Connection, *, since_ms: int, until_ms: int) -> tuple[Entry, ...]:
    """Every action that may have changed its VM and was under way between these times, oldest first."""
    import sqlalchemy

    written = sqlalchemy.column("written") == 1
    begun = sqlalchemy.column("begun_at_ms") <= until_ms
    return _entries(connection, _select().where(written, begun, sqlalchemy.column("updated_at_ms") >= since_ms))


def failed_host_set(connection: Connection, host_set: str) -> bool:
    """Whether an act on this host set could not be set back: nothing else begins there."""
    import sqlalchemy

    query = "SELECT 1 FROM journal WHERE host_set = :host_set AND state = :failed LIMIT 1"
    return connection.execute(sqlalchemy.text(query), {"host_set": host_set, "failed": FAILED}).first() is not None


def newest_acts(connection: Connection, *, state: str) -> dict[tuple[str, str], tuple[str, int]]:
    """For each (unique_id, resource): direction and end (ms) of its newest act in this state."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text(
            "SELECT unique_id, resource, direction, updated_at_ms FROM journal WHERE state = :state "
            "ORDER BY updated_at_ms"
        ),
        {"state": state},
    )
    return {(row.unique_id, row.resource): (row.direction, row.updated_at_ms) for row in rows}


def _select() -> Select[Any]:
    import sqlalchemy

    columns: list[Any] = [sqlalchemy.column(name) for name in Entry.__dataclass_fields__]
    ordered = sqlalchemy.select(*columns).order_by(sqlalchemy.column("begun_at_ms"), sqlalchemy.column("action_id"))
    return ordered.select_from(sqlalchemy.table("journal"))


def _entries(connection: Connection, statement: Select[Any]) -> tuple[Entry, ...]:
    return tuple(Entry(**row) for row in connection.execute(statement).mappings())
