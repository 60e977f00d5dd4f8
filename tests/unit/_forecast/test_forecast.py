# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES, engines_named
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import FleetModels, ModelEngine
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes, table_from_bytes

from .rows import CPU, MEMORY, NOW, REQUEST, WEEK, made, noisy, series, values


def test_rows_are_one_per_step_and_quantile_in_order():
    table, choices = made(series(noisy()), series(noisy(), unique_id="lab/b"), request=replace(REQUEST, lead_s=600))
    assert table.num_rows == 2 * 12 * 3
    first, *_unused, last = table.to_pylist()
    assert first == {
        "unique_id": "lab/a",
        "metric": CPU,
        "target": "maximum",
        "cutoff": NOW,
        "lead_s": 600,
        "ds": NOW + timedelta(seconds=600),
        "quantile": "0.5",
        "value": first["value"],
        "engine": first["engine"],
    }
    spoken = dict.fromkeys(row["engine"] for row in table.to_pylist()[:3])
    assert choices["lab/a", CPU].engine == "+".join(spoken)
    assert (last["unique_id"], last["ds"]) == ("lab/b", NOW + timedelta(seconds=600 + 3600 - 300))
    keys = [(row["unique_id"], row["metric"], row["ds"], row["quantile"]) for row in table.to_pylist()]
    assert keys == sorted(keys)


def test_values_ascend_and_are_never_negative_or_nan():
    rng = np.random.default_rng(11)
    tables = []
    for number in range(40):  # holes, jumps, zeros, short and stale pasts
        past = np.abs(rng.normal(0, 10 ** rng.uniform(-2, 5), rng.integers(1, 3 * WEEK))) * (rng.random() < 0.9)
        past[rng.random(len(past)) < rng.choice([0, 0.5, 0.95])] = np.nan
        past[-1] = 1.0
        tables.append(series(past, unique_id=f"lab/{number}", until=NOW - timedelta(hours=int(rng.integers(0, 100)))))
    table, choices = made(*tables)
    assert len(choices) == 40
    for number in range(40):
        got = values(table, f"lab/{number}")
        assert got.shape == (12, 3)
        assert np.isfinite(got).all()
        assert (got >= 0).all()
        assert (np.diff(got, axis=1) >= 0).all()


def test_quantiles_that_cross_are_put_in_order():
    class Crossing:
        name = "crossing"

        def forecast(self, past, ends, *, steps, levels, **_unused):
            falling = np.linspace(900, 100, len(levels), dtype=np.float32)
            return np.broadcast_to(falling, (len(past), len(ends), steps, len(levels)))

    request = replace(REQUEST, history_s=3600, lead_s=3600)  # no past to be corrected by
    table, *_unused = make_forecast([series([500.0])], request, unique_ids=[], engines=(Crossing(),))
    assert values(table).tolist() == [[100, 500, 900]] * 12


def test_intervals_are_calibrated_per_series():
    """200 series of their own noise; the truth of the next hour falls below each quantile as often as it says."""
    rng = np.random.default_rng(2)
    tables, truth = [], {}
    for number in range(200):
        path = rng.uniform(100, 5000) + rng.gamma(1.5, rng.uniform(5, 500), 3 * WEEK + 12)
        truth[f"lab/{number:03}"] = path[-12:]
        tables.append(series(path[:-12], unique_id=f"lab/{number:03}"))
    table, _unused = made(pa.concat_tables(tables))
    upper = table["value"].to_numpy().reshape(len(truth), 12, 3)  # sorted by VM
    covered = np.mean(np.stack([truth[vm] for vm in sorted(truth)])[:, :, None] <= upper, axis=(0, 1))
    assert covered == pytest.approx([0.5, 0.9, 0.95], abs=0.03)


def test_a_series_without_history_has_a_choice_and_no_rows():
    table, choices = made(series(noisy()), unique_ids=["lab/a", "lab/none"])
    choice = choices["lab/none", CPU]
    assert (choice.engine, choice.reason, choice.history_s, choice.recent_maximum) == ("", "no history", 0, -1)
    assert (choice.coverage_ppm, choice.observed_until) == (0, "")
    assert set(table["unique_id"].to_pylist()) == {"lab/a"}
    nothing, choices = made(unique_ids=["lab/none"])
    assert nothing.num_rows == 0
    assert nothing.schema == table.schema
    assert set(choices) == {("lab/none", CPU)}


def test_rows_after_the_cutoff_change_nothing():
    past = noisy()
    late = series(np.full(48, 9e6), until=NOW + timedelta(hours=4))
    known, choices = made(series(past))
    spoilt, spoilt_choices = made(pa.concat_tables([series(past), late]))
    assert table_bytes(known) == table_bytes(spoilt)
    assert choices == spoilt_choices


def test_the_interval_under_way_counts_as_far_as_it_was_sampled():
    now = NOW + timedelta(seconds=90)
    under_way = series([7000.0], maximum=[7500.0], until=NOW + timedelta(seconds=300))
    table, choices = made(pa.concat_tables([series(noisy()), under_way]), request=replace(REQUEST, now=now))
    assert table["cutoff"][0].as_py() == NOW + timedelta(seconds=300)
    assert choices["lab/a", CPU].recent_maximum == 7500
    assert choices["lab/a", CPU].observed_until == "2026-03-02T12:01:30Z"  # not later than now


def test_the_interval_under_way_stands_no_lower_than_the_one_before_it():
    request = replace(REQUEST, now=NOW + timedelta(seconds=90))
    past = noisy()

    def until(so_far):
        under_way = series([so_far], until=NOW + timedelta(seconds=300))
        return values(made(pa.concat_tables([series(past), under_way]), request=request, engines=engines_named([]))[0])

    assert (until(past[-1] / 2) == until(past[-1])).all()
    assert (until(past[-1] * 2) > until(past[-1])).all()


def test_the_interval_under_way_is_no_truth_to_score_by():
    now = NOW + timedelta(seconds=90)
    reasons = {
        made(
            pa.concat_tables([series(noisy()), series([so_far], until=NOW + timedelta(seconds=300))]),
            request=replace(REQUEST, now=now),
        )[1]["lab/a", CPU].reason
        for so_far in (10.0, 1000.0, 90_000.0)
    }
    assert len(reasons) == 1


def seen(rows, *ppm):
    """The same rows, seen for these shares of their time in turn."""
    column = rows.column_names.index("coverage_ppm")
    return rows.set_column(column, rows.schema.field(column), pa.array(np.resize(ppm, len(rows)), pa.int32()))


def test_a_mean_counts_by_how_much_of_its_interval_was_seen_and_the_reason_says_how_much():
    saw = np.tile([100.0, 900.0], 2 * WEEK)
    hourly = replace(REQUEST, interval_s=3600, target="mean")
    mean, choices = made(seen(series(saw), 1_000_000, 250_000), request=replace(hourly, horizon_s=7200))
    assert values(mean) == pytest.approx(np.full((2, 3), 260.0), abs=0.01)
    assert choices["lab/a", CPU].reason.endswith("; of its intervals 62 % of the time was seen")
    # A minute in five is all that this machine is ever asked: it has a forecast like any other.
    fifth, choices = made(seen(series(noisy()), 200_000))
    whole, _unused = made(series(noisy()))
    assert fifth == whole
    assert choices["lab/a", CPU].reason.endswith("; of its intervals 20 % of the time was seen")
    assert choices["lab/a", CPU].coverage_ppm == 1_000_000


def test_a_maximum_without_a_mean_is_no_mean_of_nothing():
    saw = np.tile([100.0, 900.0], 2 * WEEK)
    rows = series(saw, maximum=saw)
    half = pa.array(np.where(saw == 900, 0, saw), mask=saw == 900)
    hourly = replace(REQUEST, interval_s=3600, horizon_s=7200, target="mean")
    table, _unused = made(rows.set_column(4, "mean", half), request=hourly)
    assert values(table) == pytest.approx(np.full((2, 3), 100.0), abs=0.01)


def test_the_same_input_gives_the_same_bytes_however_the_vms_are_dealt_out():
    tables = [series(noisy(level=100 * n, seed=n), unique_id=f"lab/{n}") for n in range(1, 6)]
    tables += [series(noisy(count=50, seed=9), unique_id="lab/6")]  # corrected by the fleet
    memory = [one.set_column(1, "metric", pa.array([MEMORY] * len(one))).cast(interval_schema()) for one in tables]
    tables = [pa.concat_tables(pair) for pair in zip(tables, memory, strict=True)]
    request = replace(REQUEST, metrics=(CPU, MEMORY))
    apart, choices = made(*tables, request=request)
    shuffled = pa.concat_tables(tables).take(np.random.default_rng(0).permutation(sum(map(len, tables))))
    at_once, other_choices = made(shuffled, request=request)
    assert table_bytes(apart) == table_bytes(at_once)
    assert table_from_bytes(table_bytes(apart)).equals(apart)
    assert choices == other_choices


def test_a_short_history_is_corrected_by_the_fleet_and_says_so():
    fleet = [series(noisy(spread=300, seed=n), unique_id=f"lab/{n}") for n in range(5)]
    young = series([500.0] * 20, unique_id="lab/young")
    alone, choices = made(young)
    assert (values(alone, "lab/young") == 500).all()
    assert choices["lab/young", CPU].reason == (
        "naive: too short a history to compare engines, corrected by the errors of the fleet"
        "; the maximum is known for 0 % of the intervals, else the mean stands in"
    )
    among, choices = made(*fleet, young)
    assert (values(among, "lab/young")[:, 2] > 600).all()
    assert (values(among, "lab/young")[:, 2] < 1000).all()
    first, _unused = made(series([500.0], unique_id="lab/first"))
    assert (values(first, "lab/first") == 500).all()


def of_fleet(prior):
    """A model in use that speaks for nobody, and what it learnt of its fleet."""
    model = SimpleNamespace(levels=("0.05", "0.5", "0.90", "0.95"))  # it knows more than is asked for
    return FleetModels({"sha256:m": ModelEngine(model, unseen=0, prior=prior)}, {}, {CPU: "sha256:m"})


def test_with_a_model_in_use_a_short_history_is_corrected_by_the_fleet_that_it_learnt_from():
    tables = [series(noisy(spread=300, seed=n), unique_id=f"lab/{n}") for n in range(5)]
    tables.append(series([500.0] * 20, unique_id="lab/young"))
    table, choices, _unused = make_forecast(tables, REQUEST, unique_ids=(), models=of_fleet((-0.5, 0.0, 0.25, 0.5)))
    assert values(table, "lab/young").tolist() == [[500, 625, 750]] * 12
    assert (
        "naive: too short a history to compare engines, "
        "corrected by the errors of the fleet that the model sha256:m learnt from"
    ) in {one.unique_id: one.reason for one in choices}["lab/young"]
    for other in (of_fleet(()), replace(of_fleet((-0.5, 0.0, 0.25, 0.5)), current={})):  # of before, and on trial
        as_ever, _choices, _unused = make_forecast(tables, REQUEST, unique_ids=(), models=other)
        assert as_ever.to_pylist() == made(*tables)[0].to_pylist()


@pytest.mark.parametrize("in_use", [True, False])
def test_a_wild_vm_moves_no_other_where_a_model_is_in_use_and_a_young_one_where_none_is(in_use):
    calm = [series(noisy(seed=n), unique_id=f"lab/{n}") for n in range(5)]
    young = series([500.0] * 20, unique_id="lab/young")
    wild = series(1000 * np.random.default_rng(1).lognormal(0, 2, 4 * WEEK), unique_id="lab/0")
    models = of_fleet((-0.5, 0.0, 0.25, 0.5)) if in_use else None
    before, after = (
        make_forecast([first, *calm[1:], young], REQUEST, unique_ids=(), models=models)[0].to_pylist()
        for first in (calm[0], wild)
    )
    moved = {then["unique_id"] for then, now in zip(before, after, strict=True) if then != now}
    assert moved == ({"lab/0"} if in_use else {"lab/0", "lab/young"})


def test_a_level_beyond_the_own_errors_takes_the_fleets_where_they_are_larger():
    """One step of six hours: 24 errors of a series' own cannot speak for 0.99."""
    rng = np.random.default_rng(6)
    request = replace(REQUEST, interval_s=6 * 3600, horizon_s=6 * 3600, quantiles=("0.5", "0.9", "0.99"))
    wild = [series(1000 * rng.lognormal(0, 1, 4 * WEEK), unique_id=f"lab/{n}") for n in range(8)]
    calm = series(noisy(1000, 1), unique_id="lab/calm")
    alone, _unused = made(calm, request=request)
    among, _unused = made(*wild, calm, request=request)
    alone, among = values(alone, "lab/calm"), values(among, "lab/calm")
    assert among[0, :2].tolist() == alone[0, :2].tolist()
    assert among[0, 2] > 2 * alone[0, 2]


def test_with_nothing_to_learn_from_the_reason_says_not_corrected():
    _unused, choices = made(series([500.0]))
    assert "not corrected" in choices["lab/a", CPU].reason


def test_the_target_maximum_uses_maxima_and_falls_back_to_means():
    mean = noisy(1000, 10)
    with_maxima, choices = made(series(mean, maximum=mean + 3000))
    assert values(with_maxima).min() > 3900
    assert "maximum is known" not in choices["lab/a", CPU].reason
    only_means, choices = made(series(mean))
    assert values(only_means).max() < 1100
    assert "the maximum is known for 0 % of the intervals" in choices["lab/a", CPU].reason
    half = np.where(np.arange(len(mean)) % 2, mean + 3000, np.nan)
    _unused, choices = made(series(mean, maximum=half))
    assert "the maximum is known for 50 % of the intervals" in choices["lab/a", CPU].reason
    mean_target, choices = made(series(mean, maximum=mean + 3000), request=replace(REQUEST, target="mean"))
    assert values(mean_target).max() < 1100
    assert choices["lab/a", CPU].recent_maximum > 3900


def test_a_forecast_interval_takes_the_maximum_or_the_mean_of_what_lies_inside():
    saw = np.tile([100.0] * 11 + [900.0], 4 * WEEK // 12)
    hourly = replace(REQUEST, interval_s=3600, horizon_s=7200)
    top, _unused = made(series(saw), request=hourly)
    assert values(top) == pytest.approx(np.full((2, 3), 900.0))
    assert [row["ds"] for row in top.to_pylist()][::3] == [NOW, NOW + timedelta(hours=1)]
    middle, _unused = made(series(saw), request=replace(hourly, target="mean"))
    assert values(middle) == pytest.approx(np.full((2, 3), (1100 + 900) / 12), abs=0.01)


def test_facts_for_the_shrink_rule():
    past = np.full(1000, 200.0)
    past[:10] = 8000.0  # long ago
    past[-24:-12] = 5000.0  # more than an hour before the last value
    past[500:750] = np.nan
    past[-3] = 250.25
    _unused, choices = made(series(past, until=NOW - timedelta(minutes=20)))
    choice = choices["lab/a", CPU]
    assert choice.history_s == 1000 * 300
    assert choice.coverage_ppm == 750_000
    assert choice.observed_until == "2026-03-02T11:40:00Z"
    assert choice.recent_maximum == 251


def test_the_reason_names_each_engine_where_it_speaks_its_score_and_the_origins():
    table, choices = made(series(noisy(), maximum=noisy() + 1))
    choice = choices["lab/a", CPU]
    told, origins = choice.reason.split(", over ")
    assert origins == "24 origins"
    rows = {row["quantile"]: row["engine"] for row in table.to_pylist()}
    found = {}
    for part in told.split("; "):
        engine, quantiles, scores = re.fullmatch(r"(\w+) at ([\d., ]+) \(pinball ([\d., ]+) of naive\)", part).groups()
        for quantile, score in zip(quantiles.split(", "), scores.split(", "), strict=True):
            found[quantile] = engine
            assert 0.3 < float(score) < 0.95  # noise about a level: the last value is a poor guess
    assert found == rows
    assert choice.engine.split("+") == list(dict.fromkeys(rows.values()))


def odd_pasts():
    """Name -> (a past, what its forecast must be between)."""
    gaps = noisy()
    gaps[np.random.default_rng(1).random(len(gaps)) < 0.6] = np.nan
    gaps[-1] = 1000.0
    plateau = np.minimum(noisy(1900, 300), 2000.0)  # demand above two vCPUs is not seen
    return {
        "a single point": ([700.0], (700, 700)),
        "constant": (np.full(2 * WEEK, 321.0), (321, 321)),
        "zero": (np.zeros(2 * WEEK), (0, 0)),
        "gaps": (gaps, (900, 1400)),
        "plateau": (plateau, (1500, 2100)),
    }


@pytest.mark.parametrize("name", odd_pasts())
@pytest.mark.parametrize("engines", [ENGINES, engines_named(["ets"])], ids=["fast", "ets"])
def test_an_odd_past_has_a_forecast_and_a_reason(name, engines):
    past, (least, most) = odd_pasts()[name]
    (table, choices, _unused) = make_forecast([series(past)], REQUEST, unique_ids=["lab/a"], engines=engines)
    got = values(table)
    assert got.shape == (12, 3)
    assert (got >= least).all()
    assert (got <= most).all()
    assert choices[0].engine.split("+")[0] in {engine.name for engine in engines}
    assert choices[0].reason


def test_rows_without_any_value_are_no_history():
    rows = series(noisy(count=50))
    nothing = rows.set_column(4, "mean", pa.nulls(50, pa.float64()))
    table, choices = made(nothing, unique_ids=["lab/a"])
    assert table.num_rows == 0
    assert choices["lab/a", CPU].reason == "no history"


def test_ets_is_tried_for_a_bounded_number_of_vms_and_what_it_cannot_fit_is_said():
    walk = [5000 + np.cumsum(np.random.default_rng(n).normal(0, 9, 3 * 288)) for n in range(3)]
    tables = [series(walk[n], unique_id=f"lab/{n}", interval_s=900) for n in range(3)]
    tables.append(series(np.full(3 * 288, 50.0), unique_id="lab/!", interval_s=900))
    request = replace(REQUEST, interval_s=900, series_interval_s=900, costly_vms=2)
    ids = ["lab/0", "lab/1", "lab/2", "lab/!"]
    _table, choices, warnings = make_forecast(tables, request, unique_ids=ids, engines=engines_named(["ets"]))
    reasons = {choice.unique_id: choice.reason for choice in choices}
    assert [vm for vm in ids if "ets gave no forecast" in reasons[vm]] == ["lab/!"]  # of "lab/!" and "lab/0"
    assert [vm for vm in ids if "ets at" in reasons[vm]] in (["lab/0"], [])
    assert warnings == (
        "ets was tried for 2 of 4 VMs, the first by unique_id.",
        "A costly engine gave no forecast for 1 series; the others speak for them.",
    )
    _table, choices, warnings = make_forecast(tables, request, unique_ids=ids)
    assert warnings == ()
    assert not any("ets" in choice.reason for choice in choices)


def test_history_older_than_asked_for_is_not_looked_at():
    old = series(np.full(288, 9000.0), until=NOW - timedelta(days=9))
    table, choices = made(
        pa.concat_tables([old, series(noisy(count=288))]), request=replace(REQUEST, history_s=86400 * 7)
    )
    assert choices["lab/a", CPU].history_s == 86400
    assert values(table).max() < 2000


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=5), timedelta(minutes=15)])
def test_a_look_back_of_a_whole_cycle_knows_it_though_the_newest_interval_is_late(late):
    """A policy that wants 28 days of history is met by the default look-back of 28 days."""
    rows = series(noisy(count=5 * WEEK), until=NOW - late)
    _unused, choices = made(rows, request=replace(REQUEST, now=NOW + timedelta(seconds=90)))
    assert 28 * 86400 <= choices["lab/a", CPU].history_s <= 28 * 86400 + 3600


@pytest.mark.parametrize("parts", [2, 7])
def test_demand_seen_at_a_cap_raises_its_own_vms_forecast_however_vms_are_dealt_out(parts):
    rng = np.random.default_rng(6)
    cap = 1050.0
    demand = {f"lab/{number}": rng.normal(1000, 100, WEEK) for number in range(7)}
    demand["lab/0"] = np.where(rng.random(WEEK) < 0.5, np.minimum(demand["lab/0"], cap), demand["lab/0"])
    rows = [series(past, unique_id=one) for one, past in demand.items()]
    told = []

    def held(metric, unique_ids, past):
        told.append((metric, *unique_ids))
        return (past == np.float32(cap)) & (np.array(unique_ids) == "lab/0")[:, None]

    def forecast(count, held=None):
        tables = [pa.concat_tables(rows[place::count]) for place in range(count)]
        return make_forecast(tables, REQUEST, unique_ids=list(demand), held=held)[0]

    whole, free = forecast(1, held), forecast(1)
    assert forecast(parts, held).equals(whole)
    assert sorted(one for _metric, *ids in told[1:] for one in ids) == sorted(demand)
    assert (values(whole, "lab/0")[:, 1:] > values(free, "lab/0")[:, 1:]).all()
    for one in list(demand)[1:]:
        np.testing.assert_array_equal(values(whole, one), values(free, one))
