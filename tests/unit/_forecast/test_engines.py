# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import COSTLY, ENGINES, engines_named

LEVELS = np.array([0.5, 0.95])
HOURLY = 3600
ENGINE = {engine.name: engine for engine in (*ENGINES, *COSTLY)}


def run(name, past, *, steps=3, interval_s=HOURLY, ends=None):
    """From the end of the past to [V, steps, Q]; with ``ends`` to [V, ends, steps, Q]."""
    past = np.array(past, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = ENGINE[name].forecast(past, ends or [past.shape[1]], steps=steps, levels=LEVELS, interval_s=interval_s)
    return value if ends else value[:, 0]


def quantile(values, level):
    """The textbook definition, type 7 of Hyndman and Fan."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * level
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@pytest.fixture(scope="module")
def holed():
    """Four series of 15 days, hourly, with holes; the last one knows only its first 30 hours."""
    rng = np.random.default_rng(4)
    past = rng.gamma(2, 100, (4, 15 * 24)).astype(np.float32)
    past[rng.random(past.shape) < 0.2] = np.nan
    past[1, -1] = np.nan
    past[2, -5:] = np.nan
    past[3, 30:] = np.nan
    past[3, 0] = 7.0
    return past


def test_naive_is_the_last_known_value_at_every_step_and_level(holed):
    got = run("naive", holed)
    assert got.shape == (4, 3, 2)
    for row, past in zip(got, holed, strict=True):
        assert (row == past[~np.isnan(past)][-1]).all()
    assert np.isnan(run("naive", [[math.nan, math.nan]])).all()


def test_last_hour_maximum_looks_back_one_hour():
    past = [[9, 1, 2, math.nan, 1], [9, math.nan, math.nan, math.nan, math.nan]]
    got = run("last_hour_maximum", past, interval_s=900)
    assert (got[0] == 2).all()
    assert np.isnan(got[1]).all()


@pytest.mark.parametrize(("name", "hours"), [("1d", 24), ("7d", 7 * 24)])
def test_trailing_quantile_is_the_quantile_of_what_is_known_of_the_window(holed, name, hours):
    got = run(f"trailing_quantile_{name}", holed)
    for row, past in zip(got[:3], holed[:3], strict=True):
        window = past[-hours:]
        known = window[~np.isnan(window)].tolist()
        for step in range(3):
            assert row[step] == pytest.approx([quantile(known, level) for level in LEVELS], rel=1e-5)
    assert np.isnan(got[3]).all()


def test_trailing_quantile_says_nothing_on_little_knowledge():
    past = np.full((2, 24), np.nan)
    past[0, :6], past[1, :5] = 3.0, 3.0
    got = run("trailing_quantile_1d", past)
    assert (got[0] == 3).all()
    assert np.isnan(got[1]).all()


def test_the_quantiles_of_three_hours_look_no_further():
    got = run("trailing_quantile_3h", [[900, 900, 10, 20, 30]])
    assert got[0, 0] == pytest.approx([20, 29])


@pytest.mark.parametrize("days", [1, 7])
@pytest.mark.parametrize("steps", [3, 30])
def test_seasonal_naive_is_the_same_time_of_the_last_season(holed, days, steps):
    got = run(f"seasonal_naive_{days}d", holed, steps=steps)
    season = 24 * days
    for row, past in zip(got, holed, strict=True):
        expected = [past[len(past) - season + step % season] for step in range(steps)]
        np.testing.assert_array_equal(row[:, 0], expected)
        np.testing.assert_array_equal(row[:, 1], expected)


def test_seasonal_naive_says_nothing_before_a_season_is_known():
    got = run("seasonal_naive_1d", [list(range(23))])
    assert np.isnan(got[0, 0, 0])
    assert got[0, 1].tolist() == [0, 0]


@pytest.mark.parametrize("name", ENGINE)
def test_no_series_influences_another(holed, name):
    together = run(name, holed)
    for number in range(len(holed)):
        np.testing.assert_array_equal(run(name, holed[number : number + 1])[0], together[number])


@pytest.mark.parametrize("name", ENGINE)
def test_no_engine_looks_ahead(holed, name):
    ends = [360, 300, 250]
    before = run(name, holed, ends=ends)
    for place, end in enumerate(ends):
        future = holed.copy()
        future[:, end:] = np.random.default_rng(9).gamma(3, 5000, future[:, end:].shape)
        after = run(name, future, ends=ends)
        assert after[:, place].tobytes() == before[:, place].tobytes()


@pytest.mark.parametrize("name", ENGINE)
def test_nothing_known_is_nothing_said(name):
    assert np.isnan(run(name, np.full((2, 200), np.nan))).all()


def test_ets_has_the_intervals_of_the_model():
    """Noise about a level: the middle at the level, 95 % below 1.645 standard deviations; a random walk: it widens."""
    rng = np.random.default_rng(1)
    noise = 1000 + 50 * rng.normal(size=288)
    walk = 5000 + np.cumsum(50 * rng.normal(size=288))
    got = run("ets", [noise, walk], steps=12)
    assert got[0, :, 0] == pytest.approx(np.full(12, 1000), abs=25)
    assert got[0, :, 1] - got[0, :, 0] == pytest.approx(np.full(12, 1.645 * 50), rel=0.2)
    assert got[1, 0] == pytest.approx([walk[-1], walk[-1] + 1.645 * 50], rel=0.01)
    width = got[1, :, 1] - got[1, :, 0]
    assert width[11] > 2.5 * width[0]


def test_ets_says_nothing_of_what_it_cannot_fit_and_the_same_each_time():
    rng = np.random.default_rng(2)
    noise = rng.gamma(2, 100, 288)
    young = np.full(288, np.nan)
    young[-20:] = noise[-20:]
    past = [noise, np.full(288, 42.0), young, np.zeros(288)]
    got = run("ets", past)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1:]).all()
    assert run("ets", past).tobytes() == got.tobytes()


def test_engines_are_found_by_name_in_the_order_of_preference_and_naive_is_always_there():
    assert [engine.name for engine in engines_named(["ets", "trailing_quantile_1d"])] == [
        "naive",
        "trailing_quantile_1d",
        "ets",
    ]
    with pytest.raises(HeadroomError) as caught:
        engines_named(["prophet"])
    assert caught.value.code == "forecast.engine"
    assert "ets" in caught.value.advice
