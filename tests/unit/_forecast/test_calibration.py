# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.calibration import (
    corrected,
    learnt,
    uncorrected,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered

LEVELS = np.array([0.5, 0.9, 0.95])
FAR = 10.0  # where none of the quantiles is cut off at zero


def follow(truth, raw, *, bound=None, levels=LEVELS):
    """Forecast after forecast: coverage [rounds, V, Q] as issued, and the last state."""
    state = uncorrected(truth.shape[1], len(levels))
    shares = []
    for place, (came, said) in enumerate(zip(truth, raw, strict=True)):
        shares.append(covered(came, corrected(said, state), levels).mean(axis=1))
        state = learnt(state, said, came, levels=levels, bound=None if bound is None else bound[place])
    return np.array(shares), state


def fixed(rounds, series, steps, quantiles):
    return np.broadcast_to(np.array(quantiles), (rounds, series, steps, len(quantiles)))


def test_a_forecast_that_errs_is_brought_to_its_word():
    rng = np.random.default_rng(1)
    truth = FAR + rng.normal(0, 1, (1000, 40, 12))
    shares, _unused = follow(truth, fixed(1000, 40, 12, [FAR - 1, FAR - 1, FAR + 2.5]))
    np.testing.assert_allclose(shares[600:].mean(axis=(0, 1)), LEVELS, atol=0.02)


def test_it_follows_a_drift_of_level_and_spread():
    rng = np.random.default_rng(2)
    spread = np.where(np.arange(1800) < 300, 1.0, 6.0)[:, None, None]
    truth = 100 + 5 * (spread > 1) + spread * rng.normal(0, 1, (1800, 40, 12))
    right_at_first = fixed(1800, 40, 12, [100.0, 101.28, 101.64])
    raw_share = covered(truth[1200:], right_at_first[1200:], LEVELS).mean(axis=(0, 1, 2))
    assert raw_share[1] < 0.5
    shares, _unused = follow(truth, right_at_first)
    np.testing.assert_allclose(shares[1200:].mean(axis=(0, 1)), LEVELS, atol=0.02)


def test_a_series_on_its_floor_is_not_corrected():
    _unused, state = follow(np.zeros((50, 2, 12)), fixed(50, 2, 12, [0.0, 0.0, 0.0]))
    assert (state.offset == 0).all()


def test_demand_at_a_cap_is_a_lower_bound():
    rng = np.random.default_rng(3)
    demand = FAR + rng.normal(0, 1, (800, 40, 12))
    cap = FAR + 1.0  # at 84 % of the demand
    seen = np.minimum(demand, cap)
    right = [FAR, FAR + 1.2816, FAR + 1.6449]
    _unused, learnt_as_demand = follow(seen, fixed(800, 40, 12, right))
    _unused, as_bound = follow(seen, fixed(800, 40, 12, right), bound=demand > cap)
    issued = corrected(fixed(1, 40, 12, right)[0], as_bound)
    assert (learnt_as_demand.offset[:, 1:].mean(axis=0) < -0.2).all()
    assert (issued[..., 1] > cap - 0.1).all()
    assert (as_bound.offset[:, 2].mean(axis=0)) > learnt_as_demand.offset[:, 2].mean(axis=0)


def test_a_bound_above_the_forecast_raises_it():
    state = learnt(
        uncorrected(1, 3), np.full((1, 4, 3), 5.0), np.array([[6.0, 4.0, 4.0, 9.0]]), levels=LEVELS,
        bound=np.array([[False, False, False, True]]),
    )  # fmt: skip
    state = learnt(
        state, np.full((1, 1, 3), 5.0), np.array([[9.0]]), levels=LEVELS, bound=np.array([[True]])
    )  # fmt: skip
    assert (state.offset > 0).all()


def test_what_is_unknown_teaches_nothing_and_no_series_moves_another():
    rng = np.random.default_rng(4)
    truth = FAR + rng.normal(0, 1, (30, 3, 12))
    raw = fixed(30, 3, 12, [FAR, FAR, FAR]).copy()
    _unused, clean = follow(truth, raw)
    spoilt, silent = truth.copy(), raw.copy()
    spoilt[:, 1], silent[:, 2] = np.nan, np.nan
    _unused, state = follow(spoilt, silent)
    np.testing.assert_array_equal(state.offset[0], clean.offset[0])
    assert (state.offset[1:] == 0).all()


def test_a_forecast_that_is_sure_stays_what_it_is():
    rng = np.random.default_rng(5)
    truth = FAR + rng.normal(0, 1, (200, 3, 12))
    raw = fixed(200, 3, 12, [FAR - 3, FAR - 2, FAR - 1])
    _unused, state = follow(truth, raw)
    assert (corrected(raw[0], state)[..., 1:] > FAR).all()
    sure = np.full((3, 12, 3), 100.0)
    np.testing.assert_array_equal(corrected(sure, state), sure)


def test_quantiles_ascend_and_are_never_negative():
    state = uncorrected(1, 3)
    state = replace(state, offset=np.array([[3.0, 0.0, -20.0]]))
    value = corrected(np.array([[[1.0, 2.0, 3.0]]]), state)
    assert value.tolist() == [[[0.0, 2.0, 4.0]]]
