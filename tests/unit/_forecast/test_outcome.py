# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome import Guard, outcome

CAPACITY = np.array([10.0])


def came_of(demand, size, *, jump=2.0, ceiling=0.0, delay=0):
    sizes = np.array([[float(size)]])
    guard = Guard(jump=jump, ceiling=np.array([ceiling]), delay=delay)
    return [figure[0, 0] for figure in outcome(np.array([demand], dtype=float), sizes, CAPACITY, guard)]


def test_a_size_above_all_demand_costs_nothing_but_itself():
    assert came_of([1, 2, 3, 2], 4) == [0, 0, 0]


def test_the_guard_grows_after_the_first_violated_interval():
    violated, unserved, added = came_of([6, 6, 6, 6], 4)
    assert violated == 1 / 4
    assert unserved == pytest.approx(2 / 4 / 10)
    assert added == pytest.approx(3 * 4 / 4 / 10)  # 8 instead of 4, from the second interval on


def test_an_act_that_takes_longer_comes_later():
    violated, unserved, added = came_of([6, 6, 6, 6], 4, delay=2)
    assert violated == 3 / 4
    assert unserved == pytest.approx(3 * 2 / 4 / 10)
    assert added == pytest.approx(4 / 4 / 10)


def test_each_interval_more_at_the_cap_is_a_jump_more_until_a_growth_is_seen_to_be_too_little():
    violated, unserved, added = came_of([9, 9, 9, 9], 1, delay=1)  # 2 of the first interval, 4 of the second
    assert violated == 4 / 4
    assert unserved == pytest.approx((8 + 8 + 7 + 5) / 4 / 10)
    assert added == pytest.approx((1 + 3) / 4 / 10)
    _violated, unserved, _added = came_of([9, 9, 9, 9], 1, delay=0)
    assert unserved == pytest.approx((8 + 7 + 1) / 4 / 10)  # 2 of the first, 8 of the second, all of the third


def test_the_guard_grows_at_least_to_the_largest_demand_of_late():
    _violated, _unserved, added = came_of([6, 1, 1, 1], 4, ceiling=9)
    assert added == pytest.approx(3 * (9 - 4) / 4 / 10)


def test_use_near_the_size_is_saturation_but_no_violation():
    violated, unserved, added = came_of([3.95, 1, 1, 1], 4)
    assert (violated, unserved) == (0, 0)
    assert added > 0


def test_at_capacity_there_is_nothing_to_violate():
    assert came_of([12, 12], 10) == [0, 0, 0]
    assert came_of([12, 12], 40) == [0, 0, 0]


def test_candidates_do_not_touch_each_other():
    demand = np.array([[5.0, 7.0, 2.0], [1.0, 1.0, 9.0]])
    sizes = np.array([[2.0, 6.0, 8.0], [1.5, 3.0, 9.5]])
    guard = Guard(jump=2.0, ceiling=np.array([7.0, 9.0]), delay=0)
    together = outcome(demand, sizes, np.array([10.0, 10.0]), guard)
    for vm in range(2):
        for place in range(3):
            alone = outcome(
                demand[[vm]],
                sizes[[vm]][:, [place]],
                CAPACITY,
                Guard(jump=2.0, ceiling=guard.ceiling[[vm]], delay=0),
            )
            assert [figure[vm, place] for figure in together] == [figure[0, 0] for figure in alone]
