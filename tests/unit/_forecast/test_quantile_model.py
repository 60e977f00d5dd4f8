# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast import quantile_model
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import ModelEngine, refusal
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import (
    Clock,
    describe,
    filled,
    names,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_model import (
    origins,
    predict,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.select import ORIGINS, Shape, attempt, select

from .fleet import CLOCK, CUT, INTERVAL_S, NUMBERS, SOUND, STEPS, fitted, odd_series

pytestmark = pytest.mark.arithmetic


def test_the_same_input_gives_the_same_model(past, trees):
    again = fitted("trees", past)
    assert again.digest == trees.digest
    assert again == trees


def test_nothing_after_the_cutoff_is_learnt_from(past, trees):
    rewritten = past.copy()
    rewritten[:, CUT:] = np.random.default_rng(7).uniform(0, 9999, rewritten[:, CUT:].shape)
    assert fitted("trees", rewritten).digest == trees.digest


def test_plain_series_go_on_as_they_are(past, trees):
    odd = odd_series(past)
    said = {name: predict(trees, odd[name][0][None], end=past.shape[1]) for name in ("constant", "zero", "stepped")}
    np.testing.assert_allclose(said["constant"], 70, atol=5)
    np.testing.assert_allclose(said["zero"], 0, atol=5)
    assert (said["stepped"][..., 1:] > 500).all()


def test_the_features_have_names_and_no_unit(past):
    window = filled(past, CLOCK)
    one = describe(window, CLOCK, [1, 2], finest=0.001)
    many = describe(window * 8, CLOCK, [1, 2], finest=0.008)
    assert one.values.shape == (SOUND, 2, len(names(CLOCK)))
    assert len(set(names(CLOCK))) == len(names(CLOCK))
    np.testing.assert_allclose(one.values, many.values, rtol=1e-3, atol=1e-4)


def test_the_engine_is_silent_about_days_it_was_trained_on(past, trees):
    engine = ModelEngine(trees, unseen=past.shape[1] - CUT)
    value = engine.forecast(past, [CUT - 1, CUT, past.shape[1]], steps=2, levels=NUMBERS[1:], interval_s=INTERVAL_S)
    assert value.shape == (SOUND, 3, 2, 2)
    assert np.isnan(value[:, 0]).all()
    np.testing.assert_array_equal(value[:, 1], predict(trees, past, end=CUT)[:, :2, 1:])


def test_it_is_chosen_by_the_days_it_had_not_seen(past, trees):
    engines = (*ENGINES, ModelEngine(trees, unseen=past.shape[1] - CUT))
    shape = Shape(interval_s=INTERVAL_S, lead=0, steps=STEPS, levels=NUMBERS)
    chosen = select(attempt(past, shape, engines=engines))
    last = chosen.engine == len(engines) - 1
    assert last.mean() > 0.5
    assert chosen.origins[last].max() < ORIGINS


def test_a_model_of_other_features_is_refused(trees, monkeypatch):
    monkeypatch.setattr(quantile_model, "VERSION", 0)
    assert "other features" in refusal(trees, interval_s=INTERVAL_S, steps=1, levels=[0.5])


def test_without_the_library_the_engine_is_silent_and_says_why(past, trees, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert "lightgbm" in refusal(trees, interval_s=INTERVAL_S, steps=1, levels=[0.5])
    value = ModelEngine(trees, unseen=99).forecast(
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
