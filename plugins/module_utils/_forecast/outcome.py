# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holding a size for the next decision interval comes to: the labels of the outcome model.

A size is held from its landing until the next decision lands, a guard in force: where demand reaches the allocation,
it grows as soon as an act can take effect. Three figures follow for each candidate: the share of time violated, the
demand not served, and what the guard added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .._core.needs import needs
from .._records.candidates import BELOW, SATURATED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]

OVER = 1e-4  # relative: less above the allocation is rounding


@dataclass(frozen=True)
class Guard:
    """What happens to a saturated VM: it grows to ``jump`` times its allocation, at least to ``ceiling`` [V].

    Each interval more is a jump more, until a growth is seen to have been too little (``_plan.guard``).
    """

    jump: float
    ceiling: Doubles  # [V], what is safe: its largest demand of late
    delay: int  # intervals from the end of the saturated one to when the growth holds


class Outcome(NamedTuple):
    """Of each candidate [V, K]; see ``_records.candidates.Curves``."""

    violated: Doubles  # share of the intervals
    unserved: Doubles  # mean demand not served, in shares of capacity
    added: Doubles  # mean allocation added by the guard, in shares of capacity


def outcome(demand: Doubles, sizes: Doubles, capacity: Doubles, guard: Guard) -> Outcome:
    """Hold ``sizes`` [V, K] against the ``demand`` [V, H] that came, of VMs of this capacity [V]."""
    with needs("numpy"):
        import numpy as np
    most = capacity[:, None]
    held = np.minimum(sizes, most)
    first = held
    violated, unserved, added = np.zeros((3, *sizes.shape))
    in_a_row = np.zeros(sizes.shape, dtype=np.int64)
    grown: dict[int, Doubles] = {}
    for interval in range(demand.shape[1]):
        if interval in grown:
            held = np.maximum(held, grown.pop(interval))
        wanted = demand[:, interval, None]
        limited = held < most * BELOW
        over = limited & (wanted > held * (1 + OVER))
        violated += over
        unserved += np.where(over, wanted - held, 0.0)
        added += held - first
        saturated = limited & (wanted >= SATURATED * held)
        in_a_row = np.where(saturated, np.minimum(in_a_row + 1, guard.delay + 2), 0)
        target = np.minimum(np.maximum(guard.jump**in_a_row * held, guard.ceiling[:, None]), most)
        grown[interval + 1 + guard.delay] = np.where(saturated, target, 0.0)
    intervals = demand.shape[1]
    return Outcome(violated / intervals, unserved / intervals / most, added / intervals / most)
