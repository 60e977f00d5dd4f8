# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores of quantile forecasts, summed per series while the origins go by.

Where the truth equals a forecast value, as with a VM that never leaves its floor, "at or below" would count a forecast
without any width as always right. The probability integral transform is then spread evenly over the step of the
distribution: what is counted is the expectation of its randomised form (Czado, Gneiting and Held, Biometrics 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    from typing import TypeVar

    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]
    Number = TypeVar("Number", np.float32, np.float64)

DECILE = 10


def pinball(truth: Doubles, value: Doubles, levels: Doubles, bound: Optional[Flags] = None) -> Doubles:
    """Loss [..., Q] of the quantiles ``value`` [..., Q] where ``truth`` [...] came.

    Where ``bound`` [...] says that at least that came, a value below it has missed by that much, and one at or above it
    may be right (Powell, Journal of Econometrics 1986).
    """
    with needs("numpy"):
        import numpy as np
    return np.asarray(loss_of(truth[..., None] - value, levels, bound), dtype=np.float64)


def loss_of(error: npt.NDArray[Number], levels: npt.NDArray[Number], bound: Optional[Flags]) -> npt.NDArray[Number]:
    """The same of errors [..., Q], truth less forecast, in their precision."""
    with needs("numpy"):
        import numpy as np
    over = (levels - 1) * error
    if bound is not None:
        over[np.broadcast_to(bound, over.shape[:-1])] = 0
    loss: npt.NDArray[Number] = np.maximum(levels * error, over)
    return loss


def covered(truth: Doubles, value: Doubles, levels: Doubles) -> Doubles:
    """Whether ``truth`` [...] lies at or below each of the ascending quantiles ``value`` [..., Q]; ties in part."""
    with needs("numpy"):
        import numpy as np
    below = np.count_nonzero(value < truth[..., None], axis=-1)  # the step begins at the level before the first equal
    above = np.count_nonzero(value <= truth[..., None], axis=-1)  # and ends at the one after the last
    edges = np.concatenate([[0.0], levels, [1.0]])
    low, high = edges[below][..., None], edges[above + 1][..., None]
    return np.asarray(np.clip((levels - low) / (high - low), 0, 1), dtype=np.float64)


class Tally:
    """Sums of one engine over V series: points [V], and [V, Q] of each measure."""

    def __init__(self, series: int, levels: Doubles) -> None:
        with needs("numpy"):
            import numpy as np
        self._levels = levels
        self.points: Integers = np.zeros(series, dtype=np.int64)
        self._loss, self._naive, self._covered, self._bias = (np.zeros((series, len(levels))) for _unused in range(4))

    def add(self, rows: slice, truth: Doubles, value: Doubles, naive: Doubles) -> None:
        """Score ``value`` [v, steps, Q] of these series where it, ``naive`` and ``truth`` [v, steps] are known."""
        with needs("numpy"):
            import numpy as np
        known = ~np.isnan(truth) & ~np.isnan(value[..., 0]) & ~np.isnan(naive[..., 0])
        where = known[..., None]
        self.points[rows] += np.count_nonzero(known, axis=1)
        for total, measure in (
            (self._loss, pinball(truth, value, self._levels)),
            (self._naive, pinball(truth, naive, self._levels)),
            (self._covered, covered(truth, value, self._levels)),
            (self._bias, value - truth[..., None]),
        ):
            total[rows] += np.where(where, measure, 0.0).sum(axis=1)

    def means(self) -> Means:
        """Return the means, of the series that have a point."""
        with needs("numpy"):
            import numpy as np
        scored = np.flatnonzero(self.points)
        points = self.points[scored]
        sums = (self._loss, self._naive, self._covered, self._bias)
        return Means(scored, points, *(total[scored] / points[:, None] for total in sums))


@dataclass(frozen=True)
class Means:
    """Of the series ``rows`` [v], each [v, Q]."""

    rows: Integers
    points: Integers  # [v]
    pinball: Doubles
    naive_pinball: Doubles
    coverage: Doubles
    bias: Doubles

    def overall(self, measure: Doubles) -> Doubles:
        """Mean over all points [Q]."""
        with needs("numpy"):
            import numpy as np
        return np.asarray((measure * self.points[:, None]).sum(axis=0) / self.points.sum(), dtype=np.float64)

    def worst(self, measure: Doubles, *, highest: bool) -> Doubles:
        """Mean [Q] over the tenth of the series, at least one, where the measure is highest, or lowest."""
        with needs("numpy"):
            import numpy as np
        count = -(-len(measure) // DECILE)
        ascending = np.sort(measure, axis=0)
        return np.asarray((ascending[-count:] if highest else ascending[:count]).mean(axis=0), dtype=np.float64)
