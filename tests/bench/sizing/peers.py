# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies that forecast nothing: Autopilot's moving window, trailing quantiles, static peak, adaptive headroom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import StaticPeak, highest, nothing
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed, Policy, replay

from .histogram import Histogram
from .policy import DAY, HOUR, Context, Guarded, Point, held_back, quantile

WARM = 7 * DAY
AUTOPILOT_BUCKET = {"cpu": 0.01, "memory": 10.0}  # width of the first, vCPU or MiB


class Autopilot:
    """Google Autopilot, moving window (Rzadca et al., EuroSys 2020, 3.2.1-3.2.2).

    Every 5 min: the largest of the last N samples (level 1), or a percentile of samples whose weight halves every 12 h
    (CPU) or 48 h (memory), weighed by load. Times a margin of 10 to 15 %, and of that the largest of the last hour.
    N is not published; it is a number of the operating point.
    """

    def __init__(self, point: Point, context: Context) -> None:
        self.point, self.first = point, context.first
        vms = len(context.history.unique_ids)
        largest = 2 * float(np.nanmax(context.history.capacity, initial=1))
        self.histogram = Histogram(
            vms,
            first_bucket=AUTOPILOT_BUCKET[context.target],
            largest=largest,
            half_life=point["half_life_h"] * HOUR,
            by_load=True,
        )
        self.histogram.add_past(context.history.demand, np.ones(context.history.demand.shape))
        self.recent = np.zeros((HOUR, vms))

    def decide(self, observed: Observed) -> np.ndarray:
        if observed.t > self.first:
            self.histogram.add(observed.seen[:, -1], np.ones(len(observed.capacity)), observed.t - 1)
        if self.point["level"] >= 1:
            now = np.nan_to_num(highest(observed, int(self.point["window_h"] * HOUR)))
        else:
            (now,) = self.histogram.percentiles((self.point["level"],))
        self.recent[observed.t % HOUR] = now * self.point["margin"]
        return self.recent.max(axis=0)


class Trailing:
    """A quantile of the last ticks times a factor, on the hour."""

    def __init__(self, level: float, ticks: int, factor: float) -> None:
        self.level, self.ticks, self.factor = level, ticks, factor

    def decide(self, observed: Observed) -> np.ndarray:
        if not observed.hourly:
            return nothing(observed)
        if self.level >= 1:
            return highest(observed, self.ticks) * self.factor
        return quantile(observed, self.ticks, self.level) * self.factor


class Adaptive:
    """Adaptive headroom and a strong guard: the best that is known without a forecast.

    Wanted is the larger of two, times a headroom of the VM's own: the largest use of a short window, and a share of a
    high quantile of the largest use in each hour of the last days. The headroom grows when the VM is saturated and
    falls back to its base by halves; what it would have become in the last week before the first decision is where it
    begins. The guard jumps to a multiple of the size, at least the largest use of the last day. Between the hours the
    same may ask for more.
    """

    def __init__(self, point: Point, context: Context, *, warm: bool = True) -> None:
        self.point, self.first = point, context.first
        self.base = point["base"]
        self.decay = 0.5 ** (1 / (point["half_life_h"] * HOUR))
        self.headroom = np.full(len(context.history.unique_ids), self.base)
        self.hours = int(point["days"] * 24)
        self.likely = self.headroom * 0
        if warm:
            first = max(context.first - WARM, HOUR)
            if first < context.first:
                cold = Adaptive(point, replace(context, first=first), warm=False)
                replay(cold, context.history, first=first, last=context.first, lead=context.lead, every=context.every)
                self.headroom = cold.headroom

    def decide(self, observed: Observed) -> np.ndarray:
        point, held = self.point, held_back(observed)
        more = np.minimum(self.headroom * point["up"], point["top"] * self.base)
        self.headroom = np.where(held, more, self.base + (self.headroom - self.base) * self.decay)
        wanted = nothing(observed)
        if observed.hourly:
            self.likely = self._likely(observed) * point["share"]
        if (observed.t - self.first) % int(point["again"]) == 0 or observed.hourly:
            wanted = np.fmax(highest(observed, int(point["window"])), self.likely) * self.headroom
        if held.any():
            jump = np.fmax(observed.allocation[:, -1] * point["guard"], highest(observed, DAY) * point["peak"])
            wanted = np.where(held, np.fmax(wanted, jump), wanted)
        return wanted

    def _likely(self, observed: Observed) -> np.ndarray:
        """The quantile over the hours of what was largest in each, [V]."""
        hours = min(self.hours, observed.t // HOUR)
        use = observed.seen[:, observed.t - hours * HOUR :]
        of_hours = np.nan_to_num(np.fmax.reduce(use.reshape(len(use), hours, HOUR), axis=2))
        place = min(int(self.point["level"] * hours), hours - 1)
        return np.partition(of_hours, place, axis=1)[:, place]


def autopilot(point: Point, context: Context) -> Policy:
    """A guard of 1 is none, as published."""
    policy = Autopilot(point, context)
    return Guarded(policy, point["guard"]) if point.get("guard", 1) > 1 else policy


def p98_of_day(point: Point, _context: Context) -> Policy:
    return Guarded(Trailing(0.98, DAY, point["factor"]), point["guard"])


def max_of_day(point: Point, _context: Context) -> Policy:
    return Guarded(Trailing(1.0, DAY, point["factor"]), point["guard"])


def last_hour(point: Point, _context: Context) -> Policy:
    return Guarded(Trailing(1.0, int(point["window"]), point["factor"]), point["guard"])


def static_peak(point: Point, _context: Context) -> Policy:
    return StaticPeak(point["factor"])


def adaptive(point: Point, context: Context) -> Policy:
    return Adaptive(point, context)
