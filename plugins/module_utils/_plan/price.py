# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cheapest size: what it takes, and what it is expected to cost in violations, unserved demand and resizes.

All prices are in units of allocation. Those of service rise for a VM that has spent much of its error budget: a fleet's
average would hide a VM that starves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .._records.candidates import Curves

    Doubles = npt.NDArray[np.float64]

BUDGET = 0.01  # share of time that a VM may be violated
PER_RUNG = 4  # sizes looked at between two candidates
LEAST_PRICE, MOST_PRICE = -1.0, 4.0  # logarithms of the factor that a ledger puts on the prices of service


@dataclass(frozen=True)
class Prices:
    """What makes a size dear."""

    violation: float  # of one interval violated, times the root of capacity
    unserved: float  # of one unit of demand not served
    resize: float  # of a change, times the root of capacity
    ledger: float  # how steeply the first two rise with the share of the budget spent
    at_ease: float  # share of the budget at which they are as they stand
    whole_from: float  # share of capacity from which a VM keeps all of it


def pressure(spent: Doubles, prices: Prices) -> Doubles:
    """Factor [V] on the prices of service of VMs that were violated this share of the time [V]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.exp(np.clip(prices.ledger * (spent / BUDGET - prices.at_ease), LEAST_PRICE, MOST_PRICE)))


def cheapest(
    curves: Curves,
    *,
    capacity: Doubles,
    ordered: Doubles,
    spent: Doubles,
    headroom: Doubles,
    granule: float,
    prices: Prices,
) -> Doubles:
    """The size [V] of the lowest cost; ``ordered`` [V], NaN where none is, stays where a change does not pay.

    ``headroom`` [V] is a share of a size beyond what its outcomes are expected of; ``granule`` is what every size is a
    multiple of (0: none).
    """
    with needs("numpy"):
        import numpy as np
    more = (1 + headroom)[:, None]
    sizes = curves.ladder.between(PER_RUNG) * more
    if granule:
        sizes = np.ceil(sizes / granule - 1e-9) * granule
    sizes = np.minimum(sizes, capacity[:, None])
    factor = pressure(spent, prices)
    root = np.sqrt(capacity)

    def cost(of: Doubles) -> Doubles:
        violated, unserved, added = curves.at(of / more)
        served = (prices.violation * root * factor)[:, None] * violated
        served += (prices.unserved * capacity * factor)[:, None] * unserved
        return np.asarray(of + added * capacity[:, None] + served)

    costs = cost(sizes)
    rows = np.arange(len(capacity))
    best = costs.argmin(axis=1)
    chosen = sizes[rows, best]
    chosen = np.where(chosen > prices.whole_from * capacity, capacity, chosen)
    kept = np.nan_to_num(ordered, nan=np.inf)
    known = (kept >= sizes[:, 0]) & (kept <= sizes[:, -1])
    stay = cost(np.where(known, kept, sizes[:, 0])[:, None])[:, 0] <= costs[rows, best] + prices.resize * root
    return np.where(known & stay, kept, chosen)
