# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hindsight would have given, by hand."""

from __future__ import annotations

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_shadow import least_that_served

NAN = float("nan")


def least(demand, *, lead=0, every=3, capacity=4.0, floor=0.5):
    rows = np.array([demand])
    found = least_that_served(rows, np.full(rows.shape, capacity), np.full(rows.shape, floor), lead=lead, every=every)
    return found[0].tolist()


def test_each_decision_is_given_the_peak_of_its_time():
    assert least([1, 2, 1, 3, 1, 1, 1, 1]) == [2, 2, 2, 3, 3, 3, 1, 1]


def test_until_the_first_decision_lands_there_is_what_there_was():
    assert least([1, 2, 1, 3, 1, 1], lead=1) == [4, 3, 3, 3, 1, 1]


def test_it_lies_between_floor_and_what_there_was():
    assert least([0.1, 0.2, 0.1, 9, 9, 9]) == [0.5, 0.5, 0.5, 4, 4, 4]


def test_what_is_not_known_asks_for_nothing():
    assert least([NAN, 2, NAN, NAN, NAN, NAN]) == [2, 2, 2, 0.5, 0.5, 0.5]
