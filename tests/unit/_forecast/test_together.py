# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import FleetModels
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.together import Together
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
from ansible_collections.headroom.fleet.plugins.module_utils._records.hostset import HOST, HOST_SET
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CPU, MEMORY = "cpu_millicores", "memory_used_mib"
REQUEST = Request(now=NOW, metrics=(CPU, MEMORY))
DAYS = 28
AHEAD = 24  # intervals, more than a forecast looks
SET = {"h1": "west", "h2": "west", "h3": "east"}


def vm(name, host, **values):
    data = {"vcpus": 4, "memory_mib": 1024, "power": "running", "generation": "", "fields": {}}
    return VM(
        unique_id=f"lab/{name}",
        endpoint="lab",
        name=name,
        host_id=f"lab/{host}",
        host_set=SET[host],
        **{**data, **values},
    )


def seen(vms):
    hosts = tuple(Host(f"lab/{name}", "lab", name, of, 32, 0, 10**6, 65536, 0, 10**6) for name, of in SET.items())
    return Snapshot("2026-03-02T12:00:00Z", ("lab",), hosts, tuple(vms))


def series(name, values):
    values = np.asarray(values, dtype=np.float64)
    ds = int(NOW.timestamp()) * 1_000_000 + np.arange(-len(values), 0) * 300_000_000
    return pa.table(
        {
            "unique_id": [f"lab/{name}"] * len(values),
            "metric": [CPU] * len(values),
            "ds": pa.array(ds, pa.timestamp("us", "UTC")),
            "interval_s": pa.array([300] * len(values), pa.int32()),
            "mean": values,
            "p95": pa.nulls(len(values), pa.float64()),
            "maximum": values,
            "samples": pa.array([5] * len(values), pa.int32()),
            "coverage_ppm": pa.array([10**6] * len(values), pa.int32()),
        }
    ).cast(interval_schema())


def demands(vms, tables, request=REQUEST, *, models=None):
    together = Together(seen(vms), request)
    make_forecast(tables, request, unique_ids=[one.unique_id for one in vms], together=together, models=models)
    return {(one.kind, one.place, one.metric): one for one in together.demands()}


def fleet(count=12, *, growth=0.0):
    rng = np.random.default_rng(1)
    length = DAYS * 288
    trend = 1 + growth * np.arange(-length, 0) / 288
    vms = [vm(f"v{number:02}", ("h1", "h2")[number % 2]) for number in range(count)]
    return vms, [series(one.name, np.clip(rng.normal(1000, 200, length), 0, None) * trend) for one in vms]


def test_vms_that_do_not_know_of_each_other_need_less_together():
    found = demands(*fleet())
    west = found[HOST_SET, "west", CPU]
    assert (west.vms, west.assumed) == (12, 0)
    assert west.points == 24 * 6
    assert west.apart[1] == pytest.approx(12 * 1256, rel=0.05)
    assert west.quantiles[1] == pytest.approx(12_000 + 1.2816 * 200 * np.sqrt(12), rel=0.03)
    assert found[HOST, "lab/h1", CPU].vms == found[HOST, "lab/h2", CPU].vms == 6
    assert found[HOST_SET, "east", CPU].quantiles == (0, 0, 0)


class Foresees:
    """A model that knows what all VMs have in common, and how far each of them lies from it."""

    name = "quantile_trees"

    def __init__(self, common):
        self.common = common  # beyond the past as well

    def forecast(self, past, ends, *, steps, levels, **_unused):
        apart = np.array([200 * NormalDist().inv_cdf(level) for level in levels])
        now = len(self.common) - AHEAD - past.shape[1]
        said = [self.common[now + end : now + end + steps, None] + apart for end in ends]
        return np.broadcast_to(np.stack(said), (len(past), len(ends), steps, len(levels))).astype(np.float32)


def test_what_a_model_foresees_is_no_surprise_to_their_sum():
    """The spread of a sum is that of the forecasts that are issued, not of those that a model betters."""
    rng = np.random.default_rng(1)
    length, count = DAYS * 288, 12
    common = 1000 + 150 * rng.standard_normal(length + AHEAD)
    vms = [vm(f"v{number:02}", "h1") for number in range(count)]
    tables = [series(one.name, np.clip(common[:length] + rng.normal(0, 200, length), 0, None)) for one in vms]
    models = FleetModels({"sha256:0": Foresees(common)}, {CPU: {one.unique_id: "sha256:0" for one in vms}})
    joint = demands(vms, tables, models=models)[HOST, "lab/h1", CPU].quantiles[1]
    own = 1.2816 * 200 * np.sqrt(count)
    assert joint == pytest.approx(count * common[length : length + 12].max() + own, rel=0.03)
    unforeseen = demands(vms, tables)[HOST, "lab/h1", CPU].quantiles[1]
    assert unforeseen > 12_000 + 2 * own


def test_tables_and_their_order_change_nothing():
    vms, tables = fleet()
    assert demands(vms, [pa.concat_tables(tables[7:]), *reversed(tables[:7])]) == demands(vms, tables)


def test_who_moves_takes_its_past_along():
    vms, tables = fleet()
    vms[0] = vm("v00", "h3")
    found = demands(vms, tables)
    assert found[HOST, "lab/h1", CPU].vms == 5
    alone = found[HOST_SET, "east", CPU]
    assert alone.quantiles[1] == pytest.approx(alone.apart[1], rel=0.05)  # of one VM: its own quantile
    assert alone.points == 24 * 6
    assert min(alone.peaks) > 1000


def test_who_has_no_history_may_use_all_it_has():
    vms, tables = fleet()
    found = demands([*vms, vm("new", "h1", vcpus=3)], tables)
    before = demands(vms, tables)
    for kind, place in ((HOST_SET, "west"), (HOST, "lab/h1")):
        more, less = found[kind, place, CPU], before[kind, place, CPU]
        assert more.assumed == 3000
        assert [one - 3000 for one in more.quantiles] == list(less.quantiles)
    assert found[HOST, "lab/h2", CPU] == before[HOST, "lab/h2", CPU]
    assert found[HOST_SET, "west", MEMORY].assumed == 13 * 1024
    assert found[HOST_SET, "west", MEMORY].growth is None


def test_growth_is_that_of_the_joint_peaks():
    vms, tables = fleet(growth=0.01)  # per day, of what it is now
    west = demands(vms, tables)[HOST_SET, "west", CPU]
    assert len(west.peaks) == DAYS
    low, slope, high = west.growth.slopes
    assert 0 < low <= slope <= high
    assert slope / 1000 == pytest.approx(0.01 * west.growth.levels[1], rel=0.15)


def test_a_vm_that_came_later_is_no_growth():
    vms, tables = fleet()
    tables[0] = tables[0].slice(20 * 288)
    assert demands(vms, tables)[HOST_SET, "west", CPU].growth.slopes[0] <= 0


def test_short_pasts_stand_apart_and_have_no_trend():
    vms, tables = fleet(4)
    west = demands(vms, [one.slice(27 * 288 + 276) for one in tables])[HOST_SET, "west", CPU]
    assert west.points == 0
    assert west.quantiles == west.apart
    assert west.growth is None


def test_one_quantile_alone_is_no_spread():
    vms, tables = fleet(4)
    west = demands(vms, tables, replace(REQUEST, quantiles=("0.9",)))[HOST_SET, "west", CPU]
    assert west.quantiles == west.apart
