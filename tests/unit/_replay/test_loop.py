# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import decisions_table, replay
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

START = datetime(2026, 1, 1, tzinfo=UTC)
NAN = float("nan")


def fleet(demand, capacity=10.0, floor=1.0):
    demand = np.atleast_2d(np.asarray(demand, dtype=float))
    capacity, floor = (np.broadcast_to(np.asarray(a, dtype=float), demand.shape) for a in (capacity, floor))
    return Trace(tuple("abcdef"[: len(demand)]), START, demand, capacity, np.minimum(floor, capacity))


class Says:
    """Asks for what it is told to at each tick, and remembers what it saw."""

    def __init__(self, *orders):
        self.orders = list(orders)
        self.saw = []

    def decide(self, observed):
        self.saw.append(observed)
        order = self.orders.pop(0) if self.orders else NAN
        return np.broadcast_to(np.asarray(order, dtype=float), observed.capacity.shape)


def run(policy, trace, *, first=1, last=None, lead=0, every=12):
    return replay(policy, trace, first=first, last=last or trace.steps, lead=lead, every=every)


@pytest.mark.parametrize(("lead", "sizes"), [(0, [10, 4, 4, 4]), (2, [10, 10, 10, 4])])
def test_a_size_lands_after_its_lead(lead, sizes):
    np.testing.assert_array_equal(run(Says(4), fleet([5] * 4), lead=lead).allocation, [sizes])


def test_between_the_hours_a_size_only_grows():
    policy = Says(4, 2, 6, 2, 2)
    np.testing.assert_array_equal(run(policy, fleet([5] * 6), every=4).allocation, [[10, 4, 4, 6, 6, 2]])
    assert [observed.hourly for observed in policy.saw] == [True, False, False, False, True]


def test_what_is_ordered_counts_before_it_lands():
    policy = Says(4, 6, 5, 5)
    changes = run(policy, fleet([5] * 5), lead=3)
    assert [float(observed.ordered[0]) for observed in policy.saw] == [10, 4, 6, 6]
    np.testing.assert_array_equal(changes.tick, [1, 2])
    np.testing.assert_array_equal(changes.size, [4, 6])


def test_sizes_stay_within_floor_and_capacity():
    allocation = run(Says([0, 99]), fleet([[5] * 3, [5] * 3]), every=1).allocation
    np.testing.assert_array_equal(allocation[:, 1:], [[1, 1], [10, 10]])


def test_use_never_exceeds_the_size():
    policy = Says(4)
    run(policy, fleet([5, 6, 3, 3.94, 5]))
    np.testing.assert_array_equal(policy.saw[-1].seen, [[5, 4, 3, 3.94]])
    np.testing.assert_array_equal(policy.saw[-1].saturated, [[False, True, False, True]])
    np.testing.assert_array_equal(policy.saw[-1].allocation, [[10, 4, 4, 4]])


def test_at_capacity_nothing_is_saturated():
    policy = Says(10)
    run(policy, fleet([5, 10, 10, 10]))
    assert not policy.saw[-1].saturated.any()


def test_what_is_not_known_is_not_seen():
    policy = Says(4)
    run(policy, fleet([5, NAN, 3, 3]))
    np.testing.assert_array_equal(policy.saw[-1].seen, [[5, NAN, 3]])


def test_observations_end_at_the_tick_and_cannot_be_written():
    policy = Says()
    run(policy, fleet([5] * 4))
    for t, observed in enumerate(policy.saw, start=1):
        assert observed.t == t
        arrays = [observed.seen, observed.saturated, observed.allocation]
        assert [array.shape for array in arrays] == [(1, t)] * 3
        assert not any(array.flags.writeable for array in [*arrays, observed.capacity, observed.ordered])


def test_capacity_is_known_one_interval_late():
    policy = Says()
    run(policy, fleet([5] * 4, capacity=[10, 10, 20, 20], floor=[1, 1, 2, 2]))
    assert [float(observed.capacity[0]) for observed in policy.saw] == [10, 10, 20]
    assert [float(observed.floor[0]) for observed in policy.saw] == [1, 1, 2]


def test_a_vm_that_is_not_there_yet_gets_no_order():
    policy = Says(4, 4, 4, 4)
    changes = run(policy, fleet([NAN, NAN, 5, 5], capacity=[NAN, NAN, 10, 10], floor=[NAN, NAN, 1, 1]), every=1)
    np.testing.assert_array_equal(changes.allocation, [[NAN, NAN, 10, 4]])
    np.testing.assert_array_equal(changes.tick, [3])


def test_only_changes_are_written():
    trace = fleet([[5] * 4, [5] * 4])
    changes = run(Says([4, 5], [4, 6], [NAN, 6]), trace, every=1)
    rows = decisions_table(trace, changes, lead=12).to_pylist()
    assert [(row["unique_id"], row["allocation"]) for row in rows] == [("a", 4), ("b", 5), ("b", 6)]
    assert rows[2]["issued_at"] == START + timedelta(minutes=10)
    assert rows[2]["effective_at"] == START + timedelta(minutes=70)


def test_changes_give_the_sizes_that_held():
    rng = np.random.default_rng(1)
    trace = fleet(rng.uniform(0, 10, (3, 60)), capacity=np.repeat([10.0, 8, 12], 20), floor=0.5)
    changes = run(Says(*rng.uniform(0, 14, (59, 3))), trace, lead=2, every=6)
    for vm in range(3):
        order, sizes = NAN, []
        for t in range(60):
            for tick, size in zip(changes.tick[changes.vm == vm], changes.size[changes.vm == vm], strict=True):
                order = size if tick + 2 == t else order
            had, least = trace.capacity[vm, t], trace.floor[vm, t]
            sizes.append(had if np.isnan(order) else min(max(order, least), had))
        np.testing.assert_array_equal(changes.allocation[vm], sizes)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (2, 2), (1, 9)])
def test_a_window_outside_the_trace_is_refused(first, last):
    with pytest.raises(HeadroomError) as raised:
        run(Says(), fleet([5] * 4), first=first, last=last)
    assert raised.value.code == "replay.window"
