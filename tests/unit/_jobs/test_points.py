# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the shipped operating points is for a use."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.operating_points import POINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.points import AT_ONCE, WHOLE, replaced, shipped
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, MEMORY_USED_MIB


@pytest.mark.parametrize(
    ("metric", "lead_s", "follows", "key"),
    [
        (CPU_MILLICORES, 0, AT_ONCE, ("cpu", 0, "")),
        (CPU_MILLICORES, 300, AT_ONCE, ("cpu", 300, "")),
        (CPU_MILLICORES, 301, AT_ONCE, ("cpu", 3600, "")),  # what needs longer asks for more care
        (CPU_MILLICORES, 7200, AT_ONCE, ("cpu", 3600, "")),
        (CPU_MILLICORES, 0, WHOLE, ("cpu", 0, "whole")),
        (CPU_MILLICORES, 300, WHOLE, ("cpu", 300, "")),  # none was tuned for that lead: it is no shorter one's
        (MEMORY_USED_MIB, 0, AT_ONCE, ("memory", 0, "")),
    ],
)
def test_the_point_of_the_least_lead_that_is_no_shorter(metric, lead_s, follows, key):
    assert asdict(shipped(metric, lead_s, follows=follows)) == POINTS[key]


def test_numbers_are_replaced_by_name():
    point = shipped(CPU_MILLICORES, 300)
    assert asdict(replaced(point, {"jump": 3})) == {**asdict(point), "jump": 3.0}
    for numbers in ({"sump": 1}, {"jump": "high"}, {"jump": None}):
        with pytest.raises(HeadroomError) as caught:
            replaced(point, numbers)
        assert caught.value.code == "model.request"
