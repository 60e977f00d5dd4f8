# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store's database: SQLite for one controller, PostgreSQL for several. One rule for every table."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .._core.errors import HeadroomError
from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine

BUSY_TIMEOUT_S = 10  # longer than any transaction here; a writer that waits this long has met a stuck one
# PostgreSQL ends a transaction whose controller stands still for so long, before the others give up waiting for it.
IDLE_TIMEOUT_S = 5
WRITERS_LOCK = 4850421  # of pg_advisory_xact_lock; any number that nobody else uses in this database

POSTGRESQL = "postgresql+psycopg"

# (SQLite?, read-only?) -> how a transaction begins. Writers go one after another on both: what a transaction has read
# stays so until it commits, which budgets, leases, the audit chain and migrations rely on. No one ever has to retry.
BEGIN = {
    (True, False): "BEGIN IMMEDIATE",
    (True, True): "BEGIN",
    (False, False): (
        f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S}s'; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'; "
        f"SELECT pg_advisory_xact_lock({WRITERS_LOCK})"
    ),
    (False, True): "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
}
# A server or network that went silent is noticed within BUSY_TIMEOUT_S, also while an answer is waited for.
CONNECT = {
    "connect_timeout": BUSY_TIMEOUT_S,
    "tcp_user_timeout": BUSY_TIMEOUT_S * 1000,
    "keepalives_idle": IDLE_TIMEOUT_S,
    "keepalives_interval": 1,
    "keepalives_count": IDLE_TIMEOUT_S,
}


class Database:
    """Open a state URL: ``sqlite:////path``, a bare path, or ``postgresql://...``.

    Raises ``store.url``, ``store.unreachable``, and what ``migrations.migrate`` raises. ``read_only`` never creates or
    migrates: it raises what ``migrations.check`` does.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        from .migrations import check, migrate

        parsed = parse_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        # Never the whole URL: it may hold a password.
        self.place = str(parsed.database) if self.sqlite else f"{parsed.host or 'localhost'}/{parsed.database or ''}"
        if self.sqlite and not read_only:
            try:
                Path(self.place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise self._unreachable(error) from error
        self._engine = _engine(parsed, sqlite=self.sqlite, read_only=read_only)
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
            # The driver's message, never SQLAlchemy's: that one carries statements and parameters.
            raise self._unreachable(error.orig or error) from error
        except sqlalchemy.exc.TimeoutError as error:  # every connection of this process waits for the server
            raise self._unreachable(error) from error

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

    def _unreachable(self, cause: BaseException) -> HeadroomError:
        first_line = (str(cause).splitlines() or [""])[0].rstrip(".")
        return HeadroomError(
            "store.unreachable",
            f"The state store at {self.place} does not work: {type(cause).__name__}: {first_line}.",
            advice="Check that it can be reached, is not locked by another program and has space left. "
            "Nothing was begun.",
        )


def parse_url(url: str) -> URL:
    """Read a state URL; a bare path is an SQLite file. Raises ``store.url``, which does not repeat it."""
    with needs("sqlalchemy"):
        import sqlalchemy
    if "://" not in url:
        return sqlalchemy.URL.create("sqlite", database=url)
    try:
        parsed = sqlalchemy.engine.make_url(url)
        backend = parsed.get_backend_name()
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise _bad_url("cannot be read") from None  # their message repeats parts of the URL
    if "@" in f"{parsed.host}{parsed.database}":
        raise _bad_url("has a second @: part of a password would be taken for the host's name")
    if backend == "postgresql":
        return parsed.set(drivername=POSTGRESQL)
    if backend != "sqlite" or not parsed.database:
        raise _bad_url("names no database that Headroom uses")
    return parsed


def _engine(url: URL, *, sqlite: bool, read_only: bool) -> Engine:
    with needs("sqlalchemy", "psycopg"):
        import sqlalchemy

        if sqlite and read_only:
            options = {"mode": "ro", "uri": "true"}
            url = sqlalchemy.URL.create("sqlite", database=f"file:{quote(str(url.database))}", query=options)
        engine = sqlalchemy.create_engine(
            url, pool_pre_ping=not sqlite, connect_args={"timeout": BUSY_TIMEOUT_S} if sqlite else CONNECT
        )
    if sqlite:
        sqlalchemy.event.listen(engine, "connect", _prepare_sqlite)

    @sqlalchemy.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(BEGIN[sqlite, read_only])

    return engine


def _prepare_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None  # the driver must not open transactions of its own
    # No WAL: its side files would be written even by a rehearsal that may only read the folder.
    raw.execute("PRAGMA synchronous=FULL")  # a begun act survives a power cut
    raw.execute("PRAGMA foreign_keys=ON")


def _bad_url(why: str) -> HeadroomError:
    return HeadroomError(
        "store.url",
        f"The state URL {why}.",
        advice="Write sqlite:////path or postgresql://host/database, and in a user or password @ as %40, / as %2F.",
    )
