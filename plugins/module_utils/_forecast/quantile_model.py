# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One model for the whole fleet: gradient-boosted trees for each quantile (LightGBM; Ke et al., NeurIPS 2017).

Trained on a schedule, asked at every forecast; between the two it is a value, text without any code. Direct in the step
ahead, which is a column like the others. What is learnt (``fleet_model``) is weighted by the series' own scale, so that
the loss is that of the values themselves.

Demand seen at a cap is a lower bound. The quantile of a right-censored value is the censored quantile (Powell, Journal
of Econometrics 1986): such a row counts where the forecast lies below what was seen, and tells nothing elsewhere. So
a first model leaves them out, and a second one learns from those that the first puts too low.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from .._core.canonical import digest
from .._core.errors import HeadroomError
from .._core.needs import needs
from .fleet_model import OTHER_FEATURES, clock_of, demand_rows, drawn_share, quantiles
from .quantile_features import VERSION, Clock, describe, filled, fit_rows, names
from .trees import REPRODUCIBLE, booster, library

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

FIRST_STEPS = 3  # learnt from at each origin: they differ most, and matter most to whoever acts at once
OTHER_STEPS = 3  # drawn from the rest: neighbouring steps tell much the same
# Measured in docs/decisions/0008. The tails need larger leaves: what seldom happens is soon learnt by heart.
ROUNDS = 100
TREES: dict[str, Any] = {
    **REPRODUCIBLE,
    "objective": "quantile",
    "learning_rate": 0.08,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.6,
    "bagging_freq": 1,
    "max_bin": 63,
}
MIDDLE = {"num_leaves": 127, "min_data_in_leaf": 300}
TAIL = {"num_leaves": 31, "min_data_in_leaf": 2000}
TAIL_FROM = 0.75  # and below 1 - TAIL_FROM
ROWS_OF_LARGE_LEAVES = 400_000  # of fewer rows a leaf holds proportionally fewer


@dataclass(frozen=True)
class Model:
    """What was learnt, and from what; an artifact as it stands."""

    interval_s: int
    steps: int  # furthest ahead
    levels: tuple[str, ...]  # decimal strings, ascending
    finest: str  # variation in the unit of the series that is as good as none, a decimal string
    features: tuple[str, ...]
    feature_version: int
    trees: tuple[str, ...]  # LightGBM's own text, one for each level
    seed: int
    rows: int
    series: int
    library: str  # name and version of what trained it

    @property
    def digest(self) -> str:
        """Name of the content."""
        return digest(
            {
                "interval_s": self.interval_s,
                "steps": self.steps,
                "levels": list(self.levels),
                "finest": self.finest,
                "features": list(self.features),
                "feature_version": self.feature_version,
                "trees": [hashlib.sha256(text.encode()).hexdigest() for text in self.trees],
                "seed": self.seed,
                "rows": self.rows,
                "series": self.series,
                "library": self.library,
            }
        )


@dataclass(frozen=True)
class Sample:
    """Rows to learn from."""

    features: Floats  # [R, F]
    target: Floats  # [R], residual in units of scale
    weight: Floats  # [R]
    bound: Flags  # [R], whether the target is a lower bound


def origins(columns: int, clock: Clock, *, most: int, seed: int) -> list[int]:
    """Ends of pasts to learn from: those at the minute of the hour at which the past ends now, and half as many others.

    Forecasts are made at one minute of the hour, the decision's: a model of that minute knows the jobs that start then.
    """
    with needs("numpy"):
        import numpy as np
    phased = np.arange(columns - clock.cycle, clock.columns - 1, -clock.cycle)
    others = np.setdiff1d(np.arange(clock.columns, columns), phased)
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([phased, rng.permutation(others)[: len(phased) // 2]])
    return sorted(rng.permutation(chosen)[:most].tolist())


def train(
    past: Floats,
    ends: Sequence[int],
    *,
    interval_s: int,
    steps: int,
    levels: Sequence[str],
    finest: str,
    seed: int,
    censored: Optional[Flags] = None,
) -> Model:
    """Learn from ``past`` [V, T], NaN where unknown, as it stood at each of ``ends`` and went on up to T.

    ``censored`` [V, T] marks what was seen at a cap. Series that fail ``unfit`` at an end are left out there. The same
    input gives the same model. Raises ``forecast.model`` where there is too little to learn from.
    """
    trainer = library()
    clock = clock_of(interval_s, steps)
    sample, series = _sample(past, ends, clock, steps=steps, finest=float(finest), seed=seed, censored=censored)
    demand_rows(len(sample.target))
    return Model(
        interval_s=interval_s,
        steps=steps,
        levels=tuple(levels),
        finest=finest,
        features=names(clock),
        feature_version=VERSION,
        trees=tuple(_trained(sample, float(level), seed) for level in levels),
        seed=seed,
        rows=len(sample.target),
        series=series,
        library=trainer,
    )


def predict(model: Model, past: Floats, *, end: int) -> Floats:
    """Quantiles [V, steps, Q] of what follows the first ``end`` columns of ``past``, ascending and never negative.

    NaN where the series is unfit. Rows do not influence one another.
    """
    with needs("numpy"):
        import numpy as np
    clock = Clock(model.interval_s)
    value = np.full((len(past), model.steps, len(model.levels)), np.nan, dtype=np.float32)
    known = past[:, max(0, end - clock.columns) : end]
    fit = fit_rows(known, clock)
    if not len(fit):
        return value
    now = describe(filled(known[fit], clock), clock, range(1, model.steps + 1), finest=float(model.finest))
    rows = now.values.reshape(-1, now.values.shape[2])
    residual = np.stack([booster(trees).predict(rows, num_threads=1) for trees in model.trees], axis=-1)
    residual = residual.reshape(len(fit), model.steps, len(model.levels))
    value[fit] = quantiles(residual, last=now.last, scale=now.scale)
    return value


def outdated(model: Model) -> str:
    """Why the model cannot be asked here at all; "" if it can."""
    try:
        library()
    except HeadroomError as error:
        return error.message
    same = model.feature_version == VERSION and model.features == names(Clock(model.interval_s))
    return "" if same else OTHER_FEATURES


def _sample(
    past: Floats,
    ends: Sequence[int],
    clock: Clock,
    *,
    steps: int,
    finest: float,
    seed: int,
    censored: Optional[Flags],
) -> tuple[Sample, int]:
    with needs("numpy"):
        import numpy as np
    rng = np.random.default_rng(seed)
    parts: list[tuple[Floats, Floats, Floats, Flags]] = []
    seen = np.zeros(len(past), dtype=bool)
    for end in ends:
        # One draw for each series whether it is used or not: a bad series must not move the others' draws.
        ahead = np.arange(1, steps + 1)
        ahead = np.concatenate([ahead[:FIRST_STEPS], np.sort(rng.permutation(ahead[FIRST_STEPS:])[:OTHER_STEPS])])
        chance = rng.random(len(past))
        ahead = ahead[end + ahead <= past.shape[1]]
        known = past[:, max(0, end - clock.columns) : end]
        fit = fit_rows(known, clock)
        if not len(fit) or not len(ahead):
            continue
        now = describe(filled(known[fit], clock), clock, ahead.tolist(), finest=finest)
        share = drawn_share(now.scale)
        truth = past[fit][:, end - 1 + ahead]
        sound = np.isfinite(truth) & (truth >= 0)
        drawn = (chance[fit] < share)[:, None] & sound
        seen[fit[drawn.any(axis=1)]] = True
        bound = np.zeros(truth.shape, dtype=bool) if censored is None else censored[fit][:, end - 1 + ahead]
        residual = (truth - now.last[:, None]) / now.scale[:, None]
        weight = np.repeat((now.scale / share)[:, None], len(ahead), axis=1)
        parts.append((now.values[drawn], residual[drawn], weight[drawn].astype(np.float32), bound[drawn]))
    if not parts:
        empty = np.empty(0, dtype=np.float32)
        return Sample(empty.reshape(0, 0), empty, empty, empty.astype(bool)), 0
    features, target, weight, bound = (np.concatenate(column) for column in zip(*parts))
    return Sample(features, target, weight, bound), int(seen.sum())


def _trained(sample: Sample, level: float, seed: int) -> str:
    """The text of the trees of one level."""
    free = ~sample.bound
    trees = _fitted(sample, free, level, seed)
    if not free.all():
        with needs("numpy"):
            import numpy as np
        low = np.zeros(len(free), dtype=bool)
        low[sample.bound] = (
            booster(trees).predict(sample.features[sample.bound], num_threads=1) < sample.target[sample.bound]
        )
        trees = _fitted(sample, free | low, level, seed)
    return trees


def _fitted(sample: Sample, rows: Flags, level: float, seed: int) -> str:
    with needs("lightgbm"):
        import lightgbm
    shape = TAIL if not 1 - TAIL_FROM < level < TAIL_FROM else MIDDLE
    leaf = max(20, shape["min_data_in_leaf"] * min(int(rows.sum()), ROWS_OF_LARGE_LEAVES) // ROWS_OF_LARGE_LEAVES)
    options = {**TREES, **shape, "min_data_in_leaf": leaf, "alpha": level, "seed": seed}
    every = rows.all()  # spare the copy
    data = lightgbm.Dataset(
        sample.features if every else sample.features[rows],
        sample.target if every else sample.target[rows],
        weight=sample.weight if every else sample.weight[rows],
        params=options,
    )
    return str(lightgbm.train(options, data, ROUNDS).model_to_string())
