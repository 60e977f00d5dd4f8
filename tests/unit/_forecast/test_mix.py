# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.mix import LEAST, combined, judged, unknown

LEVELS = np.array([0.5, 0.9])


def said(*constants, series=1, steps=4):
    """Engines that always say the same, [V, E, S, Q]."""
    return (
        np.broadcast_to(np.array(constants, dtype=float), (steps, len(constants), 2))
        .swapaxes(0, 1)[None]
        .repeat(series, axis=0)
    )


def after(rounds, engines, truth, series=1):
    standing = unknown(series, engines.shape[1], 2)
    for _unused in range(rounds):
        standing = judged(standing, engines, truth, levels=LEVELS)
    return standing


def test_the_first_speaks_until_enough_is_known():
    engines, truth = said([9, 9], [5, 5]), np.full((1, 4), 5.0)
    assert combined(after(int(LEAST), engines, truth), engines)[1].tolist() == [[0, 0]]
    assert combined(after(2 * int(LEAST), engines, truth), engines)[1].tolist() == [[1, 1]]


def test_each_series_and_level_has_its_own_choice():
    engines = said([5, 9], [9, 5], series=2)
    truth = np.array([[5.0] * 4, [9.0] * 4])
    who = combined(after(60, engines, truth, series=2), engines)[1]
    assert who.tolist() == [[0, 1], [1, 0]]


def test_demand_seen_at_a_cap_blames_nobody_for_having_said_more():
    engines, truth = said([9, 9], [5, 5]), np.full((1, 4), 6.0)
    bound = np.ones(truth.shape, dtype=bool)
    standing = judged(unknown(1, 2, 2), engines, truth, levels=LEVELS, bound=bound)
    assert standing.loss[0, 0].tolist() == [0, 0]
    assert (standing.loss[0, 1] > 0).all()
    assert (judged(unknown(1, 2, 2), engines, truth, levels=LEVELS).loss[0, 0] > 0).all()


def test_a_small_lead_is_luck():
    engines, truth = said([6, 6], [5.98, 5.98]), np.full((1, 4), 5.0)
    assert combined(after(60, engines, truth), engines)[1].tolist() == [[0, 0]]


def test_a_lead_that_chance_explains_is_luck():
    rng = np.random.default_rng(6)
    standing = unknown(200, 2, 2)
    engines = said([5, 5], [6, 6], series=200)
    for _unused in range(100):
        truth = rng.normal(5.5, 1, (200, 1)) + np.zeros((200, 4))
        standing = judged(standing, engines, truth, levels=LEVELS)
    assert (combined(standing, engines)[1][:, 0] == 1).mean() < 0.02


def test_the_mix_speaks_where_it_is_better_than_the_best():
    rng = np.random.default_rng(5)
    standing = unknown(1, 2, 2)
    for _unused in range(200):  # both see half of the truth
        one, other = rng.normal(0, 1, 2)
        engines = said([50 + 2 * one, 52 + 2 * one], [50 + 2 * other, 52 + 2 * other])
        standing = judged(standing, engines, np.full((1, 4), 50 + one + other), levels=LEVELS)
    value, who = combined(standing, engines)
    assert who[0, 0] == 2
    low, high = sorted([50 + 2 * one, 50 + 2 * other])
    assert low < value[0, 0, 0] < high


def test_a_forgotten_past_does_not_decide():
    engines = said([5, 5], [9, 9])
    standing = after(400, engines, np.full((1, 4), 5.0))
    for _unused in range(250):
        standing = judged(standing, engines, np.full((1, 4), 9.0), levels=LEVELS)
    assert combined(standing, engines)[1].tolist() == [[1, 1]]


def test_silence_does_not_pay_and_is_no_part_of_the_mix():
    mute = said([5, 5], [np.nan, np.nan])
    standing = after(60, mute, np.full((1, 4), 5.0))
    value, who = combined(standing, mute)
    assert who.tolist() == [[0, 0]]
    assert np.isfinite(value).all()
    value, who = combined(standing, said([np.nan, np.nan], [7, 7]))
    assert (who > 0).all()
    assert (value == 7).all()
    assert np.isnan(combined(standing, said([np.nan, np.nan], [np.nan, np.nan]))[0]).all()


def test_no_series_moves_another_and_the_unknown_teaches_nothing():
    engines = said([5, 5], [6, 6], series=2)
    truth = np.array([[5.0] * 4, [np.nan] * 4])
    standing = after(20, engines, truth, series=2)
    alone = after(20, engines[:1], truth[:1])
    np.testing.assert_array_equal(standing.loss[:1], alone.loss)
    assert (standing.loss[1] == 0).all()
    assert standing.count[1] == 0
