# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that anybody knows, on demand that can be followed by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import (
    DayPeak,
    Kept,
    Scaled,
    StaticPeak,
    Whole,
    replay_within,
)
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import replay
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import sums_by_vm
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

START = datetime(2026, 1, 5, tzinfo=UTC)
FIRST, LAST, EVERY, DAY = 4, 12, 4, 4  # a day of four intervals


def trace(*rows):
    demand = np.array(rows, dtype=float)
    capacity = np.full(demand.shape, 4.0)
    return Trace(tuple(f"vm-{row}" for row in range(len(rows))), START, demand, capacity, 0.1 * capacity)


def sizes(policy, *rows):
    return replay(policy, trace(*rows), first=FIRST, last=LAST, lead=0, every=EVERY).allocation[:, FIRST:]


def test_what_there_is_now_stays():
    assert (sizes(Kept(), [1] * LAST) == 4).all()


def test_the_peak_of_the_past_holds_whatever_comes():
    assert sizes(StaticPeak(), [1, 2, 1, 1] + [0.5] * 8) == pytest.approx(np.full((1, 8), 2.4))


def test_the_peak_of_the_last_day_follows_and_its_guard_grows_what_stands_at_its_size():
    found = sizes(DayPeak(DAY), [1, 2, 1, 1] + [0.5] * 8, [1] * 4 + [3] + [0.5] * 7)
    assert found[0] == pytest.approx([2.4] * 4 + [0.6] * 4)
    # It wanted 3 and was held at 1.2: half as much again at once, and a day of that use then.
    assert found[1] == pytest.approx([1.2] + [1.8] * 3 + [1.44] * 4)


def test_sizes_are_scaled_and_made_whole():
    rows = [1, 2, 1, 1] + [0.5] * 8
    assert sizes(Scaled(StaticPeak(), 0.5), rows) == pytest.approx(np.full((1, 8), 1.2))
    assert sizes(Whole(StaticPeak()), rows) == pytest.approx(np.full((1, 8), 3.0))
    assert sizes(Whole(Kept()), rows) == pytest.approx(np.full((1, 8), 4.0))


def test_sums_by_vm_count_each_vm_alone_and_only_what_is_known():
    demand = np.array([[1.0, 3.0, np.nan], [1.0, 1.0, 1.0]])
    size, capacity = np.array([[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]), np.full((2, 3), 4.0)
    sums = sums_by_vm(demand, size, capacity)
    assert sums.intervals.tolist() == [2, 3]
    assert sums.violated.tolist() == [1, 0]
    assert sums.unserved.tolist() == [1, 0]
    assert sums.size.tolist() == [4, 12]
    assert sums.capacity.tolist() == [8, 12]
    assert sums.demand.tolist() == [4, 3]


@pytest.mark.parametrize(("lead", "landed"), [(0, 0), (1, 1)])
def test_nobody_is_given_more_than_it_has_though_it_may_have_more(lead, landed):
    """What stands at the size that it has is known to be held back there."""
    of = trace([3.0] * LAST, [1.0] * LAST)
    most = np.array([[3.0], [2.0]]).repeat(LAST, axis=1)
    most[1, :FIRST] = np.nan
    held = []

    class Larger(Kept):
        def decide(self, observed):
            held.append(observed.saturated[:, -1].tolist())
            return np.array([3.5, np.nan]) if observed.hourly else super().decide(observed)

    done = replay_within(Larger(), of, most, first=FIRST, last=LAST, lead=lead, every=EVERY)
    assert (done.allocation[0] == 3).all()
    assert (done.allocation[1, FIRST:] == 2).all()
    assert np.isnan(done.allocation[1, :FIRST]).all()  # what it had then is not known
    assert held[: 2 + landed] == [[False, False]] * (1 + landed) + [[True, False]]
    assert done.size.tolist() == [3, 4, 2]
