# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recurrent network: learnt with JAX, asked without it."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import recurrent, recurrent_training
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_engine import (
    FleetModels,
    ModelEngine,
    refusal,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent import (
    arrays,
    names,
    packed,
    predict,
    say,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent_training import lesson_of

from .fleet import CLOCK, CUT, ENDS, INTERVAL_S, SOUND, STEPS, fitted, odd_series
from .rows import CPU, REQUEST, series

pytestmark = pytest.mark.arithmetic


def test_numpy_says_what_jax_does(past, network):
    lesson, found = lesson_of(past, ENDS[::20], CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert found == SOUND
    weights = arrays(network)
    there = np.asarray(recurrent_training.said(weights, lesson.read, lesson.beside))
    np.testing.assert_allclose(say(weights, lesson.read, lesson.beside), there, rtol=1e-5, atol=1e-5)
    assert np.abs(there).mean() > 0.1


def test_the_same_input_and_seed_give_the_same_network(past, network, monkeypatch):
    monkeypatch.setattr(recurrent_training, "PASSES", 2)
    once, again, other = (fitted("network", past, seed=seed) for seed in (0, 0, 1))
    assert again == once
    assert again.digest == once.digest
    assert len({one.weights for one in (once, other, network)}) == 3
    assert len({one.digest for one in (once, other, network)}) == 3


def test_nothing_after_the_cutoff_is_learnt_from(past):
    lesson, _series = lesson_of(past[:, :CUT], [*ENDS, CUT - STEPS + 1], CLOCK, steps=STEPS, finest=1.0, seed=0)
    without, _series = lesson_of(past[:, :CUT], ENDS, CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert lesson.rows == without.rows  # what has not come yet is not learnt from


def test_bad_series_are_left_out_of_training(past):
    bad = np.stack([of for of, spoken_of in odd_series(past).values() if not spoken_of])
    bad[:, 5] = -1  # so that it is bad at every origin
    both, found = lesson_of(np.concatenate([past, bad]), [CLOCK.columns], CLOCK, steps=STEPS, finest=1.0, seed=0)
    alone, known = lesson_of(past, [CLOCK.columns], CLOCK, steps=STEPS, finest=1.0, seed=0)
    assert 0 < found == known
    np.testing.assert_array_equal(both.read, alone.read)


@pytest.mark.parametrize("interval_s", [300, 900, 3600])
def test_what_it_sees_has_names_and_no_unit(interval_s):
    clock = recurrent.Clock(interval_s)
    window = np.random.default_rng(2).gamma(2, 100, (3, clock.columns)).astype(np.float32)
    one, many = (recurrent.look(window * unit, clock, clock.furthest, finest=0.5 * unit) for unit in (1, 8))
    told = names(clock, clock.furthest)
    assert len(set(told)) == len(told) == one.read.shape[1] + one.beside.shape[1]
    np.testing.assert_allclose(one.read, many.read, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one.beside, many.beside, rtol=1e-4, atol=1e-4)


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
        fitted("network", past)
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
