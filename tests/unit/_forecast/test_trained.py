# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trained model beside the engine chosen: who speaks, corrected how, and why."""

from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.mix import Standing
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.select import (
    LEAST_ORIGINS,
    Shape,
    attempt,
    select,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.trained import (
    BOTH,
    CHOSEN,
    MODEL,
    MOST_ORIGINS,
    Spoken,
    listen,
)

LEVELS = np.array([0.5, 0.9])
SHAPE = Shape(interval_s=3600, lead=0, steps=4, levels=LEVELS)
HOURS = np.arange(28 * 24)
SERIES = 6


class Says:
    """A model that says a value at each level, of the newest ``unseen`` columns."""

    name = "quantile_trees"

    def __init__(self, value, *, unseen):
        self.value, self.unseen, self.asked = value, unseen, []

    def forecast(self, past, ends, *, steps, levels, **_unused):
        self.asked += ends
        said = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
        for place, end in enumerate(ends):
            if end >= past.shape[1] - self.unseen:
                said[:, place] = self.value
        return said


def demand(spread=100.0, seed=1):
    return np.random.default_rng(seed).normal(1000, spread, (SERIES, len(HOURS))).astype(np.float32)


def heard(model, past, engines=ENGINES, bound=None):
    trials = attempt(past, SHAPE, engines=engines, bound=bound)
    chosen = select(trials)
    values = np.sort((chosen.raw + np.nan_to_num(chosen.offset)[:, None, :]).astype(np.float64), axis=2).round(3)
    spoken = listen(model, past, SHAPE, trials=trials, chosen=chosen, bound=bound)
    return spoken, values, *spoken.beside(values)


def test_the_model_speaks_first_without_a_past_to_compare():
    spoken, _values, issued, who = heard(Says([7, 9], unseen=0), demand())
    assert (who == MODEL).all()
    assert (issued == [7, 9]).all()
    assert (spoken.origins == 0).all()


def test_a_model_that_says_nothing_changes_nothing():
    _spoken, values, issued, who = heard(Says([np.nan, np.nan], unseen=200), demand())
    np.testing.assert_array_equal(issued, values)
    assert (who == CHOSEN).all()


def test_a_model_gives_way_where_it_did_clearly_worse():
    past = demand()
    spoken, values, issued, who = heard(Says([2500, 4000], unseen=200), past)
    assert (who == CHOSEN).all()
    np.testing.assert_array_equal(issued, values)
    assert (spoken.origins == MOST_ORIGINS).all()


def test_a_few_misses_are_no_reason_to_give_way():
    unseen = 7 * (LEAST_ORIGINS - 1)
    spoken, _values, _issued, who = heard(Says([2500, 4000], unseen=unseen), demand())
    assert (spoken.origins < LEAST_ORIGINS).all()
    assert (who == MODEL).all()


def test_a_good_model_stays_and_is_corrected_by_its_misses():
    past = demand()
    spoken, _values, _issued, who = heard(Says([940, 1128], unseen=200), past)
    assert (who != CHOSEN).any()
    assert (spoken.raw[..., 0] > 940).mean() > 0.5  # the truth lay above it more often than not


@pytest.mark.parametrize(("width", "unseen", "at_least", "at_most"), [
    pytest.param(1.0, 200, 0.88, 0.92, id="right"),
    pytest.param(0.7, 200, 0.86, 0.92, id="too narrow"),
    pytest.param(1.3, 200, 0.88, 0.94, id="too wide"),
    pytest.param(1.0, 7, 0.86, 0.92, id="right, young"),
    pytest.param(0.7, 0, 0.80, 0.83, id="too narrow, as it is said"),
])  # fmt: skip
def test_what_a_model_issues_keeps_its_word_after_the_few_moments_that_it_is_asked_of(width, unseen, at_least, at_most):
    rng = np.random.default_rng(8)
    past = rng.normal(1000, 100, (600, len(HOURS) + SHAPE.steps)).astype(np.float32)
    model = Says([1000, 1000 + width * 128.16], unseen=unseen)
    spoken, *_unused = heard(model, past[:, : -SHAPE.steps])
    assert at_least < (past[:, -SHAPE.steps :] <= spoken.raw[..., 1]).mean() < at_most
    assert 0.48 < (past[:, -SHAPE.steps :] <= spoken.raw[..., 0]).mean() < 0.52


def test_a_model_is_not_corrected_by_what_a_cap_let_through():
    rng = np.random.default_rng(9)
    demand = rng.normal(1000, 100, (600, len(HOURS) + SHAPE.steps))
    cap = np.where(rng.random(demand.shape) < 0.5, 900.0, np.inf)
    past = np.minimum(demand, cap)[:, : -SHAPE.steps].astype(np.float32)
    held = (demand > cap)[:, : -SHAPE.steps]
    for bound, low, high in ((None, 0.8, 0.86), (held, 0.865, 0.92)):
        spoken, *_unused = heard(Says([1000, 1128.16], unseen=200), past, bound=bound)
        assert low < (demand[:, -SHAPE.steps :] <= spoken.raw[..., 1]).mean() < high


def test_the_mean_of_both_speaks_where_it_was_better():
    loss = np.broadcast_to(np.array([10.0, 9.5, 2.0])[None, :, None], (1, 3, 2))
    standing = Standing(loss, np.array([0, 0.1, 4.0])[None, :, None] + 0 * loss, np.array([20.0]))
    issued, who = Spoken(np.full((1, 4, 2), 1000.0), standing, np.array([20]), np.empty((1, 0, 4, 2))).beside(
        np.full((1, 4, 2), 2000.0)
    )
    assert (who == BOTH).all()
    assert (issued > 1000).all()
    assert (issued < 2000).all()


def test_it_is_asked_of_a_bounded_number_of_moments_that_lie_in_the_known():
    model = Says([7, 9], unseen=200)
    heard(model, demand())
    assert model.asked[0] == len(HOURS)
    assert len(model.asked) == 1 + MOST_ORIGINS
    assert max(model.asked[1:]) == len(HOURS) - SHAPE.steps


@pytest.mark.parametrize("row", range(SERIES))
def test_no_series_moves_another(row):
    past = demand()
    spoilt = past.copy()
    spoilt[row, -50:] = 1e9
    others = np.arange(SERIES) != row
    model = Says([940, 1128], unseen=200)
    for ours, theirs in zip(heard(model, past)[1:], heard(model, spoilt)[1:], strict=True):
        np.testing.assert_array_equal(ours[others], theirs[others])


def test_the_same_past_gives_the_same_and_an_unknown_truth_teaches_nothing():
    past = demand()
    past[0, -150:-1] = np.nan
    spoken, _values, issued, _who = heard(Says([940, 1128], unseen=200), past)
    assert spoken.origins[0] == 0
    np.testing.assert_array_equal(issued, heard(Says([940, 1128], unseen=200), past)[2])
