# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engine speaks for which series and quantile: the one that would have served it best at past origins.

All engines forecast from the same rolling origins, ``SPACING_S`` apart, so that within a week they visit every hour of
the day. What is scored is the forecast as it would be issued, that is conformally corrected: every other origin
corrects the rest, and the reverse. The score is the pinball loss, summed over origins and steps, relative to that of
the first engine, naive, on the same points (a relative measure compares across scales: Hyndman and Koehler, IJF 2006).

Each quantile has its own choice: what foresees the next value best is rarely what bounds it best, and a loss summed
over quantiles lets the one spoil the other. The chosen quantiles may cross; ``conformal.corrected`` puts them in order.

An engine takes naive's place only where its lead is more than chance would give it: the losses saved, summed over the
origins, exceed one standard error of that sum (the rule of Breiman, Friedman, Olshen and Stone, 1984, for the choice
of a model by cross-validation). Else the best of many that are as good wins by luck, and does worse the next time.

Demand seen at a cap is a lower bound. Whoever said less has missed by at least that much; more may have been right.

A series with fewer than ``LEAST_ORIGINS`` scored origins keeps naive, to be corrected with the errors of the whole
fleet. An engine that cannot say every step is not chosen. Of equal scores the engine that stands first wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .conformal import offsets
from .engines import Engine
from .scores import loss_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]
    Kind = TypeVar("Kind", np.float32, np.bool_)

ORIGINS = 24
SPACING_S = 7 * 3600  # 24 of them are a week, and 7 is prime to 24: one origin in each hour of the day
LEAST_ORIGINS = 8
SCORED_STEPS = 6  # of a long horizon; neighbours err alike, so that more cost time and tell little


@dataclass(frozen=True)
class Shape:
    """What is forecast, in steps of one interval."""

    interval_s: int
    lead: int  # steps between the end of the past and the first one forecast
    steps: int
    levels: Doubles  # [Q], ascending

    @property
    def scored(self) -> list[int]:
        """The steps that are scored, evenly spread up to the last."""
        count = min(self.steps, SCORED_STEPS)
        return [(place + 1) * self.steps // count - 1 for place in range(count)]


@dataclass(frozen=True)
class Trial:
    """What one engine says of V series, and how it did at past origins."""

    raw: Floats  # [V, steps, Q], from the end of the past; NaN: nothing is known
    complete: Flags  # [V], whether raw says every step
    errors: Floats  # [V, O, S, Q], truth less forecast at the scored steps; NaN where either is unknown
    loss: Floats  # [V, O, S, Q], of the corrected forecast
    offset: Floats  # [V, Q], the series' own correction; NaN: too few origins
    exact: Flags  # [V, Q], whether its own errors are enough for the level
    bound: Optional[Flags] = None  # [V, O, S], whether the truth was a lower bound

    @property
    def naive_errors(self) -> Floats:
        """Of naive, for the fleet's correction, [V, N]: it says the same at every level; NaN: none that tells."""
        with needs("numpy"):
            import numpy as np
        errors = self.errors[..., 0]
        if self.bound is not None:
            errors = np.where(self.bound & (errors <= 0), np.float32(np.nan), errors)
        return errors.reshape(len(errors), errors.shape[1] * errors.shape[2])


@dataclass(frozen=True)
class Selection:
    """The outcome for V series."""

    engine: Integers  # [V, Q], place in the list of engines
    ratio: Floats  # [V, Q], pinball loss relative to naive
    origins: Integers  # [V, Q], on how many origins the ratio rests
    raw: Floats  # [V, steps, Q], what the chosen engines say; NaN: nothing is known
    offset: Floats  # [V, Q], the series' own correction; NaN: too few origins
    exact: Flags  # [V, Q], whether its own errors are enough for the level


@dataclass(frozen=True)
class Only:
    """An engine for some rows of a past; of the others it says nothing."""

    engine: Engine
    rows: Integers

    @property
    def name(self) -> str:
        """Of the engine."""
        return self.engine.name

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        value = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
        value[self.rows] = self.engine.forecast(
            past[self.rows], ends, steps=steps, levels=levels, interval_s=interval_s
        )
        return value


def attempt(
    past: Floats,
    shape: Shape,
    *,
    engines: Sequence[Engine],
    under_way: bool = False,
    bound: Optional[Flags] = None,
) -> list[Trial]:
    """Try each engine on each series of ``past`` [V, T], NaN where unknown; ``bound`` [V, T]: there was at least that.

    If the last column is still ``under_way`` it is the newest there is to forecast from, but no truth to score by.
    """
    ends = origins_of(past.shape[1] - under_way, shape)
    truth = truth_at(past, ends, shape)
    least = None if bound is None else truth_at(bound, ends, shape)
    return [_trial(engine, past, truth, ends, shape, bound=least) for engine in engines]


def truth_at(past: npt.NDArray[Kind], ends: Sequence[int], shape: Shape) -> npt.NDArray[Kind]:
    """Return what came after each end at the scored steps, [V, ends, S]."""
    with needs("numpy"):
        import numpy as np
    truth = np.empty((len(past), len(ends), len(shape.scored)), dtype=past.dtype)
    for place, end in enumerate(ends):
        truth[:, place] = past[:, [end + shape.lead + step for step in shape.scored]]
    return truth


def select(trials: Sequence[Trial]) -> Selection:
    """Choose for each series and level. The first engine is yardstick and fallback."""
    with needs("numpy"):
        import numpy as np
    naive = trials[0]
    known = ~np.isnan(naive.loss[..., 0])
    shape = naive.offset.shape
    best = Selection(
        engine=np.zeros(shape, dtype=np.int64),
        ratio=np.ones(shape, dtype=np.float32),
        origins=np.repeat(_scored_origins(known)[:, None], shape[1], axis=1),
        raw=naive.raw.copy(),
        offset=naive.offset.copy(),
        exact=naive.exact.copy(),
    )
    for place, trial in enumerate(trials[1:], start=1):
        both = known & ~np.isnan(trial.loss[..., 0])
        of_naive, of_trial = _by_origin(naive.loss, both), _by_origin(trial.loss, both)
        saved = of_naive - of_trial
        lead, yardstick, own = saved.sum(axis=1), of_naive.sum(axis=1), of_trial.sum(axis=1)
        ratio = np.divide(own, yardstick, out=np.where(own > 0, np.inf, 1.0), where=yardstick > 0).astype(np.float32)
        origins = _scored_origins(both)
        fit = (origins >= LEAST_ORIGINS) & trial.complete
        chance = np.sqrt(np.maximum((saved**2).sum(axis=1) - lead**2 / np.maximum(origins, 1)[:, None], 0.0))
        better = fit[:, None] & (lead > chance) & (ratio < best.ratio)
        series, level = np.nonzero(better)
        best.engine[better], best.ratio[better], best.origins[better] = place, ratio[better], origins[series]
        best.raw[series, :, level] = trial.raw[series, :, level]
        best.offset[better], best.exact[better] = trial.offset[better], trial.exact[better]
    return best


def _trial(
    engine: Engine, past: Floats, truth: Floats, ends: Sequence[int], shape: Shape, *, bound: Optional[Flags]
) -> Trial:
    with needs("numpy"):
        import numpy as np
    (raw,) = np.moveaxis(_forecast(engine, past, [past.shape[1]], shape), 1, 0)
    errors = np.empty((*truth.shape, len(shape.levels)), dtype=np.float32)
    if ends:
        np.subtract(truth[..., None], _forecast(engine, past, ends, shape)[:, :, shape.scored], out=errors)
    loss = np.empty_like(errors)
    levels = shape.levels.astype(np.float32)
    for half in (0, 1):
        other = None if bound is None else _flat(bound[:, 1 - half :: 2])
        offset, _unused = offsets(_flat(errors[:, 1 - half :: 2]), shape.levels, other)
        corrected = errors[:, half::2] - offset[:, None, None, :]
        loss[:, half::2] = loss_of(corrected, levels, None if bound is None else bound[:, half::2])
    offset, exact = offsets(_flat(errors), shape.levels, None if bound is None else _flat(bound))
    offset[_scored_origins(~np.isnan(loss[..., 0])) < LEAST_ORIGINS] = np.nan
    return Trial(raw, np.isfinite(raw).all(axis=(1, 2)), errors, loss, offset, exact, bound)


def _forecast(engine: Engine, past: Floats, ends: Sequence[int], shape: Shape) -> Floats:
    steps = shape.lead + shape.steps
    value = engine.forecast(past, ends, steps=steps, levels=shape.levels, interval_s=shape.interval_s)
    return value[:, :, shape.lead :]


def origins_of(known: int, shape: Shape) -> list[int]:
    """Ends of the pasts to forecast from, newest first; what they forecast lies wholly in the known."""
    newest = known - shape.lead - shape.steps
    return list(range(newest, 0, -_spacing(shape)))[:ORIGINS]


def looked_back(shape: Shape) -> int:
    """The newest columns of a past that hold all truths that forecasts are scored by, one under way included."""
    return 1 + shape.lead + shape.steps + (ORIGINS - 1) * _spacing(shape)


def _spacing(shape: Shape) -> int:
    return max(SPACING_S // shape.interval_s, shape.steps, 1)


def _flat(errors: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """[V, O, S, ...] to [V, O * S, ...]."""
    return errors.reshape(len(errors), errors.shape[1] * errors.shape[2], *errors.shape[3:])


def _by_origin(loss: Floats, where: Flags) -> Doubles:
    """Sum over the steps, [V, O, Q]; each row on its own, so that no series' score depends on its neighbours."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.where(where[..., None], loss, np.float32(0)).sum(axis=2, dtype=np.float64), dtype=np.float64)


def _scored_origins(where: Flags) -> Integers:
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.count_nonzero(where.any(axis=2), axis=1), dtype=np.int64)
