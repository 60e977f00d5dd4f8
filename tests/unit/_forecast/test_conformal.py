# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.conformal import FleetErrors, offsets


def errors(*series, levels):
    """[V, N, Q] with the same errors at each level."""
    longest = max(map(len, series))
    padded = [[*one, *[math.nan] * (longest - len(one))] for one in series]
    return np.repeat(np.array(padded, dtype=np.float32)[:, :, None], len(levels), axis=2)


def test_the_offset_is_the_error_of_the_conformal_rank():
    levels = np.array([0.1, 0.5, 0.9, 0.95])
    shuffled = np.random.default_rng(0).permutation(np.arange(1, 20))
    offset, exact = offsets(errors(shuffled, levels=levels), levels)
    # n = 19: ranks 2, 10, 18, 19 of the errors 1..19
    assert offset.tolist() == [[2, 10, 18, 19]]
    assert exact.all()


def test_too_few_errors_for_a_level_give_the_largest_and_say_so():
    levels = np.array([0.5, 0.95])
    offset, exact = offsets(errors([5, 1, 3], [], levels=levels), levels)
    assert offset[0].tolist() == [3, 5]
    assert exact[0].tolist() == [True, False]
    assert np.isnan(offset[1]).all()
    assert not exact[1].any()


def test_an_error_that_is_a_lower_bound_counts_where_it_is_a_miss_and_else_not_at_all():
    levels = np.array([0.5, 0.9])
    known = np.arange(1, 20)
    seen = errors([*known, -50, -50, 5, 30, 30], known, levels=levels)
    bound = np.arange(24) >= np.array([[19], [24]])
    offset, _unused = offsets(seen, levels, bound)
    assert offset[0, 0] == offsets(errors([*known, 30, 30], levels=levels), levels)[0][0, 0] == 11
    assert offset[0, 1] == 30
    assert offset[1].tolist() == [10, 18]
    none, exact = offsets(seen, levels, np.ones_like(bound))
    assert np.isnan(none).all()
    assert not exact.any()


def test_corrected_forecasts_keep_their_word_on_exchangeable_errors():
    rng = np.random.default_rng(7)
    levels = np.array([0.5, 0.9, 0.95])
    past = (rng.gamma(1, 50, (4000, 60)) - 30).astype(np.float32)  # skewed and biased
    offset, _unused = offsets(np.repeat(past[:, :-1, None], 3, axis=2), levels)
    covered = (past[:, -1:] <= offset).mean(axis=0)
    # 4000 trials: four standard errors are 0.032 at one half and 0.014 at 0.95; at most 1/60 above
    assert covered == pytest.approx(levels + 1 / 120, abs=0.035)
    assert (covered > levels - 0.02).all()


def test_fleet_errors_are_those_of_all_series_in_units_of_their_level():
    levels = np.array([0.5, 0.95])
    rng = np.random.default_rng(3)
    relative = rng.normal(0.1, 0.3, (200, 50)).astype(np.float32)
    scale = rng.uniform(10, 10_000, 200).astype(np.float32)
    relative[rng.random(relative.shape) < 0.3] = np.nan
    fleet = FleetErrors()
    fleet.add(relative * scale[:, None], scale)
    ordered = np.sort(relative[~np.isnan(relative)])
    exact = ordered[np.ceil((len(ordered) + 1) * levels).astype(int) - 1]
    got = fleet.offsets(levels)
    assert (got >= exact).all()  # rounded up to the edge of a bin
    assert got == pytest.approx(exact, rel=0.05)


def test_fleet_errors_do_not_depend_on_the_order_or_the_portions():
    levels = np.array([0.9])
    rng = np.random.default_rng(5)
    given, scale = rng.normal(0, 9, (60, 20)).astype(np.float32), rng.uniform(1, 5, 60).astype(np.float32)
    whole, parts = FleetErrors(), FleetErrors()
    whole.add(given, scale)
    for part in (slice(40, 60), slice(0, 7), slice(7, 40)):
        parts.add(given[part], scale[part])
    assert whole.offsets(levels).tolist() == parts.offsets(levels).tolist()


def test_no_errors_no_offset_and_beyond_the_bins_the_widest():
    fleet = FleetErrors()
    assert np.isnan(fleet.offsets(np.array([0.5]))).all()
    fleet.add(np.full((1, 9), 1e9, dtype=np.float32), np.ones(1, dtype=np.float32))
    assert fleet.offsets(np.array([0.5]))[0] == pytest.approx(1000)
