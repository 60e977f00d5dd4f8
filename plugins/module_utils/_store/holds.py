# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds: a VM that nobody may touch until a time, or until a person says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._records.plan import PURPOSE_ROLLBACK
from .._records.receipt import DONE, REVERTED
from .audit import append
from .journal import RECOVERED

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database


# Safety rule 3: a VM whose resource was changed and reverted twice within a week is held until a person looks.
_WINDOW_MS = 7 * 24 * 3600 * 1000
# Reasons for setting an act back that say nothing against its VM, as SQL lists them.
_BLAMELESS_CODES = ", ".join(f"'{code}'" for code in (RECOVERED, "vm.vanished", "kill_switch.on"))
# unique_id of each VM with two acts that close together that were set back after a write, or rolled back, since
# somebody last released it.
REVERTED_TWICE = f"""SELECT unique_id FROM (
    SELECT journal.unique_id, updated_at_ms - LAG(updated_at_ms) OVER (
        PARTITION BY journal.unique_id, resource ORDER BY updated_at_ms) AS apart_ms
    FROM journal LEFT JOIN released ON released.unique_id = journal.unique_id
    WHERE ((state = '{REVERTED}' AND written = 1) OR (state = '{DONE}' AND purpose = '{PURPOSE_ROLLBACK}'))
    AND code NOT IN ({_BLAMELESS_CODES}) AND updated_at_ms > COALESCE(released.at_ms, 0)
) AS reverts WHERE apart_ms < {_WINDOW_MS}"""  # noqa: S608 - the constants above


@dataclass(frozen=True)
class Hold:
    """Who holds a VM and why; ``until_ms`` None: until released."""

    unique_id: str
    who: str
    reason: str
    until_ms: Optional[int]


def active(database: Database, connection: Connection) -> dict[str, Hold]:
    """Every hold that has not run out, by unique_id."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text(
            "SELECT unique_id, who, reason, until_ms FROM hold WHERE until_ms IS NULL OR until_ms > :now_ms"
        ),
        {"now_ms": database.now_ms(connection)},
    )
    return {row.unique_id: Hold(row.unique_id, row.who, row.reason, row.until_ms) for row in rows}


def reverted_twice(connection: Connection, *, unique_id: str = "") -> frozenset[str]:
    """Which VMs, of all or of one, were changed and reverted twice since somebody last released them."""
    import sqlalchemy

    if not unique_id:
        return frozenset(connection.execute(sqlalchemy.text(REVERTED_TWICE)).scalars())
    of_one = sqlalchemy.text(f"{REVERTED_TWICE} AND unique_id = :unique_id")
    return frozenset(connection.execute(of_one, {"unique_id": unique_id}).scalars())


def in_force(database: Database, connection: Connection) -> dict[str, Hold]:
    """All that keeps hands off VMs: the active holds, and one for each other VM that was reverted twice."""
    reason = "it was changed and reverted twice"
    found = {one: Hold(one, "headroom", reason, None) for one in reverted_twice(connection)}
    return {**found, **active(database, connection)}


def place(database: Database, connection: Connection, hold: Hold, *, run_id: str = "") -> bool:
    """Set or replace a hold; returns whether that changed anything."""
    import sqlalchemy

    if active(database, connection).get(hold.unique_id) == hold:
        return False
    connection.execute(
        sqlalchemy.text(
            "INSERT INTO hold (unique_id, who, reason, at_ms, until_ms) "
            "VALUES (:unique_id, :who, :reason, :at_ms, :until_ms) ON CONFLICT (unique_id) DO UPDATE SET "
            "who = excluded.who, reason = excluded.reason, at_ms = excluded.at_ms, until_ms = excluded.until_ms"
        ),
        {
            "unique_id": hold.unique_id,
            "who": hold.who,
            "reason": hold.reason,
            "at_ms": database.now_ms(connection),
            "until_ms": hold.until_ms,
        },
    )
    body = {"unique_id": hold.unique_id, "reason": hold.reason, "until_ms": hold.until_ms}
    append(database, connection, run_id=run_id, who=hold.who, event="hold.placed", body=body)
    return True


def release(database: Database, connection: Connection, unique_id: str, *, who: str) -> bool:
    """End a hold, or let go of a VM that was reverted twice; returns whether it was held."""
    import sqlalchemy

    looked_at = unique_id in reverted_twice(connection, unique_id=unique_id)
    if looked_at:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO released VALUES (:unique_id, :who, :at_ms) ON CONFLICT (unique_id) DO UPDATE "
                "SET who = excluded.who, at_ms = excluded.at_ms"
            ),
            {"unique_id": unique_id, "who": who, "at_ms": database.now_ms(connection)},
        )
    ended = connection.execute(
        sqlalchemy.text("DELETE FROM hold WHERE unique_id = :unique_id"), {"unique_id": unique_id}
    )
    held = looked_at or bool(ended.rowcount)
    if held:
        append(database, connection, run_id="", who=who, event="hold.released", body={"unique_id": unique_id})
    return held
