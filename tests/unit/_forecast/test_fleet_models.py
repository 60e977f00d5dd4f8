# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every model of a whole fleet, be it trees or a network."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import (
    ModelEngine,
    predict,
    refusal,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import unfit
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered, pinball

from .fleet import CLOCK, CUT, INTERVAL_S, LEVELS, NUMBERS, SOUND, STEPS, TRAIN, demand, fitted, odd_series

pytestmark = pytest.mark.arithmetic

WORD = {"trees": 0.04, "network": 0.05}  # how far a share may be from what was said
APART = {"trees": 0, "network": 1e-5}  # what a row may differ by where it stands elsewhere


@pytest.fixture(params=TRAIN)
def kind(request):
    return request.param


@pytest.fixture
def model(kind, request):
    return request.getfixturevalue(kind)


def test_it_beats_the_last_value_and_keeps_its_word(past, kind, model):
    ends = range(CUT, past.shape[1] - STEPS, 5)
    value = np.stack([predict(model, past, end=end) for end in ends], axis=1).astype(float)
    truth = np.stack([past[:, end : end + STEPS] for end in ends], axis=1).astype(float)
    naive = np.stack([past[:, end - 1] for end in ends], axis=1).astype(float)[:, :, None, None]
    loss = pinball(truth, value, NUMBERS).mean(axis=(0, 1, 2))
    assert (loss < 0.25 * pinball(truth, naive + 0 * value, NUMBERS).mean(axis=(0, 1, 2))).all()
    np.testing.assert_allclose(covered(truth, value, NUMBERS).mean(axis=(0, 1, 2)), NUMBERS, atol=WORD[kind])
    assert (np.diff(value, axis=-1) >= 0).all()


def test_no_series_moves_another(past, kind, model):
    spoilt = past.copy()
    spoilt[3] = np.nan
    spoilt[4, -50] = -1
    spoilt[5] *= 1000
    value = predict(model, spoilt, end=past.shape[1])
    others = np.setdiff1d(np.arange(SOUND), [3, 4, 5])
    np.testing.assert_allclose(value[others], predict(model, past, end=past.shape[1])[others], rtol=APART[kind])
    assert np.isnan(value[[3, 4]]).all()


def test_nothing_after_the_end_is_looked_at(past, model):
    for end in (CUT, CUT + 7):
        after = past.copy()
        after[:, end:] = np.nan
        np.testing.assert_array_equal(predict(model, after, end=end), predict(model, past, end=end))


@pytest.mark.parametrize("name", odd_series(demand(1)))
def test_odd_series_have_a_forecast_or_a_reason(past, model, name):
    series, spoken_of = odd_series(past)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = predict(model, series[None], end=len(series))
        reasons = [why for why, rows in unfit(series[None], CLOCK).items() if rows[0]]
    assert bool(reasons) is not spoken_of
    assert np.isfinite(value).all() if spoken_of else np.isnan(value).all()


def test_bad_series_are_left_out_of_training(past, kind, model):
    bad = np.stack([series for series, spoken_of in odd_series(past).values() if not spoken_of])
    bad[:, 5] = -1  # so that it is bad at every origin
    with pytest.raises(HeadroomError) as error:
        TRAIN[kind](bad, [CLOCK.columns], interval_s=INTERVAL_S, steps=STEPS, levels=LEVELS, finest="1", seed=0)
    assert error.value.code == "forecast.model"
    assert model.series == SOUND


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


@pytest.mark.parametrize("steps", [0, CLOCK.furthest + 1])
def test_steps_beyond_the_features_are_refused(past, kind, steps):
    with pytest.raises(HeadroomError) as error:
        TRAIN[kind](past, [CUT], interval_s=INTERVAL_S, steps=steps, levels=LEVELS, finest="1", seed=0)
    assert error.value.code == "forecast.model"


def test_demand_seen_at_a_cap_is_not_learnt_as_demand(kind):
    """At the minute of its job a VM wants three times its level, and is held at twice."""
    truth = demand(seed=9)
    cap = 2 * np.median(truth, axis=1, keepdims=True)
    seen, at_cap = np.minimum(truth, cap), truth > cap
    ends = range(CUT, truth.shape[1] - STEPS, 11)

    def exceeded(model):
        value = np.stack([predict(model, seen, end=end) for end in ends], axis=1)[..., 0]
        bound = np.stack([at_cap[:, end : end + STEPS] for end in ends], axis=1)
        return float((value < 0.97 * cap[:, :, None])[bound].mean())

    assert exceeded(fitted(kind, seen, censored=at_cap[:, :CUT], levels=LEVELS[1:2])) < 0.1
    if kind == "trees":
        free = fitted(kind, np.where(at_cap, np.nan, seen), levels=LEVELS[1:2])
        assert exceeded(free) > 0.5  # those that were held are not simply dropped
