# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One model for the whole fleet: what holding a candidate size will come to (gradient-boosted trees, LightGBM).

Learnt are the outcomes themselves, not a demand from which they would follow: whether a size is enough hangs on the
largest demand of the next interval, on the guard, and on how both depend on each other. Trained on a schedule, asked at
every decision; between the two it is a value, text without any code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core.canonical import digest
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.candidates import COUNT, Curves, Ladder, ladder
from .features import Moment, describe
from .forest import forest
from .outcome import Guard, outcome
from .trees import REPRODUCIBLE, library

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]

LEAST_ROWS = 5_000  # below it the fleet is too small or too young to learn from
CANDIDATES_LEARNT = 8  # of each VM and moment, drawn anew: neighbours tell much the same
WEIGHT_BY_CAPACITY = 0.2  # exponent: large VMs matter more to the fleet, but they are few, and soon learnt by heart
CHUNK_VMS = 500  # asked about at once: what is worked on stays in the caches
ROUNDS = 80
ANEW = "Train one for this use with model_train; see model_info."
# Shares of time are probabilities; the rest are rates with a long tail.
OBJECTIVES = {"violated": "cross_entropy", "unserved": "poisson", "added": "poisson"}
TREES: dict[str, Any] = {
    **REPRODUCIBLE,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 500,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 127,
}


@dataclass(frozen=True)
class Examples:
    """Rows to learn from: N of F features, outcomes and weights."""

    names: tuple[str, ...]
    features: Floats  # [N, F]
    outcomes: Doubles  # [N, 3], in the order of OBJECTIVES
    weights: Doubles  # [N]


@dataclass(frozen=True)
class OutcomeModel:
    """What was learnt, and from what; an artifact as it stands."""

    step_s: int
    lead: int  # intervals
    features: tuple[str, ...]
    trees: tuple[str, ...]  # LightGBM's own text, one for each outcome; "": never seen
    seed: int
    rows: int
    library: str  # name and version of what trained it

    @property
    def digest(self) -> str:
        """Of everything in it."""
        return digest(
            [
                str(self.step_s),
                str(self.lead),
                *self.features,
                *self.trees,
                str(self.seed),
                str(self.rows),
                self.library,
            ]
        )


def examples(moment: Moment, came: Doubles, floor: Doubles, *, jump: float, rng: np.random.Generator) -> Examples:
    """What can be learnt at one moment, ``came`` [V, H] being the demand from when a decision would have landed.

    VMs whose demand is not wholly known, or that have no capacity, are left out.
    """
    with needs("numpy"):
        import numpy as np
    kept = np.flatnonzero(~np.isnan(came).any(axis=1) & (moment.capacity > 0))
    of = moment.only(kept)
    peak = of.demand.max(axis=1).astype(np.float64)
    rungs = ladder(of.capacity, floor[kept], peak)
    names, values = describe(of, rungs)
    guard = Guard(jump=jump, ceiling=peak, delay=of.lead)
    outcomes = np.stack(outcome(came[kept], rungs.sizes, of.capacity, guard), axis=2)
    drawn = rng.permuted(np.tile(np.arange(COUNT), (len(kept), 1)), axis=1)[:, :CANDIDATES_LEARNT, None]
    return Examples(
        names,
        np.take_along_axis(values, drawn, axis=1).reshape(-1, len(names)),
        np.take_along_axis(outcomes, drawn, axis=1).reshape(-1, len(OBJECTIVES)),
        np.repeat(of.capacity**WEIGHT_BY_CAPACITY, CANDIDATES_LEARNT),
    )


def train(parts: Sequence[Examples], *, step_s: int, lead: int, seed: int) -> OutcomeModel:
    """Learn from examples. Raises ``forecast.untrained`` where there are too few."""
    with needs("lightgbm", "numpy"):
        import lightgbm
        import numpy as np
    rows = sum(len(part.weights) for part in parts)
    if rows < LEAST_ROWS:
        raise HeadroomError(
            "forecast.untrained",
            f"{rows} examples are too few to learn outcomes from: at least {LEAST_ROWS}.",
            advice="Wait for more history, or train on more VMs.",
        )
    features = np.concatenate([part.features for part in parts])
    outcomes = np.concatenate([part.outcomes for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    data = lightgbm.Dataset(features, params=TREES, free_raw_data=True)
    data.set_weight(weights / weights.mean())
    trees = []
    for place, objective in enumerate(OBJECTIVES.values()):
        label = outcomes[:, place]
        if not label.any():
            trees.append("")
            continue
        data.set_label(label)
        trained = lightgbm.train({**TREES, "objective": objective, "seed": seed}, data, ROUNDS)
        trees.append(trained.model_to_string())
    return OutcomeModel(
        step_s=step_s,
        lead=lead,
        features=parts[0].names,
        trees=tuple(trees),
        seed=seed,
        rows=rows,
        library=library(),
    )


def curves(model: OutcomeModel, moment: Moment, floor: Doubles) -> Curves:
    """The outcomes expected of all candidates. Raises ``model.foreign`` for a model of other features or lead."""
    with needs("numpy"):
        import numpy as np
    if (model.step_s, model.lead) != (moment.step_s, moment.lead):
        raise HeadroomError("model.foreign", "The outcome model was trained for another interval or lead.", advice=ANEW)
    rungs = ladder(moment.capacity, floor, moment.demand.max(axis=1).astype(np.float64))
    said = np.zeros((len(model.trees), *rungs.sizes.shape))
    for first in range(0, len(rungs.lowest), CHUNK_VMS):
        rows = slice(first, first + CHUNK_VMS)
        names, values = describe(moment.only(rows), Ladder(rungs.lowest[rows], rungs.step[rows]))
        if names != model.features:
            raise HeadroomError("model.foreign", "The outcome model was trained on other features.", advice=ANEW)
        _predict(model.trees, values, said[:, rows])
    violated, unserved, added = np.minimum.accumulate(said, axis=2)  # a larger size is never worse
    return Curves(ladder=rungs, violated=violated, unserved=unserved, added=added)


def _predict(trees: tuple[str, ...], values: Floats, said: Doubles) -> None:
    """Put in place what the trees say: [M, V, K]."""
    asked = [place for place, text in enumerate(trees) if text]
    sums = forest(tuple(trees[place] for place in asked)).sums(values.transpose(2, 0, 1).reshape(values.shape[2], -1))
    objectives = list(OBJECTIVES.values())
    for place, total in zip(asked, sums):
        of_rows = 1 / (1 + _power(-total)) if objectives[place] == "cross_entropy" else _power(total)
        said[place] = of_rows.reshape(said.shape[1:])


def _power(values: Doubles) -> Doubles:
    """The exponential, rounded as C's, which LightGBM takes: NumPy's of real numbers hangs on the processor."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.exp(values.astype(np.complex128)).real)
