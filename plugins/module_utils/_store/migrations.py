# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store's tables, version by version. A step is added at the end and never changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .db import Database

# Times are ms since 1970, days are days since then; flags are 0 or 1; lists are canonical JSON. SQL that both SQLite
# and PostgreSQL read.
STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE journal (
            run_id TEXT NOT NULL, action_id TEXT NOT NULL, plan TEXT NOT NULL, unique_id TEXT NOT NULL,
            resource TEXT NOT NULL, direction TEXT NOT NULL, endpoint TEXT NOT NULL, host_id TEXT NOT NULL,
            host_set TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL, code TEXT NOT NULL,
            message TEXT NOT NULL, token BIGINT NOT NULL, begun_at_ms BIGINT NOT NULL, updated_at_ms BIGINT NOT NULL,
            PRIMARY KEY (endpoint, token, action_id))""",
        "CREATE INDEX journal_open ON journal (endpoint, state)",
        "CREATE INDEX journal_run ON journal (run_id)",
        "CREATE INDEX journal_begun ON journal (begun_at_ms)",
        "CREATE INDEX journal_vm ON journal (unique_id, updated_at_ms)",
        """CREATE TABLE audit (
            sequence BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL, run_id TEXT NOT NULL, who TEXT NOT NULL,
            event TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL)""",
        """CREATE TABLE approval (
            approval_id TEXT PRIMARY KEY, plan TEXT NOT NULL, who TEXT NOT NULL, at_ms BIGINT NOT NULL,
            expires_at_ms BIGINT NOT NULL, actions TEXT NOT NULL)""",
        "CREATE INDEX approval_plan ON approval (plan)",
        """CREATE TABLE hold (
            unique_id TEXT PRIMARY KEY, who TEXT NOT NULL, reason TEXT NOT NULL, at_ms BIGINT NOT NULL,
            until_ms BIGINT)""",
        """CREATE TABLE lease (
            endpoint TEXT PRIMARY KEY, holder TEXT NOT NULL, token BIGINT NOT NULL, expires_at_ms BIGINT NOT NULL)""",
        """CREATE TABLE kill_switch (
            only_row INTEGER PRIMARY KEY, is_on INTEGER NOT NULL, who TEXT NOT NULL, reason TEXT NOT NULL,
            at_ms BIGINT NOT NULL)""",
        """CREATE TABLE reference (
            name TEXT PRIMARY KEY, digest TEXT NOT NULL, at_ms BIGINT NOT NULL)""",
    ),
    (
        "ALTER TABLE journal ADD COLUMN purpose TEXT NOT NULL DEFAULT 'size'",
        "CREATE TABLE released (unique_id TEXT PRIMARY KEY, who TEXT NOT NULL, at_ms BIGINT NOT NULL)",
    ),
    (
        "CREATE INDEX journal_plan ON journal (plan)",
        "CREATE INDEX journal_state ON journal (state, host_set)",
    ),
    ("ALTER TABLE journal ADD COLUMN written INTEGER NOT NULL DEFAULT 1",),
    (
        """CREATE TABLE lineage (
            artifact TEXT PRIMARY KEY, refers_to TEXT NOT NULL, table_url TEXT NOT NULL,
            table_version BIGINT NOT NULL)""",
    ),
    (
        """CREATE TABLE model (
            purpose TEXT NOT NULL, metric TEXT NOT NULL, lead_s BIGINT NOT NULL, model TEXT NOT NULL,
            status TEXT NOT NULL, share_ppm BIGINT NOT NULL, made_ms BIGINT NOT NULL, since_ms BIGINT NOT NULL,
            reason TEXT NOT NULL, PRIMARY KEY (purpose, metric, lead_s, model))""",
    ),
    (
        """CREATE TABLE issued (
            forecast TEXT PRIMARY KEY, snapshot TEXT NOT NULL, fleet TEXT NOT NULL, made_ms BIGINT NOT NULL,
            first_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL, interval_s BIGINT NOT NULL)""",
        "CREATE INDEX issued_until ON issued (until_ms)",
        """CREATE TABLE score (
            unique_id TEXT NOT NULL, metric TEXT NOT NULL, day BIGINT NOT NULL, scored BIGINT NOT NULL,
            violated BIGINT NOT NULL, missed BIGINT NOT NULL, loss DOUBLE PRECISION NOT NULL,
            naive_loss DOUBLE PRECISION NOT NULL, covered DOUBLE PRECISION NOT NULL, banded BIGINT NOT NULL,
            until_ms BIGINT NOT NULL, PRIMARY KEY (unique_id, metric, day))""",
        "CREATE INDEX score_day ON score (day)",
        """CREATE TABLE standing (
            unique_id TEXT NOT NULL, metric TEXT NOT NULL, demoted INTEGER NOT NULL, since_day BIGINT NOT NULL,
            code TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (unique_id, metric))""",
    ),
    ("ALTER TABLE journal ADD COLUMN operation TEXT NOT NULL DEFAULT ''",),
    (
        """CREATE TABLE wish (
            unique_id TEXT NOT NULL, resource TEXT NOT NULL, since_ms BIGINT NOT NULL, until_ms BIGINT NOT NULL,
            steps TEXT NOT NULL, PRIMARY KEY (unique_id, resource))""",
    ),
)
VERSION = len(STEPS)
TABLES = (
    *("journal", "audit", "approval", "hold", "released", "lease", "kill_switch", "reference", "lineage", "model"),
    *("issued", "score", "standing", "wish"),
)


def migrate(database: Database) -> None:
    """Bring the store to this release's version, in one transaction. Raises ``store.newer``, ``store.unreachable``."""
    import sqlalchemy

    with database.transaction() as connection:
        version = _version(connection)
        _refuse_newer(version, database)
        if not version:
            connection.execute(sqlalchemy.text("CREATE TABLE headroom_schema (version INTEGER NOT NULL)"))
        for step in STEPS[version:]:
            for statement in step:
                connection.execute(sqlalchemy.text(statement))
        if version != VERSION:
            connection.execute(sqlalchemy.text("DELETE FROM headroom_schema"))
            connection.execute(sqlalchemy.text("INSERT INTO headroom_schema VALUES (:version)"), {"version": VERSION})


def check(database: Database) -> None:
    """As ``migrate``, but changes nothing: raises ``store.empty``, ``store.older`` where a migration is due."""
    empty = HeadroomError(
        "store.empty",
        f"There is no state store at {database.place} yet.",
        advice="Run any stage without check mode once: it makes the store.",
    )
    if database.sqlite and not Path(database.place).exists():
        raise empty
    with database.transaction() as connection:
        version = _version(connection)
    _refuse_newer(version, database)
    if not version:
        raise empty
    if version != VERSION:
        raise HeadroomError(
            "store.older",
            f"The state store at {database.place} has version {version}; this release reads {VERSION}.",
            advice="Run any stage without check mode once: it migrates the store.",
        )


def _version(connection: Connection) -> int:
    """The store's version; 0 where nothing was ever made."""
    import sqlalchemy

    # Asked for, not "CREATE TABLE IF NOT EXISTS": a role that may only use the tables need not be able to make them.
    if not sqlalchemy.inspect(connection).has_table("headroom_schema"):
        return 0
    return int(connection.execute(sqlalchemy.text("SELECT MAX(version) FROM headroom_schema")).scalar() or 0)


def _refuse_newer(version: int, database: Database) -> None:
    if version > VERSION:
        raise HeadroomError(
            "store.newer",
            f"The state store at {database.place} has version {version}; this release reads up to {VERSION}.",
            advice="Upgrade headroom.fleet on this controller.",
        )
