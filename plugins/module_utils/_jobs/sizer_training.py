# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the outcome model on what a sizer would have seen.

Once sizes are enforced the monitor sees less than the demand. A model that learnt from free demand alone meets, in the
loop, pasts that it has never seen. So a first model is trained on the free demand, sizers with it run through the past
of VMs that it was not trained on, and the final model learns from what those sizers saw and what really came (Ross,
Gordon and Bagnell, "A reduction of imitation learning...", AISTATS 2011).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._forecast.features import PAST_DAYS
from .._forecast.outcome_model import CANDIDATES_LEARNT, LEAST_ROWS, OutcomeModel, examples, train
from .._records.series import DAY_S
from .._replay.loop import replay, seen_under
from .._replay.protocol import Slo
from .._replay.score import score
from .._replay.trace import Trace
from .sizer import OperatingPoint, Sizer, Standing, believed, moment_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

FREE_MOMENTS = 100  # learnt from by each of the first models
LOOP_MOMENTS = 400  # by the final one
ENOUGH_ROWS = LEAST_ROWS * 6 // 5  # of a small fleet more moments are drawn until there are so many; some are not known
SERVICE = ("violation", "unserved")  # prices of an operating point
MOST_DOUBLINGS = 4  # of them
DEFAULT_SLO = Slo()
SETTLE_DAYS = 1  # after its start the loop does not yet see what it will see later

# Of the sizers that models learn from; those that use them run at the points that are shipped, made ``careful``. Points
# were sought with models learnt so, and one model serves many of them. Jumps are those of the shipped policy's guard.
CPU_POINT = OperatingPoint(
    violation=1.0,
    unserved=45.0,
    resize=0.01,
    ledger=1.0,
    at_ease=0.5,
    whole_from=0.95,
    jump=2.4,
    peak=1.0,
    step=0.1,
    most=0.6,
    half_life_h=29.0,
    beyond=1.15,
)
LEARNT_WITH = {"cpu": CPU_POINT, "memory": replace(CPU_POINT, jump=1.2)}  # by the target of a replay


@dataclass(frozen=True)
class Half:
    """Some VMs of a fleet, and a model that learnt from the others alone."""

    rows: Integers  # of the VMs in the fleet
    model: OutcomeModel


@dataclass(frozen=True)
class Trained:
    """A model, and how each VM stood at the end, had it been sized by a model that had not seen it."""

    model: OutcomeModel
    past: Trace
    halves: tuple[Half, ...]
    first: int  # the column of the first decision
    every: int
    standing: dict[str, tuple[float, float]]  # unique_id -> headroom, share of time violated

    def standing_of(self, unique_ids: tuple[str, ...]) -> Standing:
        """Of these VMs; one that was not there starts without headroom and with nothing spent."""
        with needs("numpy"):
            import numpy as np
        known = np.array([self.standing.get(one, (0.0, 0.0)) for one in unique_ids]).reshape(-1, 2)
        return Standing(headroom=known[:, 0], spent=known[:, 1])

    def sized(self, point: OperatingPoint) -> Doubles:
        """The sizes [V, T] that would have held at a point, by models that had not seen the VMs."""
        allocation = self.past.capacity.copy()
        for half in self.halves:
            mine = self.past.only([self.past.unique_ids[row] for row in half.rows.tolist()])
            allocation[half.rows], _left = _sized(mine, point, half.model, first=self.first, every=self.every)
        return allocation


def freed(past: Trace, held: Flags) -> Trace:
    """The same with what demand is taken for where it was seen at a size that held it back, ``held`` [V, T]."""
    with needs("numpy"):
        import numpy as np
    demand = believed(past.demand, held, past.capacity, CPU_POINT.beyond)
    return replace(past, demand=np.where(held, demand, past.demand))


def careful(trained: Trained, point: OperatingPoint, *, slo: Slo = DEFAULT_SLO) -> tuple[OperatingPoint, Doubles]:
    """A point whose prices keep an SLO in the past of the fleet that was learnt from, and the sizes [V, T] at it.

    A point is found on one fleet and used on another. Where demand is a smaller share of capacity, the same lack is a
    larger share of the demand. So the prices of service double until violations and unserved demand are within the SLO,
    on VMs that the models had not seen; a fleet with which nothing helps gets the dearest.
    """
    settled = slice(trained.first + SETTLE_DAYS * DAY_S // trained.past.step_s, None)
    demand, capacity = trained.past.demand[:, settled], trained.past.capacity[:, settled]
    for doublings in range(MOST_DOUBLINGS + 1):
        dearer = replace(point, **{name: getattr(point, name) * 2**doublings for name in SERVICE})
        allocation = trained.sized(dearer)
        found = score(demand, allocation[:, settled], capacity, slo=slo, step_s=trained.past.step_s)
        if found.violations <= slo.violations and found.unserved_of_demand <= slo.unserved:
            break
    return dearer, allocation


def train_sizer(past: Trace, point: OperatingPoint, *, lead: int, every: int, seed: int = 0) -> Trained:
    """Learn from the past of a fleet, from sizers at a point. ``lead`` and ``every`` in intervals.

    Raises ``forecast.untrained``.
    """
    with needs("numpy"):
        import numpy as np
    day = DAY_S // past.step_s
    begin = PAST_DAYS * day
    if past.steps - lead - every <= begin + SETTLE_DAYS * day:
        raise HeadroomError(
            "forecast.untrained",
            f"{past.steps // day} days of history are too few to learn outcomes from.",
            advice=f"Wait until there are {PAST_DAYS + SETTLE_DAYS + 1} days of it.",
        )
    begin += (past.steps - begin) % every  # decisions fall on the minute of those to come
    learner = _Learner(point, lead=lead, every=every, seed=seed)
    learnt_from = past.capacity.copy()
    standing: dict[str, tuple[float, float]] = {}
    sides = np.array([side_of(one) for one in past.unique_ids], dtype=np.int64)
    if len(set(sides.tolist())) < 2:  # noqa: PLR2004 - a small fleet may fall on one side
        sides = np.arange(len(sides)) % 2
    halves = []
    for side in (0, 1):
        rows = np.flatnonzero(sides == side)
        mine = past.only([past.unique_ids[row] for row in rows.tolist()])
        others = past.only(set(past.unique_ids) - set(mine.unique_ids))
        half = Half(rows, learner.learn(others, others.capacity, since=begin, moments=FREE_MOMENTS))
        halves.append(half)
        learnt_from[rows], left = _sized(mine, point, half.model, first=begin, every=every)
        standing.update(zip(mine.unique_ids, zip(left.headroom.tolist(), left.spent.tolist())))
    model = learner.learn(past, learnt_from, since=begin + SETTLE_DAYS * day, moments=LOOP_MOMENTS)
    return Trained(model, past, tuple(halves), begin, every, standing)


def _sized(
    past: Trace, point: OperatingPoint, model: OutcomeModel, *, first: int, every: int
) -> tuple[Doubles, Standing]:
    """The sizes [V, T] of VMs that start without headroom and with nothing spent, and how they stand at the end."""
    standing = Standing.new(len(past.unique_ids))
    sizer = Sizer(point, model=model, standing=standing, start=past.start, first=first)
    done = replay(sizer, past, first=first, last=past.steps, lead=model.lead, every=every)
    return done.allocation, sizer.standing()


class _Learner:
    """Draws moments of a past and trains a model on them."""

    def __init__(self, point: OperatingPoint, *, lead: int, every: int, seed: int) -> None:
        with needs("numpy"):
            import numpy as np
        self._point, self._lead, self._every, self._seed = point, lead, every, seed
        self._rng = np.random.default_rng(seed)

    def learn(self, past: Trace, allocation: Doubles, *, since: int, moments: int) -> OutcomeModel:
        """From the demand as it was seen under an allocation [V, T], and as it really came."""
        with needs("numpy"):
            import numpy as np
        seen, saturated = seen_under(allocation, past.demand, past.capacity)
        ticks = np.arange(past.steps - self._lead - self._every, since, -1)
        # Decisions fall on the same minute of each hour, and so does much of what machines do.
        hourly = ticks[(past.steps - ticks) % self._every == 0]
        rows = len(past.unique_ids) * CANDIDATES_LEARNT  # of one moment
        if 0 < rows * min(moments, len(hourly)) < LEAST_ROWS:
            moments = -(-ENOUGH_ROWS // rows)
        if moments <= len(hourly) or rows * len(hourly) >= LEAST_ROWS:
            ticks = hourly
        if not rows:
            ticks = ticks[:0]
        intervals = PAST_DAYS * DAY_S // past.step_s
        parts = []
        for tick in self._rng.choice(ticks, min(moments, len(ticks)), replace=False).tolist():
            window = slice(tick - intervals, tick)
            capacity = past.capacity[:, tick - 1]
            moment = moment_of(
                believed(seen[:, window], saturated[:, window], capacity, self._point.beyond),
                saturated[:, window],
                capacity,
                step_s=past.step_s,
                lead=self._lead,
                now=past.start + timedelta(seconds=tick * past.step_s),
            )
            landing = tick + self._lead
            came = past.demand[:, landing : landing + self._every]
            parts.append(examples(moment, came, past.floor[:, tick - 1], jump=self._point.jump, rng=self._rng))
        return train(parts, step_s=past.step_s, lead=self._lead, seed=self._seed)


def side_of(unique_id: str) -> int:
    """Which of two halves a VM belongs to, whatever the others are."""
    return hashlib.sha256(unique_id.encode()).digest()[0] % 2
