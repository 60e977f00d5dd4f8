# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conformal correction: shift each quantile so that past forecasts would have kept their word.

Conformalized quantile regression in its one-sided form (Romano, Patterson and Candes, NeurIPS 2019): with errors
e = y - f of past forecasts of level q, the corrected forecast is f + the ceil((n + 1) q)-th smallest of the n errors.
It covers at least q of the time if the errors are exchangeable; over time they nearly are, when they come from rolling
origins spread over the last week. Where a series has too few errors of its own, those of a whole fleet serve, each
scaled by the level of its series: of the fleet as the trained model in use learnt from it, so that no VM's data of now
moves another's forecast, and without such a model of the fleet as it is. (Adaptive conformal inference, Gibbs and
Candes, NeurIPS 2021, would also follow a drift of the errors themselves.)

Demand seen at a cap is a lower bound, and so is its error: above the quantile it is a miss, certainly; at or below it
tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

# Bins of scaled errors: evenly spaced in asinh(error / FINEST), which is linear near 0 and logarithmic far out.
FINEST = 0.01
WIDEST = 1000.0
BINS = 800
DECIMALS = 3  # of values: a thousandth of a millicore or MiB is beyond any meaning
ROUNDING = 1e-9  # (n + 1) q that should be whole may come out a bit above it


def offsets(errors: Floats, levels: Doubles, bound: Optional[Flags] = None) -> tuple[Floats, Flags]:
    """Correct per series: errors [V, N, Q] (NaN: none) to offsets [V, Q], and whether n was large enough for the level.

    Where it was not, the offset is the largest error, and NaN where there is no error at all. Where ``bound`` [V, N]
    says that an error is at least so large, it counts only if it is larger than the offset without it.
    """
    with needs("numpy"):
        import numpy as np
    if bound is not None and bound.any():
        firm, _unused = offsets(np.where(bound[..., None], np.float32(np.nan), errors), levels)
        errors = np.where(bound[..., None] & ~(errors > firm[:, None, :]), np.float32(np.nan), errors)
    if not errors.shape[1]:
        none = (len(errors), len(levels))
        return np.full(none, np.nan, dtype=np.float32), np.zeros(none, dtype=bool)
    ascending = np.sort(errors, axis=1)
    count = np.count_nonzero(~np.isnan(ascending), axis=1)  # [V, Q]
    rank = np.ceil((count + 1) * levels[None, :] - ROUNDING).astype(np.int64)
    place = np.clip(np.minimum(rank, count) - 1, 0, None)
    return np.take_along_axis(ascending, place[:, None, :], axis=1)[:, 0, :], rank <= count


def corrected(raw: Floats, *, own: Floats, exact: Flags, fleet: Floats) -> Doubles:
    """Shift what engines say, [V, steps, Q], and bring it into the form that is issued.

    ``own`` and ``exact`` [V, Q] are what ``offsets`` returned, ``fleet`` [V, Q] the offsets of the whole fleet in the
    unit of the series. Never negative, rounded, and ascending with the level: crossing quantiles are sorted, which
    never makes them worse (Chernozhukov, Fernandez-Val and Galichon, Econometrica 2010).
    """
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(own)
    # An own correction that rests on too few errors for its level is at least the fleet's.
    offset = np.where(known & ~exact, np.fmax(own, fleet), own)
    offset = np.where(known, offset, np.nan_to_num(fleet, nan=0.0))
    values = np.maximum(raw.astype(np.float64) + offset[:, None, :], 0.0)
    return np.asarray(np.sort(np.round(values, DECIMALS), axis=2), dtype=np.float64)


class FleetErrors:
    """Errors of many series, each scaled by its series' level, as a histogram: it does not depend on who came first."""

    def __init__(self) -> None:
        with needs("numpy"):
            import numpy as np
        self._counts: Integers = np.zeros(BINS + 1, dtype=np.int64)

    def add(self, errors: Floats, scale: Floats) -> None:
        """Add errors [V, N] (NaN: none) of series with these levels [V] > 0."""
        with needs("numpy"):
            import numpy as np
        scaled = np.arcsinh(errors / scale[:, None] / np.float32(FINEST)) / np.arcsinh(WIDEST / FINEST)
        known = scaled[~np.isnan(scaled)]
        place = np.ceil((np.clip(known, -1, 1) + 1) * (BINS / 2)).astype(np.int64)
        self._counts += np.bincount(place, minlength=BINS + 1)

    def offsets(self, levels: Doubles) -> Floats:
        """Return the offset of each level, in units of a series' level, rounded up to a bin's edge; NaN: no errors."""
        with needs("numpy"):
            import numpy as np
        total = int(self._counts.sum())
        if not total:
            return np.full(len(levels), np.nan, dtype=np.float32)
        rank = np.minimum(np.ceil((total + 1) * levels - ROUNDING), total)
        place = np.searchsorted(np.cumsum(self._counts), rank)
        edge = FINEST * np.sinh((place * (2 / BINS) - 1) * np.arcsinh(WIDEST / FINEST))
        return np.asarray(edge, dtype=np.float32)
