# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle: the least allocation under the service level, any size on the hour, by one who knows the future.

Of each VM and hour a size is one of the hour's own demands, so that the k largest exceed it. Violations and unserved
demand have a price each, found by search so that the limits hold; a VM that would exceed 1 % pays a price of its own.
The choice at given prices is exact, the whole a Lagrangian relaxation: what it reclaims is a little below the best.
"""

from __future__ import annotations

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import BELOW
from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import nothing
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed, Policy
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import EXCEEDS
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

from .policy import Context, Point

PER_VM = 0.01
VIOLATION_PRICES = (0.0, *np.geomspace(1e-3, 1e3, 13))  # mean size of a VM and tick for one violation
HALVINGS = 16  # of the price of unserved demand
RAISES = 12  # of the price of one VM


class Oracle:
    """Sizes decided beforehand, one for each hour."""

    def __init__(self, sizes: np.ndarray, first: int, every: int) -> None:
        self.sizes, self.first, self.every = sizes, first, every

    def decide(self, observed: Observed) -> np.ndarray:
        if not observed.hourly:
            return nothing(observed)
        return self.sizes[:, (observed.t - self.first) // self.every]


def oracle(_point: Point, context: Context) -> Policy:
    """Solve for what lands from the first decision on; what lands after the window does not matter."""
    if context.future is None:
        raise ValueError("the oracle needs the future")
    landing = context.first + context.lead
    hours = _Hours(context.future, landing, context.last, context.every, whole=context.whole)
    sizes = hours.solve(context.slo)
    decisions = -(-(context.last - context.first) // context.every)
    padded = np.full((len(sizes), decisions), np.nan)
    padded[:, : sizes.shape[1]] = sizes
    return Oracle(padded, context.first, context.every)


class _Hours:
    """Candidates [V, S, K] of every VM and hour, and what each would do."""

    def __init__(self, trace: Trace, first: int, last: int, every: int, *, whole: bool) -> None:
        hours = -(-(last - first) // every)
        self.shape = (len(trace.unique_ids), hours, every)

        def cut(array: np.ndarray) -> np.ndarray:
            padded = np.full((self.shape[0], hours * every), np.nan)
            padded[:, : last - first] = array[:, first:last]
            return padded.reshape(self.shape)

        demand, capacity, floor = cut(trace.demand), cut(trace.capacity), cut(trace.floor)
        ok = ~np.isnan(demand) & ~np.isnan(capacity)
        wanted = np.where(ok, demand, 0.0)
        had, least = np.where(ok, capacity, 0.0), np.where(ok, floor, 0.0)
        # Just enough for a demand is a hair above it.
        self.sizes = np.concatenate([-np.sort(-wanted, axis=2), np.zeros((*self.shape[:2], 1))], axis=2)
        if whole:
            self.sizes = np.maximum(np.ceil(self.sizes - 1e-9), 1.0)
        self.area, self.violations, self.unserved = (np.empty(self.sizes.shape) for _unused in range(3))
        for k in range(self.sizes.shape[2]):
            size = np.minimum(np.maximum(self.sizes[..., k, None], least), had)
            below = ok & (size < had * BELOW)
            self.area[..., k] = size.sum(axis=2)
            self.violations[..., k] = (below & (wanted > size * EXCEEDS + 1e-9)).sum(axis=2)
            self.unserved[..., k] = np.where(below, np.maximum(wanted - size, 0), 0).sum(axis=2)
        self.samples = ok.sum(axis=(1, 2))
        self.demanded = wanted.sum()
        self.scale = self.area[..., 0].sum() / max(ok.sum(), 1)

    def solve(self, slo: Slo) -> np.ndarray:
        best, chosen = np.inf, np.zeros(self.shape[:2], dtype=np.int64)
        for price in VIOLATION_PRICES:
            low, high = -3.0, 5.0  # of log10 of the price of unserved demand
            for _unused in range(HALVINGS):
                middle = (low + high) / 2
                choice = self._at(price * self.scale, 10**middle)
                if self._of(self.unserved, choice).sum() <= slo.unserved / 100 * self.demanded:
                    high = middle
                else:
                    low = middle
            choice = self._at(price * self.scale, 10**high)
            area = self._of(self.area, choice).sum()
            within = self._of(self.violations, choice).sum() <= slo.violations / 100 * self.samples.sum()
            if within and area < best:
                best, chosen = area, choice
        return self._of(self.sizes, chosen)

    def _at(self, violation: float, unserved: float) -> np.ndarray:
        """The cheapest candidates, [V, S]; only VMs that exceed their share are looked at again."""
        cost = self.area + violation * self.violations + unserved * self.unserved
        choice = np.argmin(cost, axis=2)
        extra = self.scale * 0.01
        for _unused in range(RAISES):
            spent = self._of(self.violations, choice).sum(axis=1)
            over = np.flatnonzero(spent > PER_VM * self.samples)
            if not len(over):
                break
            extra *= 3
            choice[over] = np.argmin(cost[over] + extra * self.violations[over], axis=2)
        return choice

    @staticmethod
    def _of(values: np.ndarray, choice: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, choice[..., None], axis=2)[..., 0]
