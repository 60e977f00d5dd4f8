# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases: one writer per endpoint, on the database's clock, with a fencing token that only ever rises.

The token is what makes a lease safe (Kleppmann, "How to do distributed locking", 2016): a holder that slept past its
end finds a higher token in the row and may not write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import HeadroomError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database


def acquire(database: Database, endpoint: str, *, holder: str, ttl_s: float) -> int:
    """Take the lease and return its token. Raises ``lease.held`` while another holder's has not run out."""
    import sqlalchemy

    with database.transaction() as connection:
        now_ms = database.now_ms(connection)
        # Tokens of a new row begin at the clock: above all that a row of this endpoint, pruned since, ever gave.
        connection.execute(
            sqlalchemy.text("INSERT INTO lease VALUES (:endpoint, '', :now_ms, 0) ON CONFLICT (endpoint) DO NOTHING"),
            {"endpoint": endpoint, "now_ms": now_ms},
        )
        taken = connection.execute(
            sqlalchemy.text(
                "UPDATE lease SET holder = :holder, token = token + 1, expires_at_ms = :expires_at_ms "
                "WHERE endpoint = :endpoint AND (expires_at_ms <= :now_ms OR holder = :holder) RETURNING token"
            ),
            {
                "endpoint": endpoint,
                "holder": holder,
                "now_ms": now_ms,
                "expires_at_ms": now_ms + round(ttl_s * 1000),
            },
        ).scalar()
        if taken is None:
            row = connection.execute(
                sqlalchemy.text("SELECT holder, expires_at_ms FROM lease WHERE endpoint = :endpoint"),
                {"endpoint": endpoint},
            ).one()
            raise HeadroomError(
                "lease.held",
                f"Run {row.holder} is writing to endpoint {endpoint}.",
                advice=f"Wait for it; if it died, its lease ends in {max(0, row.expires_at_ms - now_ms) // 1000} s.",
                endpoint=endpoint,
            )
        return int(taken)


def renew(database: Database, endpoint: str, *, token: int, ttl_s: float) -> None:
    """Move the end of a lease that is still ours. Raises ``lease.lost``."""
    import sqlalchemy

    with database.transaction() as connection:
        now_ms = database.now_ms(connection)
        renewed = connection.execute(
            sqlalchemy.text(
                "UPDATE lease SET expires_at_ms = :expires_at_ms "
                "WHERE endpoint = :endpoint AND token = :token AND expires_at_ms > :now_ms"
            ),
            {"endpoint": endpoint, "token": token, "now_ms": now_ms, "expires_at_ms": now_ms + round(ttl_s * 1000)},
        )
        if renewed.rowcount != 1:
            raise _lost(endpoint)


def check(database: Database, connection: Connection, endpoint: str, *, token: int) -> None:
    """The fence: raises ``lease.lost`` unless the lease is ours in this very transaction."""
    import sqlalchemy

    row = connection.execute(
        sqlalchemy.text("SELECT token, expires_at_ms FROM lease WHERE endpoint = :endpoint"), {"endpoint": endpoint}
    ).first()
    if row is None or row.token != token or row.expires_at_ms <= database.now_ms(connection):
        raise _lost(endpoint)


def release(database: Database, endpoint: str, *, token: int) -> None:
    """End a lease that is still ours; one that is not is somebody else's business."""
    import sqlalchemy

    with database.transaction() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE lease SET expires_at_ms = :now_ms WHERE endpoint = :endpoint AND token = :token"),
            {"endpoint": endpoint, "token": token, "now_ms": database.now_ms(connection)},
        )


def _lost(endpoint: str) -> HeadroomError:
    return HeadroomError(
        "lease.lost",
        f"The lease on endpoint {endpoint} was lost: this run may write no more.",
        advice="Apply again; the next run first settles the act that was under way.",
        endpoint=endpoint,
    )
