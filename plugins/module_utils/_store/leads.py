# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lead times: how long acts really took, from the journal's intent to their end, by endpoint and operation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._records.receipt import DONE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database

SPAN_MS = 28 * 86_400_000  # what is measured: a platform's habits change
MOST_ACTS = 10_000  # the newest; of so many a 95th percentile is known well
LEAST_ACTS = 5  # of fewer nothing is said


@dataclass(frozen=True)
class Lead:
    """Of so many acts half were done within ``median_ms`` and 95 % within ``p95_ms``."""

    acts: int
    median_ms: int
    p95_ms: int


def measured(database: Database, connection: Connection) -> dict[tuple[str, str], Lead]:
    """(endpoint, operation) -> how long its acts took; what a later run had to bring to its end tells nothing."""
    import sqlalchemy

    rows = connection.execute(
        sqlalchemy.text(
            "SELECT endpoint, operation, updated_at_ms - begun_at_ms AS took_ms FROM journal "
            "WHERE begun_at_ms >= :since_ms AND state = :done AND code = '' AND operation <> '' "
            "ORDER BY begun_at_ms DESC LIMIT :most"
        ),
        {"since_ms": database.now_ms(connection) - SPAN_MS, "done": DONE, "most": MOST_ACTS},
    )
    took: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        took[row.endpoint, row.operation].append(max(0, row.took_ms))
    return {key: _lead(sorted(values)) for key, values in took.items() if len(values) >= LEAST_ACTS}


def _lead(ordered: list[int]) -> Lead:
    """Nearest ranks, so that each is a time that was measured."""
    count = len(ordered)
    return Lead(count, *(ordered[-(-count * percent // 100) - 1] for percent in (50, 95)))
