# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal's state: a private copy of the rows, so that check mode plans as a real run and changes nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Optional

from .._core.errors import HeadroomError
from .db import Database
from .migrations import TABLES

ROWS_AT_ONCE = 5000  # in memory


def open_rehearsal(url: str, *, path: Path) -> Database:
    """Open the copy at ``path``; made from the store at ``url`` when it is not there yet. That store is only read."""
    if not path.exists():
        part = path.with_name(f"{path.name}.part")  # a copy that broke off is no copy
        part.unlink(missing_ok=True)
        with closing(Database(str(part))) as copy:
            _fill(copy, url)
        part.replace(path)
    return Database(str(path))


def open_base(url: str) -> Optional[Database]:
    """The store itself, only to be read; None where nobody has made it yet."""
    try:
        return Database(url, read_only=True)
    except HeadroomError as error:
        if error.code == "store.empty":
            return None
        raise


def _fill(copy: Database, url: str) -> None:
    import sqlalchemy

    base = open_base(url)
    if base is None:
        return
    known = sqlalchemy.MetaData()
    with closing(base), base.transaction() as source, copy.transaction() as target:
        known.reflect(target, only=TABLES)
        for name in TABLES:
            table = known.tables[name]
            rows = sqlalchemy.select(table)
            if name == "audit":  # it is never pruned, and all that its chain goes on from is its newest row
                rows = rows.order_by(table.c.sequence.desc()).limit(1)
            # By place and not by name: a scorecard has a row for each VM and day.
            places = ", ".join("?" for _unused in table.columns)
            insert = f"INSERT INTO {name} ({', '.join(table.columns.keys())}) VALUES ({places})"  # noqa: S608 - its own
            for some in source.execute(rows, execution_options={"yield_per": ROWS_AT_ONCE}).partitions():
                target.exec_driver_sql(insert, [tuple(row) for row in some])
