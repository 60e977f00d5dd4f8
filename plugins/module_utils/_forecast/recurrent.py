# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One recurrent network for the whole fleet, and how it is asked: with NumPy alone, wherever a forecast is made.

A gated recurrent unit (Cho et al., EMNLP 2014; in the form of cuDNN) reads the last six cycles of a series. A layer on
its last state, with what stood at the same time of past hours and days beside it, says all quantiles of all steps at
once (MQ-RNN; Wen et al., 2017). As the trees do it sees levels relative to the last value, in units of the series' own
scale, and says the residual in these units. ``recurrent_training`` makes one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.canonical import digest
from .._core.errors import HeadroomError
from .._core.needs import needs
from .fleet_model import OTHER_FEATURES, quantiles
from .quantile_features import Clock, filled, fit_rows, ranked, scale_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

NAME = "recurrent"
VERSION = 1  # of what it sees and how it is built
HIDDEN = 48  # units, and half of those in the layer above
READ_CYCLES = 6
DAYS = (1, 2, 3, 7)  # back, whose values at the times ahead it sees
MOST_CYCLES = 24  # back, whose quantiles at the minutes ahead it sees
LEVELS = (0.5, 0.9, 0.95)
FARTHEST = 50.0  # scales from the last value, where levels end
BLOCK = 256  # series at once, always as many


@dataclass(frozen=True)
class Network:
    """What was learnt, and from what; with trees in its place it is a ``quantile_model.Model``."""

    interval_s: int
    steps: int  # furthest ahead
    levels: tuple[str, ...]  # decimal strings, ascending
    finest: str  # variation in the unit of the series that is as good as none, a decimal string
    weights: bytes  # float32, the least significant byte first, in the order of ``shapes``
    seed: int
    rows: int
    series: int
    library: str  # name and version of what trained it
    feature_version: int = VERSION

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what it sees, readings first."""
        return names(Clock(self.interval_s), self.steps)

    @property
    def digest(self) -> str:
        """Name of the content."""
        return digest(
            {
                "interval_s": self.interval_s,
                "steps": self.steps,
                "levels": list(self.levels),
                "finest": self.finest,
                "weights": hashlib.sha256(self.weights).hexdigest(),
                "seed": self.seed,
                "rows": self.rows,
                "series": self.series,
                "library": self.library,
                "feature_version": self.feature_version,
            }
        )


@dataclass(frozen=True)
class Seen:
    """What the network sees of V series at one moment."""

    read: Floats  # [V, R], oldest first
    beside: Floats  # [V, E]
    last: Floats  # [V]
    scale: Floats  # [V]


def names(clock: Clock, steps: int) -> tuple[str, ...]:
    """Return what the columns of ``look`` are called, ``read`` before ``beside``."""
    ahead = range(1, steps + 1)
    return (
        *(f"lag_{lag}" for lag in reversed(range(READ_CYCLES * clock.cycle))),
        *(f"day_{days}_ahead_{step}" for days in DAYS for step in ahead),
        *(f"hours_{level}_ahead_{step}" for level in LEVELS for step in ahead),
        *(f"{what}_{width}" for width in _widths(clock) for what in ("mean", "minimum", "maximum", *LEVELS)),
        *(f"move_{width}" for width in _widths(clock)),
        "rank_day",
        "last",
    )


def look(window: Floats, clock: Clock, steps: int, *, finest: float) -> Seen:
    """See series [V, clock.columns] without NaN as they stand at the end."""
    with needs("numpy"):
        import numpy as np
    now, ahead = window.shape[1] - 1, np.arange(1, steps + 1)
    last, scale = window[:, -1], scale_of(window, clock, finest)
    cycles = clock.cycle * np.arange(1, min(MOST_CYCLES, clock.week // clock.cycle) + 1)
    hours = window[:, now + ahead[:, None] - cycles]
    levels = [window[:, now + ahead - days * clock.day] for days in DAYS]
    levels += ranked(hours, LEVELS)
    for width in _widths(clock):
        of = window[:, -width:]
        levels += [one[:, None] for one in (of.mean(axis=1), of.min(axis=1), of.max(axis=1), *ranked(of, LEVELS))]
    moves = np.abs(np.diff(window, axis=1))
    plain = [moves[:, -width:].mean(axis=1) / scale for width in _widths(clock)]
    plain += [(window[:, -clock.day :] < last[:, None]).mean(axis=1), last / scale]

    def relative(level: Floats) -> Floats:
        return np.asarray(np.clip((level - last[:, None]) / scale[:, None], -FARTHEST, FARTHEST), dtype=np.float32)

    beside = [relative(np.concatenate(levels, axis=1)), np.clip(np.stack(plain, axis=1), 0, FARTHEST)]
    read = relative(window[:, -READ_CYCLES * clock.cycle :])
    return Seen(read, np.concatenate(beside, axis=1).astype(np.float32), last, scale)


def shapes(beside: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The network's arrays, by name, in the order in which they are stored."""
    layer = 2 * HIDDEN
    return {
        "read": (1, 3 * HIDDEN),
        "read_bias": (3 * HIDDEN,),
        "state": (HIDDEN, 3 * HIDDEN),
        "state_bias": (3 * HIDDEN,),
        "layer": (HIDDEN + beside, layer),
        "layer_bias": (layer,),
        "out": (layer, outputs),
        "across": (beside, outputs),
        "out_bias": (outputs,),
    }


def arrays(network: Network) -> dict[str, Floats]:
    """The weights by name. Raises ``model.damaged`` where they are not of this network, or not finite."""
    with needs("numpy"):
        import numpy as np
    clock = Clock(network.interval_s)
    beside = len(names(clock, network.steps)) - READ_CYCLES * clock.cycle
    wanted = shapes(beside, network.steps * len(network.levels))
    ends = np.cumsum([int(np.prod(shape)) for shape in wanted.values()])
    if len(network.weights) != 4 * ends[-1]:
        raise _damaged(f"it has {len(network.weights)} bytes of weights, not {4 * ends[-1]}")
    flat = np.frombuffer(network.weights, dtype="<f4")
    if not np.isfinite(flat).all():
        raise _damaged("a weight is not finite")
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(wanted.items(), parts)}


def packed(weights: Mapping[str, Floats]) -> bytes:
    """Weights as they are stored, from arrays in the order of ``shapes``."""
    with needs("numpy"):
        import numpy as np
    return b"".join(np.asarray(one, dtype="<f4").tobytes() for one in weights.values())


def say(weights: Mapping[str, Floats], read: Floats, beside: Floats) -> Doubles:
    """The residuals [V, outputs] of what is seen. ``recurrent_training`` has the same in JAX, to learn by.

    In double precision: sums come in another order where a row stands elsewhere, and nobody is to see that.
    """
    with needs("numpy"):
        import numpy as np
    of = {name: one.astype(np.float64) for name, one in weights.items()}
    state = np.zeros((len(read), HIDDEN))
    for value in np.arcsinh(read.astype(np.float64)).T:
        from_read = value[:, None] * of["read"] + of["read_bias"]
        from_state = state @ of["state"] + of["state_bias"]
        both = 2 * HIDDEN
        # The logistic function by tanh, which does not overflow.
        gates = 0.5 + 0.5 * np.tanh(0.5 * (from_read[:, :both] + from_state[:, :both]))
        fresh = np.tanh(from_read[:, both:] + gates[:, :HIDDEN] * from_state[:, both:])
        state = fresh + gates[:, HIDDEN:] * (state - fresh)
    layer = np.concatenate([state, np.arcsinh(beside.astype(np.float64))], axis=1) @ of["layer"] + of["layer_bias"]
    out = np.maximum(layer, 0) @ of["out"] + beside @ of["across"] + of["out_bias"]
    return np.asarray(out)


def predict(network: Network, past: Floats, *, end: int) -> Floats:
    """Quantiles [V, steps, Q] of what follows the first ``end`` columns of ``past``, ascending and never negative.

    NaN where the series is unfit. Rows do not influence one another.
    """
    with needs("numpy"):
        import numpy as np
    clock, weights = Clock(network.interval_s), arrays(network)
    value = np.full((len(past), network.steps, len(network.levels)), np.nan, dtype=np.float32)
    known = past[:, max(0, end - clock.columns) : end]
    rows = fit_rows(known, clock)
    for first in range(0, len(rows), BLOCK):
        mine = rows[first : first + BLOCK]
        seen = look(filled(known[np.resize(mine, BLOCK)], clock), clock, network.steps, finest=float(network.finest))
        said = say(weights, seen.read, seen.beside).reshape(BLOCK, *value.shape[1:])
        value[mine] = quantiles(said, last=seen.last, scale=seen.scale)[: len(mine)]
    return value


def outdated(network: Network) -> str:
    """Why the network cannot be asked here at all; "" if it can."""
    return "" if network.feature_version == VERSION else OTHER_FEATURES


def _widths(clock: Clock) -> tuple[int, ...]:
    return tuple(sorted({clock.cycle, 3 * clock.cycle, clock.day, clock.week}))


def _damaged(why: str) -> HeadroomError:
    return HeadroomError("model.damaged", f"The network cannot be used: {why}.", advice="Train anew with model_train.")
