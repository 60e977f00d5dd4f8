# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.select import (
    LEAST_ORIGINS,
    ORIGINS,
    Only,
    Shape,
    attempt,
    select,
)

SHAPE = Shape(interval_s=3600, lead=0, steps=4, levels=np.array([0.5, 0.9, 0.95]))
HOURS = np.arange(28 * 24)
NAMES = [engine.name for engine in ENGINES]


def chosen(past, shape=SHAPE, engines=ENGINES):
    return select(attempt(np.atleast_2d(np.asarray(past, dtype=np.float32)), shape, engines=engines))


def noise(seed, size=672):
    return np.random.default_rng(seed).normal(0, 1, size)


SHAPES = {
    # Each day has a level of its own, near that of the day before.
    "seasonal_naive_1d": 900 + np.repeat(np.cumsum(30 * noise(1, 28)), 24) + 400 * np.sin(HOURS / 24 * 2 * np.pi),
    "seasonal_naive_7d": 500 + 400 * ((HOURS // 24) % 7 < 5) * np.sin(HOURS / 24 * 2 * np.pi) + noise(2),
    "trailing_quantile_7d": 500 + 50 * noise(3),
    "naive": 5000 + np.cumsum(20 * noise(4)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_each_series_gets_the_engine_that_fits_its_shape(name):
    selection = chosen(SHAPES[name])
    assert NAMES[selection.engine[0, 0]] == name
    assert selection.origins[0].tolist() == [ORIGINS] * 3
    assert selection.ratio[0, 0] == 1 if name == "naive" else selection.ratio[0, 0] < 0.9


def test_demand_at_a_cap_is_learnt_as_a_lower_bound_of_it():
    rng = np.random.default_rng(3)
    demand = rng.normal(1000, 100, (60, len(HOURS)))
    cap = np.where(rng.random(demand.shape) < 0.5, 900.0, np.inf)
    seen = np.minimum(demand, cap).astype(np.float32)
    (naive,) = attempt(seen, SHAPE, engines=ENGINES[:1])
    (told,) = attempt(seen, SHAPE, engines=ENGINES[:1], bound=demand > cap)
    coming = rng.normal(1000, 100, (60, 4, 500))

    def covered(trial):
        return (coming[..., None] <= (trial.raw + trial.offset[:, None])[:, :, None]).mean(axis=(0, 1, 2))

    assert (covered(naive)[1:] < [0.85, 0.935]).all()
    assert (covered(told)[1:] > [0.87, 0.94]).all()
    assert np.nanquantile(told.naive_errors, 0.9) > np.nanquantile(naive.naive_errors, 0.9)
    np.testing.assert_array_equal(told.errors, naive.errors)  # what was said can still be told from them


class Burst:
    """Says what the cap hides."""

    name = "burst"

    def forecast(self, past, ends, *, steps, levels, **_unused):
        return np.full((len(past), len(ends), steps, len(levels)), 2000.0, dtype=np.float32)


def test_who_said_more_than_a_cap_let_through_was_not_wrong():
    rng = np.random.default_rng(4)
    seen = np.where(rng.random(len(HOURS)) < 0.5, 1000.0, rng.normal(2000, 10, len(HOURS)))[None].astype(np.float32)
    engines = (*ENGINES[:1], Burst())
    held = seen == 1000
    as_demand, as_bound = (select(attempt(seen, SHAPE, engines=engines, bound=of)) for of in (None, held))
    assert as_bound.ratio[0, 0] < 0.1
    assert as_demand.ratio[0, 0] > 0.2
    assert as_bound.engine[0].tolist() == [1, 1, 1]


def test_each_level_is_chosen_for_itself():
    rng = np.random.default_rng(8)
    bursts = 3000 * (rng.random((20, len(HOURS))) < 0.1)
    past = 5000 + np.cumsum(rng.normal(0, 100, bursts.shape), axis=1) + bursts
    together = chosen(past)
    for place, level in enumerate(SHAPE.levels):
        alone = chosen(past, replace(SHAPE, levels=np.array([level])))
        np.testing.assert_array_equal(alone.engine[:, 0], together.engine[:, place])
        np.testing.assert_array_equal(alone.ratio[:, 0], together.ratio[:, place])
        np.testing.assert_array_equal(alone.raw[..., 0], together.raw[..., place])
        np.testing.assert_array_equal(alone.offset[:, 0], together.offset[:, place])
    assert (together.engine[:, 0] != together.engine[:, 2]).any()


def test_a_long_horizon_is_scored_at_some_steps_up_to_the_last():
    assert replace(SHAPE, steps=12).scored == [1, 3, 5, 7, 9, 11]
    assert replace(SHAPE, steps=7).scored == [0, 1, 2, 3, 4, 6]
    assert replace(SHAPE, steps=4).scored == [0, 1, 2, 3]
    assert replace(SHAPE, steps=288).scored[-1] == 287


def test_an_engine_for_some_rows_says_nothing_of_the_others_and_is_not_chosen_there():
    past = np.stack([SHAPES["seasonal_naive_1d"]] * 3)
    seasonal = next(engine for engine in ENGINES if engine.name == "seasonal_naive_1d")
    selection = chosen(past, engines=(ENGINES[0], Only(seasonal, np.array([1]))))
    assert selection.engine[:, 0].tolist() == [0, 1, 0]
    assert np.isfinite(selection.raw).all()


def test_equal_scores_keep_the_first_engine():
    selection = chosen(np.full(len(HOURS), 42.0))
    assert (selection.engine == 0).all()
    assert (selection.raw == 42).all()
    assert (selection.offset == 0).all()


def test_a_short_past_keeps_naive_and_has_no_correction_of_its_own():
    past = SHAPES["seasonal_naive_1d"].copy()
    past[: -7 * (LEAST_ORIGINS - 1)] = np.nan  # a past of too few origins
    selection = chosen(past)
    assert (selection.engine == 0).all()
    assert 0 < selection.origins[0, 0] < LEAST_ORIGINS
    assert np.isnan(selection.offset).all()
    (naive,) = attempt(past[None].astype(np.float32), SHAPE, engines=ENGINES[:1])
    assert np.isfinite(naive.naive_errors).any()


def test_a_past_shorter_than_the_horizon_is_no_error():
    selection = chosen([5.0, 6.0, 7.0])
    assert (selection.raw == 7).all()
    assert (selection.origins == 0).all()
    assert np.isnan(selection.offset).all()


def test_an_engine_that_cannot_say_every_step_now_is_not_chosen():
    past = SHAPES["seasonal_naive_1d"].copy()
    past[-22] = np.nan  # yesterday's value of the third hour to come
    past = np.stack([past, SHAPES["seasonal_naive_1d"]])
    selection = chosen(past)
    seasonal = NAMES.index("seasonal_naive_1d")
    assert seasonal not in selection.engine[0]
    assert np.isfinite(selection.raw).all()
    assert seasonal in selection.engine[1]


def test_the_lead_shifts_what_is_forecast():
    past = 500 + 400 * np.sin(HOURS / 24 * 2 * np.pi) + 0.01 * noise(1)
    shape = Shape(interval_s=3600, lead=6, steps=4, levels=np.array([0.5]))
    selection = chosen(past, shape)
    ahead = len(HOURS) + 6 + np.arange(4)
    assert selection.raw[0, :, 0] == pytest.approx(500 + 400 * np.sin(ahead / 24 * 2 * np.pi), abs=1)


def test_origins_lie_in_the_known_so_the_newest_truth_counts_and_none_is_beyond():
    class Spy:
        name = "spy"

        def __init__(self):
            self.ends = []

        def forecast(self, past, ends, *, steps, levels, **_unused):
            self.ends += ends
            return np.zeros((len(past), len(ends), steps, len(levels)), dtype=np.float32)

    spy = Spy()
    chosen(SHAPES["naive"], engines=(spy,))
    assert spy.ends.pop(0) == len(HOURS)  # the forecast itself
    assert spy.ends == [len(HOURS) - SHAPE.steps - 7 * number for number in range(ORIGINS)]
    assert sorted({end % 24 for end in spy.ends}) == list(range(24))


def test_the_score_is_the_loss_of_forecasts_corrected_by_the_other_origins():
    """By hand, for last_hour_maximum of half-hours against naive."""
    levels, steps, spacing = [0.5, 0.9], 2, 14
    past = np.round(np.random.default_rng(3).gamma(2, 100, 14 * 48), 1)
    shape = Shape(interval_s=1800, lead=0, steps=steps, levels=np.array(levels))
    ends = [len(past) - steps - spacing * number for number in range(ORIGINS)]

    def losses(point):
        """[origins, levels]"""
        errors = [[past[end + step] - point(past[:end]) for step in range(steps)] for end in ends]
        total = np.zeros((len(ends), len(levels)))
        for half in (0, 1):
            others = sorted(error for row in errors[1 - half :: 2] for error in row)
            for place, level in enumerate(levels):
                shift = others[min(math.ceil((len(others) + 1) * level), len(others)) - 1]
                for origin in range(half, len(ends), 2):
                    left = [error - shift for error in errors[origin]]
                    total[origin, place] = sum(max(level * rest, (level - 1) * rest) for rest in left)
        return total

    naive, own = losses(lambda known: known[-1]), losses(lambda known: max(known[-2:]))
    saved = naive - own
    lead = saved.sum(axis=0) / (saved.std(axis=0) * math.sqrt(len(ends)))
    assert lead[0] > 1.1  # beyond one standard error
    assert 0 < lead[1] < 0.96  # better, but within it: naive keeps its place
    selection = chosen(past, shape, engines=ENGINES[:2])
    assert selection.engine.tolist() == [[1, 0]]
    assert selection.ratio[0] == pytest.approx([own[:, 0].sum() / naive[:, 0].sum(), 1], rel=1e-4)


def test_no_series_influences_another():
    past = np.stack(list(SHAPES.values()))
    together = chosen(past)
    for number in range(len(past)):
        alone = chosen(past[number])
        np.testing.assert_array_equal(alone.engine[0], together.engine[number])
        np.testing.assert_array_equal(alone.ratio[0], together.ratio[number])
        np.testing.assert_array_equal(alone.raw[0], together.raw[number])
        np.testing.assert_array_equal(alone.offset[0], together.offset[number])
