# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the models of a whole fleet have in common, be they trees or networks.

They learn the residual to the last value in units of a series' own scale. A series that hardly moves tells little: it
is drawn in proportion to its scale, and what is drawn of it counts for as much more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .quantile_features import Clock

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

LEAST_ROWS = 5_000  # below it the fleet is too small or too young to learn from
OFTEN = 0.3  # a series of this share of the mean scale, or more, is always drawn
RAREST = 0.05  # one that hardly moves is still drawn now and then
OTHER_FEATURES = "it was trained on other features"


def clock_of(interval_s: int, steps: int) -> Clock:
    """The clock of a model that is to look so many steps ahead. Raises ``forecast.model`` where it cannot."""
    clock = Clock(interval_s)
    if not 1 <= steps <= clock.furthest:
        raise _unfit(f"Steps ahead are 1 to {clock.furthest} for an interval of {interval_s} s, not {steps}.")
    return clock


def demand_rows(rows: int) -> None:
    """Raise ``forecast.model`` where so many values are too few to learn from."""
    if rows < LEAST_ROWS:
        raise _unfit(f"There are {rows} values to learn from, fewer than {LEAST_ROWS}.")


def drawn_share(scale: Floats) -> Floats:
    """How often [V] series of these scales [V] are drawn."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.clip(scale / (OFTEN * scale.mean()), RAREST, 1.0))


def quantiles(residual: Doubles, *, last: Floats, scale: Floats) -> Doubles:
    """Levels [V, steps, Q], ascending and never negative, of residuals [V, steps, Q] in units of ``scale`` [V]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.sort(np.maximum(last[:, None, None] + scale[:, None, None] * residual, 0.0), axis=2))


def _unfit(why: str) -> HeadroomError:
    return HeadroomError("forecast.model", why, advice="Collect more telemetry; until then the other engines speak.")
