# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal's state: a private copy of the rows, so that check mode plans as a real run and changes nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from .._core.errors import HeadroomError
from .db import Database
from .migrations import TABLES


def open_rehearsal(url: str, *, path: Path) -> Database:
    """Open the copy at ``path``; made from the store at ``url`` when it is not there yet. That store is only read."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")  # a copy that broke off is no copy
        part.unlink(missing_ok=True)
        with closing(Database(str(part))) as copy:
            _fill(copy, url)
        part.replace(path)
    return Database(str(path))


def _fill(copy: Database, url: str) -> None:
    try:
        base = Database(url, read_only=True)
    except HeadroomError as error:
        if error.code == "store.empty":
            return
        raise
    with closing(base):
        _copy(base, copy)


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
