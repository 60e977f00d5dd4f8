# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts that plans were made from: whoever keeps the scorecard finds here what was said, and of which fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Issued:
    """One forecast, and the snapshot whose VMs it is about."""

    forecast: str  # digest
    snapshot: str  # digest
    fleet: str  # the snapshot's endpoints: a newer forecast of the same fleet takes the place of an older one
    made_ms: int
    first_ms: int  # START of the first interval
    until_ms: int  # end of the last one
    interval_s: int


def note(connection: Connection, issued: Issued) -> None:
    """Put it on record; a forecast that several plans are made from is issued once."""
    import sqlalchemy

    query = (
        "INSERT INTO issued (forecast, snapshot, fleet, made_ms, first_ms, until_ms, interval_s) "
        "VALUES (:forecast, :snapshot, :fleet, :made_ms, :first_ms, :until_ms, :interval_s) "
        "ON CONFLICT (forecast) DO NOTHING"
    )
    connection.execute(sqlalchemy.text(query), vars(issued))


def reaching(connection: Connection, *, since_ms: int) -> tuple[Issued, ...]:
    """Those that say anything of the time since then, the newest first."""
    import sqlalchemy

    query = (
        "SELECT forecast, snapshot, fleet, made_ms, first_ms, until_ms, interval_s FROM issued "
        "WHERE until_ms > :since_ms ORDER BY first_ms DESC, made_ms DESC, forecast"
    )
    rows = connection.execute(sqlalchemy.text(query), {"since_ms": since_ms}).mappings()
    return tuple(Issued(**row) for row in rows)
