# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.growth import trends
from ansible_collections.headroom.fleet.plugins.module_utils._records.hostset import (
    FULL,
    GROWING,
    NEVER,
    UNKNOWN,
    Growth,
    outlook,
)

WEEK = np.array([1, 1, 1, 1, 0.95, 0.7, 0.7])


def peaks(slope, *, days=56, noise=0.01, places=200, seed=1):
    """Daily peaks of 1000 on the newest day, less on weekends."""
    rng = np.random.default_rng(seed)
    day = np.arange(days) - (days - 1.0)
    return (1000 + slope * day) * WEEK[np.arange(days) % 7] * np.exp(rng.normal(0, noise, (places, days)))


def test_the_slope_is_that_of_the_busy_days_and_lies_in_its_interval():
    found = trends(peaks(10.0))
    assert np.median(found.slopes[:, 1]) == pytest.approx(10, rel=0.03)
    inside = (found.slopes[:, 0] <= 10) & (found.slopes[:, 2] >= 10)
    assert inside.mean() > 0.85
    assert np.median(found.levels[:, 1]) == pytest.approx(1010, rel=0.02)


def test_growth_by_a_share_is_told_from_a_line():
    line = peaks(12.0)
    share = peaks(0.0) * 1.015 ** (np.arange(56) - 55.0)
    assert trends(line).compound.mean() < 0.05
    assert trends(share).compound.mean() > 0.95
    assert np.median(trends(share).slopes[:, 1]) == pytest.approx(15, rel=0.05)


def test_a_week_is_no_trend():
    found = trends(peaks(0.0, noise=0.05))
    assert ((found.slopes[:, 0] > 0) | (found.slopes[:, 2] < 0)).mean() < 0.12


def test_one_bad_day_is_no_trend():
    bad = peaks(0.0)
    bad[:, -1] *= 5
    assert (np.abs(trends(bad).slopes[:, 1]) < 1.5).all()


def test_unknown_days_are_left_out_and_too_few_are_no_trend():
    some = peaks(10.0)
    some[:, 3:6] = np.nan
    assert np.median(trends(some).slopes[:, 1]) == pytest.approx(10, rel=0.05)
    assert np.isnan(trends(peaks(10.0, days=20)).slopes).all()
    assert np.isnan(trends(np.empty((2, 0))).slopes).all()


def test_nothing_at_all_does_not_grow():
    found = trends(np.zeros((1, 28)))
    assert not found.slopes.any()
    assert not found.levels.any()


@pytest.mark.parametrize(
    ("growth", "room", "expected"),
    [
        (None, 2000, (UNKNOWN, -1, -1, -1)),
        (Growth(28, (5000, 10_000, 20_000), (1000, 1000, 1000)), 2000, (GROWING, 100, 36, 200)),
        (Growth(28, (1000, 10_000, 20_000), (1000, 1000, 1000)), 2000, (GROWING, 100, 36, -1)),
        (Growth(28, (5000, 10_000, 20_000), (1000, 1000, 1000), compound=True), 2000, (GROWING, 70, 36, 200)),
        (Growth(28, (5000, 10_000, 20_000), (1000, 1000, 1000)), 1000, (FULL, 0, 0, 0)),
        (Growth(28, (-5000, 1000, 20_000), (1000, 1000, 1000)), 1100, (NEVER, -1, 5, -1)),
        (Growth(28, (1000, 1000, 1000), (1000, 1000, 1000)), 2000, (NEVER, -1, -1, -1)),
        (Growth(28, (-3000, -2000, -1000), (1000, 1000, 1000)), 2000, (NEVER, -1, -1, -1)),
    ],
)
def test_never_and_unknown_are_answers(growth, room, expected):
    ends = outlook(growth, room)
    assert (ends.state, ends.days, ends.earliest, ends.latest) == expected
