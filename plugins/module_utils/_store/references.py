# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""References: names for the newest artifact of a kind ("plan/lab")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database


def get(connection: Connection, name: str) -> str:
    """The digest a name stands for; "" where there is none."""
    import sqlalchemy

    row = connection.execute(sqlalchemy.text("SELECT digest FROM reference WHERE name = :name"), {"name": name}).first()
    return str(row.digest) if row else ""


def put(database: Database, connection: Connection, name: str, digest: str) -> None:
    """Let the name stand for this digest from now on."""
    import sqlalchemy

    connection.execute(
        sqlalchemy.text(
            "INSERT INTO reference VALUES (:name, :digest, :at_ms) ON CONFLICT (name) DO UPDATE "
            "SET digest = excluded.digest, at_ms = excluded.at_ms"
        ),
        {"name": name, "digest": digest, "at_ms": database.now_ms(connection)},
    )


def newest(connection: Connection, prefix: str) -> str:
    """The digest that was named last among the names that begin so; "" where there is none."""
    return next(iter(newest_first(connection, prefix)), "")


def newest_first(connection: Connection, prefix: str, *, since_ms: int = 0) -> tuple[str, ...]:
    """The digests of all names that begin so and were given since then, the newest first."""
    import sqlalchemy

    query = "SELECT digest FROM reference WHERE name LIKE :pattern AND at_ms >= :since_ms ORDER BY at_ms DESC, name"
    rows = connection.execute(sqlalchemy.text(query), {"pattern": f"{prefix}%", "since_ms": since_ms})
    return tuple(str(row.digest) for row in rows)
