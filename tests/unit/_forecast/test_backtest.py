# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.backtest import Rolling, back_test, issued
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES, engines_named
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._records.backtest import COLUMNS
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CPU = "cpu_millicores"
STEP_S = 1800
REQUEST = Request(
    now=NOW,
    metrics=(CPU,),
    horizon_s=2 * STEP_S,
    interval_s=STEP_S,
    series_interval_s=STEP_S,
    lead_s=STEP_S,
    quantiles=("0.1", "0.5", "0.9"),
    history_s=10 * 86400,
)
ROLLING = Rolling(REQUEST, origins=5, step_s=7 * 3600)
DAY = 48


def rows(values, *, unique_id, until=NOW):
    """Rows of half-hours that end at ``until``; a NaN is no row."""
    values = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(values)
    end_us = int(until.timestamp()) * 1_000_000
    ds = end_us + np.arange(-len(values), 0) * STEP_S * 1_000_000
    count = int(known.sum())
    return pa.table(
        {
            "unique_id": [unique_id] * count,
            "metric": [CPU] * count,
            "ds": pa.array(ds[known], pa.timestamp("us", "UTC")),
            "interval_s": pa.array([STEP_S] * count, pa.int32()),
            "mean": values[known],
            "maximum": values[known],
            "coverage_ppm": pa.array([10**6] * count, pa.int32()),
        }
    )


@pytest.fixture(scope="module")
def fleet():
    """unique_id -> 14 days: a walk, bursts, a daily wave with gaps, one that began two days ago, one that idles."""
    rng = np.random.default_rng(5)
    hours = np.arange(14 * DAY)
    wave = 500 + 300 * np.sin(hours / DAY * 2 * np.pi) + rng.normal(0, 20, len(hours))
    wave[rng.random(len(wave)) < 0.1] = np.nan
    young = rng.gamma(2, 100, len(hours))
    young[: -2 * DAY] = np.nan
    return {
        "lab/bursts": 100 + 900 * (rng.random(len(hours)) < 0.1) + rng.gamma(1, 10, len(hours)),
        "lab/idle": np.full(len(hours), 20.0),
        "lab/walk": 5000 + np.cumsum(rng.normal(0, 30, len(hours))),
        "lab/wave": wave,
        "lab/young": young,
    }


def tables(fleet):
    return [rows(values, unique_id=unique_id) for unique_id, values in fleet.items()]


def scored(fleet, rolling=ROLLING, engines=ENGINES):
    table, scores, intervals, warnings = back_test(tables(fleet), rolling, unique_ids=sorted(fleet), engines=engines)
    assert table.column_names == list(COLUMNS)
    assert warnings == ()
    return table, {(score.engine, score.quantile): score for score in scores}, intervals


def forecasts(values, rolling, engines=ENGINES):
    """[origins] bytes of everything issued at each origin, oldest last."""
    ids = sorted(values)
    chunks = [
        (ids[:2], np.stack([values[one] for one in ids[:2]])),
        (ids[2:], np.stack([values[one] for one in ids[2:]])),
    ]
    ends = [rolling.span.columns - 3 - number * 14 for number in range(rolling.origins)]
    return [
        b"".join(
            part.tobytes() for said in issued(chunks, end, rolling, unique_ids=ids, engines=engines) for part in said
        )
        for end in ends
    ], ends


@pytest.mark.parametrize(
    ("engines", "origins", "vms"), [(ENGINES, 5, 5), (engines_named(["ets"]), 2, 3)], ids=["fast", "ets"]
)
def test_what_comes_later_changes_no_forecast_made_before(fleet, engines, origins, vms):
    rolling = replace(ROLLING, origins=origins)
    values = {vm: fleet[vm][-rolling.span.columns :].astype(np.float32) for vm in sorted(fleet)[:vms]}
    known, ends = forecasts(values, rolling, engines)
    assert len(set(known)) == len(known)
    for place, end in enumerate(ends):
        other = {vm: past.copy() for vm, past in values.items()}
        for number, past in enumerate(other.values()):
            past[end:] = np.random.default_rng(number).gamma(3, 4000, len(past) - end)
        perturbed, _unused = forecasts(other, rolling, engines)
        assert perturbed[place:] == known[place:]
        assert place == 0 or perturbed[place - 1] != known[place - 1]


def test_at_each_origin_it_is_the_forecast_that_would_have_been_made(fleet):
    """The rows scored are those of demand_forecast at that time, with the telemetry of that time."""
    cutoff = ROLLING.cutoffs[2]
    then, choices, _unused = make_forecast(tables(fleet), replace(REQUEST, now=cutoff), unique_ids=sorted(fleet))
    values = {vm: past[-ROLLING.span.columns :].astype(np.float32) for vm, past in fleet.items()}
    end = ROLLING.span.columns - 3 - 2 * 14
    ids = sorted(fleet)
    (said,) = issued([(ids, np.stack([values[vm] for vm in ids]))], end, ROLLING, unique_ids=ids, engines=ENGINES)
    known = [place for place, vm in enumerate(ids) if next(one for one in choices if one.unique_id == vm).engine]
    np.testing.assert_array_equal(then["value"].to_numpy(), said[0][known].reshape(-1))
    assert cutoff == NOW - timedelta(seconds=3 * STEP_S + 2 * 7 * 3600)


def test_an_interval_that_is_under_way_is_no_truth_yet(fleet):
    """Its maximum so far says nothing about what the whole of it will have."""
    _table, scores, intervals = scored(fleet)
    later = {vm: np.append(values, 0.0) for vm, values in fleet.items()}
    under_way = [rows(values, unique_id=vm, until=NOW + timedelta(seconds=STEP_S)) for vm, values in later.items()]
    rolling = replace(ROLLING, request=replace(REQUEST, now=NOW + timedelta(seconds=STEP_S // 2)))
    assert (rolling.cutoffs, rolling.start) == (ROLLING.cutoffs, ROLLING.start)
    _table, same, also, _warnings = back_test(under_way, rolling, unique_ids=sorted(fleet))
    assert ({(one.engine, one.quantile): one for one in same}, also) == (scores, intervals)


def test_scores_are_those_of_the_definition(fleet):
    """By hand, of naive: its corrected forecasts, from make_forecast, against the truth that followed."""
    walk = {"lab/walk": fleet["lab/walk"]}
    table, scores, intervals = scored(walk, engines=ENGINES[:1])
    truth, value = [], []
    for cutoff in ROLLING.cutoffs:
        made, *_unused = make_forecast(
            tables(walk), replace(REQUEST, now=cutoff), unique_ids=["lab/walk"], engines=ENGINES[:1]
        )
        value.append(made["value"].to_numpy().reshape(2, 3))
        first = len(walk["lab/walk"]) - int((NOW - cutoff).total_seconds()) // STEP_S + 1  # the lead is one step
        truth.append(walk["lab/walk"][first : first + 2])
    truth, value = np.array(truth)[..., None], np.array(value)
    levels = np.array([0.1, 0.5, 0.9])
    loss = np.where(truth >= value, levels * (truth - value), (1 - levels) * (value - truth)).mean(axis=(0, 1))
    for engine in ("naive", "selected"):
        got = [scores[engine, quantile] for quantile in REQUEST.quantiles]
        assert [float(one.pinball) for one in got] == pytest.approx(loss, abs=0.002)
        assert [one.naive_pinball for one in got] == [one.pinball for one in got]
        assert [float(one.bias) for one in got] == pytest.approx((value - truth).mean(axis=(0, 1)), abs=0.002)
        assert [one.coverage_ppm for one in got] == pytest.approx((truth <= value).mean(axis=(0, 1)) * 1e6, abs=1)
        assert {(one.vms, one.points) for one in got} == {(1, 10)}
    inside = ((truth[..., 0] > value[..., 0]) & (truth[..., 0] <= value[..., 2])).mean()
    assert [(one.engine, one.lower, one.upper) for one in intervals] == [
        ("selected", "0.1", "0.9"),
        ("naive", "0.1", "0.9"),
    ]
    assert intervals[0].coverage_ppm == pytest.approx(inside * 1e6, abs=1)
    row = next(row for row in table.to_pylist() if (row["engine"], row["quantile"]) == ("naive", "0.9"))
    assert row["pinball"] == pytest.approx(loss[2], abs=1e-3)


def test_a_vm_that_never_moves_is_neither_always_nor_never_covered(fleet):
    _table, scores, intervals = scored({"lab/idle": fleet["lab/idle"]})
    for quantile in REQUEST.quantiles:
        assert scores["selected", quantile].coverage_ppm == float(quantile) * 1e6
        assert scores["selected", quantile].pinball == "0.000"
    assert intervals[0].coverage_ppm == 800_000


def test_the_selection_is_scored_beside_every_engine_and_better_than_naive_here(fleet):
    table, scores, _unused = scored(fleet, replace(ROLLING, origins=12))
    assert {engine for engine, _quantile in scores} == {"selected", *(engine.name for engine in ENGINES)}
    upper = scores["selected", "0.9"]
    assert float(upper.pinball) < float(upper.naive_pinball)
    of_vm = [row["pinball"] for row in table.to_pylist() if (row["engine"], row["quantile"]) == ("selected", "0.9")]
    assert len(of_vm) == len(fleet)
    assert float(upper.worst_pinball) == pytest.approx(max(of_vm), abs=1e-3)  # a tenth of five is one
    seasonal = scores["seasonal_naive_7d", "0.5"]
    assert seasonal.points < scores["naive", "0.5"].points  # it cannot say all; naive is compared on the same points
    assert seasonal.naive_pinball != scores["naive", "0.5"].pinball


def test_the_same_input_gives_the_same_bytes(fleet):
    first, again = scored(fleet), scored(dict(reversed(fleet.items())))
    assert table_bytes(first[0]) == table_bytes(again[0])
    assert first[1:] == again[1:]


def test_nothing_to_score_is_no_error():
    table, scores, intervals = scored({"lab/new": [5.0]})
    assert (table.num_rows, scores, intervals) == (0, {}, ())
    table, scores, _unused = scored({})
    assert (table.num_rows, scores) == (0, {})


BAD = {
    "no origins": {"origins": 0},
    "no step": {"step_s": 0},
    "step between intervals": {"step_s": 1000},
    "more origins than anyone waits for": {"origins": 1001, "step_s": STEP_S},
    "more origins than time": {"origins": 500, "step_s": 30 * 86400},
    "request": {"request": replace(REQUEST, quantiles=("0.9", "0.5"))},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_a_design_that_makes_no_sense_is_one_error(change):
    with pytest.raises(HeadroomError) as caught:
        back_test([], replace(ROLLING, **change), unique_ids=[])
    assert caught.value.code == "forecast.request"


def test_more_cells_than_memory_holds_are_refused_before_anything_is_read():
    long = replace(ROLLING, origins=1000, step_s=86400)  # 48,000 intervals and more
    with pytest.raises(HeadroomError, match="do not fit into memory") as caught:
        back_test(iter(lambda: pytest.fail("a table was taken"), None), long, unique_ids=["lab/a"] * 20_000)
    assert caught.value.code == "forecast.request"
