# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidate sizes of VMs, and what holding each of them is expected to come to.

The candidates of a VM are an ascending geometric ladder from its floor to what it could possibly need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bins = npt.NDArray[np.uint8]
    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]

BELOW = 1 - 1e-6  # of capacity: a size that is not below it cannot hold a VM back
SATURATED = 0.985  # of the size: use at least that high may have been held back by it
COUNT = 16  # K; a size between two candidates is interpolated
LEAST = 1e-7  # an outcome below is none; logarithms are taken of it
BEYOND_PEAK = 1.6  # the highest candidate, over the largest demand of the past looked at
BEYOND_FLOOR = 1.5  # and at least this, over the floor


@dataclass(frozen=True)
class Ladder:
    """Candidates [V, K]: ``lowest`` [V] times ``exp(step * k)``, ``step`` [V] > 0."""

    lowest: Doubles
    step: Doubles

    @property
    def sizes(self) -> Doubles:
        """The sizes [V, K], ascending."""
        with needs("numpy"):
            import numpy as np
        return np.asarray(self.lowest[:, None] * np.exp(self.step[:, None] * np.arange(COUNT)))

    def exceeded(self, demand: Floats) -> Bins:
        """How many of its VM's candidates each value of ``demand`` [V, T] exceeds: 0 to K."""
        with needs("numpy"):
            import numpy as np
        with np.errstate(divide="ignore"):
            rung = np.log(demand) - np.log(self.lowest).astype(np.float32)[:, None]
        rung /= self.step.astype(np.float32)[:, None]
        return np.clip(np.ceil(rung, out=rung), 0, COUNT, out=rung).astype(np.uint8)

    def rung(self, sizes: Doubles) -> Doubles:
        """Where ``sizes`` [V, N] stand on the ladder: fractions between 0 and K - 1."""
        with needs("numpy"):
            import numpy as np
        lowest = self.lowest[:, None]
        place = np.log(np.maximum(sizes, lowest) / lowest) / self.step[:, None]
        return np.asarray(np.minimum(place, COUNT - 1))

    def between(self, per_rung: int) -> Doubles:
        """The candidates and ``per_rung`` - 1 sizes between each two of them: [V, N]."""
        with needs("numpy"):
            import numpy as np
        rungs = np.linspace(0, COUNT - 1, (COUNT - 1) * per_rung + 1)
        return np.asarray(self.lowest[:, None] * np.exp(self.step[:, None] * rungs))


@dataclass(frozen=True)
class Curves:
    """What holding a size until the next decision lands is expected to come to, with a guard in force."""

    ladder: Ladder
    violated: Doubles  # [V, K], share of the time that demand is above the allocation
    unserved: Doubles  # [V, K], mean demand not served, in shares of capacity
    added: Doubles  # [V, K], mean allocation added by the guard, in shares of capacity

    def at(self, sizes: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """The three for any ``sizes`` [V, N]: between candidates the logarithm is linear, beyond them constant."""
        with needs("numpy"):
            import numpy as np
        rung = self.ladder.rung(sizes)
        below = np.minimum(rung.astype(np.int64), COUNT - 2)
        share = rung - below

        def of(curve: Doubles) -> Doubles:
            log = np.log(np.maximum(curve, LEAST))
            low, high = np.take_along_axis(log, below, axis=1), np.take_along_axis(log, below + 1, axis=1)
            value = np.exp(low + share * (high - low))
            return np.where(value > LEAST * (1 + 1e-9), value, 0.0)

        return of(self.violated), of(self.unserved), of(self.added)


def ladder(capacity: Doubles, floor: Doubles, peak: Doubles) -> Ladder:
    """Candidates for VMs of this capacity [V], least size ``floor`` [V] and largest demand ``peak`` [V] lately."""
    with needs("numpy"):
        import numpy as np
    highest = np.minimum(capacity, np.maximum(BEYOND_PEAK * peak, BEYOND_FLOOR * floor))
    lowest = np.minimum(floor, highest / BEYOND_FLOOR)
    return Ladder(lowest=lowest, step=np.log(highest / lowest) / (COUNT - 1))
