# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that anybody knows, to hold others against: what there is, the peak of the past, the peak of the last day.

They take no tuning: their numbers are those that people write into scripts and dashboards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .loop import Observed, Policy, Replayed, replay

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .trace import Trace

    Doubles = npt.NDArray[np.float64]

MARGIN = 1.2  # above the largest use
GUARD = 1.5  # times the size, where use stood at it
ROUNDING = 1e-9  # of a unit


class Kept:
    """Every VM keeps what it has."""

    def decide(self, observed: Observed) -> Doubles:
        """Ask for nothing."""
        return nothing(observed)


@dataclass
class StaticPeak:
    """The largest use before the first decision and a margin, once and for all; VMs that come later are left."""

    margin: float = MARGIN
    _size: Optional[Doubles] = None

    def decide(self, observed: Observed) -> Doubles:
        """The same at each decision."""
        if self._size is None:
            self._size = highest(observed, observed.t) * self.margin
        return self._size if observed.hourly else nothing(observed)


@dataclass
class DayPeak:
    """The largest use of the last day and a margin, and between decisions a guard: what stands at its size grows."""

    day: int  # intervals
    margin: float = MARGIN
    guard: float = GUARD

    def decide(self, observed: Observed) -> Doubles:
        """The larger of both."""
        with needs("numpy"):
            import numpy as np
        wanted = highest(observed, self.day) * self.margin if observed.hourly else nothing(observed)
        return np.fmax(wanted, np.where(observed.saturated[:, -1], observed.ordered * self.guard, np.nan))


@dataclass
class Scaled:
    """All that a policy asks for, times a factor: what a little more or less would have meant."""

    inner: Policy
    factor: float

    def decide(self, observed: Observed) -> Doubles:
        """The sizes wanted, [V]."""
        return self.inner.decide(observed) * self.factor


@dataclass
class Whole:
    """All that a policy asks for in whole units, at least one."""

    inner: Policy

    def decide(self, observed: Observed) -> Doubles:
        """The sizes wanted, [V]."""
        with needs("numpy"):
            import numpy as np
        return np.asarray(np.maximum(np.ceil(self.inner.decide(observed) - ROUNDING), 1.0), dtype=np.float64)


@dataclass
class Within:
    """All that a policy asks for, at most what VMs have: it may think of more, of which the past says nothing."""

    inner: Policy
    most: Doubles  # [V, T]

    def decide(self, observed: Observed) -> Doubles:
        """The sizes wanted, [V]."""
        with needs("numpy"):
            import numpy as np
        most, wanted = self.most[:, observed.t - 1], self.inner.decide(observed)
        with np.errstate(invalid="ignore"):
            kept = np.where(observed.ordered > most, most, np.nan)
        return np.where(np.isnan(wanted), kept, np.fmin(wanted, most))


def replay_within(
    policy: Policy, trace: Trace, most: Doubles, *, first: int, last: int, lead: int, every: int
) -> Replayed:
    """``loop.replay`` with sizes of at most ``most`` [V, T], up to the capacity of the trace; NaN: not known."""
    with needs("numpy"):
        import numpy as np
    done = replay(Within(policy, most), trace, first=first, last=last, lead=lead, every=every)
    return replace(done, allocation=np.minimum(done.allocation, most))


def highest(observed: Observed, intervals: int) -> Doubles:
    """Largest use of the last intervals, [V]; NaN where none is known."""
    with needs("numpy"):
        import numpy as np
    window = observed.seen[:, max(observed.t - intervals, 0) :]
    return np.asarray(np.fmax.reduce(window, axis=1), dtype=np.float64)


def nothing(observed: Observed) -> Doubles:
    """Leave every VM as it is."""
    with needs("numpy"):
        import numpy as np
    return np.full(observed.capacity.shape, np.nan)
