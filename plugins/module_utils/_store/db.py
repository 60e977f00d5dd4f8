# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store's database: SQLite for one controller, PostgreSQL for several. One rule for every table."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core.errors import HeadroomError
from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

BUSY_TIMEOUT_S = 10  # longer than any transaction here; a writer that waits this long has met a stuck one


class Database:
    """Open a state URL: ``sqlite:////path``, a bare path, or ``postgresql+psycopg://...``.

    Raises ``store.unreachable``, and what ``migrations.migrate`` raises. ``read_only`` never creates or migrates.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        with needs("sqlalchemy"):
            import sqlalchemy
        from .migrations import check, migrate

        if "://" not in url:
            url = f"sqlite:///{url}"
        try:
            parsed = sqlalchemy.engine.make_url(url)
        except sqlalchemy.exc.ArgumentError as error:
            # The URL itself may hold a password: it is not repeated.
            raise HeadroomError(
                "store.url",
                "The state URL cannot be read.",
                advice="Write sqlite:////path or postgresql+psycopg://host/db.",
            ) from error
        self.sqlite = parsed.get_backend_name() == "sqlite"
        if self.sqlite and parsed.database and not read_only:
            Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._engine = _connectable(parsed, sqlite=self.sqlite, read_only=read_only)
        (check if read_only else migrate)(self)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A serialised write transaction: commits when the block ends, rolls back when it raises.

        A full disk or a lost server is one ``store.unreachable``; nothing of the block is kept.
        """
        import sqlalchemy

        try:
            with self._engine.begin() as connection:
                yield connection
        except sqlalchemy.exc.DBAPIError as error:
            raise _unreachable(error) from error

    def now_ms(self, connection: Connection) -> int:
        """The database's own clock in ms since 1970: leases of several controllers share it."""
        import sqlalchemy

        text = (
            "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
            if self.sqlite
            else "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        )
        return int(connection.execute(sqlalchemy.text(text)).scalar_one())

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()


def _connectable(url: Any, *, sqlite: bool, read_only: bool) -> Engine:
    import sqlalchemy

    if not sqlite:
        # Serialisable transactions would ask every caller to retry; the tables lock what they must instead.
        return sqlalchemy.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": BUSY_TIMEOUT_S})
    if read_only:
        url = sqlalchemy.engine.make_url(f"sqlite:///file:{url.database}?mode=ro&uri=true")
    engine = sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sqlalchemy.event.listens_for(engine, "connect")
    def _connected(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # the driver must not open transactions of its own
        # No WAL: its side files would be written even by a rehearsal that may only read the folder.
        raw.execute("PRAGMA synchronous=FULL")  # a begun act survives a power cut
        raw.execute("PRAGMA foreign_keys=ON")

    @sqlalchemy.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _unreachable(error: Exception) -> HeadroomError:
    # The driver's message, never SQLAlchemy's: that one carries statements and parameters.
    cause = getattr(error, "orig", None)
    first_line = (str(cause).splitlines() or [""])[0]
    return HeadroomError(
        "store.unreachable",
        f"The state store does not work: {type(cause).__name__}: {first_line}.",
        advice="Check that it can be reached, is not locked by another program and has space left. Nothing was begun.",
    )
