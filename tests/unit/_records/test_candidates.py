# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import COUNT, Curves, ladder

CAPACITY = np.array([8.0, 1.0, 4.0])
FLOOR = np.array([0.1, 0.1, 0.1])


def rungs(peak=(2.0, 0.9, 0.0)):
    return ladder(CAPACITY, FLOOR, np.array(peak))


def test_the_ladder_goes_from_the_floor_to_what_could_be_needed_and_never_beyond_capacity():
    sizes = rungs().sizes
    assert sizes.shape == (3, COUNT)
    assert (np.diff(sizes, axis=1) > 0).all()
    assert sizes[:, 0] == pytest.approx([0.1, 0.1, 0.1])
    assert sizes[:, -1] == pytest.approx([3.2, 1.0, 0.15])


def test_a_vm_smaller_than_the_floor_still_has_a_ladder():
    sizes = ladder(np.array([0.1]), np.array([0.1]), np.array([0.1])).sizes
    assert sizes[0, -1] == pytest.approx(0.1)
    assert (np.diff(sizes) > 0).all()


def test_exceeded_counts_the_candidates_below_a_demand():
    one = rungs()
    demand = np.array([[0.0, 0.05, 0.5, 2.0, 9.0]] * 3, dtype=np.float32)
    expected = (demand[:, :, None] > one.sizes[:, None, :]).sum(axis=2)
    assert (one.exceeded(demand) == expected).all()


def test_a_size_between_candidates_has_an_outcome_between_theirs():
    one = rungs()
    falling = np.tile(np.geomspace(0.5, 1e-4, COUNT), (3, 1))
    curves = Curves(ladder=one, violated=falling, unserved=falling / 2, added=np.zeros((3, COUNT)))
    violated, unserved, added = curves.at(one.sizes)
    assert violated == pytest.approx(falling)
    assert unserved == pytest.approx(falling / 2)
    assert not added.any()
    between = np.sqrt(one.sizes[:, :-1] * one.sizes[:, 1:])
    middle, _unserved, _added = curves.at(between)
    assert middle == pytest.approx(np.sqrt(falling[:, :-1] * falling[:, 1:]))


def test_beyond_the_ladder_the_outcome_is_that_of_its_end():
    one = rungs()
    falling = np.tile(np.geomspace(0.5, 1e-4, COUNT), (3, 1))
    curves = Curves(ladder=one, violated=falling, unserved=falling, added=falling)
    for figure in curves.at(np.array([[1e-3, 100.0]] * 3)):
        assert figure == pytest.approx(falling[:, [0, -1]])


def test_the_sizes_between_hold_the_candidates():
    one = rungs()
    between = one.between(4)
    assert between.shape == (3, (COUNT - 1) * 4 + 1)
    assert between[:, ::4] == pytest.approx(one.sizes)
