# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several controllers on one state store: processes of their own that begin at once."""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from dataclasses import replace

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget
from ansible_collections.headroom.fleet.plugins.module_utils._store import (
    audit,
    budgets,
    holds,
    journal,
    killswitch,
    leases,
    migrations,
)
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database

from .test_state import GROW, WIDE

DEADLINE_S = 120


def at_once(work, *arguments):
    """Run ``work(*one)`` for each of the arguments in a process of its own, all from the same moment on."""
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Barrier(len(arguments)), fork.Queue()

    def controller(one):
        start.wait(DEADLINE_S)
        try:
            answers.put((work(*one), ""))
        except Exception:  # noqa: BLE001 - it goes on in the test's own process
            answers.put((None, traceback.format_exc()))

    processes = [fork.Process(target=controller, args=(one,)) for one in arguments]
    for process in processes:
        process.start()
    found = [answers.get(timeout=DEADLINE_S) for _unused in processes]
    for process in processes:
        process.join(DEADLINE_S)
    assert not [error for _unused, error in found if error], found
    return [answer for answer, _unused in found]


def events(url):
    """Event and body of each audit row, after checking that the chain is one."""
    database = Database(url)
    audit.verify(database)
    with database.transaction() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT event, body FROM audit ORDER BY sequence")).all()
    database.close()
    return [(row.event, json.loads(row.body)) for row in rows]


def open_it(url, _number):
    database = Database(url)
    with database.transaction() as connection:
        return connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM headroom_schema")).scalar_one()


def test_a_store_is_made_once_by_all_that_come_first(state_url):
    assert at_once(open_it, *((state_url, number) for number in range(4))) == [1] * 4
    assert len(migrations.STEPS) == migrations.VERSION


def hold_the_lease(url, name, rounds):
    database, won = Database(url), 0
    while won < rounds:
        try:
            token = leases.acquire(database, "e", holder=name, ttl_s=60)
        except HeadroomError as error:
            assert error.code == "lease.held"  # noqa: PT017 - in a controller
            time.sleep(0.01)
            continue
        for event in ("in", "out"):
            with database.transaction() as connection:
                leases.check(database, connection, "e", token=token)
                audit.append(database, connection, run_id=name, who=name, event=event, body={"token": token})
        leases.release(database, "e", token=token)
        won += 1
    return won


@pytest.mark.safety(rule=7)
@pytest.mark.safety(rule=13)
def test_a_lease_has_one_holder_at_a_time_and_the_audit_log_stays_one_chain(state_url):
    assert at_once(hold_the_lease, (state_url, "a", 12), (state_url, "b", 12)) == [12, 12]
    found = events(state_url)
    assert [event for event, _unused in found] == ["in", "out"] * 24
    tokens = [body["token"] for event, body in found if event == "in"]
    assert tokens == [body["token"] for event, body in found if event == "out"] == sorted(set(tokens))


def act(url, endpoint, rounds, budget):
    """As the write gate does: everything that a begin rests on is read in the transaction that begins."""
    database, begun = Database(url), 0
    token = leases.acquire(database, endpoint, holder=endpoint, ttl_s=60)
    for number in range(rounds):
        action = replace(GROW, endpoint=endpoint, host_id=f"{endpoint}/h", action_id=f"a{number}")
        with database.transaction() as connection:
            leases.check(database, connection, endpoint, token=token)
            if budgets.at_once_exceeded(connection, action, budget) or budgets.window_exceeded(
                database, connection, action, budget
            ):
                continue
            journal.begin(
                database, connection, action, run_id=endpoint, plan="p", purpose="size", who=endpoint, token=token
            )
        begun += 1
        with database.transaction() as connection:
            where = {"endpoint": endpoint, "token": token, "action_id": action.action_id}
            journal.move(database, connection, **where, state="done", run_id=endpoint, who=endpoint)
    return begun


@pytest.mark.safety(rule=3)
def test_a_budget_that_two_controllers_share_is_never_exceeded(state_url):
    one_at_once = Budget(replace(WIDE, per_tenant=1))
    assert sum(at_once(act, (state_url, "e1", 15, one_at_once), (state_url, "e2", 15, one_at_once))) >= 15
    names = [event for event, _unused in events(state_url)]
    assert names == ["action.begun", "action.done"] * (len(names) // 2)


@pytest.mark.safety(rule=3)
def test_a_rolling_budget_that_two_controllers_share_is_used_up_exactly(state_url):
    seven = Budget(WIDE, replace(WIDE, per_tenant=7), 3600)
    assert sum(at_once(act, (state_url, "e1", 10, seven), (state_url, "e2", 10, seven))) == 7


def turn(url, who):
    return killswitch.turn(Database(url), on=True, who=who, reason="fire")


def place(url, who):
    database = Database(url)
    with database.transaction() as connection:
        return holds.place(database, connection, holds.Hold("e/1", who, "why", None))


def test_what_two_people_do_at_once_is_on_record_as_one_after_the_other(state_url):
    assert sorted(at_once(turn, (state_url, "ann"), (state_url, "bob"))) == [False, True]
    assert at_once(place, (state_url, "ann"), (state_url, "bob")) == [True, True]
    found = events(state_url)
    assert [event for event, _unused in found] == ["kill_switch.on", "hold.placed", "hold.placed"]
