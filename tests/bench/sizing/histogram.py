# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Histograms of use that forget, one row per VM, as the Vertical Pod Autoscaler and Autopilot keep them."""

from __future__ import annotations

import numpy as np

RATIO = 1.05  # each bucket is that much wider than the one before (VPA: histogram_options)


class Histogram:
    """Weights [V, B] over buckets that grow exponentially; a weight halves every ``half_life`` ticks."""

    def __init__(
        self, vms: int, *, first_bucket: float, largest: float, half_life: float, by_load: bool = False
    ) -> None:
        buckets = int(np.log(max(largest, first_bucket) * (RATIO - 1) / first_bucket + 1) / np.log(RATIO)) + 2
        self.first_bucket, self.half_life = first_bucket, half_life
        # starts[b + 1] is where bucket b ends.
        self.starts = first_bucket * (RATIO ** np.arange(buckets + 1) - 1) / (RATIO - 1)
        # A weight is kept as of a fixed moment, and what comes later weighs more: nothing need be scaled down.
        self.weights = np.zeros((vms, buckets))
        # By load, a sample weighs as much as the use it stands for (Autopilot, section 3.2.1).
        self.load = self.starts[1:] if by_load else np.ones(buckets)
        self._vms = np.arange(vms)

    def bucket(self, values: np.ndarray) -> np.ndarray:
        """The bucket of each value."""
        grown = np.maximum(np.nan_to_num(values), 0) * (RATIO - 1) / self.first_bucket + 1
        return np.clip((np.log(grown) / np.log(RATIO)).astype(np.int64), 0, self.weights.shape[1] - 1)

    def add(self, values: np.ndarray, weights: np.ndarray, t: int) -> None:
        """Count one value of each VM, [V]; NaN counts nothing."""
        counted = np.where(np.isnan(values), 0.0, weights) * 2.0 ** (t / self.half_life)
        bucket = self.bucket(values)
        self.weights[self._vms, bucket] += counted * self.load[bucket]

    def add_past(self, values: np.ndarray, weights: np.ndarray) -> None:
        """Count the values of ticks 0 to T, [V, T]."""
        vms, buckets = self.weights.shape
        cells = self._vms[:, None] * buckets + self.bucket(values)
        counted = np.where(np.isnan(values), 0.0, weights) * 2.0 ** (np.arange(values.shape[1]) / self.half_life)
        self.weights += np.bincount(cells.ravel(), counted.ravel(), vms * buckets).reshape(vms, buckets) * self.load

    def percentiles(self, levels: tuple[float, ...]) -> list[np.ndarray]:
        """The end of the bucket in which each percentile lies, [V]; 0 for a VM of which nothing is known."""
        sums = np.cumsum(self.weights, axis=1)
        total = sums[:, -1:]
        found = [np.argmax(sums >= level * total, axis=1) for level in levels]
        return [np.where(total[:, 0] > 0, self.starts[bucket + 1], 0.0) for bucket in found]
