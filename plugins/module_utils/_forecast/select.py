# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine speaks for which series: the one that would have served it best at past origins.

All engines forecast from the same rolling origins, ``SPACING_S`` apart, so that within a week they visit every hour of
the day. What is scored is the forecast as it would be issued, that is conformally corrected: every other origin
corrects the rest, and the reverse. The score is the pinball loss, summed over origins, steps and levels, relative to
that of the first engine, naive, on the same points (a relative measure compares across scales: Hyndman and Koehler,
IJF 2006).

A series with fewer than ``LEAST_ORIGINS`` scored origins keeps naive, to be corrected with the errors of the whole
fleet. An engine that cannot say every step is not chosen. Of equal scores the engine that stands first wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs
from .conformal import offsets
from .engines import Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

ORIGINS = 24
SPACING_S = 7 * 3600  # 24 of them are a week, and 7 is prime to 24: one origin in each hour of the day
LEAST_ORIGINS = 8


@dataclass(frozen=True)
class Shape:
    """What is forecast, in steps of one interval."""

    interval_s: int
    lead: int  # steps between the end of the past and the first one forecast
    steps: int
    levels: npt.NDArray[np.float64]  # [Q], ascending


@dataclass(frozen=True)
class Selection:
    """The outcome for V series."""

    engine: Integers  # [V], place in the list of engines
    ratio: Floats  # [V], pinball loss relative to naive
    origins: Integers  # [V], on how many origins the ratio rests
    raw: Floats  # [V, steps, Q], what the chosen engine says; NaN: nothing is known
    offset: Floats  # [V, Q], the series' own correction; NaN: too few origins
    exact: Flags  # [V, Q], whether its own errors are enough for the level
    naive_errors: Floats  # [V, N], for the fleet's correction; naive says the same at every level


def select(past: Floats, shape: Shape, *, engines: Sequence[Engine]) -> Selection:
    """Choose for each series of ``past`` [V, T], NaN where unknown. The first engine is yardstick and fallback."""
    with needs("numpy"):
        import numpy as np
    ends = _origins(past.shape[1], shape)
    truth = np.empty((len(past), len(ends), shape.steps), dtype=np.float32)
    for place, end in enumerate(ends):
        truth[:, place] = past[:, end + shape.lead : end + shape.lead + shape.steps]
    yardstick = _trial(engines[0], past, truth, ends, shape)
    offset, exact = offsets(_flat(yardstick.errors), shape.levels)
    origins = _scored_origins(~np.isnan(yardstick.loss))
    best = Selection(
        engine=np.zeros(len(past), dtype=np.int64),
        ratio=np.ones(len(past), dtype=np.float32),
        origins=origins,
        raw=yardstick.raw.copy(),
        offset=np.where((origins >= LEAST_ORIGINS)[:, None], offset, np.float32(np.nan)),
        exact=exact,
        naive_errors=yardstick.errors[..., 0].reshape(len(past), -1),
    )
    for place, engine in enumerate(engines[1:], start=1):
        trial = _trial(engine, past, truth, ends, shape)
        both = ~np.isnan(trial.loss) & ~np.isnan(yardstick.loss)
        own, naive = _total(trial.loss, both), _total(yardstick.loss, both)
        ratio = np.divide(own, naive, out=np.where(own > 0, np.inf, 1.0), where=naive > 0).astype(np.float32)
        origins = _scored_origins(both)
        complete = np.isfinite(trial.raw).all(axis=(1, 2))
        better = np.flatnonzero((origins >= LEAST_ORIGINS) & complete & (ratio < best.ratio))
        if len(better):
            best.engine[better], best.ratio[better], best.origins[better] = place, ratio[better], origins[better]
            best.raw[better] = trial.raw[better]
            best.offset[better], best.exact[better] = offsets(_flat(trial.errors[better]), shape.levels)
    return best


@dataclass(frozen=True)
class _Trial:
    errors: Floats  # [V, O, steps, Q], truth less forecast; NaN where either is unknown
    loss: Floats  # [V, O, steps], of the corrected forecast, summed over levels
    raw: Floats  # [V, steps, Q], from the end of the past


def _trial(engine: Engine, past: Floats, truth: Floats, ends: Sequence[int], shape: Shape) -> _Trial:
    with needs("numpy"):
        import numpy as np
    errors = np.empty((*truth.shape, len(shape.levels)), dtype=np.float32)
    for place, end in enumerate(ends):
        np.subtract(truth[:, place, :, None], _forecast(engine, past[:, :end], shape), out=errors[:, place])
    loss = np.full(truth.shape, np.nan, dtype=np.float32)
    levels = shape.levels.astype(np.float32)
    for half in (0, 1):
        offset, _unused = offsets(_flat(errors[:, 1 - half :: 2]), shape.levels)
        corrected = errors[:, half::2] - offset[:, None, None, :]
        loss[:, half::2] = np.maximum(levels * corrected, (levels - 1) * corrected).sum(axis=-1)
    return _Trial(errors, loss, _forecast(engine, past, shape))


def _forecast(engine: Engine, past: Floats, shape: Shape) -> Floats:
    steps = shape.lead + shape.steps
    return engine.forecast(past, steps=steps, levels=shape.levels, interval_s=shape.interval_s)[:, shape.lead :]


def _origins(known: int, shape: Shape) -> list[int]:
    """Ends of the pasts to forecast from, newest first; what they forecast lies wholly in the known."""
    spacing = max(SPACING_S // shape.interval_s, shape.steps, 1)
    newest = known - shape.lead - shape.steps
    return list(range(newest, 0, -spacing))[:ORIGINS]


def _flat(errors: Floats) -> Floats:
    """[V, O, steps, Q] to [V, O * steps, Q]."""
    return errors.reshape(len(errors), errors.shape[1] * errors.shape[2], errors.shape[3])


def _total(loss: Floats, where: Flags) -> npt.NDArray[np.float64]:
    """Sum per series; each row on its own, so that no series' score depends on its neighbours."""
    with needs("numpy"):
        import numpy as np
    flat = np.where(where, loss, np.float32(0)).reshape(len(loss), loss.shape[1] * loss.shape[2])
    return np.asarray(flat.sum(axis=1, dtype=np.float64))


def _scored_origins(where: Flags) -> Integers:
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.count_nonzero(where.any(axis=2), axis=1), dtype=np.int64)
