# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store on PostgreSQL: the very tests that run on SQLite, and what only a server can do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, killswitch, references
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from tests.functional import test_prune
from tests.functional import test_scorecard as test_cycles
from tests.servers.postgres import PROGRAMS, Postgres, running
from tests.unit._store import test_controllers, test_models, test_scorecard, test_state, test_wishes

# Their tests, with the fixture state_url of this module.
for module in (test_prune, test_cycles, test_controllers, test_models, test_scorecard, test_state, test_wishes):
    globals().update({name: value for name, value in vars(module).items() if not name.startswith("__")})


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


@pytest.fixture
def state_url(server: Postgres) -> str:
    return server.database()


def refusal(call) -> HeadroomError:
    with pytest.raises(HeadroomError) as caught:
        call()
    return caught.value


def test_a_wrong_password_is_not_repeated(server: Postgres, state_url: str) -> None:
    error = refusal(lambda: Database(state_url.replace(server.password, "another-canary")))
    assert error.code == "store.unreachable"
    assert "canary" not in str(error)


def test_a_role_that_may_only_use_the_tables(server: Postgres, state_url: str) -> None:
    Database(state_url).close()
    with psycopg.connect(state_url.replace("+psycopg", "")) as connection:
        connection.execute("CREATE ROLE worker LOGIN PASSWORD 'work'")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker")
    worker = Database(state_url.replace(f"headroom:{server.password}", "worker:work"))
    assert killswitch.turn(worker, on=True, who="ann", reason="fire")
    worker.close()


def test_a_server_that_fails_keeps_nothing_of_the_block_and_the_next_one_goes_on(
    server: Postgres, state_url: str
) -> None:
    database = Database(state_url)

    def fail() -> None:
        with database.transaction() as connection:
            references.put(database, connection, "plan/a", "sha256:1")
            server.stop()
            references.put(database, connection, "plan/b", "sha256:1")

    try:
        assert refusal(fail).code == "store.unreachable"
        down = refusal(lambda: Database(state_url))
        assert (down.code, server.password in str(down)) == ("store.unreachable", False)
        assert refusal(lambda: Database(state_url, read_only=True)).code == "store.unreachable"
    finally:
        server.start()
    with database.transaction() as connection:  # the same object: a run may outlive a restart of the server
        assert references.get(connection, "plan/a") == references.get(connection, "plan/b") == ""
    database.close()


def test_a_controller_that_stands_still_in_a_transaction_does_not_stop_the_others(state_url: str) -> None:
    still, other = Database(state_url), Database(state_url)

    def stand_still() -> None:
        with still.transaction() as connection:
            references.put(still, connection, "plan/a", "sha256:1")
            with other.transaction() as its:  # waits until the server has ended the first
                references.put(other, its, "plan/a", "sha256:2")

    assert refusal(stand_still).code == "store.unreachable"
    with other.transaction() as connection:
        assert references.get(connection, "plan/a") == "sha256:2"
    still.close()
    other.close()


def test_a_reader_sees_one_moment_and_waits_for_no_writer(state_url: str) -> None:
    database = Database(state_url)
    reader = Database(state_url, read_only=True)
    with reader.transaction() as reading:
        assert references.get(reading, "plan/a") == ""
        with database.transaction() as writing:
            references.put(database, writing, "plan/a", "sha256:1")
        assert reading.execute(sqlalchemy.text("SELECT COUNT(*) FROM reference")).scalar_one() == 0
    with reader.transaction() as reading:
        assert references.get(reading, "plan/a") == "sha256:1"
    reader.close()
    database.close()


def test_a_dump_restores_the_store(server: Postgres, state_url: str, tmp_path: Path) -> None:
    database = Database(state_url)
    killswitch.turn(database, on=True, who="ann", reason="fire")
    database.close()
    restored = server.database()
    dump = tmp_path / "headroom.dump"
    for program, *options in (
        ("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={state_url.replace('+psycopg', '')}"),
        ("pg_restore", f"--dbname={restored.replace('+psycopg', '')}", str(dump)),
    ):
        subprocess.run([PROGRAMS / program, *options], check=True)
    database = Database(restored)
    assert audit.verify(database)[0] == 1
    with database.transaction() as connection:
        assert killswitch.read(connection).reason == "fire"
    database.close()
