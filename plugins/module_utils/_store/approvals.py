# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approvals: rows that say who let which actions of which plan go ahead, and until when."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.canonical import canonical_bytes
from .audit import append

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from .db import Database


@dataclass(frozen=True)
class Approval:
    """Who let which actions of a plan be done, and until when."""

    who: str
    at_ms: int
    expires_at_ms: int
    actions: tuple[str, ...]


def grant(
    database: Database,
    connection: Connection,
    plan: str,
    *,
    who: str,
    ttl_s: int,
    actions: Collection[str],
    run_id: str = "",
) -> str:
    """Add an approval of these actions and return its id. The caller has checked that they may be approved."""
    import sqlalchemy

    approval_id = secrets.token_hex(8)
    now_ms = database.now_ms(connection)
    row = {
        "approval_id": approval_id,
        "plan": plan,
        "who": who,
        "at_ms": now_ms,
        "expires_at_ms": now_ms + ttl_s * 1000,
        "actions": canonical_bytes(sorted(actions)).decode(),
    }
    connection.execute(
        sqlalchemy.text(
            "INSERT INTO approval (approval_id, plan, who, at_ms, expires_at_ms, actions) "
            "VALUES (:approval_id, :plan, :who, :at_ms, :expires_at_ms, :actions)"
        ),
        row,
    )
    append(database, connection, run_id=run_id, who=who, event="plan.approved", body=row)
    return approval_id


class Approved:
    """Which actions of one plan are approved, for one who asks often: each row is read once, for none ever changes."""

    def __init__(self, plan: str) -> None:
        self.plan = plan
        self._actions: dict[str, frozenset[str]] = {}  # by approval_id

    def has(self, database: Database, connection: Connection, action_id: str) -> bool:
        """Whether somebody approved it, and that has not run out."""
        import sqlalchemy

        query = "SELECT approval_id FROM approval WHERE plan = :plan AND expires_at_ms > :now_ms"
        valid = connection.execute(
            sqlalchemy.text(query), {"plan": self.plan, "now_ms": database.now_ms(connection)}
        ).scalars()
        return any(action_id in self._of(connection, approval_id) for approval_id in valid.all())

    def _of(self, connection: Connection, approval_id: str) -> frozenset[str]:
        import sqlalchemy

        if approval_id not in self._actions:
            query = "SELECT actions FROM approval WHERE approval_id = :approval_id"
            row = connection.execute(sqlalchemy.text(query), {"approval_id": approval_id}).scalar_one()
            self._actions[approval_id] = frozenset(json.loads(row))
        return self._actions[approval_id]


def approved(database: Database, connection: Connection, plan: str) -> dict[str, str]:
    """Each approved action of the plan, and who approved it."""
    now_ms = database.now_ms(connection)
    given = [one for one in of_plan(connection, plan) if one.expires_at_ms > now_ms]
    return {action_id: one.who for one in given for action_id in one.actions}


def active(database: Database, connection: Connection) -> dict[str, dict[str, str]]:
    """Of each plan the actions whose approval has not run out, and who gave it."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text("SELECT plan, who, actions FROM approval WHERE expires_at_ms > :now_ms ORDER BY at_ms"),
        {"now_ms": database.now_ms(connection)},
    )
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row.plan, {}).update(dict.fromkeys(json.loads(row.actions), row.who))
    return found


def of_plan(connection: Connection, plan: str) -> tuple[Approval, ...]:
    """Every approval of the plan, those that ran out as well, oldest first."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text("SELECT who, at_ms, expires_at_ms, actions FROM approval WHERE plan = :plan ORDER BY at_ms"),
        {"plan": plan},
    )
    return tuple(Approval(row.who, row.at_ms, row.expires_at_ms, tuple(json.loads(row.actions))) for row in rows)
