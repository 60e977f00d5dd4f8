# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trend of daily peaks: robust, blind to the week, and with an interval.

The slope is the seasonal Kendall estimator: the median of the slopes of all pairs of days that lie whole weeks apart
(Hirsch, Slack and Smith, Water Resources Research 1982), so that neither a weekend nor a single bad day is a trend. Its
interval are the order statistics of those slopes that the variance of Kendall's S allows (Gilbert, Statistical Methods
for Environmental Pollution Monitoring, 1987, 16.4), widened where the days' deviations depend on those of the day
before, for then they tell less than as many independent ones. The same is done to the logarithms of the days, for
growth by a share of what is there; whichever of the two lies closer to the days speaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

WEEK = 7
MOST_DAYS = 13 * WEEK  # what was longer ago tells little of now
LEAST_DAYS = 3 * WEEK  # two pairs of each weekday at the least say whether the first was chance
LEVEL = 0.9  # of the days stay below the level
NORMAL_90 = 1.645  # two-sided
MOST_DEPENDENT = 0.8  # lag-one correlation; of so few days a higher one is no estimate


@dataclass(frozen=True)
class Trends:
    """Of P places; slopes [P, 3] per day, on the newest day: low, middle and high of a 90 % interval.

    NaN where too little is known.
    """

    days: Integers  # [P], whose peak is known
    slopes: Doubles
    levels: Doubles  # [P, 3], what the newest day stays below nine times in ten, by each slope
    compound: Flags  # [P], whether the middle one is growth by a share of what is there; the high one always is


def trends(peaks: Doubles) -> Trends:
    """Fit peaks [P, D], oldest day first, NaN where unknown."""
    with needs("numpy"):
        import numpy as np
    peaks = peaks[:, -MOST_DAYS:]
    places = len(peaks)
    count = np.count_nonzero(~np.isnan(peaks), axis=1)
    enough = count >= LEAST_DAYS
    slopes, levels = np.full((places, 3), np.nan), np.full((places, 3), np.nan)
    compound = np.zeros(places, dtype=np.bool_)
    if enough.any():
        fit = peaks[enough]
        season = _season(fit)
        even = fit / season
        line, bend = _fitted(even, even, season), _fitted(_logarithm(even), even, season)
        # At the newest day a compound growth has the slope of its tangent.
        bend = replace(bend, slopes=bend.levels * np.expm1(bend.slopes))
        bent = bend.misfit < line.misfit
        compound[enough] = bent
        # A few weeks rarely tell the two apart: the interval goes from the slower of a line to the faster of a share.
        which = np.stack([np.zeros_like(bent), bent, np.isfinite(bend.misfit)], axis=1)
        slopes[enough] = np.where(which, bend.slopes, line.slopes)
        levels[enough] = np.where(which, bend.levels, line.levels)
    return Trends(count, slopes, levels, compound)


@dataclass(frozen=True)
class _Fit:
    slopes: Doubles  # [P, 3]
    levels: Doubles  # [P, 3]
    misfit: Doubles  # [P], mean absolute deviation of the days; infinite where it does not apply


def _fitted(scale: Doubles, even: Doubles, season: Doubles) -> _Fit:
    """Fit a line to ``scale`` [P, D]: the peaks freed of their weekdays, ``even``, or their logarithm."""
    with needs("numpy"):
        import numpy as np
    straight = scale is even
    days = scale.shape[1]
    first, last = np.triu_indices(days, WEEK)
    whole = (last - first) % WEEK == 0
    first, last = first[whole], last[whole]
    ordered = np.sort((scale[:, last] - scale[:, first]) / (last - first), axis=1)  # NaN last
    pairs = np.count_nonzero(~np.isnan(ordered), axis=1)
    middle = _at(ordered, np.maximum(pairs - 1, 0) / 2)
    ages = np.arange(days) - (days - 1.0)
    spread = NORMAL_90 * np.sqrt(_variance(scale)) * _inflation(scale - middle[:, None] * ages)
    low = _at(ordered, np.maximum((pairs - spread) / 2 - 1, 0))
    high = _at(ordered, np.maximum(np.minimum((pairs + spread) / 2, pairs - 1), 0))
    slopes = np.stack([low, middle, high], axis=1)
    flat = scale[:, None, :] - slopes[:, :, None] * ages
    known = ~np.isnan(even).all(axis=1) & (pairs > 0)
    usual, levels, misfit = np.full((len(even), 3), np.nan), np.full((len(even), 3), np.nan), np.full(len(even), np.inf)
    if known.any():
        usual[known] = np.nanmedian(flat[known], axis=2)
        newest = flat[known] if straight else np.exp(flat[known])
        levels[known] = np.nanquantile(newest * season[known, None, :], LEVEL, axis=2)
        told = usual[known, 1:2] + middle[known, None] * ages
        misfit[known] = np.nanmean(np.abs(even[known] - (told if straight else np.exp(told))), axis=1)
    if straight:  # a busy weekday grows by as much more as it is above the usual day
        slopes = slopes * np.divide(levels, usual, out=np.ones_like(levels), where=usual > 0)
    return _Fit(slopes, levels, misfit)


def _logarithm(even: Doubles) -> Doubles:
    """NaN for a place that ever stood still: it has no rate."""
    with needs("numpy"):
        import numpy as np
    positive = ~(even <= 0).any(axis=1, keepdims=True)
    return np.asarray(np.log(np.where(positive, even, np.nan)), dtype=np.float64)


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
