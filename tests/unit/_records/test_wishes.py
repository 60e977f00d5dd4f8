# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The largest size wanted since any moment, from no more than has to be kept for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._records.wishes import Wish, Wishes

HOLD = 10


def asked(*sizes: int | None) -> Wishes:
    """One plan each ms, from 0 on."""
    known = Wishes(0)
    for now, size in enumerate(sizes):
        known = known.renewed(size, now_ms=now, hold_ms=HOLD)
    return known


@given(st.lists(st.none() | st.integers(1, 6), min_size=1, max_size=40))
def test_it_is_the_largest_of_all_that_were_wanted_within_the_hold_time(sizes: list[int | None]) -> None:
    known, now = asked(*sizes), len(sizes) - 1
    for after in range(now - HOLD, now + 1):
        wished = [Wish(at, size) for at, size in enumerate(sizes) if size is not None and at > after]
        expected = max(wished, key=lambda one: (one.size, one.at_ms), default=None)
        assert known.largest(after_ms=after) == expected
    assert known.since_ms == 0
    assert len(known.steps) <= len(set(sizes) - {None})


def test_what_nobody_knows_is_no_wish() -> None:
    assert asked(None, None) == Wishes(0)
    assert asked(4, None, None).largest(after_ms=-1) == Wish(0, 4)


def test_a_clock_that_was_set_back_leaves_nothing_in_the_future() -> None:
    ahead = Wishes(900, (Wish(1000, 4),))
    assert ahead.renewed(2, now_ms=50, hold_ms=HOLD) == Wishes(50, (Wish(50, 4), Wish(50, 2)))
