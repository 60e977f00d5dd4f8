# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasting engines: from the past of all VMs at once to quantiles of what comes.

An engine says what it can and NaN where it cannot; others judge and correct it (``select``, ``conformal``). To add one:
a class and a line in ``ENGINES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .._core.needs import needs
from .._records.series import DAY_S

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

HOUR_S = 3600
LEAST_KNOWN = 0.25  # share of a window that must be known before its quantiles mean something


class Engine(Protocol):
    """One way to forecast."""

    @property
    def name(self) -> str:
        """As the forecast's rows name it."""

    def forecast(self, past: Floats, *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """Forecast from ``past`` [V, T], NaN where unknown, to [V, steps, Q]; NaN where the engine cannot say.

        ``levels`` [Q] are the quantile levels, ascending; a step is ``interval_s`` long. The answer may be a read-only
        view. Rows of ``past`` do not influence one another unless the engine's name says "global".
        """


@dataclass(frozen=True)
class Naive:
    """The last known value, at every level: the yardstick, and the fallback."""

    name: str = "naive"

    def forecast(self, past: Floats, *, steps: int, levels: Doubles, interval_s: int) -> Floats:  # noqa: ARG002
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        value = past[:, -1].copy()
        older = np.flatnonzero(np.isnan(value))
        known = ~np.isnan(past[older, ::-1])
        value[older] = past[older, past.shape[1] - 1 - np.argmax(known, axis=1)]  # of a row of NaN: its last, a NaN
        return _flat(value[:, None], steps, len(levels))


@dataclass(frozen=True)
class LastHourMaximum:
    """The maximum of the last hour, at every level: what a reactive policy would take."""

    name: str = "last_hour_maximum"

    def forecast(self, past: Floats, *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        recent = past[:, -max(1, HOUR_S // interval_s) :]
        return _flat(np.fmax.reduce(recent, axis=1)[:, None], steps, len(levels))


@dataclass(frozen=True)
class TrailingQuantile:
    """The quantiles of the last days, whatever the hour."""

    days: int

    @property
    def name(self) -> str:
        """As the forecast's rows name it."""
        return f"trailing_quantile_{self.days}d"

    def forecast(self, past: Floats, *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        window = self.days * DAY_S // interval_s
        ascending = np.sort(past[:, -window:], axis=1)  # NaN last
        count = np.count_nonzero(~np.isnan(ascending), axis=1)
        place = np.maximum(count - 1, 0)[:, None] * levels[None, :]  # linear interpolation, Hyndman & Fan type 7
        below = np.floor(place).astype(np.int64)
        above = np.minimum(below + 1, np.maximum(count - 1, 0)[:, None])
        low, high = np.take_along_axis(ascending, below, axis=1), np.take_along_axis(ascending, above, axis=1)
        value = (low + (high - low) * (place - below)).astype(np.float32)
        value[count < LEAST_KNOWN * window] = np.nan
        return _flat(value, steps, len(levels))


@dataclass(frozen=True)
class SeasonalNaive:
    """The value of the same time some days ago, at every level."""

    days: int

    @property
    def name(self) -> str:
        """As the forecast's rows name it."""
        return f"seasonal_naive_{self.days}d"

    def forecast(self, past: Floats, *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        season, known = self.days * DAY_S // interval_s, past.shape[1]
        ahead = np.arange(steps)
        place = known + ahead - season * (ahead // season + 1)
        value = np.where(place >= 0, past[:, np.maximum(place, 0)], np.float32(np.nan))
        return np.broadcast_to(value[:, :, None], (len(past), steps, len(levels)))


def _flat(value: Floats, steps: int, levels: int) -> Floats:
    """The same value [V, 1 or Q] at every step."""
    with needs("numpy"):
        import numpy as np
    return np.broadcast_to(value[:, None, :], (len(value), steps, levels))


# In the order of preference: of two that score the same the earlier one speaks.
ENGINES: tuple[Engine, ...] = (
    Naive(),
    LastHourMaximum(),
    TrailingQuantile(1),
    TrailingQuantile(7),
    SeasonalNaive(1),
    SeasonalNaive(7),
)
