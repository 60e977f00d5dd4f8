# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What disks and interfaces were limited to: demand seen there is a lower bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.realised import Frame, Point
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import sizes
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM

START = datetime(2026, 3, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 10**6
STEP_S, COLUMNS = 300, 8
INF, NAN = np.inf, np.nan


def vm(name: str, **limits: int) -> VM:
    fields = {f"{kind}.disk_iops/{disk}": limit for disk, limit in limits.items() for kind in ("live", "config")}
    return VM(
        unique_id=f"e/{name}", endpoint="e", name=name, host_id="h", host_set="s", power="running", vcpus=1,
        memory_mib=1024, generation="g", fields={**fields, "live.disk_iops": 1, "live.disk_bytes_per_s/vda": 7},
    )  # fmt: skip


def at(column: int) -> int:
    return START_US + column * STEP_S * 10**6


ACTS = {
    "disk_iops/vda": {"e/acted": [Point(at(2), at(3), INF, 800.0), Point(at(5), at(6), 800.0, INF)]},
    "disk_iops/vdb": {"e/other": [Point(at(2), at(3), INF, 100.0)]},
}


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "acts_between", lambda *_context, **_span: ACTS)


def test_the_tightest_of_its_disks_binds_a_vm() -> None:
    had = sizes.DevicesHad(ACTS, "disk_iops", Frame((), "disk_iops", START_US, STEP_S, COLUMNS))
    vms = [vm("free", vda=0), vm("both", vda=500, vdb=400), vm("acted", vda=0, vdb=0), vm("none")]
    demand = np.zeros((4, COLUMNS))
    demand[1, 0] = 481  # more than the limit ever lets through: there was another one
    found = had.over(vms, demand)
    np.testing.assert_array_equal(found[0], [INF] * 8)
    np.testing.assert_array_equal(found[1], [NAN] + [400] * 7)
    np.testing.assert_array_equal(found[2], [INF, INF, NAN, 800, 800, NAN, INF, INF])
    np.testing.assert_array_equal(found[3], [INF] * 8)


@pytest.mark.usefixtures("journal")
def test_use_at_a_limit_is_told_to_forecasts() -> None:
    vms = (vm("free", vda=0), vm("held", vda=500))
    seen = Snapshot(taken_at="2026-03-01T12:00:00Z", endpoints=("e",), hosts=(), vms=vms)
    request = Request(now=START + timedelta(days=2), metrics=("disk_iops",), history_s=86_400)
    at_cap = sizes.SeenAtCap(None, seen, request)
    past = np.full((3, request.columns), 100.0, dtype=np.float32)
    past[:, -3:] = [492.0, 493.0, 590.0]
    told = at_cap("disk_iops", ["e/free", "e/held", "e/unknown"], past)
    assert np.flatnonzero(told[1]).tolist() == [request.columns - 2, request.columns - 1]
    assert not told[[0, 2]].any()
    assert not at_cap("cpu_millicores", ["e/held"], past[1:2]).any()
