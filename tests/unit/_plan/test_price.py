# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.price import Prices, cheapest, pressure
from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import COUNT, Curves, ladder

PRICES = Prices(violation=1.0, unserved=40.0, resize=0.0, ledger=1.0, at_ease=0.5, whole_from=0.95)
CAPACITY = np.array([8.0])


def curves(chance=0.3):
    """The chance of a violation falls with the size by the same factor from rung to rung."""
    rungs = ladder(CAPACITY, np.array([0.1]), np.array([4.0]))
    falling = chance * np.exp(-np.arange(COUNT) * 0.8)[None, :]
    return Curves(ladder=rungs, violated=falling, unserved=falling / 20, added=falling / 50)


def chosen(of=None, *, ordered=np.nan, spent=0.0, headroom=0.0, granule=0.0, **prices):
    return cheapest(
        of or curves(),
        capacity=CAPACITY,
        ordered=np.array([ordered]),
        spent=np.array([spent]),
        headroom=np.array([headroom]),
        granule=granule,
        prices=replace(PRICES, **prices),
    )[0]


def test_no_other_size_of_the_ladder_is_cheaper():
    of = curves()
    size = chosen(of)
    sizes = of.ladder.between(4)[0]
    violated, unserved, added = (figure[0] for figure in of.at(sizes[None, :]))
    cost = sizes + 8 * added + np.sqrt(8.0) * violated + 40 * 8 * unserved
    assert size == pytest.approx(sizes[cost.argmin()])


def test_a_dearer_violation_takes_a_larger_size():
    assert chosen(violation=0.1) < chosen(violation=30.0)
    assert chosen(unserved=4.0) < chosen(unserved=400.0)


def test_who_has_spent_the_budget_pays_more_and_is_given_more():
    assert pressure(np.array([0.005]), PRICES) == pytest.approx([1.0])
    assert pressure(np.array([0.02]), PRICES) == pytest.approx([np.exp(1.5)])
    assert chosen(spent=0.0) == chosen(spent=0.005) < chosen(spent=0.01) < chosen(spent=0.02)


def test_a_larger_budget_is_spent_more_slowly():
    assert pressure(np.array([0.02]), PRICES, budget=np.array([0.04])) == pytest.approx([1.0])


def test_the_price_of_a_ledger_is_bounded():
    assert pressure(np.array([0.0, 1.0]), replace(PRICES, ledger=3.0)) == pytest.approx([1.0, np.exp(4.0)])


def test_a_change_that_does_not_pay_is_not_made():
    best = chosen()
    near = best * 1.02
    assert chosen(ordered=near) == pytest.approx(best)
    assert chosen(ordered=near, resize=0.5) == near


def test_a_size_outside_the_ladder_is_left():
    assert chosen(ordered=8.0, resize=0.5) < 8.0


def test_headroom_makes_of_every_size_a_larger_one():
    """Of five quarters of a size as much is expected as of the size itself, and they cost more."""
    assert chosen() * 1.15 < chosen(headroom=0.25) <= chosen() * 1.25


def test_headroom_that_fits_into_the_granule_costs_nothing():
    whole = chosen(granule=1.0)
    assert chosen(granule=1.0, headroom=0.02) == whole


def test_near_capacity_all_of_it_is_kept():
    assert chosen(violation=1e6) < 8.0
    assert chosen(violation=1e6, whole_from=0.5) == 8.0


def test_sizes_are_multiples_of_the_granule():
    size = chosen(granule=1.0)
    assert size == round(size) >= 1
    assert chosen(granule=1.0, headroom=0.3) == round(chosen(granule=1.0, headroom=0.3))


def test_at_its_capacity_nothing_holds_a_vm_back():
    """Whatever headroom would want on top of it."""
    assert chosen(headroom=4.0, violation=1e6) == 8.0
    assert chosen(curves(chance=0.0), headroom=4.0) < 8.0
