# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of quantiles: trained on the telemetry of a fleet, and held against what came.

Demand seen at a VM's own size is a lower bound, and is learnt as one. What a model is worth is told by its pinball
loss, as a share of naive's on the same days, each VM in shares of its capacity.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Optional

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._forecast import quantile_model, recurrent_training
from .._forecast.conformal import FleetErrors, corrected
from .._forecast.engines import ENGINES, Naive
from .._forecast.grid import level_of
from .._forecast.quantile_engine import predict
from .._forecast.quantile_features import Clock, unfit
from .._forecast.quantile_model import origins
from .._forecast.recurrent import HIDDEN, NAME, READ_CYCLES, Network
from .._forecast.scores import pinball
from .._forecast.select import Shape, attempt, select
from .._forecast.tree_text import essential
from .._records.model import Day
from .._records.series import CPU_MILLICORES, MEMORY_USED_MIB
from .loss import Loss
from .models import libraries, numpy_here
from .recorded import MEASURES, newest_at
from .sizer_training import side_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from .._forecast.quantile_engine import Quantiles
    from .._forecast.select import Trial
    from .._replay.trace import Trace

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

# Variation that is as good as none, in the metric's unit: what a monitor sees of a VM at rest.
FINEST = {CPU_MILLICORES: "10", MEMORY_USED_MIB: "8"}
TREES, RECURRENT = "trees", NAME  # what a model may be
TRAINERS: dict[str, Callable[..., Quantiles]] = {TREES: quantile_model.train, RECURRENT: recurrent_training.train}
ORIGINS = 432  # learnt from: 12 days of hours, and half as many other moments
TRIAL_ORIGINS = 96  # by the models that say what is to be expected
EXPECTED_DAYS = 7
DIGITS = 9  # that tell one float32 from the next
SPACING_S = 3 * 3600  # from one moment to the next, where forecasts are held against what came


@dataclass(frozen=True)
class Teaching:
    """What a model is to foretell, and how it is drawn."""

    levels: tuple[str, ...]  # decimal strings, ascending
    minute: Optional[int]  # of the hour, at which forecasts are made; None: that of the end of the past
    seed: int
    engine: str = TREES  # of TRAINERS


@dataclass(frozen=True)
class Lesson:
    """The past of a fleet."""

    trace: Trace
    metric: str
    censored: Flags  # [V, T], seen at the size that the VM had

    @property
    def past(self) -> Floats:
        """Demand [V, T]; NaN where it is not known."""
        return past_of(self.trace, self.metric)


def past_of(trace: Trace, metric: str) -> Floats:
    """Demand [V, T] in the metric's unit."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(trace.demand * MEASURES[metric].unit, dtype=np.float32)


def learnt(lesson: Lesson, course: Teaching) -> Quantiles:
    """Train on all VMs. Raises ``forecast.model`` where there is too little."""
    rows = list(range(len(lesson.trace.unique_ids)))
    return _learnt(lesson, rows, course, most=ORIGINS)


def prior_of(lesson: Lesson, model: Quantiles) -> tuple[str, ...]:
    """What corrects a VM that has too few errors of its own: those of naive on all VMs, one number for each level.

    Learnt as ``make_forecast`` does where there is no model. Decimal strings, in units of a series' level; () of none.
    """
    with needs("numpy"):
        import numpy as np
    past, levels = lesson.past, np.array([float(level) for level in model.levels])
    shape = Shape(model.interval_s, 0, model.steps, levels)
    (naive,) = attempt(past, shape, engines=(Naive(),), bound=lesson.censored)
    prior = _prior(naive, level_of(past), levels).tolist()
    return tuple(f"{one:.{DIGITS}g}" for one in prior) if all(isfinite(one) for one in prior) else ()


def parameters_of(model: Quantiles, prior: Sequence[str]) -> dict[str, Any]:
    """What a model's header tells of its making and its use."""
    use = {"levels": " ".join(model.levels), "finest": model.finest, "steps": model.steps}
    if prior:
        use["prior"] = " ".join(prior)
    if isinstance(model, Network):
        return {"engine": NAME, "hidden": HIDDEN, "read_cycles": READ_CYCLES, **recurrent_training.PARAMETERS, **use}
    return {**quantile_model.TREES, "rounds": quantile_model.ROUNDS, **use}


def parts_of(model: Quantiles) -> tuple[bytes, ...]:
    """The objects of their own that a model's header names."""
    if isinstance(model, Network):
        return (model.weights,)
    return tuple(essential(text).encode() for text in model.trees)


def libraries_of(model: Quantiles) -> dict[str, str]:
    """What trained a model, and asks it: name -> version."""
    if isinstance(model, Network):
        return {**dict([model.library.split(" ")]), **numpy_here()}
    return libraries()


def expected(lesson: Lesson, course: Teaching) -> tuple[Day, ...]:
    """How models do on VMs that they were not trained on, by day; of a fleet that is too small for it, nothing."""
    with needs("numpy"):
        import numpy as np
    trace = lesson.trace
    clock = Clock(trace.step_s)
    first = max(trace.steps - EXPECTED_DAYS * clock.day, clock.columns)
    held, cost = [], []
    for side in (0, 1):
        mine = [row for row, one in enumerate(trace.unique_ids) if side_of(one) == side]
        others = [row for row, one in enumerate(trace.unique_ids) if side_of(one) != side]
        try:
            model = _learnt(lesson, others, course, most=TRIAL_ORIGINS)
        except HeadroomError as error:
            if error.code != "forecast.model":
                raise
            return ()
        loss = foretold_loss(trace.only([trace.unique_ids[row] for row in mine]), model, lesson.metric, first=first)
        held.append(loss.held)
        cost.append(loss.cost)
    return Loss(np.concatenate(held), np.concatenate(cost)).expected()


def foretold_loss(trace: Trace, model: Quantiles, metric: str, *, first: int, trained: bool = True) -> Loss:
    """Of forecasts from moments of the whole days from the column ``first`` on.

    Without ``trained`` of those that the engines without training would have issued in the model's place.

    Held is the share of the time above the highest quantile, cost the pinball loss in units of naive's mean that day.
    """
    with needs("numpy"):
        import numpy as np
    past, clock = past_of(trace, metric), Clock(trace.step_s)
    days = (trace.steps - first) // clock.day
    levels = np.array([float(level) for level in model.levels])
    unit = trace.capacity[:, -1:] * MEASURES[metric].unit
    spacing = max(SPACING_S // trace.step_s, 1)
    held: list[Doubles] = []
    ours: list[Doubles] = []
    theirs: list[Doubles] = []
    for day in range(days):
        begin = first + day * clock.day
        above, loss, naive = [], [], []
        for end in range(begin, min(begin + clock.day, trace.steps - model.steps + 1), spacing):
            truth = past[:, end : end + model.steps].astype(np.float64)
            said = predict(model, past, end=end).astype(np.float64) if trained else _untrained(model, past[:, :end])
            last = Naive().forecast(past, [end], steps=model.steps, levels=levels, interval_s=trace.step_s)
            reference = pinball(truth, last[:, 0].astype(np.float64), levels).mean(axis=2) / unit
            above.append(np.where(np.isnan(truth + said[..., -1]), np.nan, truth > said[..., -1]))
            loss.append(pinball(truth, said, levels).mean(axis=2) / unit)
            naive.append(np.where(np.isnan(loss[-1]), np.nan, reference))
        for to, of in ((held, above), (ours, loss), (theirs, naive)):
            to.append(_known_mean(np.concatenate(of, axis=1)))
    if not days:
        nothing = np.empty((len(past), 0))
        return Loss(nothing, nothing)
    cost = np.stack(ours, axis=1)
    unit_of_day = _known_mean(np.stack(theirs, axis=1).T)
    share = np.divide(cost, unit_of_day, out=np.where(np.isnan(cost), np.nan, 0.0), where=unit_of_day > 0)
    return Loss(np.stack(held, axis=1), share)


def _untrained(model: Quantiles, past: Floats) -> Doubles:
    """What is issued [V, steps, Q] where no model speaks; of what this one would say, and NaN where it is silent."""
    with needs("numpy"):
        import numpy as np
    levels = np.array([float(level) for level in model.levels])
    trials = attempt(past, Shape(model.interval_s, 0, model.steps, levels), engines=ENGINES)
    chosen, level = select(trials), level_of(past)
    prior = level[:, None] * _prior(trials[0], level, levels)[None, :]
    said = corrected(chosen.raw, own=chosen.offset, exact=chosen.exact, fleet=prior)
    clock = Clock(model.interval_s)
    said[np.logical_or.reduce(list(unfit(past[:, -clock.columns :], clock).values()))] = np.nan
    return said


def _prior(naive: Trial, level: Floats, levels: Doubles) -> Floats:
    """Offsets [Q] of all series of these levels [V]."""
    fleet = FleetErrors()
    fleet.add(naive.naive_errors, level)
    return fleet.offsets(levels)


def _learnt(lesson: Lesson, rows: Sequence[int], course: Teaching, *, most: int) -> Quantiles:
    trace, clock = lesson.trace, Clock(lesson.trace.step_s)
    return TRAINERS[course.engine](
        lesson.past[rows],
        origins(newest_at(trace, course.minute, cycle=clock.cycle), clock, most=most, seed=course.seed),
        interval_s=trace.step_s,
        steps=clock.furthest,
        levels=course.levels,
        finest=FINEST[lesson.metric],
        seed=course.seed,
        censored=lesson.censored[rows],
    )


def _known_mean(values: Doubles) -> Doubles:
    """Mean of each row over what is known; NaN where nothing is."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(values)
    count = np.count_nonzero(known, axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0))
