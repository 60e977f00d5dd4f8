# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: every row carries the hash of the row before, and is written in the transaction of what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.canonical import canonical_bytes, digest
from .._core.errors import HeadroomError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database

FIRST = "sha256:" + 64 * "0"


def append(database: Database, connection: Connection, *, run_id: str, who: str, event: str, body: Any) -> None:
    """Add a row to the chain. ``body`` is canonical JSON and holds no secret."""
    import sqlalchemy

    if not database.sqlite:  # SQLite's BEGIN IMMEDIATE serialises already
        connection.execute(sqlalchemy.text("LOCK TABLE audit IN EXCLUSIVE MODE"))
    last = connection.execute(
        sqlalchemy.text("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
    ).first()
    row = {
        "sequence": last.sequence + 1 if last else 1,
        "at_ms": database.now_ms(connection),
        "run_id": run_id,
        "who": who,
        "event": event,
        "body": canonical_bytes(body).decode(),
        "previous": last.hash if last else FIRST,
    }
    connection.execute(
        sqlalchemy.text(
            "INSERT INTO audit (sequence, at_ms, run_id, who, event, body, previous, hash) "
            "VALUES (:sequence, :at_ms, :run_id, :who, :event, :body, :previous, :hash)"
        ),
        {**row, "hash": digest(row)},
    )


def verify(database: Database) -> tuple[int, str]:
    """Walk the whole chain and return its length and last hash, to be kept elsewhere. Raises ``audit.broken``.

    A chain cut short at its end is whole in itself: compare the length and hash with those noted before.
    """
    import sqlalchemy

    count, previous = 0, FIRST
    with database.transaction() as connection:
        for found in connection.execute(sqlalchemy.text("SELECT * FROM audit ORDER BY sequence")).mappings():
            row = dict(found)
            stated = row.pop("hash")
            count += 1
            if row["sequence"] != count or row["previous"] != previous or digest(row) != stated:
                raise HeadroomError(
                    "audit.broken",
                    f"The audit log was changed at or before row {row['sequence']}.",
                    advice="Compare with a backup of the state store; do not trust rows from there on.",
                )
            previous = stated
    return count, previous
