# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import quantile_model
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import ModelEngine
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import (
    Clock,
    describe,
    filled,
    names,
    unfit,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_model import (
    origins,
    predict,
    refusal,
    train,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered, pinball
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.select import ORIGINS, Shape, attempt, select

INTERVAL_S = 900
CLOCK = Clock(INTERVAL_S)
STEPS = 4
LEVELS = ("0.5", "0.9", "0.95")
NUMBERS = np.array([float(level) for level in LEVELS])
DAYS = 14
CUT = 11 * CLOCK.day  # where training ends
SOUND = 60


def demand(series=SOUND, seed=6):
    """Noise around a level, and a job of each VM's own that starts at a minute of every hour."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(50, 500, (series, 1))
    beat = np.arange(DAYS * CLOCK.day)[None, :] % CLOCK.cycle == rng.integers(0, CLOCK.cycle, (series, 1))
    past = level * (1 + 2 * beat) + 0.1 * level * rng.normal(0, 1, beat.shape)
    return np.maximum(past, 0).astype(np.float32)


def fitted(past, *, cut=CUT, **options):
    ends = origins(cut, CLOCK, most=60, seed=0)
    whole = {"levels": LEVELS, **options}
    return train(past[:, :cut], ends, interval_s=INTERVAL_S, steps=STEPS, finest="1", seed=0, **whole)


@pytest.fixture(scope="module")
def past():
    return demand()


@pytest.fixture(scope="module")
def model(past):
    return fitted(past)


def test_it_beats_the_last_value_and_keeps_its_word(past, model):
    ends = range(CUT, past.shape[1] - STEPS, 5)
    value = np.stack([predict(model, past, end=end) for end in ends], axis=1).astype(float)
    truth = np.stack([past[:, end : end + STEPS] for end in ends], axis=1).astype(float)
    naive = np.stack([past[:, end - 1] for end in ends], axis=1).astype(float)[:, :, None, None]
    loss = pinball(truth, value, NUMBERS).mean(axis=(0, 1, 2))
    assert (loss < 0.25 * pinball(truth, naive + 0 * value, NUMBERS).mean(axis=(0, 1, 2))).all()
    np.testing.assert_allclose(covered(truth, value, NUMBERS).mean(axis=(0, 1, 2)), NUMBERS, atol=0.04)
    assert (np.diff(value, axis=-1) >= 0).all()


def test_the_same_input_gives_the_same_model(past, model):
    again = fitted(past)
    assert again.digest == model.digest
    assert again == model


def test_nothing_after_the_cutoff_is_looked_at(past, model):
    rewritten = past.copy()
    rewritten[:, CUT:] = np.random.default_rng(7).uniform(0, 9999, rewritten[:, CUT:].shape)
    assert fitted(rewritten).digest == model.digest
    for end in (CUT, CUT + 7):
        after = past.copy()
        after[:, end:] = np.nan
        np.testing.assert_array_equal(predict(model, after, end=end), predict(model, past, end=end))


def test_no_series_moves_another(past, model):
    spoilt = past.copy()
    spoilt[3] = np.nan
    spoilt[4, -50] = -1
    spoilt[5] *= 1000
    value = predict(model, spoilt, end=past.shape[1])
    others = np.setdiff1d(np.arange(SOUND), [3, 4, 5])
    np.testing.assert_array_equal(value[others], predict(model, past, end=past.shape[1])[others])
    assert np.isnan(value[[3, 4]]).all()


def odd_series(past):
    ordinary = past[0]
    gappy = ordinary.copy()
    gappy[np.random.default_rng(8).random(len(gappy)) < 0.5] = np.nan
    late = np.full_like(ordinary, np.nan)
    late[-CLOCK.day - 8 :] = ordinary[-CLOCK.day - 8 :]
    short = np.full_like(ordinary, np.nan)
    short[-20:] = 5
    ended = ordinary.copy()
    ended[-CLOCK.day :] = np.nan
    step = np.where(np.arange(len(ordinary)) < len(ordinary) - 10, 10, 1000)
    negative, infinite = ordinary.copy(), ordinary.copy()
    negative[-5], infinite[-5] = -1, np.inf
    return {
        "constant": (np.full_like(ordinary, 70), True),
        "zero": (np.zeros_like(ordinary), True),
        "gappy": (gappy, True),
        "late": (late, True),
        "stepped": (step.astype(np.float32), True),
        "short": (short, False),
        "ended": (ended, False),
        "nan": (np.full_like(ordinary, np.nan), False),
        "negative": (negative, False),
        "infinite": (infinite, False),
    }


@pytest.mark.parametrize("name", odd_series(demand(1)))
def test_odd_series_have_a_forecast_or_a_reason(past, model, name):
    series, spoken_of = odd_series(past)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = predict(model, series[None], end=len(series))
        reasons = [why for why, rows in unfit(series[None], CLOCK).items() if rows[0]]
    assert np.isfinite(value).all() if spoken_of else np.isnan(value).all()
    assert bool(reasons) is not spoken_of
    if name == "constant":
        np.testing.assert_allclose(value, 70, atol=5)
    if name == "zero":
        np.testing.assert_allclose(value, 0, atol=5)
    if name == "stepped":
        assert (value[..., 1:] > 500).all()


def test_bad_series_are_left_out_of_training(past, model):
    bad = np.stack([series for series, spoken_of in odd_series(past).values() if not spoken_of])
    bad[:, 5] = -1  # so that it is bad at every origin
    ends = [CLOCK.columns]
    with pytest.raises(HeadroomError) as error:
        train(bad, ends, interval_s=INTERVAL_S, steps=STEPS, levels=LEVELS, finest="1", seed=0)
    assert error.value.code == "forecast.model"
    assert model.series == SOUND


def test_demand_seen_at_a_cap_is_not_learnt_as_demand():
    """At the minute of its job a VM wants three times its level, and is held at twice."""
    truth = demand(seed=9)
    cap = 2 * np.median(truth, axis=1, keepdims=True)
    seen, at_cap = np.minimum(truth, cap), truth > cap
    ends = range(CUT, truth.shape[1] - STEPS, 11)

    def exceeded(model):
        value = np.stack([predict(model, seen, end=end) for end in ends], axis=1)[..., 0]
        bound = np.stack([at_cap[:, end : end + STEPS] for end in ends], axis=1)
        least = np.broadcast_to(cap[:, :, None], value.shape)
        return float((value < 0.97 * least)[bound].mean())

    assert exceeded(fitted(seen, censored=at_cap[:, :CUT], levels=LEVELS[1:2])) < 0.1
    free = fitted(np.where(at_cap, np.nan, seen), levels=LEVELS[1:2])
    assert exceeded(free) > 0.5  # those that were held are not simply dropped


def test_the_features_have_names_and_no_unit(past):
    window = filled(past, CLOCK)
    one = describe(window, CLOCK, [1, 2], finest=0.001)
    many = describe(window * 8, CLOCK, [1, 2], finest=0.008)
    assert one.values.shape == (SOUND, 2, len(names(CLOCK)))
    assert len(set(names(CLOCK))) == len(names(CLOCK))
    np.testing.assert_allclose(one.values, many.values, rtol=1e-3, atol=1e-4)


def test_the_engine_is_silent_about_days_it_was_trained_on(past, model):
    engine = ModelEngine(model, unseen=past.shape[1] - CUT)
    value = engine.forecast(past, [CUT - 1, CUT, past.shape[1]], steps=2, levels=NUMBERS[1:], interval_s=INTERVAL_S)
    assert value.shape == (SOUND, 3, 2, 2)
    assert np.isnan(value[:, 0]).all()
    np.testing.assert_array_equal(value[:, 1], predict(model, past, end=CUT)[:, :2, 1:])


def test_it_is_chosen_by_the_days_it_had_not_seen(past, model):
    engines = (*ENGINES, ModelEngine(model, unseen=past.shape[1] - CUT))
    shape = Shape(interval_s=INTERVAL_S, lead=0, steps=STEPS, levels=NUMBERS)
    chosen = select(attempt(past, shape, engines=engines))
    trees = chosen.engine == len(engines) - 1
    assert trees.mean() > 0.5
    assert chosen.origins[trees].max() < ORIGINS


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, ""),
        ({"interval_s": 300}, "900 s"),
        ({"steps": STEPS + 1}, "4 steps"),
        ({"levels": [0.99]}, "0.5, 0.9, 0.95"),
    ],
)
def test_a_model_says_what_it_cannot_speak_of(past, model, asked, why):
    whole = {"interval_s": INTERVAL_S, "steps": STEPS, "levels": NUMBERS.tolist(), **asked}
    said = refusal(model, **whole)
    assert (why in said) if why else said == ""
    value = ModelEngine(model, unseen=99).forecast(
        past, [past.shape[1]], **{**whole, "levels": np.array(whole["levels"])}
    )
    assert np.isnan(value).all() == bool(why)


def test_a_model_of_other_features_is_refused(model, monkeypatch):
    monkeypatch.setattr(quantile_model, "VERSION", 0)
    assert "other features" in refusal(model, interval_s=INTERVAL_S, steps=1, levels=[0.5])


def test_without_the_library_the_engine_is_silent_and_says_why(past, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert "lightgbm" in refusal(model, interval_s=INTERVAL_S, steps=1, levels=[0.5])
    value = ModelEngine(model, unseen=99).forecast(
        past, [past.shape[1]], steps=1, levels=NUMBERS, interval_s=INTERVAL_S
    )
    assert np.isnan(value).all()


def test_the_features_reach_as_far_as_they_say():
    for interval_s in (300, 900, 3600):
        clock = Clock(interval_s)
        window = np.arange(clock.columns, dtype=np.float32)[None, :]
        assert np.isfinite(describe(window, clock, range(1, clock.furthest + 1), finest=1).values).all()


def test_origins_keep_the_minute_of_the_decision():
    ends = origins(CUT, CLOCK, most=10_000, seed=0)
    assert ends == sorted(set(ends))
    assert CLOCK.columns <= ends[0]
    assert ends[-1] < CUT
    phased = [end for end in ends if end % CLOCK.cycle == CUT % CLOCK.cycle]
    assert len(phased) == (CUT - CLOCK.columns) // CLOCK.cycle
    assert len(ends) == len(phased) + len(phased) // 2
    assert len(origins(CUT, CLOCK, most=7, seed=0)) == 7


@pytest.mark.parametrize("steps", [0, CLOCK.furthest + 1])
def test_steps_beyond_the_features_are_refused(past, steps):
    with pytest.raises(HeadroomError) as error:
        train(past, [CUT], interval_s=INTERVAL_S, steps=steps, levels=LEVELS, finest="1", seed=0)
    assert error.value.code == "forecast.model"
