# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Online correction: each quantile of each series follows its own misses, whatever the errors drift to.

Quantile tracking (the proportional part of conformal PID control; Angelopoulos, Candes and Tibshirani, NeurIPS 2023,
after adaptive conformal inference, Gibbs and Candes, NeurIPS 2021): a truth above the quantile raises it by a step
times its level, one below lowers it by the same step times the rest. In the long run it is then exceeded as often as
it should be, for any sequence at all. The step follows the recent size of the series' errors, so that a series that
becomes ten times as lively is followed ten times as fast. That is slow: a forecast of a VM hears of a dozen past
moments alone. So steps begin large, in units of what is to be corrected, a quantile's distance from the median, and
decay (Angelopoulos, Barber and Bates, ICML 2024); where the median is not among the levels, the nearest stands for it,
which makes steps smaller, and its own slow. The correction is as wide as the forecast itself is at that moment,
compared with its usual width (locally adaptive; Lei et al., JASA 2018): a forecast that is sure, of a series at its
floor or its capacity, stays what it is. A tie teaches nothing.

What was seen at a cap is a lower bound. Above the quantile it is a miss, certainly; at or below it tells nothing.

The state is a value. It is learnt from forecasts whose truth is known, and from nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

RATE = 0.05  # of the size of the errors, for each forecast: faster follows noise, see docs/decisions/0008
# Of a quantile's distance from the median, for the first forecasts, and after how many it is half of that: a third that
# is missing is found in a dozen, and of one that is right little is lost, see docs/decisions/0011.
FIRST, HALVED = 0.8, 20
SLOWEST = 0.2  # of that rate, at the median: where truths lie dense a small step goes a long way
MEMORY = 0.98  # of size and width, from one forecast to the next: fifty of them
WIDEST = 3.0  # times the usual width: a forecast that is much less sure than usual is not to be corrected out of sight


@dataclass(frozen=True)
class Correction:
    """What was learnt about V series and Q levels of one engine."""

    offset: Doubles  # [V, Q], added to a forecast of the usual width
    size: Doubles  # [V], mean absolute error lately, of the middle one of the levels; 0: none is known
    width: Doubles  # [V], from the lowest to the highest quantile, on average lately; 0: the levels are all the same
    reach: Doubles  # [V, Q], of each quantile from the median, or from the one nearest to it, on average lately
    count: Doubles  # [V], forecasts


def uncorrected(series: int, levels: int) -> Correction:
    """Return where everyone begins."""
    with needs("numpy"):
        import numpy as np
    each, none = np.zeros((series, levels)), np.zeros(series)
    return Correction(offset=each, size=none, width=none, reach=each, count=none)


def corrected(raw: Doubles, state: Correction) -> Doubles:
    """Apply it to quantiles [V, S, Q]: ascending, never negative."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.sort(np.maximum(_shifted(raw, state), 0.0), axis=2), dtype=np.float64)


def learnt(
    state: Correction, raw: Doubles, truth: Doubles, *, levels: Doubles, bound: Optional[Flags] = None
) -> Correction:
    """Take in one forecast [V, S, Q] and what came [V, S], NaN where unknown; ``bound`` [V, S]: at least that came."""
    with needs("numpy"):
        import numpy as np
    value = _shifted(raw, state)  # each level for itself: what is put in order afterwards is not its doing
    known = ~np.isnan(truth) & ~np.isnan(value).any(axis=2)
    firm = known if bound is None else known & ~bound
    safe = np.where(known, truth, 0.0)
    missed = safe[..., None] > value
    telling = firm[..., None] | (known[..., None] & missed)
    surprise = np.where(safe[..., None] == value, 0.0, levels - 1.0 + missed)
    count = np.count_nonzero(telling, axis=1)  # [V, Q]
    mean = np.where(telling, surprise, 0.0).sum(axis=1) / np.maximum(count, 1)
    error = np.where(firm, np.abs(safe - value[..., len(levels) // 2]), 0.0).sum(axis=1)
    error /= np.maximum(np.count_nonzero(firm, axis=1), 1)
    far = np.abs(raw - raw[..., [int(np.argmin(np.abs(levels - 0.5)))]]).mean(axis=1)
    wide = (raw.max(axis=2) - raw.min(axis=2)).mean(axis=1)
    heard, whole = (np.asarray(one)[:, None] for one in (firm.any(axis=1), known.all(axis=1)))
    count = state.count + known.any(axis=1)
    size = _recent(state.size[:, None], error[:, None], heard, count)
    reach = _recent(state.reach, far, whole, count)
    tail = np.abs(2 * levels - 1)
    first = FIRST / (1 + count / HALVED)[:, None] * tail * reach
    step = np.maximum(first, RATE * np.maximum(tail, SLOWEST) * size)
    width = _recent(state.width[:, None], wide[:, None], whole, count)
    return Correction(state.offset + step * mean, size[:, 0], width[:, 0], reach, count)


def _shifted(raw: Doubles, state: Correction) -> Doubles:
    with needs("numpy"):
        import numpy as np
    usual = state.width[:, None]
    width = raw.max(axis=2) - raw.min(axis=2)  # [V, S]
    share = np.divide(width, usual, out=np.ones_like(width), where=usual > 0)
    return np.asarray(raw + state.offset[:, None, :] * np.minimum(share, WIDEST)[..., None], dtype=np.float64)


def _recent(before: Doubles, now: Doubles, heard: Flags, count: Doubles) -> Doubles:
    """Average [V, N] of the first forecasts, and with forgetting from then on."""
    with needs("numpy"):
        import numpy as np
    weight = np.maximum(1 / np.maximum(count, 1), 1 - MEMORY)[:, None]
    average = np.where(before > 0, before + weight * (now - before), now)
    return np.asarray(np.where(heard, average, before), dtype=np.float64)
