# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is demoted, who returns, and when neither may be."""

from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scorecard import (
    COVERAGE,
    NEVER,
    PINBALL,
    RETURNED,
    VIOLATIONS,
    WINDOW_DAYS,
    Daily,
    judge,
    may_return,
)

LAST = 20_500
PER_DAY = 288


def daily(days=WINDOW_DAYS, *, series=1, scored=PER_DAY, violated=0, loss=0.01, naive=0.02, covered=0.9, banded=None):
    """The newest ``days`` days of each series with the same figures; losses and coverage per interval."""
    cells = np.zeros((series, WINDOW_DAYS))
    cells[:, WINDOW_DAYS - days :] = 1
    counts = (cells * scored).astype(int)
    bands = counts if banded is None else (cells * banded).astype(int)
    return Daily(LAST, counts, (cells * violated).astype(int), counts * loss, counts * naive, bands * covered, bands)


def verdict(figures, *, demoted=False, since=NEVER, budget=0.0025):
    flips = judge(figures, demoted=np.array([demoted]), since=np.array([since]), budget=np.array([budget]))
    return (flips[0].demoted, flips[0].code, flips[0].reason) if flips else None


def test_a_series_that_does_well_keeps_its_standing():
    assert verdict(daily()) is None


@pytest.mark.parametrize(
    ("figures", "code", "reason"),
    [
        ({"violated": 4}, VIOLATIONS, "violated 1.39 % of 28 days, more than 1 %"),
        (
            {"loss": 0.02},
            PINBALL,
            "lost 2 % of the size in 28 days, no less than the last value carried on, 2 %",
        ),
        ({"covered": 0.84}, COVERAGE, "the 90 % interval covered 84 % of 28 days, less than 85 %"),
    ],
)
def test_each_figure_alone_demotes(figures, code, reason):
    assert verdict(daily(**figures)) == (True, code, reason)


@pytest.mark.parametrize(
    "figures",
    [
        {"scored": 300, "violated": 3},  # 1 % is not more than 1 %
        {"loss": 0.0199},
        {"covered": 0.85},
        {"loss": 0.0005, "naive": 0.0},  # a series that never moves, and a margin that costs nothing
        {"banded": 0},  # the forecast has no interval of 90 %
    ],
)
def test_what_just_holds_demotes_nobody(figures):
    assert verdict(daily(**figures)) is None


@pytest.mark.parametrize(("violated", "reason"), [(14, None), (15, "violated 5.21 % of 28 days, more than 5 %")])
def test_who_may_be_violated_more_often_is_judged_by_that(violated, reason):
    found = verdict(daily(violated=violated), budget=0.05)
    assert found == (reason and (True, VIOLATIONS, reason))
    assert verdict(daily(violated=violated))[2].endswith("more than 1 %")


def test_a_budget_that_is_just_spent_demotes_nobody():
    assert verdict(daily(scored=500, violated=7), budget=0.014) is None
    assert verdict(daily(scored=500, violated=8), budget=0.014)[1] == VIOLATIONS


def test_a_demoted_series_returns_within_its_own_budget():
    figures = bad_until(7)
    figures.violated[0, -7:] = 10
    assert verdict(figures, demoted=True, since=LAST - 7) is None
    assert verdict(figures, demoted=True, since=LAST - 7, budget=0.05)[0] is False


def test_every_broken_rule_is_told_and_the_first_gives_the_code():
    reason = "violated 100 % of 28 days, more than 1 %; the 90 % interval covered 50 % of 28 days, less than 85 %"
    assert verdict(daily(violated=288, covered=0.5)) == (True, VIOLATIONS, reason)


def test_before_seven_days_nobody_is_judged():
    assert verdict(daily(6, violated=50)) is None
    assert verdict(daily(7, violated=50))[1] == VIOLATIONS


def test_gaps_are_no_days():
    figures = daily(28, violated=50)
    figures.scored[0, :-6] = 0
    assert verdict(figures) is None
    figures = daily(28, violated=50)
    figures.scored[0, ::2] = 0
    assert verdict(figures)[2].startswith("violated 17.4 % of 14 days")


def test_of_few_intervals_nobody_is_judged():
    assert verdict(daily(7, scored=12, violated=1)) is None
    assert verdict(daily(28, scored=12, violated=1))[1] == VIOLATIONS


def test_days_before_the_window_do_not_count():
    old = np.zeros((1, 10))
    short = daily(violated=0)
    figures = Daily(
        LAST,
        *(
            np.concatenate([before, now], axis=1)
            for before, now in (
                (old + PER_DAY, short.scored),
                (old + PER_DAY, short.violated),
                (old, short.loss),
                (old, short.naive_loss),
                (old, short.covered),
                (old, short.banded),
            )
        ),
    )
    assert verdict(figures) is None


def bad_until(days_ago):
    """28 days: bad ones up to so many days ago, good ones since."""
    figures = daily()
    figures.violated[0, : WINDOW_DAYS - days_ago] = 50
    return figures


def test_seven_good_days_bring_it_back_and_the_old_ones_do_not_demote_it_again():
    assert verdict(bad_until(6), demoted=True, since=LAST - 6) is None
    assert verdict(bad_until(7), demoted=True, since=LAST - 7) == (False, RETURNED, "7 days above all three")
    assert may_return(LAST - 7) == LAST
    assert verdict(bad_until(14), since=LAST - 7) is None  # a week after it returned, and two weeks of the 28 are bad
    assert verdict(bad_until(14), since=NEVER)[1] == VIOLATIONS


def test_a_day_that_is_bad_among_the_seven_keeps_it_back():
    figures = bad_until(10)
    figures.violated[0, -3] = 30
    assert verdict(figures, demoted=True, since=LAST - 10) is None
    assert verdict(figures, demoted=True, since=LAST - 20) is None


def test_a_demoted_series_without_figures_waits():
    figures = bad_until(7)
    figures.scored[0, -2] = 0
    assert verdict(figures, demoted=True, since=LAST - 7) is None
    later = bad_until(9)
    later.scored[0, -2] = 0
    assert verdict(later, demoted=True, since=LAST - 9)[0] is False


@pytest.mark.parametrize(("age", "flips"), [(6, False), (7, True)])
def test_at_most_one_change_in_seven_days(age, flips):
    assert bool(verdict(daily(violated=50), demoted=False, since=LAST - age)) is flips
    assert bool(verdict(daily(), demoted=True, since=LAST - age)) is flips


def test_series_do_not_influence_each_other():
    many = daily(series=4)
    many.violated[2] = 50
    flips = judge(
        many,
        demoted=np.array([False, True, False, True]),
        since=np.array([NEVER, LAST - 9, NEVER, LAST - 2]),
        budget=np.full(4, 0.01),
    )
    assert [(one.row, one.demoted) for one in flips] == [(1, False), (2, True)]


@pytest.mark.parametrize(("days", "returns"), [(12, False), (13, True)])
def test_of_long_intervals_it_takes_more_days_to_return(days, returns):
    """Seven days of hourly forecasts are too few intervals to judge by, thirteen are enough."""
    flip = verdict(daily(days, scored=24), demoted=True, since=LAST - days)
    assert (flip is not None and flip[0] is False) is returns
