# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The apply engine after a run that broke off: what is left open, and how the next run settles it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._apply.run import apply_plan, recover
from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import recover_only
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._store import journal

from .bench import STOP, TERMS, Bench, ends
from .fleets import WIDE, Fleet, action, plan


def test_a_connection_that_breaks_leaves_an_open_act_that_the_next_run_settles(bench: Bench) -> None:
    first, second = action(bench.fleet, "u0", "vcpus.agent", 4), action(bench.fleet, "u1", "vcpus.agent", 4, number=2)
    bench.fleet.change("u0", faults={"guest.vcpus": "break"})
    made = plan(first, second, budget=Budget(Limits()))
    assert ends(bench.apply(made)) == [("begun", "endpoint.broken"), ("skipped", "endpoint.broken")]
    bench.fleet.change("u0", faults={})
    assert ends(bench.apply(made)) == [("done", ""), ("done", "")]


@pytest.mark.safety(rule=8)
def test_an_open_act_stays_open_while_its_vm_cannot_be_read(bench: Bench) -> None:
    before = bench.fleet.fields("u0")
    made = plan(action(bench.fleet, "u0", "vcpus.agent", 4), action(bench.fleet, "u1", "vcpus.agent", 1, number=2))
    bench.fleet.change("u0", faults={"guest.vcpus": "break"})
    assert ends(bench.apply(made, workers=1)) == [("begun", "endpoint.broken"), ("skipped", "endpoint.broken")]
    bench.fleet.change("u0", faults={}, unreadable=True)
    assert ends(bench.recover()) == [("begun", "vm.unreadable")]
    assert ends(bench.apply(made)) == [("skipped", "vm.unreadable"), ("done", "")]
    bench.fleet.change("u0", unreadable=False)
    assert ends(bench.recover()) == [("reverted", "recovered")]
    assert bench.fleet.fields("u0") == before


@pytest.mark.safety(rule=8)
def test_recovery_settles_the_other_endpoints_where_one_is_down(bench: Bench, tmp_path: Path) -> None:
    before = bench.fleet.fields("u0")
    open_acts(bench, plan(action(bench.fleet, "u0", "vcpus.agent", 4)))
    bench.fleet.change("u0", fields={**before, "guest.vcpus": 4})
    down = Fleet(tmp_path / "down.json", name="a")  # the first of the two
    down.save({**down.load(), "down": True})
    context = dataclasses.replace(bench.context(tmp_path), endpoints=(down.endpoint, bench.fleet.endpoint))
    with pytest.raises(HeadroomError) as caught:
        recover_only(context, stop=STOP, terms=TERMS)
    assert caught.value.code == "endpoint.unreachable"
    assert bench.fleet.fields("u0") == before
    receipt = bench.artifacts.get(Receipt, str(caught.value.details["receipt"]))
    assert (ends(receipt), receipt.stopped) == ([("reverted", "recovered")], "endpoint.unreachable")


@pytest.mark.safety(rule=8)
def test_what_was_settled_before_the_store_failed_has_its_receipt(bench: Bench, tmp_path: Path) -> None:
    first, second = (action(bench.fleet, f"u{n}", "vcpus.agent", 4, number=n + 1) for n in range(2))
    open_acts(bench, plan(first))
    open_acts(bench, plan(second), token=2, stored=False)
    with pytest.raises(HeadroomError) as caught:
        recover_only(bench.context(tmp_path), stop=STOP, terms=TERMS)
    assert caught.value.code == "artifact.missing"
    assert ends(bench.artifacts.get(Receipt, str(caught.value.details["receipt"]))) == [("reverted", "recovered")]


@pytest.mark.safety(rule=8)
def test_what_broke_a_recovery_off_is_named_beside_an_act_that_stays_open(bench: Bench, tmp_path: Path) -> None:
    open_acts(bench, plan(action(bench.fleet, "u0", "vcpus.agent", 4)))
    bench.fleet.change("u0", unreadable=True)
    down = Fleet(tmp_path / "down.json", name="a")
    down.save({**down.load(), "down": True})
    context = dataclasses.replace(bench.context(tmp_path), endpoints=(down.endpoint, bench.fleet.endpoint))
    with pytest.raises(HeadroomError, match=r"cannot be read.*down\.json is down") as caught:
        recover_only(context, stop=STOP, terms=TERMS)
    assert caught.value.code == "vm.unreadable"
    assert caught.value.details["stopped"] == "endpoint.unreachable"


@pytest.mark.safety(rule=8)
def test_a_recovery_that_broke_off_says_where_beside_its_receipt(bench: Bench, tmp_path: Path) -> None:
    first, second = (action(bench.fleet, f"u{n}", "vcpus.agent", 4, number=n + 1) for n in range(2))
    open_acts(bench, plan(first, second))
    bench.fleet.change("u0", fields={**bench.fleet.fields("u0"), **{one.field: one.after for one in first.changes}})
    bench.fleet.change("u1", fields={**bench.fleet.fields("u1"), "guest.vcpus": 4})
    with pytest.raises(HeadroomError) as caught:
        recover_only(bench.context(tmp_path), stop=STOP, terms=LeaseTerms(ttl_s=0, wait_s=0))  # runs out at once
    assert (caught.value.code, caught.value.details["endpoint"]) == ("lease.lost", "fake")
    assert ends(bench.artifacts.get(Receipt, str(caught.value.details["receipt"]))) == [("done", "recovered")]


def test_a_recovery_that_settled_nothing_leaves_no_receipt(bench: Bench, tmp_path: Path) -> None:
    bench.fleet.save({**bench.fleet.load(), "down": True})
    with pytest.raises(HeadroomError) as caught:
        recover_only(bench.context(tmp_path), stop=STOP, terms=TERMS)
    assert (caught.value.code, caught.value.details) == ("endpoint.unreachable", {})


@pytest.mark.safety(rule=3)
def test_an_act_that_cannot_be_settled_counts_and_nothing_waits_for_it(bench: Bench) -> None:
    made = plan(*(action(bench.fleet, f"u{n}", "vcpus.agent", 1, number=n) for n in (1, 2)), budget=Budget(Limits()))
    open_acts(bench, plan(action(bench.fleet, "u0", "vcpus.agent", 4)))
    bench.fleet.change("u0", unreadable=True)
    receipt = bench.apply(made)
    assert ends(receipt) == [("skipped", "budget.left_open")] * 2
    assert "left open by runs that broke off: per_host 1 (fake/h0)" in receipt.outcomes[0].message
    bench.fleet.change("u0", unreadable=False)
    assert ends(bench.apply(made)) == [("done", "")] * 2


@pytest.mark.safety(rule=3)
def test_what_is_left_open_anywhere_is_settled_before_the_first_act(bench: Bench, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "other.json", name="other")
    open_acts(bench, plan(action(other, "u0", "vcpus.agent", 4)))
    made = plan(
        action(bench.fleet, "u0", "vcpus.agent", 4),
        action(other, "u1", "vcpus.agent", 4, number=2),
        budget=Budget(dataclasses.replace(WIDE, per_tenant=1)),
    )
    run = dataclasses.replace(bench.run(), endpoints={one.endpoint.name: one.endpoint for one in (bench.fleet, other)})
    receipt = apply_plan(run, made, plan_digest=bench.artifacts.put(made))
    assert ends(receipt) == [("done", "")] * 2
    with bench.database.transaction() as connection:
        events = connection.execute(sqlalchemy.text("SELECT event FROM audit ORDER BY sequence")).scalars().all()
    assert events[:3] == ["action.begun", "action.reverted", "action.begun"]


@pytest.mark.safety(rule=3)
def test_nothing_waits_for_an_act_of_its_own_run_that_broke_off(bench: Bench, tmp_path: Path) -> None:
    other = Fleet(tmp_path / "other.json", name="other")
    other.change("u0", faults={"guest.vcpus": "break"})
    made = plan(
        action(other, "u0", "vcpus.agent", 4),
        *(action(bench.fleet, f"u{n}", "vcpus.agent", 4, number=n + 2) for n in range(3)),
        budget=Budget(dataclasses.replace(WIDE, per_tenant=1)),
    )
    run = dataclasses.replace(bench.run(), endpoints={one.endpoint.name: one.endpoint for one in (bench.fleet, other)})
    first, *others = ends(apply_plan(run, made, plan_digest=bench.artifacts.put(made)))
    assert first == ("begun", "endpoint.broken")
    assert set(others) <= {("done", ""), ("skipped", "budget.left_open")}  # by which of them came first


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize("state", ["begun", "acted"])
def test_what_is_owed_for_want_of_room_stays_on_record_where_its_run_died(bench: Bench, state: str) -> None:
    before = bench.fleet.fields("u0")
    wanted = action(bench.fleet, "u0", "memory.balloon", 2048)
    made = plan(dataclasses.replace(wanted, changes=(), deferred=wanted.changes, reason="no room"), purpose="rollback")
    open_acts(bench, made, state=state)
    for _unused in range(2):
        assert ends(bench.recover()) == [("owed", "no_room")]
    with bench.database.transaction() as connection:
        assert [entry.message for entry in journal.owed(connection)] == ["no room"]
    assert bench.fleet.fields("u0") == before


@pytest.mark.safety(rule=8)
def test_an_act_whose_vm_cannot_be_read_back_stays_open(bench: Bench) -> None:
    before = bench.fleet.fields("u0")
    made = plan(action(bench.fleet, "u0", "vcpus.agent", 4))
    bench.fleet.change("u0", faults={"guest.vcpus": "blind"})
    assert ends(bench.apply(made)) == [("begun", "vm.unreadable")]
    bench.fleet.change("u0", faults={}, unreadable=False)
    assert ends(bench.recover()) == [("reverted", "recovered")]
    assert bench.fleet.fields("u0") == before


def test_what_was_owed_and_is_so_by_now_is_found_done(bench: Bench) -> None:
    wanted = action(bench.fleet, "u0", "memory.balloon", 512)
    made = plan(dataclasses.replace(wanted, changes=(), deferred=wanted.changes), purpose="rollback")
    open_acts(bench, made)
    bench.fleet.change("u0", fields={**bench.fleet.fields("u0"), **{one.field: 512 for one in wanted.changes}})
    assert ends(bench.recover()) == [("done", "recovered")]


def open_acts(bench: Bench, made: Plan, *, token: int = 1, state: str = "begun", stored: bool = True) -> str:
    """As a run leaves them that dies once they are begun; the plan's digest."""
    digest = bench.artifacts.put(made) if stored else digest_bytes(b"of a store that was lost")
    for one in made.actions:
        with bench.database.transaction() as connection:
            journal.begin(
                bench.database,
                connection,
                one,
                run_id="dead",
                plan=digest,
                purpose=made.purpose,
                who="ann",
                token=token,
            )
            where = {"endpoint": one.endpoint, "token": token, "action_id": one.action_id}
            if state != "begun":
                journal.move(bench.database, connection, **where, state=state, run_id="dead", who="ann")
    return digest


def test_recovery_reads_a_plan_once_for_all_its_acts(bench: Bench) -> None:
    made = plan(*(action(bench.fleet, f"u{n}", "vcpus.agent", 4, number=n + 1) for n in range(3)))
    digest = open_acts(bench, made)
    read: list[str] = []

    def load_plan(wanted: str) -> Plan:
        read.append(wanted)
        return bench.load_plan(wanted)

    receipt, _unused = recover(dataclasses.replace(bench.run(), load_plan=load_plan))
    assert len(receipt.outcomes) == 3
    assert read == [digest]
