# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed anywhere, an action is wholly before or wholly after once the next apply has run: on the fake platform."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import OPEN_STATES
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, journal
from tests.functional.fleets import Fleet, action, plan

from .killing import kill_at
from .steps import KILLERS, OF_TWO_FIELDS, STEPS

# An act of each kind: operation and new value.
ACTS = {
    "agent on-lining": ("vcpus.agent", 4),
    "agent off-lining": ("vcpus.agent", 1),
    "hot-plug": ("vcpus.hotplug", 6),
    "balloon growing": ("memory.balloon", 2048),
    "balloon shrinking": ("memory.balloon", 512),
    "CPU limit": ("fake.cpu_limit_millicores", 500),
    "CPU shares": ("fake.cpu_shares", 512),
    "CPU pins": ("fake.cpu_pinning", "1,3"),
    "disk operations": ("fake.disk_iops", 300),
    "disk bytes": ("fake.disk_bytes_per_s", 2_000_000),
    "bandwidth in": ("fake.interface_inbound_bits_per_s", 8_000_000),
    "bandwidth out": ("fake.interface_outbound_bits_per_s", 8_000_000),
    "statistics period": ("fake.memory_stats_period_s", 5),
    "most vCPUs": ("fake.maximum_vcpus", 16),
    "most memory": ("fake.maximum_memory_mib", 8192),
}
ONE_FIELD = ("most vCPUs", "most memory")
ALWAYS_ACT = "agent off-lining"
ALWAYS_STEPS = ("begun", "acted")


def cases():
    """Every step x killer x act; what is not for each ``make test`` carries the mark ``kills``."""
    return [
        pytest.param(
            act,
            step,
            killer,
            marks=[] if act == ALWAYS_ACT or (step in ALWAYS_STEPS and killer == "module") else [pytest.mark.kills],
        )
        for act, step, killer in itertools.product(ACTS, STEPS, KILLERS)
        if not (act in ONE_FIELD and step in OF_TWO_FIELDS)
    ]


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(("act", "step", "killer"), cases())
def test_killed_on_the_fake_platform(tmp_path: Path, act: str, step: str, killer: str) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    urls = {"artifacts": str(tmp_path / "artifacts"), "state": str(tmp_path / "state.db")}
    context = Context(now=datetime.now(UTC), who="tester", endpoints=(fleet.endpoint,), urls=urls)
    before = fleet.fields("u0")
    planned = action(fleet, "u0", *ACTS[act])
    after = {**before, **{change.field: change.after for change in planned.changes}}
    digest = context.artifacts.put(plan(planned, now=datetime.now(UTC)))
    endpoints = [{"name": fleet.endpoint.name, "uri": fleet.endpoint.uri}]
    kill_at(tmp_path, {"plan": digest, "endpoints": endpoints, **urls}, step=STEPS[step], killer=killer)

    result = apply(context, plan=digest, stop=threading.Event(), terms=LeaseTerms(ttl_s=2, wait_s=10))

    assert set(result.values["states"]) <= {"done", "already_done"}
    assert fleet.fields("u0") == after
    with context.database.transaction() as connection:
        assert not [entry for entry in journal.unsettled(connection, "fake") if entry.state in OPEN_STATES]
    audit.verify(context.database)
    context.close()
