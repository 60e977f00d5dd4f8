# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.guard import GuardRule, grown, kept_free

RULE = GuardRule(jump=2.4, peak=1.0, step=0.1, most=0.25, half_life=12)


def sizes_of(*saturated, allocation=1.0, most=100.0, peak=0.0):
    """Of one VM whose newest intervals were so."""
    one = {name: np.array([value]) for name, value in [("allocation", allocation), ("most", most), ("peak", peak)]}
    return grown(RULE, saturated=np.array([saturated]), **one).tolist()


@pytest.mark.parametrize(("peak", "most", "size"), [(1.5, 100.0, 2.4), (6.0, 100.0, 6.0), (6.0, 2.0, 2.0)])
def test_a_saturated_vm_jumps_at_least_to_its_largest_demand_of_late(peak, most, size):
    assert sizes_of(False, False, True, peak=peak, most=most) == pytest.approx([size])


def test_while_no_growth_has_landed_each_interval_at_the_cap_is_a_jump_more():
    assert sizes_of(True, False, True, True) == pytest.approx([2.4**2])
    assert sizes_of(False, True, True, True, allocation=2.0) == pytest.approx([2 * 2.4**3])


def test_what_a_growth_has_not_helped_gets_all_that_it_may_have():
    assert sizes_of(True, True, True) == [100.0]
    assert sizes_of(True, True, allocation=0.0) == [100.0]


def test_headroom_grows_with_each_saturation_up_to_a_bound_and_falls_by_halves():
    headroom = np.array([0.0, 0.2, 0.2])
    saturated = np.array([True, True, False])
    assert kept_free(RULE, headroom, saturated) == pytest.approx([0.1, 0.25, 0.2 * 0.5 ** (1 / 12)])
    for _interval in range(12):
        headroom = kept_free(RULE, headroom, np.zeros(3, dtype=bool))
    assert headroom == pytest.approx([0.0, 0.1, 0.1])
