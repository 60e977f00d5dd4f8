# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import Tally, covered, pinball

LEVELS = np.array([0.1, 0.5, 0.9])


def test_the_loss_weighs_too_low_by_the_level_and_too_high_by_the_rest():
    loss = pinball(np.array([10.0]), np.array([[4.0, 10.0, 12.0]]), LEVELS)
    assert loss[0] == pytest.approx([0.6, 0.0, 0.2])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([11, 12, 13], [1, 1, 1]),
        ([7, 8, 9], [0, 0, 0]),
        ([7, 8, 13], [0, 0, 1]),
        ([10, 10, 10], [0.1, 0.5, 0.9]),  # no width at all: each level is as right as it says
        ([10, 10, 13], [0.1 / 0.9, 0.5 / 0.9, 1]),
        ([7, 10, 10], [0, 0.4 / 0.9, 0.8 / 0.9]),
        ([7, 10, 13], [0, 0.5, 1]),
    ],
)
def test_a_tie_counts_in_part(value, expected):
    assert covered(np.array([10.0]), np.array([value], dtype=np.float64), LEVELS)[0] == pytest.approx(expected)


def test_the_part_is_the_mean_of_a_random_draw():
    """Discrete truth, exact quantiles: each level is covered as often as it says, and as the randomised form does."""
    rng = np.random.default_rng(0)
    levels = np.array([0.1, 0.3, 0.5, 0.9])
    truth = rng.choice([0.0, 1.0, 5.0], p=[0.4, 0.35, 0.25], size=20_000)
    value = np.tile([0.0, 0.0, 1.0, 5.0], (len(truth), 1))
    got = covered(truth, value, levels).mean(axis=0)
    assert got[1] / got[0] == pytest.approx(3)
    assert got == pytest.approx(levels, abs=0.15)  # where the steps lie between the levels is not known


def test_points_that_one_side_does_not_know_are_not_scored():
    tally = Tally(2, LEVELS)
    value = np.zeros((2, 3, 3))
    naive = np.zeros((2, 3, 3))
    truth = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.nan]])
    value[0, 2] = np.nan
    tally.add(slice(0, 2), truth, value, naive)
    means = tally.means()
    assert means.rows.tolist() == [0]
    assert means.points.tolist() == [1]
    assert means.pinball[0] == pytest.approx([0.1, 0.5, 0.9])


def test_the_worst_tenth_and_the_mean_over_points():
    tally = Tally(20, LEVELS[1:2])
    truth = np.arange(20.0)[:, None] * np.ones((20, 2))
    truth[19, 1] = np.nan
    tally.add(slice(0, 20), truth, np.zeros((20, 2, 1)), np.zeros((20, 2, 1)))
    means = tally.means()
    assert means.worst(means.pinball, highest=True)[0] == pytest.approx((18 + 19) / 2 / 2)
    assert means.worst(means.pinball, highest=False)[0] == pytest.approx((0 + 1) / 2 / 2)
    assert means.overall(means.pinball)[0] == pytest.approx((2 * np.arange(19).sum() + 19) / 39 / 2)
