# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which intervals a VM was held back: by use at its size, and by what signals told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.realised import Frame
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.shortage import at_size, full_share, laid, told
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizes import at_times, in_force
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy, load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import (
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    MEMORY_MAJOR_FAULTS_PER_S,
    MEMORY_OOM_KILLS_PER_S,
    MEMORY_SWAP_BYTES_PER_S,
    MEMORY_USED_MIB,
    interval_schema,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import seen_under
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

START = datetime(2026, 3, 1, tzinfo=UTC)
START_US, STEP_US = int(START.timestamp()) * 10**6, 300 * 10**6
INF, NAN = np.inf, np.nan
MEMORY = "schema: headroom.sizing-policy/1\ndefaults: {guard: {memory_used_percent: %s}}\n"


def vm(name):
    return VM(
        unique_id=name, endpoint="e", name=name, host_id="h", host_set="s", power="running", vcpus=2, memory_mib=4096,
        generation="g", fields={},
    )  # fmt: skip


VMS = (vm("e/a"), vm("e/b"))


def rows(metric, values):
    """Rows of VM -> number of the interval -> value."""
    found = [(name, START_US + at * STEP_US, value) for name, of in values.items() for at, value in of.items()]
    names, ds, means = zip(*found, strict=True)
    count = len(found)
    ds = pa.array(ds, pa.timestamp("us", "UTC"))
    columns = [names, [metric] * count, ds, [300] * count, means, means, means, [30] * count, [10**6] * count]
    return pa.table(
        [pa.array(column, kind.type) for column, kind in zip(columns, interval_schema(), strict=True)],
        schema=interval_schema(),
    )


class Limits:
    """Limits of all VMs, by interval; infinite: none in force."""

    def __init__(self, **limits):
        self.values = {f"e/{name}": np.array(of, dtype=float) for name, of in limits.items()}

    def limited(self, vms):
        return [vm for vm in vms if np.isfinite(self.values[vm.unique_id]).any()]

    def limits(self, vms, starts_us):
        frame = Frame([vm.unique_id for vm in vms], CPU_MILLICORES, START_US, 300, 4)
        return at_times(np.array([self.values[vm.unique_id] for vm in vms]), starts_us, frame=frame)


NONE = Limits(a=[INF] * 4, b=[INF] * 4)


def heard(store, metric, *, limits=NONE, policy=None):
    """VM -> numbers of the intervals in which a signal told."""

    def read(unique_ids, of):
        return store.scan(unique_ids, metrics=(of,), start=START, end=START + timedelta(minutes=20), interval_s=300)

    found = told(read, VMS, policy or default_policy(), metric=metric, limits=limits)
    return {name: sorted({(one - START_US) // STEP_US for one in ds.tolist()}) for name, ds in found.items()}


@pytest.fixture
def store(tmp_path):
    return SeriesStore(str(tmp_path / "telemetry"))


def test_use_of_cpu_at_the_size_is_what_a_replay_takes_for_it():
    rng = np.random.default_rng(0)
    demand = np.where(rng.random((50, 40)) < 0.1, NAN, rng.uniform(0, 2, (50, 40)))
    sizes = np.where(rng.random((50, 40)) < 0.1, NAN, rng.uniform(0.5, 1.5, (50, 40)))
    share = full_share(CPU_MILLICORES, VMS, default_policy())[:1]
    with np.errstate(invalid="ignore"):
        expected = seen_under(sizes, demand, np.ones((50, 1)))[1]
    held, below = at_size(sizes, demand, np.ones((50, 1)), share)
    assert 0 < held.sum() < below.sum() < held.size
    assert (held == expected).all()


@pytest.mark.parametrize(("percent", "share"), [("92", 0.92), ("80", 0.8), ("99.5", 0.985)])
def test_of_memory_the_guard_says_how_much_is_all(percent, share):
    assert full_share(MEMORY_USED_MIB, VMS, load_policy(MEMORY % percent, name="p"))[:, 0].tolist() == [share] * 2
    assert full_share(MEMORY_USED_MIB, VMS, default_policy())[0, 0] == 0.92


def test_memory_that_could_not_be_more_and_unknown_use_are_no_want():
    sizes, use = np.array([[4096.0, 8192, 4096, NAN]]), np.array([[3920.0, 8000, NAN, 3920]])
    held, below = at_size(sizes, use, np.full((1, 4), 8192.0), np.array([[0.92]]))
    assert held.tolist() == below.tolist() == [[True, False, False, False]]


def test_signs_of_a_want_of_memory_are_those_that_keep_it_from_shrinking(store):
    assert heard(store, MEMORY_USED_MIB) == {}  # a store of nothing at all
    store.merge(rows(MEMORY_SWAP_BYTES_PER_S, {"e/a": {0: 65536.0, 1: 65535.0}, "e/gone": {0: 1e9}}))
    store.merge(rows(MEMORY_MAJOR_FAULTS_PER_S, {"e/a": {3: 100.0, 4: 1e9}, "e/b": {0: 99.0, 2: 0.0}}))
    assert heard(store, MEMORY_USED_MIB) == {"e/a": [0, 3]}  # the fourth is after the end
    store.merge(rows(MEMORY_OOM_KILLS_PER_S, {"e/b": {1: 0.001, 2: 0.0}}))
    assert heard(store, MEMORY_USED_MIB) == {"e/a": [0, 3], "e/b": [1]}
    lax = load_policy(
        "schema: headroom.sizing-policy/1\n"
        "rules: [{name: b, match: {name: e/a}, set: {memory: {calm_swap_kib_per_s: 65}}}]\n",
        name="p",
    )
    assert heard(store, MEMORY_USED_MIB, policy=lax) == {"e/a": [3], "e/b": [1]}


def test_in_a_rehearsal_its_own_rows_count(store, tmp_path):
    store.merge(rows(MEMORY_SWAP_BYTES_PER_S, {"e/a": {0: 1e6, 1: 1e6}}))
    rehearsed = SeriesStore(str(tmp_path / "telemetry"), overlay_url=str(tmp_path / "overlay"))
    rehearsed.merge(rows(MEMORY_SWAP_BYTES_PER_S, {"e/a": {1: 5.0, 2: 1e6}, "e/b": {0: 1e6}}))
    assert heard(rehearsed, MEMORY_USED_MIB) == {"e/a": [0, 2], "e/b": [0]}


def test_delay_tells_while_a_limit_is_in_force(store):
    limits = Limits(a=[1000, 1000, INF, NAN], b=[INF] * 4)
    assert heard(store, CPU_MILLICORES, limits=limits) == {}
    store.merge(rows(CPU_DELAY_MILLICORES, {name: {0: 50.0, 1: 49.0, 2: 900.0, 3: 900.0} for name in ("e/a", "e/b")}))
    assert heard(store, CPU_MILLICORES, limits=limits) == {"e/a": [0]}
    assert heard(store, CPU_MILLICORES) == {}


def test_a_limit_is_in_force_below_what_it_limits():
    limit, whole = np.array([[500.0, 2000, INF, NAN, 500]]), np.array([[2000.0, 2000, 2000, 2000, NAN]])
    assert in_force(limit, whole).tolist() == [[500, INF, INF, INF, INF]]


def test_what_is_heard_falls_into_intervals_that_may_be_longer():
    heard_at = {"e/b": np.array([START_US - STEP_US, START_US, START_US + 4 * STEP_US, START_US + 6 * STEP_US])}
    flags = laid(heard_at, ["e/a", "e/b"], start_us=START_US, step_us=3 * STEP_US, columns=2)
    assert flags.tolist() == [[False, False], [True, True]]
