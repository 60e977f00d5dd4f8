# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.guard import GuardRule, grown, kept_free

RULE = GuardRule(jump=2.4, peak=1.0, step=0.1, most=0.25, half_life=12)


def size_of(*saturated, allocation=1.0, peak=0.0):
    """Of one VM whose newest intervals were so."""
    (size,) = grown(
        RULE, allocation=np.array([allocation]), peak=np.array([peak]), saturated=np.array([saturated])
    ).tolist()
    return size


@pytest.mark.parametrize(("peak", "size"), [(1.5, 2.4), (6.0, 6.0)])
def test_a_saturated_vm_jumps_at_least_to_its_largest_demand_of_late(peak, size):
    assert size_of(False, False, True, peak=peak) == pytest.approx(size)


def test_each_interval_more_at_the_cap_is_a_jump_more():
    assert size_of(True, False, True, True) == pytest.approx(2.4**2)
    assert size_of(True, True, True, allocation=2.0) == pytest.approx(2 * 2.4**3)


def test_headroom_grows_with_each_saturation_up_to_a_bound_and_falls_by_halves():
    headroom = np.array([0.0, 0.2, 0.2])
    saturated = np.array([True, True, False])
    assert kept_free(RULE, headroom, saturated) == pytest.approx([0.1, 0.25, 0.2 * 0.5 ** (1 / 12)])
    for _interval in range(12):
        headroom = kept_free(RULE, headroom, np.zeros(3, dtype=bool))
    assert headroom == pytest.approx([0.0, 0.1, 0.1])
