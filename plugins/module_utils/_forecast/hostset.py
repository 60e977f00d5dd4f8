# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint quantiles: from what single VMs are expected to use to what they will use together.

Quantiles do not add up: the sum of the VMs' 0.9 quantiles is the 0.9 quantile of their sum only if they all peak at
the same time. How far they do so is not assumed but learnt. A sum is forecast as the sum of the medians plus a multiple
of a spread; the multiples are the quantiles of what past sums came to in the same terms (split conformal prediction
with a normalised score, and weights that fade with age, so that a drift is followed: Barber, Candes, Ramdas and
Tibshirani, Annals of Statistics 2023). Past sums are always those of the VMs that are there now: whoever comes, goes or
moves takes its own past along. A place with little past leans on that of all places.

The spread lies halfway, as a geometric mean, between that of VMs that move as one and that of VMs that do not know of
each other; of one VM both are the same, and what is learnt is a correction of its own forecast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]

HALF_LIFE_S = 3 * 86_400  # of a past sum's weight
PRIOR = 60.0  # points of full weight that all places together count as, for each of them: ten forecasts of six steps
PRIOR_GRID = 199  # quantiles that stand for the points of all places


def spread(total: Doubles, squares: Doubles) -> Doubles:
    """Spread of a sum from its VMs' distances between median and upper quantile: their sum, and that of the squares."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.sqrt(np.maximum(total, 0.0) * np.sqrt(np.maximum(squares, 0.0))), dtype=np.float64)


def surprises(error: Doubles, spread_then: Doubles) -> Doubles:
    """What past sums came to above the sum of medians, in units of the spread; NaN where none was expected."""
    with needs("numpy"):
        import numpy as np
    return np.divide(error, spread_then, out=np.full_like(spread_then, np.nan), where=spread_then > 0)


def fading(ages_s: Doubles) -> Doubles:
    """Weight of a past sum of this age."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(0.5 ** (ages_s / HALF_LIFE_S), dtype=np.float64)


def multiples(surprise: Doubles, weight: Doubles, levels: Doubles) -> Doubles:
    """Quantiles [P, Q] of the surprises [P, N] of each place, NaN where unknown, with these weights [N].

    A place leans on all of them, as on ``PRIOR`` more points of its own. NaN where nobody has any.
    """
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(surprise)
    if not known.any():
        return np.full((len(surprise), len(levels)), np.nan)
    everywhere = np.broadcast_to(weight, surprise.shape)[known]
    grid = (np.arange(PRIOR_GRID) + 0.5) / PRIOR_GRID
    fleet = _quantiles(surprise[known][None, :], everywhere[None, :], grid)
    values = np.concatenate([np.where(known, surprise, 0.0), np.repeat(fleet, len(surprise), axis=0)], axis=1)
    share = np.full((len(surprise), PRIOR_GRID), PRIOR / PRIOR_GRID)
    return _quantiles(values, np.concatenate([np.where(known, weight, 0.0), share], axis=1), levels)


def joint(middle: Doubles, spread_now: Doubles, multiple: Doubles) -> Doubles:
    """Quantiles [P, S, Q] of the sums from their medians [P, S], spreads [P, S] and multiples [P, Q]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.maximum(middle[..., None] + spread_now[..., None] * multiple[:, None, :], 0.0))


def _quantiles(values: Doubles, weight: Doubles, levels: Doubles) -> Doubles:
    """Weighted quantiles [P, Q] of values [P, N]: the smallest value that the level's share of the weight reaches.

    The next one, not known yet, weighs as much as the newest, 1: else a few values would promise too much.
    """
    with needs("numpy"):
        import numpy as np
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    found = np.empty((len(values), len(levels)))
    for place, level in enumerate(levels.tolist()):
        below = np.count_nonzero(reached < level * (reached[:, -1:] + 1.0), axis=1)
        rank = np.minimum(below, values.shape[1] - 1)
        found[:, place] = np.take_along_axis(ascending, rank[:, None], axis=1)[:, 0]
    return found
