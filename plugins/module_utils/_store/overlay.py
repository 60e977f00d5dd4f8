# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal's state: a private copy of the rows, so that check mode plans as a real run and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .db import Database
from .migrations import TABLES


def open_rehearsal(url: str, *, path: Path) -> Database:
    """Open the copy at ``path``; made from the store at ``url`` when it is not there yet. That store is only read."""
    fresh = not path.exists()
    copy = Database(str(path))
    if fresh and _exists(url):
        base = Database(url, read_only=True)
        _copy(base, copy)
        base.close()
    return copy


def _exists(url: str) -> bool:
    import sqlalchemy

    if "://" not in url:
        return Path(url).exists()
    parsed = sqlalchemy.engine.make_url(url)
    return parsed.get_backend_name() != "sqlite" or Path(str(parsed.database)).exists()


def _copy(base: Database, copy: Database) -> None:
    import sqlalchemy

    known = sqlalchemy.MetaData()
    with base.transaction() as source, copy.transaction() as target:
        known.reflect(target, only=TABLES)
        for table in TABLES:
            rows: list[dict[str, Any]] = [
                dict(row) for row in source.execute(sqlalchemy.select(known.tables[table])).mappings()
            ]
            if rows:
                target.execute(sqlalchemy.insert(known.tables[table]), rows)
