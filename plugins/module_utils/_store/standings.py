# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose forecasts are only recommended by: the scorecard's verdicts. Who has no row was never anything but trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from .audit import append

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection

    from .db import Database


@dataclass(frozen=True)
class Standing:
    """One metric of one VM."""

    unique_id: str
    metric: str
    demoted: bool
    since_day: int  # days since 1970 UTC: the last day that counted when it came to stand so
    code: str
    reason: str


def standings(connection: Connection, unique_ids: Optional[Collection[str]] = None) -> dict[tuple[str, str], Standing]:
    """All that ever changed, or those of these VMs, by (unique_id, metric)."""
    import sqlalchemy

    query = sqlalchemy.text("SELECT unique_id, metric, demoted, since_day, code, reason FROM standing")
    values: dict[str, Any] = {}
    if unique_ids is not None:
        query = sqlalchemy.text(f"{query.text} WHERE unique_id IN :unique_ids")
        query = query.bindparams(sqlalchemy.bindparam("unique_ids", expanding=True))
        values = {"unique_ids": list(unique_ids)}
    return {
        (row.unique_id, row.metric): Standing(
            row.unique_id, row.metric, bool(row.demoted), int(row.since_day), row.code, row.reason
        )
        for row in connection.execute(query, values)
    }


def change(database: Database, connection: Connection, changed: Iterable[Standing], *, run_id: str, who: str) -> None:
    """Let these stand so from now on, each with its row in the audit log."""
    import sqlalchemy

    query = (
        "INSERT INTO standing (unique_id, metric, demoted, since_day, code, reason) "
        "VALUES (:unique_id, :metric, :demoted, :since_day, :code, :reason) "
        "ON CONFLICT (unique_id, metric) DO UPDATE SET demoted = excluded.demoted, "
        "since_day = excluded.since_day, code = excluded.code, reason = excluded.reason"
    )
    for one in changed:
        connection.execute(sqlalchemy.text(query), {**vars(one), "demoted": int(one.demoted)})
        event = "scorecard.demoted" if one.demoted else "scorecard.returned"
        body = {"unique_id": one.unique_id, "metric": one.metric, "reason": one.reason}
        append(database, connection, run_id=run_id, who=who, event=event, body=body)
