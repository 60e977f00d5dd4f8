# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Online correction: each quantile of each series follows its own misses, whatever the errors drift to.

Quantile tracking (the proportional part of conformal PID control; Angelopoulos, Candes and Tibshirani, NeurIPS 2023,
after adaptive conformal inference, Gibbs and Candes, NeurIPS 2021): a truth above the quantile raises it by a step times
its level, one below lowers it by the same step times the rest. In the long run the quantile is then exceeded as often
as it should be, for any sequence at all. The step follows the recent size of the series' errors, so that a series that
becomes ten times as lively is followed ten times as fast. A tie teaches nothing: what never leaves its floor is not
corrected.

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

RATE = 0.05  # of the size of the errors, for each forecast: faster follows noise, see docs/decisions/0007
MEMORY = 0.98  # of that size, from one forecast to the next: fifty of them


@dataclass(frozen=True)
class Correction:
    """What was learnt about V series and Q levels of one engine."""

    offset: Doubles  # [V, Q], added to the forecast
    size: Doubles  # [V], mean absolute error lately; 0: none is known


def uncorrected(series: int, levels: int) -> Correction:
    """Return where everyone begins."""
    with needs("numpy"):
        import numpy as np
    return Correction(np.zeros((series, levels)), np.zeros(series))


def corrected(raw: Doubles, state: Correction) -> Doubles:
    """Apply it to quantiles [V, S, Q]: ascending, never negative."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.sort(np.maximum(raw + state.offset[:, None, :], 0.0), axis=2), dtype=np.float64)


def learnt(
    state: Correction, raw: Doubles, truth: Doubles, *, levels: Doubles, bound: Optional[Flags] = None
) -> Correction:
    """Take in one forecast [V, S, Q] and what came [V, S], NaN where unknown; ``bound`` [V, S]: at least that came."""
    with needs("numpy"):
        import numpy as np
    value = raw + state.offset[:, None, :]  # each level for itself: what is put in order afterwards is not its doing
    known = ~np.isnan(truth) & ~np.isnan(value).any(axis=2)
    firm = known if bound is None else known & ~bound
    safe = np.where(known, truth, 0.0)
    missed = safe[..., None] > value
    telling = firm[..., None] | (known[..., None] & missed)
    surprise = np.where(safe[..., None] == value, 0.0, levels - 1.0 + missed)
    count = np.count_nonzero(telling, axis=1)  # [V, Q]
    mean = np.where(telling, surprise, 0.0).sum(axis=1) / np.maximum(count, 1)
    middle = value[..., len(levels) // 2]
    heard = firm.any(axis=1)
    error = np.where(firm, np.abs(safe - middle), 0.0).sum(axis=1) / np.maximum(np.count_nonzero(firm, axis=1), 1)
    size = np.where(heard, np.where(state.size > 0, MEMORY * state.size + (1 - MEMORY) * error, error), state.size)
    return Correction(state.offset + RATE * size[:, None] * mean, size)
