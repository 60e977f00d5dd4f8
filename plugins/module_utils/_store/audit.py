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
ROWS_AT_ONCE = 5000


def append(database: Database, connection: Connection, *, run_id: str, who: str, event: str, body: Any) -> None:
    """Add a row to the chain. ``body`` is canonical JSON and holds no secret."""
    import sqlalchemy

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

    query = sqlalchemy.text("SELECT * FROM audit WHERE sequence > :count ORDER BY sequence LIMIT :most")
    count, previous, more = 0, FIRST, True
    while more:
        # A few rows a transaction, for acts wait meanwhile. Rows are only ever added, so the walk stays whole.
        with database.transaction() as connection:
            found = connection.execute(query, {"count": count, "most": ROWS_AT_ONCE}).mappings().all()
        for one in found:
            row = dict(one)
            stated = row.pop("hash")
            count += 1
            if row["sequence"] != count or row["previous"] != previous or digest(row) != stated:
                raise HeadroomError(
                    "audit.broken",
                    f"The audit log was changed at or before row {row['sequence']}.",
                    advice="Compare with a backup of the state store; do not trust rows from there on.",
                )
            previous = stated
        more = len(found) == ROWS_AT_ONCE
    return count, previous
