# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store: leases with two controllers, the audit chain, migrations, rehearsals."""

from __future__ import annotations

import multiprocessing

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, holds, killswitch, leases
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.migrations import VERSION
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal


@pytest.fixture
def database(tmp_path):
    opened = Database(str(tmp_path / "state.db"))
    yield opened
    opened.close()


def code_of(call):
    with pytest.raises(HeadroomError) as caught:
        call()
    return caught.value.code


@pytest.mark.safety(rule=7)
def test_a_lease_has_one_holder_and_a_rising_token(database):
    first = leases.acquire(database, "e", holder="a", ttl_s=60)
    assert code_of(lambda: leases.acquire(database, "e", holder="b", ttl_s=60)) == "lease.held"
    leases.release(database, "e", token=first)
    second = leases.acquire(database, "e", holder="b", ttl_s=60)
    assert second > first
    assert code_of(lambda: leases.renew(database, "e", token=first, ttl_s=60)) == "lease.lost"
    leases.release(database, "e", token=first)  # of no effect
    leases.renew(database, "e", token=second, ttl_s=60)


@pytest.mark.safety(rule=7)
def test_a_lease_that_ran_out_is_lost_and_can_be_taken(database):
    token = leases.acquire(database, "e", holder="a", ttl_s=0)

    def fenced():
        with database.transaction() as connection:
            leases.check(database, connection, "e", token=token)

    assert code_of(fenced) == "lease.lost"
    assert leases.acquire(database, "e", holder="b", ttl_s=60) == token + 1


def _contend(url, name, rounds, results):
    contender = Database(url)
    won = 0
    for _unused in range(rounds):
        try:
            token = leases.acquire(contender, "e", holder=name, ttl_s=60)
        except HeadroomError:
            continue
        with contender.transaction() as connection:
            audit.append(contender, connection, run_id=name, who=name, event="won", body={"token": token})
        leases.release(contender, "e", token=token)
        won += 1
    results.put(won)


@pytest.mark.safety(rule=13)
def test_two_controllers_never_share_a_token_nor_break_the_chain(tmp_path):
    url = str(tmp_path / "state.db")
    database = Database(url)
    spawn = multiprocessing.get_context("fork")
    results = spawn.Queue()
    controllers = [spawn.Process(target=_contend, args=(url, name, 15, results)) for name in "ab"]
    for controller in controllers:
        controller.start()
    won = sum(results.get(timeout=60) for _unused in controllers)
    for controller in controllers:
        controller.join()
    assert audit.verify(database)[0] == won > 0
    with database.transaction() as connection:
        bodies = connection.execute(sqlalchemy.text("SELECT body FROM audit")).scalars().all()
    assert len(set(bodies)) == won


def test_a_newer_store_is_refused_and_left_alone(tmp_path):
    url = str(tmp_path / "state.db")
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text("UPDATE headroom_schema SET version = :newer"), {"newer": VERSION + 1})
    database.close()
    assert code_of(lambda: Database(url)) == "store.newer"
    assert code_of(lambda: Database(url, read_only=True)) == "store.newer"


def test_an_unreachable_store_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert code_of(lambda: Database("postgresql+psycopg://nobody:canary@127.0.0.1:1/none")) == "store.unreachable"
    with pytest.raises(HeadroomError) as caught:
        Database("postgresql+psycopg://nobody:canary@127.0.0.1:1/none")
    assert "canary" not in str(caught.value)
    assert code_of(lambda: Database("no such thing://x")) == "store.url"


def test_a_rehearsal_sees_the_rows_and_changes_nothing(tmp_path):
    url = str(tmp_path / "state.db")
    database = Database(url)
    killswitch.turn(database, on=True, who="ann", reason="fire")
    rehearsal = open_rehearsal(url, path=tmp_path / "copy.db")
    with rehearsal.transaction() as connection:
        assert killswitch.read(connection).reason == "fire"
        holds.place(rehearsal, connection, holds.Hold("e/1", "ann", "why", None))
    assert audit.verify(rehearsal)[0] == 2
    with database.transaction() as connection:
        assert not holds.active(database, connection)


def test_a_rehearsal_creates_no_store(tmp_path):
    open_rehearsal(str(tmp_path / "state.db"), path=tmp_path / "copy.db").close()
    assert not (tmp_path / "state.db").exists()
