# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes Vertical Pod Autoscaler, from its published algorithm (autoscaler/vertical-pod-autoscaler, 1.x).

Recommender: CPU samples go into a histogram that halves every 24 h, weighed by the request; of memory the peak of each
24 h, for eight days. The target is the 90th percentile, its bounds the 50th and 95th, each with a safety margin; the
bounds are widened while little is known (confidence: days seen): lower / (1 + 0.001 / c)^2, upper x (1 + 1 / c).
Updater: a request outside its bounds is set to the target at once; one inside after 12 h, if it differs by 10 %.
A saturated memory counts as an out-of-memory kill: the sample is raised by 20 %, at least 100 MB.

Different here: a sample every 5 min instead of every minute, a lower size only on the hour, as for all, and the few
peaks of memory as they are instead of in buckets.
"""

from __future__ import annotations

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed, Policy

from .histogram import Histogram
from .policy import DAY, Context, Guarded, Point

MB = 1e6 / 1024**2  # in MiB
FIRST_BUCKET = 0.01  # cores
LEAST = {"cpu": 0.025, "memory": 250 * MB}
LOWER, UPPER = 0.5, 0.95
LEAST_WEIGHT = 0.1  # of a CPU sample, cores
PEAKS = 8  # days of memory peaks
SETTLED = 12 * 12  # ticks a size is left alone that lies within its bounds
SIGNIFICANT = 0.1
OOM_RATIO, OOM_LEAST = 1.2, 100 * MB
PUBLISHED = {"percentile": 0.9, "margin": 1.15, "half_life_h": 24.0, "guard": 1.0}


def make(point: Point, context: Context) -> Policy:
    """The recommender and updater; a guard of 1 is none, as published."""
    policy = Vpa(point, context)
    return Guarded(policy, point["guard"]) if point["guard"] > 1 else policy


class Vpa:
    """Recommender and updater of one resource of V VMs."""

    def __init__(self, point: Point, context: Context) -> None:
        self.point, self.target = point, context.target
        known = ~np.isnan(context.history.demand)
        vms, past = known.shape
        self.samples = known.sum(axis=1).astype(float)
        self.changed = np.full(vms, -SETTLED)
        use = context.history.demand
        if self.target == "cpu":
            largest = 2 * float(np.nanmax(context.history.capacity, initial=1))
            half_life = point["half_life_h"] * 12
            self.histogram = Histogram(vms, first_bucket=FIRST_BUCKET, largest=largest, half_life=half_life)
            self.histogram.add_past(use, np.maximum(np.nan_to_num(context.history.capacity), LEAST_WEIGHT))
        # Peaks of whole days before the first decision, the newest last; NaN: nothing known.
        days = min(past // DAY, PEAKS - 1)
        blocks = use[:, past - days * DAY :].reshape(vms, days, DAY)
        self.peaks = np.full((vms, PEAKS), np.nan)
        self.peaks[:, PEAKS - 1 - days : -1] = np.fmax.reduce(blocks, axis=2)
        self.day_began = past

    def decide(self, observed: Observed) -> np.ndarray:
        if observed.t > self.day_began:
            self._learn(observed)
        low, target, high = self._recommended(observed)
        current = observed.ordered
        outside = (current < low) | (current > high)
        old = observed.t - self.changed >= SETTLED
        different = np.abs(target - current) >= SIGNIFICANT * current
        update = (outside | (old & different) | np.isnan(current)) & ((target > current) | observed.hourly)
        self.changed = np.where(update, observed.t, self.changed)
        return np.where(update, target, np.nan)

    def _learn(self, observed: Observed) -> None:
        use, held = observed.seen[:, -1], observed.saturated[:, -1]
        self.samples += ~np.isnan(use)
        if self.target == "cpu":
            self.histogram.add(use, np.maximum(np.nan_to_num(observed.allocation[:, -1]), LEAST_WEIGHT), observed.t - 1)
            return
        if observed.t - self.day_began >= DAY:
            self.day_began = observed.t
            self.peaks = np.roll(self.peaks, -1, axis=1)
            self.peaks[:, -1] = np.nan
        bumped = np.where(held, np.maximum(use * OOM_RATIO, use + OOM_LEAST), use)
        self.peaks[:, -1] = np.fmax(self.peaks[:, -1], bumped)

    def _recommended(self, observed: Observed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        levels = (LOWER, self.point["percentile"], max(UPPER, self.point["percentile"]))
        found = self.histogram.percentiles(levels) if self.target == "cpu" else self._of_peaks(levels)
        low, target, high = (np.maximum(value * self.point["margin"], LEAST[self.target]) for value in found)
        confidence = np.maximum(self.samples / DAY, 1e-9)
        low, high = low / (1 + 0.001 / confidence) ** 2, high * (1 + 1 / confidence)
        # Compared with what can be had: a target above capacity is no reason to set it again.
        return tuple(np.clip(value, observed.floor, observed.capacity) for value in (low, target, high))

    def _of_peaks(self, levels: tuple[float, ...]) -> list[np.ndarray]:
        age = np.arange(PEAKS)[::-1] * 24 / self.point["half_life_h"]
        order = np.argsort(np.nan_to_num(self.peaks, nan=-1), axis=1)
        values = np.take_along_axis(np.nan_to_num(self.peaks), order, axis=1)
        weights = np.where(np.isnan(self.peaks), 0, 2.0**-age)
        sums = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1)
        found = [np.minimum((sums < level * sums[:, -1:] * (1 - 1e-12)).sum(axis=1), PEAKS - 1) for level in levels]
        return [np.take_along_axis(values, place[:, None], axis=1)[:, 0] for place in found]
