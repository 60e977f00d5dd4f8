# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kill switch: while it is on, no act begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .audit import append

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database


@dataclass(frozen=True)
class KillSwitch:
    """Its state, and who last changed it and why."""

    on: bool
    who: str = ""
    reason: str = ""


def read(connection: Connection) -> KillSwitch:
    """Off where nobody ever touched it."""
    import sqlalchemy

    row = connection.execute(sqlalchemy.text("SELECT is_on, who, reason FROM kill_switch")).first()
    return KillSwitch(on=bool(row.is_on), who=row.who, reason=row.reason) if row else KillSwitch(on=False)


def turn(database: Database, *, on: bool, who: str, reason: str) -> bool:
    """Set it; returns whether that changed anything."""
    import sqlalchemy

    with database.transaction() as connection:
        if read(connection).on == on:
            return False
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO kill_switch VALUES (1, :is_on, :who, :reason, :at_ms) ON CONFLICT (only_row) DO UPDATE "
                "SET is_on = excluded.is_on, who = excluded.who, reason = excluded.reason, at_ms = excluded.at_ms"
            ),
            {"is_on": int(on), "who": who, "reason": reason, "at_ms": database.now_ms(connection)},
        )
        event = "kill_switch.on" if on else "kill_switch.off"
        append(database, connection, run_id="", who=who, event=event, body={"reason": reason})
        return True


def check(connection: Connection) -> None:
    """Raises ``kill_switch.on``."""
    switch = read(connection)
    if switch.on:
        raise HeadroomError(
            "kill_switch.on",
            f"The kill switch is on ({switch.who}: {switch.reason}): no act begins.",
            advice="Turn it off with headroom.fleet.kill_switch once the reason is gone.",
        )
