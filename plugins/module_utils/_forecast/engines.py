# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasting engines: from the past of all VMs at once to quantiles of what comes.

An engine says what it can and NaN where it cannot; others judge and correct it (``select``, ``conformal``). To add one:
a class and a line in ``ENGINES``, or in ``COSTLY`` if it works on one series after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import DAY_S
from .ets import Ets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """Forecast ``past`` [V, T], NaN where unknown, from each of ``ends`` to [V, ends, steps, Q]; NaN: cannot say.

        A forecast from ``end`` rests on the first ``end`` columns and nothing later; what an engine learns it learns
        before the earliest end. ``levels`` [Q] are the quantile levels, ascending; a step is ``interval_s`` long. The
        answer may be a read-only view. Rows of ``past`` do not influence one another.
        """


@dataclass(frozen=True)
class Naive:
    """The last known value, at every level: the yardstick, and the fallback."""

    name: str = "naive"

    # ARG002: an engine is given more than each one needs.
    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:  # noqa: ARG002
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        value = past[:, [end - 1 for end in ends]]
        for place, end in enumerate(ends):
            older = np.flatnonzero(np.isnan(value[:, place]))
            known = ~np.isnan(past[older, :end][:, ::-1])
            value[older, place] = past[older, end - 1 - np.argmax(known, axis=1)]  # of a row of NaN: its last, a NaN
        return _flat(value[:, :, None], steps, len(levels))


@dataclass(frozen=True)
class LastHourMaximum:
    """The maximum of the last hour, at every level: what a reactive policy would take."""

    name: str = "last_hour_maximum"

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        hour = max(1, HOUR_S // interval_s)
        value = np.stack([np.fmax.reduce(_window(past, end, hour), axis=1) for end in ends], axis=1)
        return _flat(value[:, :, None], steps, len(levels))


@dataclass(frozen=True)
class TrailingQuantile:
    """The quantiles of the last hours or days, whatever the hour."""

    hours: int

    @property
    def name(self) -> str:
        """As the forecast's rows name it."""
        days, rest = divmod(self.hours, 24)
        return f"trailing_quantile_{self.hours}h" if rest else f"trailing_quantile_{days}d"

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        window = max(1, self.hours * HOUR_S // interval_s)
        value = np.stack([_quantiles(_window(past, end, window), levels, window) for end in ends], axis=1)
        return _flat(value, steps, len(levels))


@dataclass(frozen=True)
class SeasonalNaive:
    """The value of the same time some days ago, at every level."""

    days: int

    @property
    def name(self) -> str:
        """As the forecast's rows name it."""
        return f"seasonal_naive_{self.days}d"

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        season, ahead = self.days * DAY_S // interval_s, np.arange(steps)
        place = np.array(ends)[:, None] + ahead - season * (ahead // season + 1)
        value = np.where(place >= 0, past[:, np.maximum(place, 0)], np.float32(np.nan))
        return np.broadcast_to(value[:, :, :, None], (*value.shape, len(levels)))


def _window(past: Floats, end: int, width: int) -> Floats:
    return past[:, max(0, end - width) : end]


def _quantiles(known: Floats, levels: Doubles, window: int) -> Floats:
    """Quantiles [V, Q] of what is known; NaN where that is too little of the window."""
    with needs("numpy"):
        import numpy as np
    ascending = np.sort(known, axis=1)  # NaN last
    count = np.count_nonzero(~np.isnan(ascending), axis=1)
    place = np.maximum(count - 1, 0)[:, None] * levels[None, :]  # linear interpolation, Hyndman & Fan type 7
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(count - 1, 0)[:, None])
    low, high = np.take_along_axis(ascending, below, axis=1), np.take_along_axis(ascending, above, axis=1)
    value = (low + (high - low) * (place - below)).astype(np.float32)
    value[count < LEAST_KNOWN * window] = np.nan
    return np.asarray(value, dtype=np.float32)


def _flat(value: Floats, steps: int, levels: int) -> Floats:
    """The same value [V, ends, 1 or Q] at every step."""
    with needs("numpy"):
        import numpy as np
    return np.broadcast_to(value[:, :, None, :], (*value.shape[:2], steps, levels))


# All VMs at once, tried for every series. In the order of preference: of two that score the same the earlier speaks.
ENGINES: tuple[Engine, ...] = (
    Naive(),
    LastHourMaximum(),
    TrailingQuantile(3),
    TrailingQuantile(24),
    TrailingQuantile(7 * 24),
    SeasonalNaive(1),
    SeasonalNaive(7),
)
DEFAULT_ENGINES = tuple(engine.name for engine in ENGINES)
# One series after the other, a hundred times as dear: tried where asked, for a bounded number of VMs.
COSTLY: tuple[Engine, ...] = (Ets(),)


def engines_named(names: Iterable[str]) -> tuple[Engine, ...]:
    """Return these engines in the order of preference, naive always among them. Raises ``forecast.engine``."""
    known = {engine.name: engine for engine in (*ENGINES, *COSTLY)}
    wanted = {ENGINES[0].name, *names}
    if wanted - known.keys():
        raise HeadroomError(
            "forecast.engine",
            f"Unknown engine: {', '.join(sorted(wanted - known.keys()))}.",
            advice=f"Known are {', '.join(known)}.",
        )
    return tuple(engine for name, engine in known.items() if name in wanted)
