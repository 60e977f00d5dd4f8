# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The apply engine against the fake platform: every way an action can end."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.preview import preview, verify
from ansible_collections.headroom.fleet.plugins.module_utils._apply.room import Room
from ansible_collections.headroom.fleet.plugins.module_utils._apply.run import apply_plan
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import release
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import vm_info
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.resize import resize
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._store import (
    approvals,
    audit,
    holds,
    journal,
    killswitch,
    leases,
    references,
)

from .bench import STOP, TERMS, Bench, ends
from .fleets import NOW, WIDE, action, plan


@pytest.mark.parametrize(
    ("operation", "after", "fields"),
    [
        ("vcpus.agent", 4, {"guest.vcpus": 4, "config.vcpus": 4, "live.vcpus": 4}),
        ("vcpus.agent", 1, {"guest.vcpus": 1, "config.vcpus": 1, "live.vcpus": 4}),
        ("vcpus.hotplug", 6, {"guest.vcpus": 2, "config.vcpus": 6, "live.vcpus": 6}),
        ("memory.balloon", 512, {"live.memory_mib": 512, "config.memory_mib": 512}),
    ],
)
@pytest.mark.safety(rule=8)
def test_applies_then_has_nothing_left_to_do(bench: Bench, operation: str, after: int, fields: dict[str, int]) -> None:
    made = plan(action(bench.fleet, "u0", operation, after))
    assert ends(bench.apply(made)) == [("done", "")]
    assert fields.items() <= bench.fleet.fields("u0").items()
    writes = bench.fleet.writes
    assert ends(bench.apply(made)) == [("already_done", "")]
    assert bench.fleet.writes == writes


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(("fault", "code"), [("refuse", "guest.refused"), ("ignore", "read_back")])
def test_a_guest_that_refuses_is_set_back(bench: Bench, fault: str, code: str) -> None:
    before = bench.fleet.fields("u0")
    made = plan(action(bench.fleet, "u0", "vcpus.agent", 4))
    bench.fleet.change("u0", faults={"config.vcpus": fault})
    assert ends(bench.apply(made)) == [("reverted", code)]
    assert bench.fleet.fields("u0") == before


@pytest.mark.safety(rule=6)
def test_a_rollback_that_fails_stops_the_host_set_until_it_is_settled(bench: Bench) -> None:
    before = bench.fleet.fields("u0")
    first = plan(action(bench.fleet, "u0", "vcpus.agent", 4))
    other = plan(action(bench.fleet, "u1", "vcpus.agent", 4))
    bench.fleet.change("u0", faults={"guest.vcpus": "stuck", "config.vcpus": "refuse"})
    assert ends(bench.apply(first)) == [("failed", "rollback_failed")]
    assert ends(bench.apply(other)) == [("skipped", "host_set_stopped")]
    bench.fleet.change("u0", faults={})
    assert [outcome.state for outcome in bench.recover().outcomes] == ["reverted"]
    assert bench.fleet.fields("u0") == before
    assert ends(bench.apply(other)) == [("done", "")]


@pytest.mark.safety(rule=3)
def test_two_reverts_hold_the_vm(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    bench.fleet.change("u0", faults={"config.memory_mib": "refuse"})  # the second of the two
    for _unused in range(2):
        assert ends(bench.apply(made)) == [("reverted", "guest.refused")]
    assert ends(bench.apply(made)) == [("skipped", "reverted_twice")]
    with bench.database.transaction() as connection:
        assert holds.release(bench.database, connection, "fake/u0", who="ann")
    assert ends(bench.apply(made)) == [("reverted", "guest.refused")]
    bench.fleet.change("u0", faults={})
    assert ends(bench.apply(made)) == [("done", "")]


@pytest.mark.safety(rule=3)
@pytest.mark.parametrize(
    ("fault", "code", "then"),
    [
        ("refuse", "guest.refused", ("done", "")),
        ("ignore", "read_back", ("skipped", "reverted_twice")),
        ("timeout", "guest.timeout", ("skipped", "reverted_twice")),  # the guest may carry it out later
    ],
)
def test_an_act_counts_against_its_vm_unless_the_platform_surely_took_nothing_of_it(
    bench: Bench, fault: str, code: str, then: tuple[str, str]
) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    bench.fleet.change("u0", faults={"live.memory_mib": fault})
    for _unused in range(2):
        assert ends(bench.apply(made)) == [("reverted", code)]
    bench.fleet.change("u0", faults={})
    assert ends(bench.apply(made)) == [then]


@pytest.mark.safety(rule=3)
def test_a_vm_changed_and_rolled_back_twice_is_held_until_a_person_looks(bench: Bench, tmp_path: Path) -> None:
    def context() -> Context:
        return bench.context(tmp_path)

    def change() -> Any:
        return resize(context(), vm="vm0", vcpus=3, memory_mib=2048, stop=STOP, terms=TERMS)

    for _unused in range(2):
        done = change().values
        assert done["states"] == {"done": 2}
        receipt = done["receipt"]
        assert rollback(context(), receipt=receipt, stop=STOP, terms=TERMS).values["states"] == {"done": 2}
    with pytest.raises(HeadroomError) as caught:
        change()
    assert caught.value.code == "resize.reverted_twice"
    assert vm_info(context(), vm="vm0").values["hold"] == {
        "who": "headroom",
        "reason": "it was changed and reverted twice",
    }
    assert rollback(context(), receipt=receipt, stop=STOP, terms=TERMS).values["states"] == {}
    assert release(context(), unique_ids=["fake/u0"]).changed
    assert not release(context(), unique_ids=["fake/u0"]).changed
    assert change().changed


@pytest.mark.safety(rule=7)
def test_a_changed_vm_is_superseded_and_its_dependants_with_it(bench: Bench) -> None:
    first = action(bench.fleet, "u0", "memory.balloon", 512)
    second = action(bench.fleet, "u1", "memory.balloon", 2048, number=2, after=("a0001",))
    bench.fleet.change("u0", definition="edited by somebody")
    assert ends(bench.apply(plan(first, second))) == [("skipped", "superseded"), ("skipped", "dependency")]
    bench.fleet.change("u0", definition=None, fields={**bench.fleet.fields("u0"), "live.memory_mib": 900})
    assert ends(bench.apply(plan(first, second))) == [("skipped", "superseded"), ("skipped", "dependency")]
    assert bench.fleet.writes == 0


def name_newest(bench: Bench, made: Plan) -> None:
    """As the plan stage leaves it."""
    with bench.database.transaction() as connection:
        references.put(bench.database, connection, f"plan/{made.made_at}", bench.artifacts.put(made))


@pytest.mark.safety(rule=7)
@pytest.mark.parametrize(
    ("newer", "later", "unapproved", "approved"),
    [
        ([("u0", 512)], 1, ("skipped", "superseded"), ("skipped", "opposed")),
        ([("u0", 3072)], 1, ("skipped", "superseded"), ("done", "")),
        ([], 1, ("skipped", "superseded"), ("done", "")),  # it was in its scope, and is to stay as it is
        (None, 1, ("done", ""), ("done", "")),  # it was not
        ([("u0", 512)], 0, ("done", ""), ("done", "")),  # not newer
    ],
)
def test_a_newer_plan_supersedes_what_nobody_approved_and_holds_back_its_opposite(
    bench: Bench,
    newer: list[tuple[str, int]] | None,
    later: int,
    unapproved: tuple[str, str],
    approved: tuple[str, str],
) -> None:
    wanted = [action(bench.fleet, uuid, "memory.balloon", size) for uuid, size in newer or []]
    other = plan(*wanted, now=NOW + timedelta(minutes=later))
    name_newest(bench, dataclasses.replace(other, scope=("fake/u1",) if newer is None else ("fake/u0", "fake/u1")))
    before = bench.fleet.load()
    for mode, expected in (("auto", unapproved), ("approve", approved)):
        made = plan(action(bench.fleet, "u0", "memory.balloon", 2048, mode=mode))
        name_newest(bench, made)
        digest = bench.artifacts.put(made)
        with bench.database.transaction() as connection:
            if mode == "approve":
                approvals.grant(bench.database, connection, digest, who="ann", ttl_s=60, actions=["a0001"])
        endpoints = {"fake": bench.fleet.endpoint}
        seen = preview(
            bench.database, made, plan_digest=digest, load_plan=bench.load_plan, endpoints=endpoints, now=NOW
        )
        assert [(one.state, one.code) for one in seen] == ends(bench.apply(made)) == [expected]
        bench.fleet.save(before)


def test_a_plan_is_not_read_again_to_see_whether_it_is_newer_than_itself(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 2048))
    name_newest(bench, made)
    read: list[str] = []
    run = dataclasses.replace(bench.run(), load_plan=read.append)
    assert ends(apply_plan(run, made, plan_digest=bench.artifacts.put(made))) == [("done", "")]
    assert not read


@pytest.mark.safety(rule=7)
def test_an_act_approved_by_hand_counts_as_approved_in_every_mode_until_that_ends(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 2048))
    name_newest(bench, dataclasses.replace(plan(now=NOW + timedelta(minutes=1)), scope=("fake/u0",)))
    digest = bench.artifacts.put(made)
    for ttl_s, expected in ((-1, ("skipped", "superseded")), (60, ("done", ""))):
        with bench.database.transaction() as connection:
            approvals.grant(bench.database, connection, digest, who="ann", ttl_s=ttl_s, actions=["a0001"])
        assert ends(bench.apply(made)) == [expected]


@pytest.mark.safety(rule=7)
def test_a_shrink_makes_room_for_a_grow(bench: Bench) -> None:
    fleet = bench.fleet.load()
    fleet["hosts"][0]["memory_mib"] = 3 * 1024
    bench.fleet.save(fleet)
    shrink = action(bench.fleet, "u0", "memory.balloon", 512)
    grow = action(bench.fleet, "u1", "memory.balloon", 1536, number=2)
    assert ends(bench.apply(plan(grow))) == [("skipped", "no_room")]
    waiting = dataclasses.replace(grow, after=("a0001",))
    assert ends(bench.apply(plan(shrink, waiting))) == [("done", ""), ("done", "")]


def test_a_vanished_vm_is_skipped(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    fleet = bench.fleet.load()
    del fleet["vms"]["u0"]
    bench.fleet.save(fleet)
    assert ends(bench.apply(made)) == [("skipped", "vm.vanished")]


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(("planned", "found"), [("off", "running"), ("running", "off")])
def test_an_act_on_the_definition_alone_heeds_whether_the_vm_runs(bench: Bench, planned: str, found: str) -> None:
    bench.fleet.change("u0", power=planned)
    one = action(bench.fleet, "u0", "memory.balloon", 512)
    made = plan(dataclasses.replace(one, changes=tuple(change for change in one.changes if change.persistent)))
    bench.fleet.change("u0", power=found)
    assert ends(bench.apply(made)) == [("skipped", "superseded")]
    assert bench.fleet.writes == 0
    bench.fleet.change("u0", power=planned)
    assert ends(bench.apply(made)) == [("done", "")]
    assert bench.fleet.fields("u0")["config.memory_mib"] == 512
    assert bench.fleet.fields("u0")["live.memory_mib"] == 1024


@pytest.mark.safety(rule=5)
def test_a_vm_in_backup_is_refused(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    bench.fleet.change("u0", refused="backup")
    assert ends(bench.apply(made)) == [("skipped", "vm.backup")]


@pytest.mark.safety(rule=9)
def test_modes_and_approvals(bench: Bench) -> None:
    recommended = plan(action(bench.fleet, "u0", "memory.balloon", 512, mode="recommend"))
    assert ends(bench.apply(recommended)) == [("skipped", "recommend_only")]
    made = plan(
        action(bench.fleet, "u1", "memory.balloon", 512, mode="approve"),
        action(bench.fleet, "u2", "memory.balloon", 512, mode="approve", number=2),
    )
    assert ends(bench.apply(made)) == [("skipped", "not_approved")] * 2
    with bench.database.transaction() as connection:
        digest = bench.artifacts.put(made)
        approvals.grant(bench.database, connection, digest, who="ann", ttl_s=60, actions=["a0002"])
    assert ends(bench.apply(made)) == [("skipped", "not_approved"), ("done", "")]
    with bench.database.transaction() as connection:
        approvals.grant(bench.database, connection, digest, who="ann", ttl_s=-1, actions=["a0001"])
    assert ends(bench.apply(made)) == [("skipped", "not_approved"), ("already_done", "")]


@pytest.mark.safety(rule=9)
def test_a_hold_stops_everything_but_a_rollback(bench: Bench) -> None:
    with bench.database.transaction() as connection:
        holds.place(bench.database, connection, holds.Hold("fake/u0", "ann", "an audit", None))
    one = action(bench.fleet, "u0", "memory.balloon", 512)
    assert ends(bench.apply(plan(one))) == [("skipped", "held")]
    assert ends(bench.apply(plan(one, purpose="rollback"))) == [("done", "")]


@pytest.mark.safety(rule=3)
def test_rolling_budgets_outlive_the_run(bench: Bench) -> None:
    budget = Budget(WIDE, Limits(per_host=1, per_host_set=9, per_tenant=9, per_platform=9), 3600)
    actions = [action(bench.fleet, f"u{n}", "memory.balloon", 512, number=n) for n in range(2)]
    assert ends(bench.apply(plan(*actions, budget=budget))) == [("done", ""), ("skipped", "budget.window")]
    assert ends(bench.apply(plan(actions[1], budget=budget))) == [("skipped", "budget.window")]


@pytest.mark.safety(rule=3)
def test_one_at_once_is_kept_with_many_workers(bench: Bench) -> None:
    actions = [action(bench.fleet, f"u{n}", "memory.balloon", 512, number=n) for n in range(3)]
    assert ends(bench.apply(plan(*actions, budget=Budget(Limits())))) == [("done", "")] * 3
    with bench.database.transaction() as connection:
        rows = sorted(journal.of_run(connection, "run1"), key=lambda entry: entry.begun_at_ms)
    assert all(first.updated_at_ms <= second.begun_at_ms for first, second in itertools.pairwise(rows))


@pytest.mark.safety(rule=13)
def test_the_kill_switch_refuses_the_plan(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    assert killswitch.turn(bench.database, on=True, who="ann", reason="fire")
    with pytest.raises(HeadroomError) as caught:
        bench.apply(made)
    assert caught.value.code == "kill_switch.on"
    assert bench.fleet.writes == 0


def test_an_expired_plan_is_refused(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512), now=NOW.replace(year=2025))
    with pytest.raises(HeadroomError) as caught:
        bench.apply(made)
    assert caught.value.code == "plan.expired"


@pytest.mark.safety(rule=7)
def test_two_applies_at_once(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    token = leases.acquire(bench.database, "fake", holder="other", ttl_s=60)
    with pytest.raises(HeadroomError) as caught:
        bench.apply(made)
    assert caught.value.code == "lease.held"
    leases.release(bench.database, "fake", token=token)
    assert ends(bench.apply(made)) == [("done", "")]


@pytest.mark.safety(rule=8)
def test_a_defect_in_one_worker_ends_the_run_and_lets_go_of_its_leases(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plan(*(action(bench.fleet, f"u{n}", "memory.balloon", 512, number=n + 1) for n in range(2)))
    caught: list[BaseException] = []

    def apply() -> None:
        try:
            bench.apply(made)
        except LookupError as error:
            caught.append(error)

    monkeypatch.setattr(Room, "check", lambda *_: {}["a defect"])
    thread = threading.Thread(target=apply, daemon=True)  # a run that never ends must not keep the tests from ending
    thread.start()
    thread.join(60)
    assert caught
    assert leases.acquire(bench.database, "fake", holder="the next", ttl_s=1)


def test_asked_to_stop_it_begins_nothing(bench: Bench) -> None:
    stop = threading.Event()
    stop.set()
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    receipt = bench.apply(made, stop=stop)
    assert (ends(receipt), receipt.stopped) == ([("skipped", "stopped")], "stopped")


def test_an_unreachable_endpoint_skips_its_actions_only(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    bench.fleet.save({**bench.fleet.load(), "down": True})
    assert ends(bench.apply(made)) == [("skipped", "endpoint.unreachable")]


@pytest.mark.safety(rule=1)
def test_a_preview_says_what_apply_then_does_and_writes_nothing(bench: Bench) -> None:
    made = plan(
        action(bench.fleet, "u0", "memory.balloon", 512),
        action(bench.fleet, "u1", "vcpus.agent", 4, number=2, mode="approve"),
        action(bench.fleet, "u2", "vcpus.agent", 4, number=3, after=("a0002",)),
    )
    digest = bench.artifacts.put(made)
    endpoints = {"fake": bench.fleet.endpoint}
    seen = preview(bench.database, made, plan_digest=digest, load_plan=bench.load_plan, endpoints=endpoints, now=NOW)
    assert bench.fleet.writes == 0
    assert [(one.state, one.code) for one in seen] == ends(bench.apply(made))


def test_verification_sees_drift(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512), action(bench.fleet, "u1", "vcpus.agent", 4, number=2))
    bench.apply(made)
    bench.fleet.change("u1", fields={**bench.fleet.fields("u1"), "guest.vcpus": 3})
    found = verify(made, ["a0001", "a0002"], endpoints={"fake": bench.fleet.endpoint}, now=NOW)
    assert [(one.state, one.code) for one in found] == [("done", ""), ("skipped", "drift")]


@pytest.mark.safety(rule=13)
def test_the_audit_log_notices_an_edit(bench: Bench) -> None:
    bench.apply(plan(action(bench.fleet, "u0", "memory.balloon", 512)))
    assert audit.verify(bench.database)[0] == 3  # begun, acted, done
    import sqlalchemy

    with bench.database.transaction() as connection:
        connection.execute(sqlalchemy.text("UPDATE audit SET who = 'nobody' WHERE sequence = 2"))
    with pytest.raises(HeadroomError, match="changed at or before row 2"):
        audit.verify(bench.database)


def test_one_run_id_may_apply_twice(bench: Bench) -> None:
    made = plan(action(bench.fleet, "u0", "memory.balloon", 512))
    digest = bench.artifacts.put(made)
    bench.fleet.change("u0", faults={"live.memory_mib": "refuse"})
    run = bench.run()
    assert ends(apply_plan(run, made, plan_digest=digest)) == [("reverted", "guest.refused")]
    bench.fleet.change("u0", faults={})
    assert ends(apply_plan(run, made, plan_digest=digest)) == [("done", "")]
