# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM to a real ansible-playbook under way: the act in flight ends, no other begins, the journal is closed."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, journal, leases
from tests.kills.killing import DEADLINE_S, alive, run_playbook, wait
from tests.kills.steps import STEPS

from .fleets import Fleet, action, plan


def parent(pid: int) -> int:
    """Of a process that runs."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(
    ("told", "fault", "state"),
    [
        ("module", "refuse", "reverted"),
        ("playbook", "", "done"),
        ("everybody", "", "done"),
    ],
)
def test_asked_to_stop_it_ends_the_act_in_flight_and_begins_no_other(
    tmp_path: Path, told: str, fault: str, state: str
) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=3)
    urls = {"artifacts": str(tmp_path / "artifacts"), "state": str(tmp_path / "state.db")}
    now = datetime.now(UTC)
    context = Context(now=now, who="tester", endpoints=(fleet.endpoint,), urls=urls)
    acts = [action(fleet, f"u{n}", "vcpus.agent", 4, number=n + 1) for n in range(3)]
    digest = context.artifacts.put(plan(*acts, now=now, budget=Budget(Limits())))
    before = fleet.fields("u0")
    if fault:
        fleet.change("u0", faults={"config.vcpus": fault})
    endpoints = [{"name": fleet.endpoint.name, "uri": fleet.endpoint.uri}]
    mark = tmp_path / "mark"
    playbook = run_playbook(
        tmp_path, {"plan": digest, "endpoints": endpoints, **urls}, step=STEPS["one field written, not read back"]
    )
    wait(mark.exists, "the first write", tmp_path)
    module = int(mark.read_text())
    worker = parent(module)
    if told == "everybody":
        os.killpg(playbook.pid, signal.SIGTERM)
    else:
        os.kill(module if told == "module" else playbook.pid, signal.SIGTERM)
    if told != "module":  # the worker that started the module passes the signal on, and ends
        wait(lambda: parent(module) != worker, "the signal at the module", tmp_path)
    time.sleep(1)  # until its main thread runs
    mark.unlink()
    playbook.wait(DEADLINE_S)
    wait(lambda: not alive(module), "the module's end", tmp_path)

    with context.database.transaction() as connection:
        entries = journal.of_plan(connection, digest)
    assert [(entry.action_id, entry.state) for entry in entries] == [("a0001", state)]
    changed = {change.field: change.after for change in acts[0].changes} if state == "done" else {}
    assert fleet.fields("u0") == {**before, **changed}
    assert fleet.fields("u1")["guest.vcpus"] == fleet.fields("u2")["guest.vcpus"] == 2
    assert leases.acquire(
        context.database, "fake", holder="the next", ttl_s=1
    )  # it was given back, not left to run out
    audit.verify(context.database)
    context.close()
    kept = [path.read_bytes() for path in (tmp_path / "artifacts").glob("*/*")]
    (receipt,) = [json.loads(data) for data in kept if b'"headroom.receipt/' in data]
    assert receipt["stopped"] == "stopped"
    assert [one["state"] for one in receipt["outcomes"]] == [state, "skipped", "skipped"]
