# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models: how each version stands in the fleet. Whoever changes one says so in the audit log, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._records.model import Key, Version
from . import audit

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database


def every(connection: Connection) -> list[Version]:
    """All versions, by key, the newest first."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text(
            "SELECT purpose, metric, lead_s, model, status, share_ppm, made_ms, since_ms, reason FROM model "
            "ORDER BY purpose, metric, lead_s, made_ms DESC, model"
        )
    )
    return [
        Version(
            key=Key(row.purpose, row.metric, row.lead_s),
            model=row.model,
            status=row.status,
            share_ppm=row.share_ppm,
            made_ms=row.made_ms,
            since_ms=row.since_ms,
            reason=row.reason,
        )
        for row in rows
    ]


def of(connection: Connection, key: Key) -> list[Version]:
    """The versions of one key, the newest first."""
    return [version for version in every(connection) if version.key == key]


def put(database: Database, connection: Connection, version: Version, *, run_id: str, who: str) -> None:
    """Let a version stand so from now on."""
    import sqlalchemy

    key = {"purpose": version.key.purpose, "metric": version.key.metric, "lead_s": version.key.lead_s}
    connection.execute(
        sqlalchemy.text(
            "INSERT INTO model (purpose, metric, lead_s, model, status, share_ppm, made_ms, since_ms, reason) "
            "VALUES (:purpose, :metric, :lead_s, :model, :status, :share_ppm, :made_ms, :since_ms, :reason) "
            "ON CONFLICT (purpose, metric, lead_s, model) DO UPDATE SET status = excluded.status, "
            "share_ppm = excluded.share_ppm, since_ms = excluded.since_ms, reason = excluded.reason"
        ),
        {
            **key,
            "model": version.model,
            "status": version.status,
            "share_ppm": version.share_ppm,
            "made_ms": version.made_ms,
            "since_ms": version.since_ms,
            "reason": version.reason,
        },
    )
    body = {**key, "model": version.model, "share_ppm": version.share_ppm, "reason": version.reason}
    audit.append(database, connection, run_id=run_id, who=who, event=f"model.{version.status}", body=body)
