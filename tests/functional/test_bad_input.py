# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between a plan and its apply: one clear error each, nothing lost, nothing half-done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.engine import Engine
from ansible_collections.headroom.fleet.plugins.module_utils._apply.newer import NewerPlans
from ansible_collections.headroom.fleet.plugins.module_utils._apply.room import Room
from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import hold
from ansible_collections.headroom.fleet.plugins.module_utils._platform.registry import open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._store import approvals, holds, journal, leases

from .bench import STOP, TERMS, Bench, ends
from .fleets import NOW, action, plan


def make_newer(data: dict[str, object]) -> None:
    data["schema"] = "headroom.plan/99"


@pytest.mark.safety(rule=7)
def test_a_plan_edited_by_hand_is_refused_whole(bench: Bench, tmp_path: Path) -> None:
    digest = bench.artifacts.put(plan(action(bench.fleet, "u0", "memory.balloon", 512)))
    name = digest.partition(":")[2]
    path = tmp_path / "artifacts" / name[:2] / name
    data = json.loads(path.read_bytes())
    data["actions"][0]["changes"][0]["after"] = 256
    path.write_bytes(canonical_bytes(data))
    with pytest.raises(HeadroomError) as caught:
        apply(bench.context(tmp_path), plan=digest, stop=STOP, terms=TERMS)
    assert caught.value.code == "artifact.edited"
    assert bench.fleet.writes == 0


@pytest.mark.safety(rule=7)
@pytest.mark.parametrize(
    ("changed", "code"), [(make_newer, "schema.newer"), (lambda data: data.pop("scope"), "record.invalid")]
)
def test_a_plan_of_another_release_is_refused_whole(
    bench: Bench,
    tmp_path: Path,
    changed: Callable[[dict[str, object]], None],
    code: str,
) -> None:
    data = bench.artifacts.get_json(bench.artifacts.put(plan(action(bench.fleet, "u0", "memory.balloon", 512))))
    changed(data)
    with pytest.raises(HeadroomError) as caught:
        apply(bench.context(tmp_path), plan=bench.artifacts.put_bytes(canonical_bytes(data)), stop=STOP, terms=TERMS)
    assert (caught.value.code, bool(caught.value.advice)) == (code, True)
    assert bench.fleet.writes == 0


@pytest.mark.safety(rule=7)
def test_a_lease_lost_under_way_stops_before_the_next_write_and_the_next_run_settles(bench: Bench) -> None:
    one = action(bench.fleet, "u0", "memory.balloon", 512)
    made = plan(one)
    digest = bench.artifacts.put(made)
    token = leases.acquire(bench.database, "fake", holder="run", ttl_s=60)
    approved = approvals.Approved(digest)
    newer = NewerPlans(made, approved, bench.load_plan)
    engine = Engine(bench.database, made, digest, "run", "tester", {"fake": token}, lambda: NOW, approved, newer)
    writer = open_writer(bench.fleet.endpoint)
    engine.begin(one, writer, room=Room(made, bench.fleet.observe))
    leases.release(bench.database, "fake", token=token)
    other = leases.acquire(bench.database, "fake", holder="another", ttl_s=60)
    end = engine.carry(one, writer)
    assert (end.state, end.code) == ("begun", "lease.lost")
    assert bench.fleet.writes == 0
    leases.release(bench.database, "fake", token=other)
    assert ends(bench.apply(made)) == [("done", "")]
    with bench.database.transaction() as connection:
        assert [entry.state for entry in journal.of_plan(connection, digest)] == ["reverted", "done"]


def test_a_hold_or_an_approval_that_is_over_before_it_begins_is_refused(bench: Bench, tmp_path: Path) -> None:
    context = bench.context(tmp_path)
    digest = bench.artifacts.put(plan(action(bench.fleet, "u0", "memory.balloon", 512)))
    with pytest.raises(HeadroomError) as caught:
        hold(context, unique_ids=["fake/u0"], reason="an audit", until=format_utc(NOW))
    assert caught.value.code == "hold.over"
    with pytest.raises(HeadroomError) as caught:
        approve(context, plan=digest, ttl_s=0)
    assert caught.value.code == "approval.ttl"
    with bench.database.transaction() as connection:
        assert holds.active(bench.database, connection) == {}
        assert approvals.of_plan(connection, digest) == ()
    context.close()
