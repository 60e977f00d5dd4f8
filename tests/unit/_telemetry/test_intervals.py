# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.series import Sample
from ansible_collections.headroom.fleet.plugins.module_utils._store.rows import checked_rows
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.intervals import combined, fuller, intervals
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.rates import Steps, rates

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
START_US = round(START.timestamp() * 1_000_000)


def steps(*given, vm=None):
    """Each given step: (start_s, end_s, value)."""
    count = len(given)
    return Steps(
        unique_ids=("lab/a", "lab/b"),
        metrics=("cpu_millicores", "memory_used_mib"),
        vm=np.array(vm or [0] * count, dtype=np.int64),
        metric=np.zeros(count, dtype=np.int64),
        start_us=np.array([START_US + round(start * 1e6) for start, _unused, _unused in given], dtype=np.int64),
        end_us=np.array([START_US + round(end * 1e6) for _unused, end, _unused in given], dtype=np.int64),
        value=np.array([value for *_unused, value in given], dtype=np.float64),
    )


def rows(*given, interval_s=300, vm=None):
    table = intervals(steps(*given, vm=vm), interval_s=interval_s)
    checked_rows(table)
    return table.to_pylist()


def test_the_mean_is_weighted_by_time_and_the_rest_is_over_steps():
    (row,) = rows((0, 10, 100.0), (10, 40, 500.0))
    assert row == {
        "unique_id": "lab/a",
        "metric": "cpu_millicores",
        "ds": START,
        "interval_s": 300,
        "mean": 400.0,
        "p95": 500.0,
        "maximum": 500.0,
        "samples": 2,
        "coverage_ppm": 40 * 1_000_000 // 300,
    }


def test_p95_is_the_rate_not_exceeded_in_95_percent_of_the_known_time():
    given = [(3 * n, 3 * n + 3, float(n)) for n in range(100)]
    (row,) = rows(*reversed(given))
    assert (row["p95"], row["maximum"], row["samples"], row["coverage_ppm"]) == (94.0, 99.0, 100, 1_000_000)
    # A spike of one second in twenty is beyond p95, and the maximum keeps it.
    spiky = [row for n in range(10) for row in ((20 * n, 20 * n + 19, 10.0), (20 * n + 19, 20 * n + 20, 900.0))]
    (row,) = rows(*spiky)
    assert (row["p95"], row["maximum"], row["mean"]) == (10.0, 900.0, 54.5)


def test_a_step_across_the_border_counts_on_both_sides_by_its_share():
    first, second = rows((290, 305, 30.0), (305, 310, 90.0))
    assert (first["ds"], first["mean"], first["coverage_ppm"]) == (START, 30.0, 10 * 1_000_000 // 300)
    assert (second["ds"], second["mean"], second["maximum"]) == (START + timedelta(seconds=300), 60.0, 90.0)


def test_without_samples_inside_the_interval_p95_and_maximum_are_null():
    first, second, third = rows((0, 900, 30.0))
    for row in (first, second, third):
        assert (row["mean"], row["p95"], row["maximum"], row["samples"]) == (30.0, None, None, 0)
        assert row["coverage_ppm"] == 1_000_000
    (row,) = rows((0, 300, 30.0))  # one mean over the whole interval says nothing about its peak
    assert row["maximum"] is None


def test_a_long_step_beside_short_ones_counts_for_the_maximum():
    (row,) = rows((0, 200, 80.0), (200, 205, 10.0))
    assert (row["samples"], row["maximum"]) == (1, 80.0)


def test_vms_are_kept_apart_and_a_gap_has_no_row():
    table = rows((0, 10, 1.0), (0, 10, 2.0), (900, 910, 3.0), vm=[1, 0, 0])
    assert [(row["unique_id"], (row["ds"] - START).seconds, row["mean"]) for row in table] == [
        ("lab/a", 0, 2.0),
        ("lab/a", 900, 3.0),
        ("lab/b", 0, 1.0),
    ]


def test_nothing_in_nothing_out():
    assert rows() == []


def test_a_mean_of_equal_rates_is_not_above_the_maximum():
    rng = np.random.default_rng(1)
    cuts = np.concatenate([[0], np.sort(rng.uniform(0, 300, 59)), [300]])
    (row,) = rows(*((a, b, 0.1) for a, b in itertools.pairwise(cuts)))
    assert row["mean"] <= row["maximum"] == 0.1


@pytest.mark.parametrize("interval_s", [60, 300])
def test_from_samples_to_intervals(interval_s):
    used = [100 * n + (5_000 if n >= 60 else 0) for n in range(121)]  # 20 millicores, one burst at 300 s
    samples = [
        Sample("lab/a", START + timedelta(seconds=5 * n), "b", {"cpu_millicores": {"": value * 1_000_000}})
        for n, value in enumerate(used)
    ]
    table = intervals(rates(samples, step_s=5), interval_s=interval_s).to_pylist()
    assert len(table) == 600 // interval_s
    assert sum(row["mean"] for row in table) * interval_s == pytest.approx(used[-1])
    assert max(row["maximum"] for row in table) == 1020.0
    assert sorted({row["coverage_ppm"] for row in table}) == [1_000_000]


def test_two_samplings_of_one_interval_are_joined():
    first = intervals(steps((0, 60, 900.0)), interval_s=300)
    second = intervals(steps((60, 70, 100.0), (70, 180, 200.0), (400, 410, 5.0)), interval_s=300)
    joined = combined(first, second)
    checked_rows(joined)
    row, other = sorted(joined.to_pylist(), key=lambda row: row["ds"])
    assert row["mean"] == pytest.approx((60 * 900 + 10 * 100 + 110 * 200) / 180)
    assert (row["p95"], row["maximum"], row["samples"], row["coverage_ppm"]) == (900.0, 900.0, 3, 600_000)
    assert other == second.to_pylist()[1]  # nothing was known of it


def test_of_samplings_that_overlap_the_fuller_counts_and_no_peak_is_forgotten():
    whole = intervals(steps((0, 100, 300.0), (100, 300, 300.0)), interval_s=300)
    again = intervals(steps((200, 210, 900.0), (210, 290, 100.0)), interval_s=300)
    for known, fresh in ((whole, again), (again, whole)):
        joined = combined(known, fresh)
        checked_rows(joined)
        (row,) = joined.to_pylist()
        assert (row["mean"], row["maximum"], row["samples"], row["coverage_ppm"]) == (300.0, 900.0, 1, 1_000_000)
    same = intervals(steps((0, 100, 200.0), (100, 300, 200.0)), interval_s=300)
    (row,) = combined(whole, same).to_pylist()
    assert (row["mean"], row["maximum"]) == (200.0, 300.0)


def test_a_peak_that_one_source_saw_outlives_the_fuller_mean_of_another():
    sampled = intervals(steps((0, 5, 900.0), (5, 60, 100.0)), interval_s=300)
    queried = intervals(steps(*((60 * n, 60 * n + 60, 200.0) for n in range(5))), interval_s=300)
    for known, fresh in ((sampled, queried), (queried, sampled)):
        joined = fuller(known, fresh)
        checked_rows(joined)
        assert joined.to_pylist() == [{**queried.to_pylist()[0], "maximum": 900.0}]
        assert fuller(joined, fresh) == joined  # and once more changes nothing
    means = intervals(steps((0, 300, 200.0)), interval_s=300)
    (row,) = fuller(sampled, means).to_pylist()
    assert (row["mean"], row["p95"], row["maximum"]) == (200.0, None, 900.0)


def test_joining_with_a_mean_alone_keeps_what_is_known_of_the_maximum():
    mean_only = intervals(steps((-450, 30, 90.0)), interval_s=300).slice(2)
    assert mean_only["maximum"].to_pylist() == [None]
    fresh = intervals(steps((30, 60, 50.0)), interval_s=300)
    (row,) = combined(mean_only, fresh).to_pylist()
    assert (row["mean"], row["maximum"]) == (70.0, 90.0)
