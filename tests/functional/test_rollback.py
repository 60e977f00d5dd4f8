# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undoing what an apply did, on the fake platform."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._store import (
    journal,
)

from .bench import STOP, TERMS, Bench, ends
from .fleets import action, plan


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize("by", ["receipt", "plan"])
def test_a_rollback_restores_what_was(bench: Bench, tmp_path: Path, by: str) -> None:
    before = [bench.fleet.fields(f"u{n}") for n in range(3)]
    made = plan(
        action(bench.fleet, "u0", "memory.balloon", 512),
        action(bench.fleet, "u0", "vcpus.agent", 4, number=2),
        action(bench.fleet, "u1", "vcpus.agent", 1, number=3),
        action(bench.fleet, "u2", "vcpus.hotplug", 6, number=4),
    )
    receipt = bench.apply(made)
    context = bench.context(tmp_path)
    which = {"receipt": bench.artifacts.put(receipt)} if by == "receipt" else {"plan": bench.artifacts.put(made)}
    result = rollback(context, stop=STOP, terms=TERMS, **which)
    assert result.values["states"] == {"done": 3, "owed": 1}
    assert [bench.fleet.fields(f"u{n}") for n in range(2)] == before[:2]
    # What the platform takes out of no running guest waits for its restart, and is then settled.
    assert bench.fleet.fields("u2") == {**before[2], "live.vcpus": 6}
    bench.fleet.change("u2", fields=before[2])
    assert [one.state for one in bench.recover().outcomes] == ["done"]
    assert not rollback(bench.context(tmp_path), stop=STOP, terms=TERMS, **which).changed


@pytest.mark.safety(rule=6)
def test_what_a_full_host_cannot_give_back_is_owed_until_it_can(bench: Bench, tmp_path: Path) -> None:
    def context() -> Context:
        return bench.context(tmp_path)

    def set_memory(mib: int) -> None:
        bench.fleet.save({**bench.fleet.load(), "hosts": [{"name": "h0", "vcpus": 48, "memory_mib": mib}]})

    before = bench.fleet.fields("u0")
    receipt = bench.artifacts.put(bench.apply(plan(action(bench.fleet, "u0", "memory.balloon", 512))))
    set_memory(2560)  # as if somebody had taken the room
    writes = bench.fleet.writes
    found = rollback(context(), receipt=receipt, stop=STOP, terms=TERMS)
    assert found.values["states"] == {"owed": 1}
    assert found.values["outcomes"][0]["code"] == "no_room"
    assert "needs 512 more, its host has room for 0" in " ".join(found.warnings)
    assert (found.before, found.after, bench.fleet.writes) == ("", "", writes)
    with bench.database.transaction() as connection:
        assert [entry.message for entry in journal.owed(connection)] == [
            "owed until there is room: it needs 512 more, its host has room for 0"
        ]
    again = rollback(context(), receipt=receipt, stop=STOP, terms=TERMS)
    assert (again.changed, [one["code"] for one in again.values["left"]]) == (False, ["already_owed"])
    set_memory(4096)
    assert rollback(context(), receipt=receipt, stop=STOP, terms=TERMS).values["states"] == {"done": 1}
    assert bench.fleet.fields("u0") == before
    assert [one.state for one in bench.recover().outcomes] == ["done"]
    with bench.database.transaction() as connection:
        assert journal.owed(connection) == ()


def test_what_was_owed_is_void_once_the_vm_is_something_else(bench: Bench, tmp_path: Path) -> None:
    receipt = bench.artifacts.put(bench.apply(plan(action(bench.fleet, "u0", "memory.balloon", 512))))
    full = bench.fleet.load()
    full["hosts"][0]["memory_mib"] = 2560
    bench.fleet.save(full)
    assert rollback(bench.context(tmp_path), receipt=receipt, stop=STOP, terms=TERMS).values["states"] == {"owed": 1}
    assert ends(bench.apply(plan(action(bench.fleet, "u0", "memory.balloon", 256)))) == [("done", "")]
    assert ends(bench.recover()) == [("skipped", "superseded")]
