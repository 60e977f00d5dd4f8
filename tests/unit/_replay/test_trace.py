# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Floor, make_trace

START = datetime(2026, 1, 1, tzinfo=UTC)
FLOOR = Floor(0.1, 0.2)
NAN = float("nan")


def at(minutes):
    return START + timedelta(minutes=minutes)


def table(rows, **columns):
    """Rows of (unique_id, ds, vcpus, cpu_pct)."""
    names, ds, vcpus, pct = zip(*rows, strict=True)
    made = {
        "unique_id": pa.array(names, pa.string()),
        "ds": pa.array(ds, pa.timestamp("us", "UTC")),
        "vcpus": pa.array(vcpus, pa.float64()),
        "cpu_pct": pa.array(pct, pa.float32()),
    }
    return pa.table({**made, **columns})


def cpu(rows, **choices):
    return make_trace(table(rows), target="cpu", floor=FLOOR, **choices)


def told(trace):
    return {finding.what.split(",")[0]: finding.unique_ids for finding in trace.findings}


def test_use_is_a_share_of_the_capacity_of_its_row():
    trace = cpu([("b", at(5), 4, 50), ("a", at(0), 2, 25), ("a", at(9), 2, 100)])
    assert trace.unique_ids == ("a", "b")
    assert trace.start == START
    np.testing.assert_allclose(trace.demand, [[0.5, 2], [NAN, 2]])
    np.testing.assert_allclose(trace.capacity, [[2, 2], [NAN, 4]])
    np.testing.assert_allclose(trace.floor, [[0.1, 0.1], [NAN, 0.1]])


def test_memory_is_mebibytes():
    rows = table(
        [("a", at(0), 1, 0)], mem_capacity_kb=pa.array([1048576.0]), mem_used_kb=pa.array([524288.0], pa.float32())
    )
    trace = make_trace(rows, target="memory", floor=Floor(256, 0.2))
    np.testing.assert_allclose((trace.capacity, trace.demand, trace.floor), ([[1024]], [[512]], [[204.8]]))


def test_a_gap_is_carried_for_half_an_hour():
    trace = cpu([("a", at(0), 1, 50), ("a", at(5 * 8), 1, 10)])
    np.testing.assert_allclose(trace.demand, [[0.5] * 7 + [NAN, 0.1]])
    np.testing.assert_allclose(trace.capacity, np.ones((1, 9)))
    assert told(trace)["a gap of more than 30 min"] == ("a",)


def test_a_gap_of_half_an_hour_is_none():
    trace = cpu([("a", at(0), 1, 50), ("a", at(5 * 7), 1, 10)])
    assert not np.isnan(trace.demand).any()
    assert "a gap of more than 30 min" not in told(trace)


def test_of_two_rows_of_an_interval_the_last_counts():
    trace = cpu([("a", at(0), 1, 50), ("b", at(0), 1, 50), ("a", at(4), 2, 10)])
    np.testing.assert_allclose(trace.demand, [[0.2], [0.5]])
    assert trace.findings[0].rows == 1
    assert told(trace)["more than one row in an interval"] == ("a",)


def test_a_later_row_without_use_counts_too():
    trace = cpu([("a", at(0), 1, 30), ("a", at(5), 1, 50), ("a", at(6), 1, None)])
    np.testing.assert_allclose(trace.demand, [[0.3, 0.3]], rtol=1e-6)


def test_demand_is_held_to_zero_and_capacity():
    trace = cpu([("a", at(0), 1, -3), ("a", at(5), 2, 114), ("b", at(0), 1, float("inf"))])
    np.testing.assert_allclose(trace.demand, [[0, 2], [1, 1]])
    assert told(trace)["negative use"] == ("a",)
    assert told(trace)["use above capacity"] == ("a", "b")


def test_capacity_is_as_last_known_and_never_a_later_value():
    trace = cpu([("a", at(0), 0, 0), ("a", at(5), 2, 50), ("a", at(10), 0, 0), ("a", at(15), 4, 50)])
    np.testing.assert_allclose(trace.capacity, [[NAN, 2, 2, 4]])
    np.testing.assert_allclose(trace.demand, [[NAN, 1, 0, 2]])
    assert told(trace)["capacity changes"] == ("a",)
    assert told(trace)["no capacity"] == ("a",)


def test_a_vm_without_capacity_is_not_scored():
    trace = cpu([("a", at(0), 0, 50), ("b", at(0), 1, 50)])
    assert np.isnan(trace.demand[0]).all()
    assert told(trace)["no capacity at any time"] == ("a",)


@pytest.mark.parametrize(
    ("pct", "what"),
    [([0, 0], "use is always 0"), ([7, 7], "use is always the same"), ([1, 2], "less than a day known")],
)
def test_a_series_that_says_little_is_told(pct, what):
    assert told(cpu([("a", at(5 * place), 1, value) for place, value in enumerate(pct)]))[what] == ("a",)


def test_a_renamed_vm_is_another_vm():
    trace = cpu([("old", at(0), 1, 50), ("new", at(5), 1, 50)])
    np.testing.assert_allclose(trace.demand, [[NAN, 0.5], [0.5, 0.5]])


@pytest.mark.parametrize(
    "ds",
    [
        pa.array(["2026-01-01T01:07:00+01:00"]),
        pa.array(["2026-01-01T00:07:00Z"]),
        pa.array(["2026-01-01 00:07:00"]),
        pa.array([at(7).replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([at(7)], pa.timestamp("s", "America/New_York")),
    ],
)
def test_times_of_any_zone_are_utc(ds):
    rows = table([("a", at(0), 1, 50)]).set_column(1, "ds", ds)
    assert make_trace(rows, target="cpu", floor=FLOOR).start == at(5)


def test_rows_without_a_vm_or_a_time_are_left_out():
    trace = cpu([("a", at(0), 1, 50), (None, at(5), 1, 50), ("b", None, 1, 50)])
    assert trace.unique_ids == ("a",)
    assert trace.findings[0].rows == 2


def test_vms_can_be_chosen():
    rows = [("a", at(0), 1, 50), ("b", at(5), 1, 50)]
    chosen = cpu(rows, unique_ids=["b", "gone"])
    assert (chosen.unique_ids, chosen.start, chosen.steps) == (("b",), at(5), 1)
    assert cpu(rows).only(["b", "gone"]).unique_ids == ("b",)


def test_what_was_known_holds_nothing_later():
    known = cpu([("a", at(5 * place), 1, place) for place in range(4)]).before(2)
    assert known.steps == 2
    assert known.demand.base is None


@pytest.mark.parametrize(("minutes", "column"), [(-9, 0), (0, 0), (1, 1), (5, 1), (99, 2)])
def test_column_of_a_moment(minutes, column):
    assert cpu([("a", at(0), 1, 50), ("a", at(5), 1, 50)]).column(at(minutes)) == column


@pytest.mark.parametrize(
    ("rows", "choices", "code"),
    [
        (table([("a", at(0), 1, 50)]).drop_columns("cpu_pct"), {}, "trace.columns"),
        (table([("a", at(0), 1, 50)]).set_column(3, "cpu_pct", pa.array(["x"])), {}, "trace.types"),
        (table([("a", at(0), 1, 50)]).set_column(1, "ds", pa.array(["noon"])), {}, "trace.types"),
        (table([("a", at(0), 1, 50)]), {"unique_ids": ["b"]}, "trace.empty"),
        (table([("a", at(0), 1, 50)]), {"target": "disk"}, "trace.target"),
        (table([("a", at(0), 1, 50)]).slice(0, 0), {}, "trace.empty"),
        (table([(f"vm{n}", at(0), 1, 5) for n in range(60)] + [("a", datetime(1970, 1, 1, tzinfo=UTC), 1, 5)]), {},
         "trace.span"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_error(rows, choices, code):
    with pytest.raises(HeadroomError) as raised:
        make_trace(rows, **{"target": "cpu", "floor": FLOOR, **choices})
    assert raised.value.code == code
