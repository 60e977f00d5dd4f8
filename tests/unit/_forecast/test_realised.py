# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts held against what came."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.realised import (
    Foretold,
    Frame,
    Point,
    Truth,
    score,
    sizes_along,
    truth_of,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import SATURATED
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import COLUMNS, interval_schema

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
METRIC, MINUTE_US = "cpu_millicores", 60_000_000
START_US = int(START.timestamp()) * 1_000_000
QUANTILES = ("0.5", "0.9", "0.95")


def frame(*unique_ids, columns=4):
    return Frame(unique_ids or ("e/a", "e/b"), METRIC, START_US, 300, columns)


def forecast(values, *, start=START, metric=METRIC, target="maximum"):
    """Rows of a forecast: unique_id -> values of each step, the same at every quantile plus its level."""
    rows = [
        {
            "unique_id": unique_id,
            "metric": metric,
            "target": target,
            "ds": start + timedelta(minutes=5 * step),
            "quantile": quantile,
            "value": float(value + float(quantile)),
        }
        for unique_id, steps in values.items()
        for step, value in enumerate(steps)
        for quantile in QUANTILES
    ]
    table = pa.Table.from_pylist(rows).set_column(
        3, "ds", pa.array([row["ds"] for row in rows], pa.timestamp("us", "UTC"))
    )
    return table.set_column(0, "unique_id", table["unique_id"].dictionary_encode())


def telemetry(values, *, start=START - timedelta(hours=1)):
    """Interval rows: unique_id -> maxima; None: no row."""
    rows = [
        {
            "unique_id": unique_id,
            "metric": METRIC,
            "ds": start + timedelta(minutes=5 * step),
            "interval_s": 300,
            "mean": value / 2,
            "p95": value,
            "maximum": value,
            "samples": 30,
            "coverage_ppm": 1_000_000,
        }
        for unique_id, steps in values.items()
        for step, value in enumerate(steps)
        if value is not None
    ]
    return pa.Table.from_pylist([{name: row[name] for name in COLUMNS} for row in rows], schema=interval_schema())


def foretold(*forecasts, columns=4):
    """Newest first: (rows, issued in minutes from the start, end in minutes)."""
    found = Foretold(frame(columns=columns), QUANTILES)
    spelled = {name: name for name in QUANTILES}
    for table, issued, end in forecasts:
        found.add(
            table,
            target="maximum",
            spelled=spelled,
            issued_us=START_US + issued * MINUTE_US,
            end_us=START_US + end * MINUTE_US,
        )
    return found


def test_each_interval_is_of_the_newest_forecast_issued_before_it():
    later = START + timedelta(minutes=10)
    found = foretold(
        (forecast({"e/a": [700] * 4}, start=later), 8, 60),
        (forecast({"e/a": [500] * 4, "e/b": [300] * 4, "e/gone": [1] * 4}), -2, 60),
    )
    assert found.values[0, :, 0].tolist() == [500.5, 500.5, 700.5, 700.5]
    assert found.values[1, :, 2].tolist() == [300.95] * 4
    assert (found.issued_us[0] // MINUTE_US - START_US // MINUTE_US).tolist() == [-2, -2, 8, 8]


def test_what_a_forecast_says_beyond_its_turn_does_not_count():
    found = foretold((forecast({"e/a": [500] * 4}), 0, 10))
    assert np.isnan(found.values[0, :, 0]).tolist() == [False, False, True, True]
    assert np.isnan(found.values[1]).all()


def test_other_metrics_and_targets_are_not_taken():
    for other in ({"metric": "memory_used_mib"}, {"target": "mean"}):
        assert np.isnan(foretold((forecast({"e/a": [1] * 4}, **other), 0, 60)).values).all()


def test_naive_is_what_was_known_when_the_forecast_was_issued():
    found = foretold((forecast({"e/a": [500] * 4, "e/b": [500] * 4}), -2, 60))
    # The interval under way at the time of issue, 11:55, was not over: 400 is later knowledge.
    rows = telemetry({"e/a": [100] * 10 + [200, 400] + [600, None, 610, 620], "e/b": [9] + [None] * 11 + [50] * 4})
    truth = truth_of(rows, found, target="maximum", series_interval_s=300, late_s=3600)
    assert np.array_equal(truth.values[0], [600, np.nan, 610, 620], equal_nan=True)
    assert truth.naive[0].tolist() == [200] * 4
    assert truth.naive[1].tolist() == [9] * 4
    late = truth_of(rows, found, target="maximum", series_interval_s=300, late_s=1800)
    assert np.isnan(late.naive[1]).all()  # too old to be carried on


def scores(came, *, value=500.0, naive=400.0, size=1000.0, quantile="0.9"):
    found = foretold((forecast({"e/a": [value] * 4}), 0, 60))
    came = np.array([came, [np.nan] * 4], dtype=float)
    truth = Truth(came, np.full((2, 4), naive))
    share, short = np.full((2, 1), SATURATED), np.zeros((2, 4), dtype=bool)
    return score(found, truth, size=np.full((2, 4), size), quantile=[quantile, quantile], share=share, short=short)


def test_losses_are_shares_of_the_size_at_the_quantile_of_the_policy():
    found = scores([600.9, 400.9, 500.9, np.nan])
    assert found.loss[0].tolist() == pytest.approx([0.09, 0.01, 0, 0])
    assert found.naive_loss[0].tolist() == pytest.approx([0.9 * 0.2009, 0.9 * 0.0009, 0.9 * 0.1009, 0])
    assert found.scored[0].tolist() == [True, True, True, False]
    assert found.missed.tolist() == [[False, False, False, True], [False] * 4]  # of b nothing was forecast
    assert scores([600] * 4, quantile="0.98").scored.sum() == 0


def test_use_at_the_size_is_a_violation_and_below_it_is_none():
    assert scores([984, 985, 1000, 1200]).violated[0].tolist() == [False, True, True, True]


def test_the_share_that_is_all_of_a_size_and_other_signs_of_a_want_are_the_callers():
    found = foretold((forecast({"e/a": [500] * 4}), 0, 60))
    truth = Truth(np.array([[919, 920, 100, np.nan]] * 2), np.full((2, 4), 400.0))
    short = np.array([[False, False, True, True]] * 2)
    scored = score(
        found, truth, size=np.full((2, 4), 1000.0), quantile=["0.9"] * 2, share=np.array([[0.92], [0.5]]), short=short
    )
    assert scored.violated.tolist() == [[False, True, True, False], [False] * 4]  # of b nothing was forecast


def test_without_a_size_nothing_is_scored():
    found = scores([600] * 4, size=np.nan)
    assert (found.scored.sum(), found.missed.sum(), found.violated.sum(), found.loss.sum()) == (0, 4, 0, 0)


def test_the_interval_of_90_percent_begins_at_nothing_where_no_low_quantile_is_forecast():
    found = scores([100, 500.8, 500.91, 900])
    assert found.covered[0].tolist() == [1, 1, 0, 0]
    assert found.banded[0].all()
    assert scores([500.9] * 4).covered[0] == pytest.approx([0.4 / 0.45] * 4)  # a tie, in part


def at(minute, size):
    moment = START_US + minute * MINUTE_US
    return Point(moment, moment, size, size)


def act(begun, ended, before, after):
    return Point(START_US + begun * MINUTE_US, START_US + ended * MINUTE_US, before, after)


@pytest.mark.parametrize(
    ("points", "sizes"),
    [
        ([at(-9, 2), at(90, 2)], [2, 2, 2, 2]),
        ([at(-9, 2), at(90, 4)], [None] * 4),  # somebody else changed it, nobody knows when
        ([at(-9, 2), act(7, 8, 2, 4), at(90, 4)], [2, 4, 4, 4]),  # while it changes, the larger
        ([at(-9, 4), act(7, 8, 4, 2), at(90, 2)], [4, 4, 2, 2]),
        ([at(-9, 2), act(6, 7, 2, 4), act(8, 9, 4, 2), at(90, 2)], [2, 4, 2, 2]),
        ([at(-9, 2), act(7, 8, 2, 4), act(11, 12, 4, 8), at(90, 8)], [2, 4, 8, 8]),
        ([at(-9, 2), act(4, 12, 2, 4), at(90, 4)], [4, 4, 4, 4]),
        ([at(-9, 2), act(7, 8, 2, 4), at(90, 6)], [2, None, None, None]),
        ([at(-9, 2), act(7, 8, 2, float("nan")), at(90, 4)], [2, None, None, None]),  # how it ended is not known
        ([at(-9, float("nan")), at(90, 4)], [None] * 4),  # it was not there
        ([], [None] * 4),
    ],
)
def test_the_size_is_known_where_what_was_before_and_what_came_after_agree(points, sizes):
    found = sizes_along(points, frame())
    assert [None if np.isnan(size) else size for size in found] == sizes
