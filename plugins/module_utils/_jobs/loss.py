# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sizes came to, as far as it can be known: the loss that a model is judged by, and that its training expects.

Demand above a cap is never seen, so what counts is standing at the cap. The same figure can be had in a replay of free
demand and of demand that was held back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs
from .._core.units import PPM
from .._records.model import Day
from .._records.series import DAY_S
from .._replay.loop import seen_under

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .._replay.trace import Trace
    from .sizer import OperatingPoint

    Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Loss:
    """Of V VMs on D whole days; NaN where nothing was known."""

    held: Doubles  # [V, D], share of the known time at the cap
    cost: Doubles  # [V, D], mean loss in shares of capacity, by the prices of the operating point

    @property
    def days(self) -> int:
        """How many there are."""
        return int(self.held.shape[1])

    def by_vm(self) -> tuple[Doubles, Doubles]:
        """Both as means over the days, [V] of the VMs of which anything was known."""
        return _means(self.held, 1), _means(self.cost, 1)

    def by_day(self) -> tuple[Doubles, Doubles]:
        """Both as means over the VMs, [D] of the days on which anything was known."""
        return _means(self.held, 0), _means(self.cost, 0)

    def expected(self) -> tuple[Day, ...]:
        """``by_day`` as a model keeps it."""
        return tuple(
            Day(round(PPM * held), round(PPM * cost)) for held, cost in zip(*(of.tolist() for of in self.by_day()))
        )


def realised_loss(trace: Trace, allocation: Doubles, point: OperatingPoint, *, first: int) -> Loss:
    """Of the sizes [V, T] that held from the column ``first`` on."""
    with needs("numpy"):
        import numpy as np
    day = DAY_S // trace.step_s
    days = (trace.steps - first) // day
    cut = slice(first, first + days * day)
    demand, size, capacity = trace.demand[:, cut], allocation[:, cut], trace.capacity[:, cut]
    with np.errstate(invalid="ignore"):
        _seen, held = seen_under(size, demand, capacity)
        cost = size + point.violation * np.sqrt(capacity) * held + point.unserved * np.maximum(demand - size, 0)
        known = ~np.isnan(cost / capacity)
        shape = (len(demand), days, day)
        count = np.where(known, 1.0, 0.0).reshape(shape).sum(axis=2)
        count[count == 0] = np.nan
        held_sum, cost_sum = (np.where(known, of, 0.0).reshape(shape).sum(axis=2) for of in (held, cost / capacity))
    return Loss(held_sum / count, cost_sum / count)


def _means(values: Doubles, axis: int) -> Doubles:
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(values)
    count = np.count_nonzero(known, axis=axis)
    return np.asarray(np.where(known, values, 0.0).sum(axis=axis)[count > 0] / count[count > 0])
