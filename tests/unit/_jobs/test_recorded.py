# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry as a trace: what is known when, who is left out and why, and what the sizes of a replay cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.loss import realised_loss
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.recorded import known_part, newest_at, recorded
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import CPU_POINT
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

START = datetime(2026, 3, 1, tzinfo=UTC)
NAN = float("nan")
DAY = 288
STEPS = 2 * DAY


class Rows:
    """A scan of rows that are in no store: a store would refuse some of them."""

    def __init__(self, *tables):
        self._tables = tables

    def tables(self):
        return iter(self._tables)


def table(values, *, maxima=None, first=0):
    """Millicores by VM, None for no row; column 0 begins at START + first intervals."""
    found = [
        (name, first + at, value, (maxima or values)[name][at])
        for name, of in sorted(values.items())
        for at, value in enumerate(of)
        if value is not None
    ]
    names, at, mean, maximum = zip(*found, strict=True)
    count = len(names)
    ds = (int(START.timestamp()) + 300 * np.array(at)) * 1_000_000
    columns = [
        names, [CPU_MILLICORES] * count, pa.array(ds, pa.timestamp("us", "UTC")), [300] * count, mean, mean, maximum,
        [1] * count, [1_000_000] * count,
    ]  # fmt: skip
    rows = pa.table(
        [pa.array(column, kind.type) for column, kind in zip(columns, interval_schema(), strict=True)],
        schema=interval_schema(),
    )
    return rows.set_column(0, "unique_id", rows["unique_id"].dictionary_encode())


def vm(name, *, vcpus=2, **fields):
    return VM(
        unique_id=name, endpoint="e", name=name, host_id="h", host_set="s", power="running", vcpus=vcpus,
        memory_mib=1024, generation="g", fields=fields,
    )  # fmt: skip


def read(*tables, vms, target="maximum", steps=STEPS):
    end = START + timedelta(seconds=300 * steps)
    return recorded(Rows(*tables), vms, metric=CPU_MILLICORES, target=target, start=START, end=end)


def test_demand_and_capacity_are_in_vcpus_and_known_from_the_first_interval_on():
    values = {"a": [None] * 10 + [500.0] * 400, "b": [1500.0] * STEPS}
    maxima = {"a": [None] * 10 + [700.0] * 400, "b": [2500.0] * STEPS}
    vms = [vm("a", **{"config.maximum_vcpus": 8}), vm("b")]
    found = read(table(values, maxima=maxima), vms=vms)
    trace = found.trace
    assert (trace.unique_ids, trace.start, trace.steps, found.rejected) == (("a", "b"), START, STEPS, {})
    assert np.isnan(trace.demand[0, :10]).all()
    assert np.isnan(trace.capacity[0, :10]).all()
    assert (trace.demand[0, 10:416] == 0.7).all()  # carried for half an hour
    assert np.isnan(trace.demand[0, 416:]).all()
    assert (trace.capacity[0, 10:] == 8).all()
    assert (trace.demand[1] == 2).all()  # what it has
    assert (trace.floor[1] == 0.1).all()
    assert (read(table(values, maxima=maxima), vms=vms, target="mean").trace.demand[1] == 1.5).all()
    assert known_part(trace).steps == STEPS
    assert known_part(trace.only({"a"})).start == START + timedelta(seconds=3000)


def test_nothing_from_the_end_on_is_looked_at():
    values = {"a": [500.0] * (STEPS + 50)}
    later = {"a": [500.0] * STEPS + [-1.0] * 50}
    assert (read(table(values), vms=[vm("a")]).trace.demand == read(table(later), vms=[vm("a")]).trace.demand).all()


@pytest.mark.parametrize(
    ("series", "why"),
    [
        ([500.0, -1.0] * DAY, "a value is negative"),
        ([NAN] * STEPS, "a value is no number"),
        ([500.0] * DAY + [float("inf")] * DAY, "a value is no number"),
        ([500.0] * (DAY - 1), "less than a day known"),
    ],
)
def test_a_bad_series_is_left_out_with_its_reason_and_the_others_stay(series, why):
    good = {"a": [500.0] * STEPS, "c": [300.0, 400.0] * DAY}
    alone = read(table(good), vms=[vm("a"), vm("c")])
    found = read(table({**good, "b": series}), vms=[vm("a"), vm("b"), vm("c")])
    assert found.rejected == {"b": why}
    assert found.trace.unique_ids == alone.trace.unique_ids
    np.testing.assert_array_equal(found.trace.demand, alone.trace.demand)


def test_constant_and_idle_series_count_and_tables_join():
    found = read(table({"a": [0.0] * STEPS}), table({"b": [500.0] * STEPS}), vms=[vm("a"), vm("b"), vm("c")])
    assert found.trace.unique_ids == ("a", "b")
    assert found.rejected == {"c": "no telemetry"}
    nothing = read(vms=[vm("c", vcpus=0)])
    assert (nothing.trace.unique_ids, nothing.trace.demand.shape) == ((), (0, STEPS))
    assert read(table({"a": [1.0] * STEPS}), vms=[vm("a", vcpus=0)]).rejected == {"a": "no capacity known"}


def test_the_loss_of_sizes():
    demand = np.tile([1.0, 3.0], (2, DAY))
    demand[1] = NAN
    capacity = np.full(demand.shape, 4.0)
    trace = Trace(("a", "b"), START, demand, capacity, np.full(demand.shape, 0.1))
    found = realised_loss(trace, np.full(demand.shape, 2.0), CPU_POINT, first=0)
    assert found.days == 2
    held, cost = found.by_vm()
    assert held == pytest.approx([0.5])  # of the one of which anything is known
    # A size of half the capacity; at the cap half of the time, a quarter of the capacity not served.
    assert cost == pytest.approx([0.5 + 0.5 * CPU_POINT.violation * 2 / 4 + 0.5 * CPU_POINT.unserved / 4])
    assert [of.shape for of in found.by_day()] == [(2,), (2,)]
    whole = realised_loss(trace, capacity, CPU_POINT, first=DAY // 2)
    assert whole.days == 1
    assert [of.tolist() for of in whole.by_vm()] == [[0.0], [1.0]]
    capped = Trace(("a",), START, np.minimum(demand[:1], 2.0), capacity[:1], trace.floor[:1])
    assert realised_loss(capped, np.full((1, STEPS), 2.0), CPU_POINT, first=0).by_vm()[0] == pytest.approx([0.5])


@pytest.mark.parametrize(("minute", "column"), [(None, 28), (0, 24), (15, 27), (20, 28), (25, 17), (50, 22), (52, 23)])
def test_the_newest_decision_at_a_minute_of_the_hour(minute, column):
    values = np.zeros((1, 28))
    trace = Trace(("a",), START, values, values, values)
    assert newest_at(trace, minute, cycle=12) == column
