# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cheapest size: what it takes, and what it is expected to cost in violations, unserved demand and resizes.

All prices are in units of allocation. Those of service rise for a VM that has spent much of its error budget: a fleet's
average would hide a VM that starves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from .._core.needs import needs
from .._records.candidates import BELOW

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .._records.candidates import Curves

    Doubles = npt.NDArray[np.float64]

BUDGET = 0.01  # share of time that a VM may be violated, where nobody says another
PER_RUNG = 4  # sizes looked at between two candidates
MOST_PRICE = 4.0  # logarithm of the most that a ledger multiplies the prices of service by


@dataclass(frozen=True)
class Prices:
    """What makes a size dear."""

    violation: float  # of one interval violated, times the root of capacity
    unserved: float  # of one unit of demand not served
    resize: float  # of a change, times the root of capacity
    ledger: float  # how steeply the first two rise with the share of the budget that is spent
    at_ease: float  # share of the budget up to which they are as they stand
    whole_from: float  # share of capacity from which a VM keeps all of it


def pressure(spent: Doubles, prices: Prices, *, budget: Union[float, Doubles] = BUDGET) -> Doubles:
    """Factor [V] on the prices of service of VMs violated this share of the time [V] that may be ``budget`` of it."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.exp(np.clip(prices.ledger * (spent / budget - prices.at_ease), 0, MOST_PRICE)))


def expected(
    curves: Curves, sizes: Doubles, *, capacity: Doubles, headroom: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """The three outcomes of holding these sizes [V, N]; ``headroom`` [V] is a share of a size beyond what they are of.

    At its capacity nothing holds a VM back.
    """
    short = sizes < capacity[:, None] * BELOW
    violated, unserved, added = curves.at(sizes / (1 + headroom)[:, None])
    return short * violated, short * unserved, short * added


def cost(
    curves: Curves, sizes: Doubles, *, capacity: Doubles, headroom: Doubles, factor: Doubles, prices: Prices
) -> Doubles:
    """What it costs [V, N] to hold these sizes [V, N].

    ``headroom`` [V] is that of ``expected``, ``factor`` [V] that of ``pressure``.
    """
    with needs("numpy"):
        import numpy as np
    violated, unserved, added = expected(curves, sizes, capacity=capacity, headroom=headroom)
    served = (prices.violation * np.sqrt(capacity) * factor)[:, None] * violated
    served += (prices.unserved * capacity * factor)[:, None] * unserved
    return np.asarray(sizes + (added * capacity[:, None] + served))


def cheapest(
    curves: Curves,
    *,
    capacity: Doubles,
    ordered: Doubles,
    spent: Doubles,
    headroom: Doubles,
    granule: float,
    prices: Prices,
    budget: Union[float, Doubles] = BUDGET,
) -> Doubles:
    """The size [V] of the lowest cost; ``ordered`` [V], NaN where none is, stays where a change does not pay.

    ``granule`` is what every size is a multiple of (0: none); the others as for ``cost``.
    """
    with needs("numpy"):
        import numpy as np
    sizes = curves.ladder.between(PER_RUNG) * (1 + headroom)[:, None]
    if granule:
        sizes = np.ceil(sizes / granule - 1e-9) * granule
    sizes = np.minimum(sizes, capacity[:, None])
    factor = pressure(spent, prices, budget=budget)

    def costs(of: Doubles) -> Doubles:
        return cost(curves, of, capacity=capacity, headroom=headroom, factor=factor, prices=prices)

    of_all = costs(sizes)
    rows = np.arange(len(capacity))
    best = of_all.argmin(axis=1)
    chosen = sizes[rows, best]
    chosen = np.where(chosen > prices.whole_from * capacity, capacity, chosen)
    kept = np.nan_to_num(ordered, nan=np.inf)
    known = (kept >= sizes[:, 0]) & (kept <= sizes[:, -1])
    change = prices.resize * np.sqrt(capacity)
    stay = costs(np.where(known, kept, sizes[:, 0])[:, None])[:, 0] <= of_all[rows, best] + change
    return np.where(known & stay, kept, chosen)
