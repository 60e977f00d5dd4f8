# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trend of daily peaks: robust, blind to the week, and with an interval.

The slope is the seasonal Kendall estimator: the median of the slopes of all pairs of days that lie whole weeks apart
(Hirsch, Slack and Smith, Water Resources Research 1982), so that neither a weekend nor a single bad day is a trend. Its
interval are the order statistics of those slopes that the variance of Kendall's S allows (Gilbert, Statistical Methods
for Environmental Pollution Monitoring, 1987, 16.4), widened where the days' deviations depend on those of the day
before, for then they tell less than as many independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

WEEK = 7
MOST_DAYS = 13 * WEEK  # what was longer ago tells little of now
LEAST_DAYS = 3 * WEEK  # two pairs of each weekday at the least say whether the first was chance
LEVEL = 0.9  # of the days stay below the level
NORMAL_90 = 1.645  # two-sided
MOST_DEPENDENT = 0.8  # lag-one correlation; of so few days a higher one is no estimate


@dataclass(frozen=True)
class Trends:
    """Of P places; slopes [P, 3] per day, low, middle and high of a 90 % interval; NaN where too little is known."""

    days: Integers  # [P], whose peak is known
    slopes: Doubles
    levels: Doubles  # [P, 3], what the newest day stays below nine times in ten, by each slope


def trends(peaks: Doubles) -> Trends:
    """Fit peaks [P, D], oldest day first, NaN where unknown."""
    with needs("numpy"):
        import numpy as np
    peaks = peaks[:, -MOST_DAYS:]
    places, days = peaks.shape
    count = np.count_nonzero(~np.isnan(peaks), axis=1)
    enough = count >= LEAST_DAYS
    slopes, levels = np.full((places, 3), np.nan), np.full((places, 3), np.nan)
    if enough.any():
        fit = peaks[enough]
        season = _season(fit)
        even = fit / season
        first, last = np.triu_indices(days, WEEK)
        whole = (last - first) % WEEK == 0
        first, last = first[whole], last[whole]
        ordered = np.sort((even[:, last] - even[:, first]) / (last - first), axis=1)  # NaN last
        pairs = np.count_nonzero(~np.isnan(ordered), axis=1)
        middle = _at(ordered, (pairs - 1) / 2)
        ages = np.arange(days) - (days - 1.0)
        spread = NORMAL_90 * np.sqrt(_variance(fit)) * _inflation(even - middle[:, None] * ages)
        low = _at(ordered, np.maximum((pairs - spread) / 2 - 1, 0))
        high = _at(ordered, np.minimum((pairs + spread) / 2, pairs - 1))
        slope = np.stack([low, middle, high], axis=1)
        flat = even[:, None, :] - slope[:, :, None] * ages
        level = np.nanquantile(flat * season[:, None, :], LEVEL, axis=2)
        usual = np.nanmedian(flat, axis=2)
        # A busy weekday grows by as much more as it is above the usual day.
        slopes[enough] = slope * np.divide(level, usual, out=np.ones_like(level), where=usual > 0)
        levels[enough] = level
    return Trends(count, slopes, levels)


def _season(peaks: Doubles) -> Doubles:
    """How each day's weekday stands to the others [P, D]."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(peaks)
    season = np.ones_like(peaks)
    for day in range(WEEK):
        count = np.count_nonzero(known[:, day::WEEK], axis=1)
        mean = np.where(known[:, day::WEEK], peaks[:, day::WEEK], 0.0).sum(axis=1) / np.maximum(count, 1)
        season[:, day::WEEK] = mean[:, None]
    usual = np.median(season[:, :WEEK], axis=1, keepdims=True)
    ratio = np.divide(season, usual, out=np.ones_like(season), where=usual > 0)
    return np.asarray(np.where(ratio > 0, ratio, 1.0), dtype=np.float64)


def _at(ordered: Doubles, rank: Doubles) -> Doubles:
    """The value of each row at a rank between two."""
    with needs("numpy"):
        import numpy as np
    below = np.floor(rank).astype(np.int64)
    above = np.ceil(rank).astype(np.int64)
    low, high = (np.take_along_axis(ordered, place[:, None], axis=1)[:, 0] for place in (below, above))
    return np.asarray(low + (high - low) * (rank - below), dtype=np.float64)


def _variance(peaks: Doubles) -> Doubles:
    """Of Kendall's S without ties, summed over the weekdays [P]."""
    with needs("numpy"):
        import numpy as np
    counts = np.stack([np.count_nonzero(~np.isnan(peaks[:, day::WEEK]), axis=1) for day in range(WEEK)])
    return np.asarray((counts * (counts - 1) * (2 * counts + 5) / 18).sum(axis=0), dtype=np.float64)


def _inflation(flat: Doubles) -> Doubles:
    """How much wider than for independent days [P], from detrended peaks [P, D] (first-order autoregression)."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(flat)
    rest = np.where(known, flat, 0.0)
    for day in range(WEEK):
        count = np.count_nonzero(known[:, day::WEEK], axis=1)
        rest[:, day::WEEK] -= (rest[:, day::WEEK].sum(axis=1) / np.maximum(count, 1))[:, None]
    rest = np.where(known, rest, 0.0)
    total = (rest**2).sum(axis=1)
    product = (rest[:, 1:] * rest[:, :-1]).sum(axis=1)
    share = np.clip(np.divide(product, total, out=np.zeros_like(total), where=total > 0), 0.0, MOST_DEPENDENT)
    return np.asarray(np.sqrt((1 + share) / (1 - share)), dtype=np.float64)
