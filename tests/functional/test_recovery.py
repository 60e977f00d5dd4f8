# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The apply engine after a run that broke off: what is left open, and how the next run settles it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.run import recover
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._store import journal

from .bench import Bench, ends
from .fleets import Fleet, action, plan


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
    assert ends(recover(bench.run())) == [("begun", "vm.unreadable")]
    assert ends(bench.apply(made)) == [("skipped", "vm.unreadable"), ("done", "")]
    bench.fleet.change("u0", unreadable=False)
    assert ends(recover(bench.run())) == [("reverted", "recovered")]
    assert bench.fleet.fields("u0") == before


@pytest.mark.safety(rule=8)
def test_recovery_settles_the_other_endpoints_where_one_is_down(bench: Bench, tmp_path: Path) -> None:
    before = bench.fleet.fields("u0")
    open_acts(bench, plan(action(bench.fleet, "u0", "vcpus.agent", 4)))
    bench.fleet.change("u0", fields={**before, "guest.vcpus": 4})
    down = Fleet(tmp_path / "down.json", name="a")  # the first of the two
    down.save({**down.load(), "down": True})
    endpoints = {one.endpoint.name: one.endpoint for one in (down, bench.fleet)}
    with pytest.raises(HeadroomError) as caught:
        recover(dataclasses.replace(bench.run(), endpoints=endpoints))
    assert caught.value.code == "endpoint.unreachable"
    assert bench.fleet.fields("u0") == before


@pytest.mark.safety(rule=8)
def test_an_act_whose_vm_cannot_be_read_back_stays_open(bench: Bench) -> None:
    before = bench.fleet.fields("u0")
    made = plan(action(bench.fleet, "u0", "vcpus.agent", 4))
    bench.fleet.change("u0", faults={"guest.vcpus": "blind"})
    assert ends(bench.apply(made)) == [("begun", "vm.unreadable")]
    bench.fleet.change("u0", faults={}, unreadable=False)
    assert ends(recover(bench.run())) == [("reverted", "recovered")]
    assert bench.fleet.fields("u0") == before


def test_what_was_owed_and_is_so_by_now_is_found_done(bench: Bench) -> None:
    wanted = action(bench.fleet, "u0", "memory.balloon", 512)
    made = plan(dataclasses.replace(wanted, changes=(), deferred=wanted.changes), purpose="rollback")
    open_acts(bench, made)
    bench.fleet.change("u0", fields={**bench.fleet.fields("u0"), **{one.field: 512 for one in wanted.changes}})
    assert ends(recover(bench.run())) == [("done", "recovered")]


def open_acts(bench: Bench, made: Plan) -> str:
    """As a run leaves them that dies once they are begun; the plan's digest."""
    digest = bench.artifacts.put(made)
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
                token=1,
            )
    return digest


def test_recovery_reads_a_plan_once_for_all_its_acts(bench: Bench) -> None:
    made = plan(*(action(bench.fleet, f"u{n}", "vcpus.agent", 4, number=n + 1) for n in range(3)))
    digest = open_acts(bench, made)
    read: list[str] = []

    def load_plan(wanted: str) -> Plan:
        read.append(wanted)
        return bench.load_plan(wanted)

    assert len(recover(dataclasses.replace(bench.run(), load_plan=load_plan)).outcomes) == 3
    assert read == [digest]
