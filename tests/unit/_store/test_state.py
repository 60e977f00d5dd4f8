# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state store, table by table. ``state_url`` is SQLite here; tests/integration runs the same on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action, Change, Inverse
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._store import (
    approvals,
    audit,
    budgets,
    holds,
    journal,
    killswitch,
    leases,
    migrations,
    overlay,
    pruning,
    references,
)
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal

HOUR_MS = 3_600_000
WIDE = Limits(per_host=9, per_host_set=9, per_tenant=9, per_platform=9)
GROW = Action(
    action_id="a0001",
    unique_id="e/u1",
    vm_name="vm1",
    endpoint="e",
    host_id="e/h1",
    host_set="s",
    tenant="t",
    operation="memory.balloon",
    resource="memory_mib",
    direction="grow",
    mode="auto",
    size_before=1024,
    size_after=2048,
    changes=(Change("live.memory_mib", 1024, 2048),),
    generation="g",
    inverse=Inverse("memory.balloon", "live"),
    restart=False,
    reason="a test",
)


@pytest.fixture
def database(state_url):
    opened = Database(state_url)
    yield opened
    opened.close()


def code_of(call):
    with pytest.raises(HeadroomError) as caught:
        call()
    return caught.value.code


def begin(database, action=GROW, *, run_id="run", plan="sha256:p", purpose="size", token=1):
    with database.transaction() as connection:
        journal.begin(database, connection, action, run_id=run_id, plan=plan, purpose=purpose, who="ann", token=token)


def move(database, state, *, action=GROW, token=1, run_id="run", **options):
    where = {"endpoint": action.endpoint, "token": token, "action_id": action.action_id}
    with database.transaction() as connection:
        journal.move(database, connection, **where, state=state, run_id=run_id, who="bob", **options)


def ask(database, question, *arguments, **options):
    with database.transaction() as connection:
        return question(connection, *arguments, **options)


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


def test_the_journal_tells_how_each_act_stands(database):
    second = replace(GROW, action_id="a0002", unique_id="e/u2", direction="shrink")
    begin(database)
    begin(database, second)
    begin(database, replace(GROW, endpoint="other"), plan="sha256:q", token=7)
    move(database, "acted")
    move(database, "done")
    move(database, "owed", action=second, code="guest.refused")
    states = {entry.action_id: entry.state for entry in ask(database, journal.of_plan, "sha256:p")}
    assert states == {"a0001": "done", "a0002": "owed"}
    assert [entry.action_id for entry in ask(database, journal.unsettled, "e")] == ["a0002"]
    assert [entry.code for entry in ask(database, journal.owed)] == ["guest.refused"]
    assert len(ask(database, journal.of_run, "run")) == 3
    found = ask(database, journal.newest_acts, state="done")
    assert {key: direction for key, (direction, _unused) in found.items()} == {("e/u1", "memory_mib"): "grow"}


def test_the_journal_has_a_place_for_each_act_once(database):
    begin(database)
    assert code_of(lambda: begin(database)) == "store.unreachable"
    begin(database, token=2)  # another lease, another act
    assert code_of(lambda: move(database, "done", token=3)) == "journal.missing"
    assert audit.verify(database)[0] == 2


@pytest.mark.safety(rule=6)
def test_a_failed_act_stops_its_host_set_alone(database):
    begin(database)
    move(database, "failed")
    assert ask(database, journal.failed_host_set, "s")
    assert not ask(database, journal.failed_host_set, "another")


@pytest.mark.safety(rule=3)
def test_reverts_count_but_for_those_that_say_nothing_against_the_vm(database):
    for token, code in enumerate(("guest.refused", "recovered", "read_back"), start=1):
        begin(database, token=token)
        move(database, "reverted", token=token, code=code)
        if token == 2:
            assert ask(database, holds.reverted_twice) == set()
    assert ask(database, holds.reverted_twice) == ask(database, holds.reverted_twice, unique_id="e/u1") == {"e/u1"}
    assert ask(database, holds.reverted_twice, unique_id="e/u2") == set()
    with database.transaction() as connection:
        assert set(holds.in_force(database, connection)) == {"e/u1"}
        assert holds.release(database, connection, "e/u1", who="bob")
        assert not holds.release(database, connection, "e/u1", who="bob")
    assert ask(database, holds.reverted_twice) == set()


@pytest.mark.safety(rule=3)
def test_reverts_count_together_of_one_resource_and_within_a_week(database):
    begin(database)
    begin(database, replace(GROW, resource="vcpus"), token=2)
    begin(database, token=3)
    for token in (1, 2, 3):
        move(database, "reverted", token=token, code="guest.refused")
    with database.transaction() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE journal SET updated_at_ms = updated_at_ms - 604800001 WHERE token = 1")
        )
    assert ask(database, holds.reverted_twice) == set()
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text("UPDATE journal SET updated_at_ms = updated_at_ms + 2000 WHERE token = 1"))
    assert ask(database, holds.reverted_twice) == {"e/u1"}


def test_what_held_vms_keep_is_asked_in_one_statement_however_many_there_are(database):
    """A statement takes some 30,000 values, not more."""
    values = []

    def note(_connection, _cursor, _statement, parameters, _context, _many):
        values.append(len(parameters))

    for number in range(40):
        one = replace(GROW, unique_id=f"e/{number}", action_id=f"a{number}")
        for token in (1, 2):
            begin(database, one, token=token)
            move(database, "reverted", action=one, token=token, code="guest.refused")
    now_ms = ask(database, database.now_ms)
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        removed = pruning.prune(database, before_ms=now_ms + HOUR_MS, run_id="r", who="ann")
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
    assert removed["journal"] == 0
    assert max(values) < 10


@pytest.mark.safety(rule=3)
def test_budgets_count_what_the_journal_holds(database):
    other_host = replace(GROW, host_id="e/h2")
    budget = Budget(replace(WIDE, per_host=1), replace(WIDE, per_tenant=2), 3600)

    def window(action, **options):
        with database.transaction() as connection:
            return budgets.window_exceeded(database, connection, action, budget, **options)

    assert ask(database, budgets.at_once_exceeded, GROW, budget) == ""
    begin(database)
    assert ask(database, budgets.at_once_exceeded, GROW, budget) == "per_host 1 (e/h1)"
    assert ask(database, budgets.at_once_exceeded, other_host, budget) == ""
    move(database, "done")
    assert ask(database, budgets.at_once_exceeded, GROW, budget) == ""
    assert window(GROW) == ""
    assert window(GROW, foreseen=[other_host]) == "per_tenant 2 (t)"
    begin(database, token=2)
    assert window(other_host) == "per_tenant 2 (t)"
    with database.transaction() as connection:
        connection.execute(sqlalchemy.text("UPDATE journal SET begun_at_ms = begun_at_ms - 3600001 WHERE token = 1"))
    assert window(other_host) == ""


@pytest.mark.safety(rule=3)
def test_an_act_that_changed_nothing_uses_up_no_window(database):
    budget = Budget(WIDE, replace(WIDE, per_host=1), 3600)
    begin(database)
    for state, written, used in (
        ("begun", True, 1),
        ("reverted", False, 0),
        ("reverted", True, 1),
        ("failed", False, 1),
    ):
        move(database, state, written=written)
        with database.transaction() as connection:
            exceeded = budgets.window_exceeded(database, connection, GROW, budget)
            found = [count for limit, _place, count, _most in budgets.used_in_window(database, connection, budget)]
        assert (bool(exceeded), found) == (bool(used), [used] * 4 if used else []), state


@pytest.mark.safety(rule=3)
def test_an_open_act_whose_lease_is_over_or_whose_run_let_go_of_it_is_left_open(database):
    budget, token = Budget(Limits()), leases.acquire(database, "e", holder="run", ttl_s=60)
    begin(database, token=token)

    def left_open(*broken_off, run_id="run", endpoint="another"):
        one = replace(GROW, endpoint=endpoint)
        with database.transaction() as connection:
            among = budgets.left_open(database, connection, one, run_id=run_id, broken_off=broken_off)
            return bool(budgets.at_once_exceeded(connection, GROW, budget, among=among))

    assert ask(database, budgets.at_once_exceeded, GROW, budget) == "per_host 1 (e/h1)"
    assert not left_open("a0002")
    assert not left_open("a0001", run_id="another")
    assert not left_open("a0001", endpoint="e")
    assert left_open("a0001")
    leases.release(database, "e", token=token)
    assert left_open()
    leases.acquire(database, "e", holder="another", ttl_s=60)
    assert not left_open()  # the other run may be settling it
    assert left_open(run_id="another")  # which it could not
    move(database, "reverted", token=token)
    assert not left_open(run_id="another")


@pytest.mark.safety(rule=9)
def test_an_approval_is_of_one_plan_and_runs_out(database):
    with database.transaction() as connection:
        approvals.grant(database, connection, "sha256:p", who="ann", ttl_s=60, actions=["a0002", "a0001"])
        approvals.grant(database, connection, "sha256:p", who="bob", ttl_s=-1, actions=["a0003"])
        assert approvals.approved(database, connection, "sha256:p") == {"a0001": "ann", "a0002": "ann"}
        assert approvals.approved(database, connection, "sha256:q") == {}
        asked = approvals.Approved("sha256:p")
        for _unused in range(2):
            found = [one for one in ("a0001", "a0002", "a0003") if asked.has(database, connection, one)]
            assert found == ["a0001", "a0002"]
        assert not approvals.Approved("sha256:q").has(database, connection, "a0001")
        connection.execute(sqlalchemy.text("UPDATE approval SET expires_at_ms = 0"))
        assert not asked.has(database, connection, "a0001")
    assert audit.verify(database)[0] == 2


def test_a_hold_lasts_until_its_time_or_its_release(database):
    now_ms = ask(database, database.now_ms)
    for_good, past = holds.Hold("e/1", "ann", "an audit", None), holds.Hold("e/2", "ann", "lunch", now_ms - 1)
    with database.transaction() as connection:
        assert [holds.place(database, connection, hold) for hold in (for_good, past, for_good)] == [True, True, False]
        assert holds.active(database, connection) == {"e/1": for_good}
        assert holds.release(database, connection, "e/1", who="bob")
        assert not holds.release(database, connection, "e/1", who="bob")
        assert holds.active(database, connection) == {}
    assert audit.verify(database)[0] == 3


@pytest.mark.safety(rule=13)
def test_the_kill_switch_is_set_once_and_says_by_whom(database):
    ask(database, killswitch.check)
    assert killswitch.turn(database, on=True, who="ann", reason="fire")
    assert not killswitch.turn(database, on=True, who="bob", reason="smoke")
    with pytest.raises(HeadroomError, match="ann: fire") as caught:
        ask(database, killswitch.check)
    assert caught.value.code == "kill_switch.on"
    assert killswitch.turn(database, on=False, who="bob", reason="out")
    ask(database, killswitch.check)
    assert audit.verify(database)[0] == 2


def test_references_name_what_was_put_last(database):
    assert ask(database, references.get, "plan/a") == ask(database, references.newest, "plan/") == ""
    for name, digest in (("plan/a", "sha256:1"), ("plan/a", "sha256:2"), ("pin/a", "sha256:3")):
        with database.transaction() as connection:
            references.put(database, connection, name, digest)
    assert ask(database, references.get, "plan/a") == ask(database, references.newest, "plan/") == "sha256:2"


@pytest.mark.safety(rule=13)
@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE audit SET who = 'nobody' WHERE sequence = 3",
        "DELETE FROM audit WHERE sequence = 3",
        "UPDATE audit SET at_ms = at_ms + 1 WHERE sequence = 3",
    ],
)
def test_an_edited_audit_log_is_noticed(database, edit, monkeypatch):
    monkeypatch.setattr(audit, "ROWS_AT_ONCE", 2)  # the row is not in the first reading
    for number in range(5):
        with database.transaction() as connection:
            audit.append(database, connection, run_id="r", who="ann", event="e", body={"number": number})
    count, last = audit.verify(database)
    assert count == 5
    with database.transaction() as connection:
        assert connection.execute(sqlalchemy.text("SELECT hash FROM audit WHERE sequence = 5")).scalar_one() == last
        connection.execute(sqlalchemy.text(edit))
    with pytest.raises(HeadroomError, match="changed at or before row") as caught:
        audit.verify(database)
    assert caught.value.code == "audit.broken"


def test_a_block_that_fails_leaves_nothing(database):
    def fail():
        with database.transaction() as connection:
            references.put(database, connection, "plan/a", "sha256:1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ask(database, references.get, "plan/a") == ""


def test_a_newer_store_is_refused_and_left_alone(state_url):
    database = Database(state_url)
    with database.transaction() as connection:
        newer = {"newer": migrations.VERSION + 1}
        connection.execute(sqlalchemy.text("UPDATE headroom_schema SET version = :newer"), newer)
    database.close()
    assert code_of(lambda: Database(state_url)) == "store.newer"
    assert code_of(lambda: Database(state_url, read_only=True)) == "store.newer"


def test_an_older_store_is_migrated_once_and_never_by_a_reader(state_url, monkeypatch):
    Database(state_url).close()
    step = ("CREATE TABLE later (name TEXT PRIMARY KEY)", "INSERT INTO later VALUES ('row')")
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, step))
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    assert code_of(lambda: Database(state_url, read_only=True)) == "store.older"
    for _unused in range(2):
        database = Database(state_url)
        with database.transaction() as connection:
            assert connection.execute(sqlalchemy.text("SELECT name FROM later")).scalars().all() == ["row"]
        database.close()


def test_a_migration_that_breaks_off_leaves_the_version_before(state_url, monkeypatch):
    Database(state_url).close()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "STEPS", (*migrations.STEPS, ("CREATE TABLE later (name TEXT)", "no SQL")))
        patched.setattr(migrations, "VERSION", migrations.VERSION + 1)
        assert code_of(lambda: Database(state_url)) == "store.unreachable"
    database = Database(state_url)
    with database.transaction() as connection:
        assert not sqlalchemy.inspect(connection).has_table("later")
    database.close()


def test_a_reader_writes_nothing(database, state_url):
    reader = Database(state_url, read_only=True)
    assert code_of(lambda: killswitch.turn(reader, on=True, who="ann", reason="fire")) == "store.unreachable"
    reader.close()
    assert not ask(database, killswitch.read).on


def audit_rows(database):
    return ask(database, lambda connection: connection.execute(sqlalchemy.text("SELECT * FROM audit")).all())


def test_a_rehearsal_sees_the_rows_and_changes_nothing(database, state_url, tmp_path, monkeypatch):
    monkeypatch.setattr(overlay, "ROWS_AT_ONCE", 2)
    killswitch.turn(database, on=True, who="ann", reason="fire")
    for number in range(5):
        begin(database, token=number)
    rehearsal = open_rehearsal(state_url, path=tmp_path / "copy.db")
    with rehearsal.transaction() as connection:
        assert killswitch.read(connection).reason == "fire"
        holds.place(rehearsal, connection, holds.Hold("e/1", "ann", "why", None))
    assert len(ask(rehearsal, journal.of_run, "run")) == 5
    rehearsal.close()
    again = open_rehearsal(state_url, path=tmp_path / "copy.db")
    newest, added = audit_rows(again)  # the log can be large: of the store's rows the chain needs the newest alone
    assert (newest.sequence, newest.hash, added.previous) == (*audit.verify(database), newest.hash)
    again.close()
    with database.transaction() as connection:
        assert not holds.active(database, connection)


def test_a_rehearsal_of_nothing_makes_no_store(state_url, tmp_path):
    open_rehearsal(state_url, path=tmp_path / "copy.db").close()
    assert code_of(lambda: Database(state_url, read_only=True)) == "store.empty"
