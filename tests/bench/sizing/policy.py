# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies are made of: their context, windows over what was seen, the guard, and wrappers for any policy.

A policy is made by a factory from an operating point, a small dict of numbers, and the context of the replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed, Policy
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

Point = dict[str, float]
DAY = 288  # ticks
HOUR = 12


@dataclass(frozen=True)
class Context:
    """What a policy may know before it decides for the first time."""

    target: str
    first: int  # the tick of the first decision
    last: int
    lead: int  # ticks
    every: int  # ticks from one decision on any size to the next
    slo: Slo
    history: Trace  # the VMs that are replayed, before ``first``
    everyone: Trace  # all VMs of the trace, before ``first``: to train on
    whole: bool = False  # sizes are whole vCPUs
    foreign: bool = False  # operating points were found on another fleet, or another time of this one
    future: Trace | None = None  # the whole truth, for the oracle alone


Factory = Callable[[Point, Context], Policy]


@dataclass(frozen=True)
class Span:
    """Where a tuner looks for a number of an operating point."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float:
        """The value at a share of the way from low to high."""
        inside = min(max(share, 0.0), 1.0)
        value = self.low * (self.high / self.low) ** inside if self.log else self.low + (self.high - self.low) * inside
        return round(value) if self.whole else float(f"{value:.4g}")

    def share(self, value: float) -> float:
        """The way back."""
        if self.high == self.low:
            return 0.0
        if self.log:
            return float(np.log(value / self.low) / np.log(self.high / self.low))
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Entry:
    """A policy of the bench: how it is made, where its tuner looks, and the point that its authors published."""

    name: str
    make: Factory
    spans: dict[str, Span] = field(default_factory=dict)
    start: Point = field(default_factory=dict)  # a good guess, one of the points that a tuner tries first
    published: Point | None = None
    sees_future: bool = False
    curve: bool = True  # replay it with other sizes too; no for what takes long
    targets: tuple[str, ...] = ("cpu", "memory")


def quantile(observed: Observed, ticks: int, level: float) -> np.ndarray:
    """A quantile of the use of the last ticks, [V]; what is not known counts as none."""
    window = np.nan_to_num(observed.seen[:, max(observed.t - ticks, 0) :], nan=0.0)
    place = min(int(level * window.shape[1]), window.shape[1] - 1)
    return np.partition(window, place, axis=1)[:, place]


def held_back(observed: Observed) -> np.ndarray:
    """Which VMs were saturated in the last interval, [V]."""
    return observed.saturated[:, -1]


@dataclass
class Guarded:
    """A policy beside a guard: what is saturated grows at once, by a factor of what is ordered."""

    inner: Policy
    factor: float

    def decide(self, observed: Observed) -> np.ndarray:
        grown = np.where(held_back(observed), observed.ordered * self.factor, np.nan)
        return np.fmax(self.inner.decide(observed), grown)


@dataclass
class Careful:
    """No shrink until 24 h after the policy last wanted the present size or more, nor in its own first 24 h."""

    inner: Policy
    hold: int = DAY
    _until: np.ndarray | None = None

    def decide(self, observed: Observed) -> np.ndarray:
        wanted = self.inner.decide(observed)
        if self._until is None:
            self._until = np.full(len(wanted), observed.t + self.hold)
        self._until = np.where(wanted >= observed.ordered, observed.t + self.hold, self._until)
        return np.where((wanted < observed.ordered) & (observed.t < self._until), np.nan, wanted)


@dataclass
class Sparing:
    """Fewer resizes: a shrink must give back a share of capacity, and a grow takes a margin with it.

    Growth is never held back.
    """

    inner: Policy
    band: float  # of capacity
    margin: float  # of the size a grow asks for

    def decide(self, observed: Observed) -> np.ndarray:
        wanted = self.inner.decide(observed)
        small = (wanted < observed.ordered) & (wanted > observed.ordered - self.band * observed.capacity)
        grown = np.where(wanted > observed.ordered, wanted * (1 + self.margin), wanted)
        return np.where(small, np.nan, grown)
