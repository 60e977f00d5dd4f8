# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans wanted of careful sizes and limits lately: one row for each VM and resource."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .._records.wishes import Wish, Wishes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


def known(connection: Connection) -> dict[tuple[str, str], Wishes]:
    """All there are, by (unique_id, resource)."""
    import sqlalchemy

    rows = connection.execute(sqlalchemy.text("SELECT unique_id, resource, since_ms, steps FROM wish"))
    return {
        (row.unique_id, row.resource): Wishes(int(row.since_ms), tuple(Wish(*step) for step in json.loads(row.steps)))
        for row in rows
    }


def put(connection: Connection, wishes: Mapping[tuple[str, str], Wishes], *, now_ms: int) -> None:
    """Keep these in place of what was kept of the same resources; ``now_ms``: of the plan that wanted so."""
    import sqlalchemy

    query = (
        "INSERT INTO wish (unique_id, resource, since_ms, until_ms, steps) "
        "VALUES (:unique_id, :resource, :since_ms, :until_ms, :steps) "
        "ON CONFLICT (unique_id, resource) DO UPDATE SET since_ms = excluded.since_ms, "
        "until_ms = excluded.until_ms, steps = excluded.steps"
    )
    rows = [
        {
            "unique_id": unique_id,
            "resource": resource,
            "since_ms": one.since_ms,
            "until_ms": now_ms,
            "steps": json.dumps(one.steps, separators=(",", ":")),
        }
        for (unique_id, resource), one in sorted(wishes.items())
    ]
    if rows:
        connection.execute(sqlalchemy.text(query), rows)
