# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recurrent network: learnt with JAX, asked without it."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import recurrent, recurrent_training
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import FleetModels, ModelEngine
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_model import origins
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent import (
    arrays,
    names,
    packed,
    predict,
    refusal,
    say,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent_training import lesson_of, train
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered, pinball

from .rows import CPU, REQUEST, series
from .test_quantile_model import (
    CLOCK,
    CUT,
    INTERVAL_S,
    LEVELS,
    NUMBERS,
    SOUND,
    STEPS,
    demand,
    odd_series,
)

ENDS = origins(CUT, CLOCK, most=60, seed=0)


def fitted(past, **options):
    whole = {"levels": LEVELS, "seed": 0, **options}
    return train(past[:, :CUT], ENDS, interval_s=INTERVAL_S, steps=STEPS, finest="1", **whole)


@pytest.fixture(scope="module")
def past():
    return demand()


@pytest.fixture(scope="module")
def network(past):
    return fitted(past)


def test_it_betters_the_last_value_and_keeps_its_word(past, network):
    ends = range(CUT, past.shape[1] - STEPS, 5)
    value = np.stack([predict(network, past, end=end) for end in ends], axis=1).astype(float)
    truth = np.stack([past[:, end : end + STEPS] for end in ends], axis=1).astype(float)
    naive = np.stack([past[:, end - 1] for end in ends], axis=1).astype(float)[:, :, None, None]
    loss = pinball(truth, value, NUMBERS).mean(axis=(0, 1, 2))
    assert (loss < 0.25 * pinball(truth, naive + 0 * value, NUMBERS).mean(axis=(0, 1, 2))).all()
    np.testing.assert_allclose(covered(truth, value, NUMBERS).mean(axis=(0, 1, 2)), NUMBERS, atol=0.05)
    assert (np.diff(value, axis=-1) >= 0).all()


def test_numpy_says_what_jax_does(past, network):
    lesson, found = lesson_of(past, ENDS[::20], CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert found == SOUND
    weights = arrays(network)
    there = np.asarray(recurrent_training.said(weights, lesson.read, lesson.beside))
    np.testing.assert_allclose(say(weights, lesson.read, lesson.beside), there, rtol=1e-5, atol=1e-5)
    assert np.abs(there).mean() > 0.1


def test_the_same_input_and_seed_give_the_same_network(past, network):
    few = {"past": past, "levels": LEVELS[:1]}
    once = fitted(**few)
    assert fitted(**few) == once
    assert fitted(**few).digest == once.digest
    assert fitted(**few, seed=1).weights != once.weights
    assert network.digest != once.digest


def test_nothing_after_the_cutoff_is_looked_at(past, network):
    for end in (CUT, CUT + 7):
        after = past.copy()
        after[:, end:] = np.nan
        np.testing.assert_array_equal(predict(network, after, end=end), predict(network, past, end=end))
    lesson, _series = lesson_of(past[:, :CUT], [*ENDS, CUT - STEPS + 1], CLOCK, steps=STEPS, finest=1.0, seed=0)
    without, _series = lesson_of(past[:, :CUT], ENDS, CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert lesson.rows == without.rows  # what has not come yet is not learnt from


def test_no_series_moves_another(past, network):
    spoilt = past.copy()
    spoilt[3] = np.nan
    spoilt[4, -50] = -1
    spoilt[5] *= 1000
    value = predict(network, spoilt, end=past.shape[1])
    others = np.setdiff1d(np.arange(SOUND), [3, 4, 5])
    np.testing.assert_allclose(value[others], predict(network, past, end=past.shape[1])[others], rtol=1e-5)
    assert np.isnan(value[[3, 4]]).all()


@pytest.mark.parametrize("name", odd_series(demand(1)))
def test_odd_series_have_a_forecast_or_none(past, network, name):
    of, spoken_of = odd_series(past)[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = predict(network, of[None], end=len(of))
    assert np.isfinite(value).all() if spoken_of else np.isnan(value).all()


def test_bad_series_are_left_out_of_training(past):
    bad = np.stack([of for of, spoken_of in odd_series(past).values() if not spoken_of])
    bad[:, 5] = -1  # so that it is bad at every origin
    with pytest.raises(HeadroomError) as error:
        train(bad, [CLOCK.columns], interval_s=INTERVAL_S, steps=STEPS, levels=LEVELS, finest="1", seed=0)
    assert error.value.code == "forecast.model"
    both, found = lesson_of(np.concatenate([past, bad]), [CLOCK.columns], CLOCK, steps=STEPS, finest=1.0, seed=0)
    alone, known = lesson_of(past, [CLOCK.columns], CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert 0 < found == known
    np.testing.assert_array_equal(both.read, alone.read)


def test_demand_seen_at_a_cap_is_not_learnt_as_demand():
    """At the minute of its job a VM wants three times its level, and is held at twice."""
    truth = demand(seed=9)
    cap = 2 * np.median(truth, axis=1, keepdims=True)
    seen, at_cap = np.minimum(truth, cap), truth > cap
    model = fitted(seen, censored=at_cap[:, :CUT], levels=LEVELS[1:2])
    ends = range(CUT, truth.shape[1] - STEPS, 11)
    value = np.stack([predict(model, seen, end=end) for end in ends], axis=1)[..., 0]
    bound = np.stack([at_cap[:, end : end + STEPS] for end in ends], axis=1)
    assert (value < 0.97 * cap[:, :, None])[bound].mean() < 0.1


@pytest.mark.parametrize("interval_s", [300, 900, 3600])
def test_what_it_sees_has_names_and_no_unit(interval_s):
    clock = recurrent.Clock(interval_s)
    window = np.random.default_rng(2).gamma(2, 100, (3, clock.columns)).astype(np.float32)
    one, many = (recurrent.look(window * unit, clock, clock.furthest, finest=0.5 * unit) for unit in (1, 8))
    told = names(clock, clock.furthest)
    assert len(set(told)) == len(told) == one.read.shape[1] + one.beside.shape[1]
    np.testing.assert_allclose(one.read, many.read, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.beside, many.beside, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, ""),
        ({"interval_s": 300}, "900 s"),
        ({"steps": STEPS + 1}, "4 steps"),
        ({"levels": [0.99]}, "0.5, 0.9, 0.95"),
    ],
)
def test_it_says_what_it_cannot_speak_of(past, network, asked, why):
    whole = {"interval_s": INTERVAL_S, "steps": STEPS, "levels": NUMBERS.tolist(), **asked}
    said = refusal(network, **whole)
    assert (why in said) if why else said == ""
    value = ModelEngine(network, unseen=99).forecast(
        past, [past.shape[1]], **{**whole, "levels": np.array(whole["levels"])}
    )
    assert np.isnan(value).all() == bool(why)


def test_a_network_of_other_features_is_refused(network):
    other = replace(network, feature_version=recurrent.VERSION + 1)
    assert "other features" in refusal(other, interval_s=INTERVAL_S, steps=1, levels=[0.5])


def test_weights_that_are_no_network_are_refused(past, network):
    spoilt = {name: one.copy() for name, one in arrays(network).items()}
    spoilt["out"][0, 0] = np.inf
    for weights in (network.weights[:-4], network.weights + b"1234", b"", packed(spoilt)):
        with pytest.raises(HeadroomError) as error:
            predict(replace(network, weights=weights), past, end=CUT)
        assert error.value.code == "model.damaged"


def test_without_the_library_it_speaks_and_cannot_be_trained(past, network, monkeypatch):
    said = predict(network, past, end=CUT)
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    np.testing.assert_array_equal(predict(network, past, end=CUT), said)
    with pytest.raises(HeadroomError) as error:
        fitted(past)
    assert (error.value.code, error.value.details["library"]) == ("library.missing", "jax")


def stage(past, vms):
    """Identifiers, a table of each VM, and what is asked."""
    ids = [f"lab/{number:02}" for number in range(vms)]
    rows = [series(of, unique_id=one, interval_s=INTERVAL_S) for one, of in zip(ids, past[:vms], strict=True)]
    return ids, rows, replace(REQUEST, series_interval_s=INTERVAL_S, interval_s=INTERVAL_S, history_s=12 * 86400)


@pytest.mark.parametrize("parts", [2, 7])
def test_a_fleet_in_partitions_has_the_same_forecasts(past, network, parts):
    """Through the whole stage, with the engines that need no training beside it."""
    ids, rows, request = stage(past, 20)
    models = FleetModels({"sha256:n": ModelEngine(network, unseen=60)}, {CPU: dict.fromkeys(ids, "sha256:n")})

    def told(count):
        tables = [pa.concat_tables(rows[first::count]) for first in range(count)]
        return make_forecast(tables, request, unique_ids=ids, models=models)[:2]

    (whole, why), (cut, why_cut) = told(1), told(parts)
    assert why_cut == why
    assert cut.drop(["value"]) == whole.drop(["value"])
    np.testing.assert_allclose(cut["value"].to_numpy(), whole["value"].to_numpy(), rtol=1e-5)
    assert recurrent.NAME in whole["engine"].to_pylist()


def test_a_fleet_may_have_trees_and_a_network_and_each_is_named(past, network):
    class Trees:
        name = "quantile_trees"

        def forecast(self, past, ends, *, steps, levels, **_unused):
            said = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
            said[:, [place for place, end in enumerate(ends) if end == past.shape[1]]] = 700
            return said

    ids, rows, request = stage(past, 3)
    models = FleetModels(
        {"sha256:n": ModelEngine(network, unseen=0), "sha256:t": Trees()},
        {CPU: {ids[0]: "sha256:n", ids[1]: "sha256:t"}},
    )
    table, choices, _warnings = make_forecast(rows, request, unique_ids=ids, models=models)
    assert [choice.engine for choice in choices[:2]] == [recurrent.NAME, "quantile_trees"]
    assert "recurrent at 0.5, 0.9, 0.95 (model sha256:n; no origin yet" in choices[0].reason
    assert "quantile_trees at 0.5, 0.9, 0.95 (model sha256:t; no origin yet" in choices[1].reason
    assert {recurrent.NAME, "quantile_trees"} & set(choices[2].engine.split("+")) == set()
    engines = dict(zip(table["unique_id"].to_pylist(), table["engine"].to_pylist(), strict=True))
    assert [engines[one] for one in ids[:2]] == [recurrent.NAME, "quantile_trees"]
