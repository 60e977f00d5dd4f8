# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plans wanted of one resource of a VM, as far back as its hold time asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional


class Wish(NamedTuple):
    """A size, and when it was last wanted, in ms since 1970 UTC."""

    at_ms: int
    size: int


@dataclass(frozen=True)
class Wishes:
    """Enough to know the largest size wanted since any moment: each wish is later and smaller than the one before.

    A wish as large as an earlier one takes its place, so that there are never more than there are sizes between the
    largest and the smallest. ``since_ms``: of the first plan that asked; what was wanted before it nobody knows.
    """

    since_ms: int
    steps: tuple[Wish, ...] = ()

    def largest(self, *, after_ms: int) -> Optional[Wish]:
        """The largest later than that; None: nothing is known of that time."""
        return next((one for one in self.steps if one.at_ms > after_ms), None)

    def renewed(self, size: Optional[int], *, now_ms: int, hold_ms: int) -> Wishes:
        """With what is wanted now (None: nobody knows), without what is older than the hold time.

        Nothing stays in the future, where a clock that was set back would leave it.
        """
        known = [Wish(min(one.at_ms, now_ms), one.size) for one in self.steps if one.at_ms > now_ms - hold_ms]
        if size is not None:
            known = [*(one for one in known if one.size > size), Wish(now_ms, size)]
        return Wishes(min(self.since_ms, now_ms), tuple(known))
