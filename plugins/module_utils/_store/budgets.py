# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Budgets used: the journal itself is the ledger, so a crash can neither lose a use nor count it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._records.receipt import OPEN_STATES, REVERTED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, TextClause

    from .._records.action import Action
    from .._records.plan import Budget, Limits
    from .db import Database

# The name of a limit, and the journal's column it counts by. A platform is what one endpoint serves.
_PLACES = (
    ("per_host", "host_id"),
    ("per_host_set", "host_set"),
    ("per_tenant", "tenant"),
    ("per_platform", "endpoint"),
)


def at_once_exceeded(
    connection: Connection, action: Action, budget: Budget, *, among: Optional[TextClause] = None
) -> str:
    """Which limit of acts under way, of all or of those ``among``, one more would break; "" where none."""
    import sqlalchemy

    under_way = sqlalchemy.column("state").in_(OPEN_STATES)
    counted = under_way if among is None else sqlalchemy.and_(under_way, among)
    return _first(connection, action, budget.at_once, counted, ())


def left_open(
    database: Database, connection: Connection, action: Action, *, run_id: str, broken_off: Collection[str]
) -> TextClause:
    """For ``at_once_exceeded``: acts that nobody will end before recovery does.

    Those on an endpoint whose lease nobody holds, earlier ones on an endpoint of this run, which settled what it could
    there, and those of this run on other endpoints that are ``broken_off`` (action_ids): where one broke off on the
    action's own endpoint, that stops. Where another run holds the lease, it is carrying them out or settling them.
    """
    import sqlalchemy

    dead = sqlalchemy.text(
        "(NOT EXISTS (SELECT 1 FROM lease WHERE lease.endpoint = journal.endpoint AND lease.expires_at_ms > :now_ms "
        "AND (lease.token = journal.token OR lease.holder <> :run_id)) "
        "OR (run_id = :run_id AND endpoint <> :here AND action_id IN :broken_off))"
    )
    values = {"now_ms": database.now_ms(connection), "run_id": run_id, "here": action.endpoint}
    # With its type: PostgreSQL compares no text with an empty list of none.
    acts = sqlalchemy.bindparam("broken_off", sorted(broken_off), expanding=True, type_=sqlalchemy.String())
    return dead.bindparams(acts, **values)


def window_exceeded(
    database: Database, connection: Connection, action: Action, budget: Budget, *, foreseen: Sequence[Action] = ()
) -> str:
    """Which limit of the rolling window one more act would break; "" where none. ``foreseen`` acts count as begun."""
    if budget.window is None:
        return ""
    return _first(connection, action, budget.window, _in_window(database, connection, budget), foreseen)


def used_in_window(database: Database, connection: Connection, budget: Budget) -> list[tuple[str, str, int, int]]:
    """(limit, place, acts, most) of each place with acts that count in the rolling window, the fullest first."""
    import sqlalchemy

    if budget.window is None:
        return []
    counted = _in_window(database, connection, budget)
    found = []
    for limit, name in _PLACES:
        column: ColumnElement[str] = sqlalchemy.column(name)
        counts = sqlalchemy.select(column, sqlalchemy.func.count()).select_from(sqlalchemy.table("journal"))
        rows = connection.execute(counts.where(counted).group_by(column))
        found += [(limit, str(place), int(used), int(getattr(budget.window, limit))) for place, used in rows]
    return sorted(found, key=lambda one: (one[2] - one[3], *one[:2]), reverse=True)


def _in_window(database: Database, connection: Connection, budget: Budget) -> ColumnElement[bool]:
    """Acts begun within the rolling window, but for those that changed nothing: their first write was refused."""
    import sqlalchemy

    begun = sqlalchemy.column("begun_at_ms") > database.now_ms(connection) - budget.window_s * 1000
    counts = sqlalchemy.or_(sqlalchemy.column("state") != REVERTED, sqlalchemy.column("written") != 0)
    return sqlalchemy.and_(begun, counts)


def _first(
    connection: Connection, action: Action, limits: Limits, condition: ColumnElement[bool], foreseen: Sequence[Action]
) -> str:
    import sqlalchemy

    for limit, column in _PLACES:
        place, most = getattr(action, column), getattr(limits, limit)
        here = sqlalchemy.column(column) == place
        count = (
            sqlalchemy.select(sqlalchemy.func.count()).select_from(sqlalchemy.table("journal")).where(here, condition)
        )
        used = connection.execute(count).scalar_one() + sum(getattr(other, column) == place for other in foreseen)
        if used >= most:
            return f"{limit} {most} ({place})"
    return ""
