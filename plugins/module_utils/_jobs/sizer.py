# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headroom's own sizing as a policy in a closed loop: what the forecast and the plan stage decide, tick by tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Union

from .._core.needs import needs
from .._forecast.features import HOUR_S, PAST_DAYS, Moment
from .._forecast.outcome_model import OutcomeModel, curves
from .._plan.guard import GuardRule, grown, kept_free
from .._plan.price import Prices, cheapest
from .._records.candidates import BELOW
from .._records.series import DAY_S
from .._replay.loop import Observed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

LEAST_KNOWN_S = DAY_S  # of the past looked at: a VM known for less keeps what it has
SETTLED_S = DAY_S  # so long a VM is taken to have been sized before, so that its first violation is not all there is


@dataclass(frozen=True)
class OperatingPoint:
    """The numbers of the policy; ``make tune`` finds them."""

    violation: float
    unserved: float
    resize: float
    ledger: float
    at_ease: float
    whole_from: float
    jump: float
    peak: float
    step: float
    most: float
    half_life_h: float
    beyond: float  # times the use seen at a cap: what the demand there is taken for

    @classmethod
    def of(cls, numbers: Mapping[str, float]) -> OperatingPoint:
        """From a mapping; other names in it are passed over."""
        return cls(**{one.name: numbers[one.name] for one in fields(cls)})

    def rule(self, step_s: int) -> GuardRule:
        """How VMs answer to saturation, at intervals of this length."""
        return GuardRule(self.jump, self.peak, self.step, self.most, self.half_life_h * HOUR_S / step_s)


@dataclass(frozen=True)
class Standing:
    """What is remembered of V VMs."""

    headroom: Doubles  # [V], share of the size
    spent: Doubles  # [V], of the error budget: share of time violated

    @classmethod
    def new(cls, vms: int) -> Standing:
        """Of VMs that start without headroom, and with nothing spent."""
        with needs("numpy"):
            import numpy as np
        return cls(headroom=np.zeros(vms), spent=np.zeros(vms))


class Sizer:
    """A policy of ``_replay.loop``. Each VM's decisions hang on its own past, the model and the operating point."""

    def __init__(
        self,
        point: OperatingPoint,
        *,
        model: OutcomeModel,
        standing: Standing,
        start: datetime,
        first: int,
        granule: float = 0.0,
    ) -> None:
        """``start``: START of the first column; ``first``: tick of the first decision."""
        step_s = model.step_s
        self._point, self._model, self._granule = point, model, granule
        self._start, self._first = start, first
        self._prices = Prices(
            point.violation, point.unserved, point.resize, point.ledger, point.at_ease, point.whole_from
        )
        self._rule = point.rule(step_s)
        self._headroom, self._before = standing.headroom, standing.spent
        self._spent = standing.spent

    def decide(self, observed: Observed) -> Doubles:
        """The sizes wanted, [V]; NaN leaves a VM as ordered."""
        with needs("numpy"):
            import numpy as np
        held = observed.saturated[:, -1]
        if observed.t > self._first:
            self._headroom = kept_free(self._rule, self._headroom, held)
        if observed.hourly:
            self._spent = self._spent_by(observed)
        wanted = self._sized(observed) if observed.hourly else np.full(len(held), np.nan)
        rows = np.flatnonzero(held)
        if len(rows):
            peak = self._believed(observed, rows).max(axis=1)
            more = grown(
                self._rule,
                allocation=observed.allocation[rows, -1],
                peak=peak,
                saturated=observed.saturated[rows, -self._model.lead - 2 :],
            )
            wanted[rows] = np.fmax(wanted[rows], more)
        return wanted

    def standing(self) -> Standing:
        """What is to be remembered."""
        return Standing(headroom=self._headroom, spent=self._spent)

    def _spent_by(self, observed: Observed) -> Doubles:
        """Of the past looked at; what was spent before the first decision fades while that past fills."""
        settled = slice(observed.t - self._past(observed), max(0, observed.t - self._model.lead))
        below = observed.allocation[:, settled] < observed.capacity[:, None] * BELOW
        seen = (observed.t - self._first) * self._model.step_s / (PAST_DAYS * DAY_S)
        before = self._before * max(0.0, 1 - seen)
        return spent_of(observed.saturated[:, settled], below, step_s=self._model.step_s, before=before)

    def _believed(self, observed: Observed, rows: Integers) -> Doubles:
        window = slice(-self._past(observed), None)
        return believed(
            observed.seen[rows, window], observed.saturated[rows, window], observed.capacity[rows], self._point.beyond
        )

    def _past(self, observed: Observed) -> int:
        return min(PAST_DAYS * DAY_S // self._model.step_s, observed.t)

    def _sized(self, observed: Observed) -> Doubles:
        """What the plan wants of each VM that is known well enough."""
        with needs("numpy"):
            import numpy as np
        intervals = self._past(observed)
        known = np.count_nonzero(~np.isnan(observed.seen[:, -intervals:]), axis=1)
        fit = np.flatnonzero(
            (known * self._model.step_s >= LEAST_KNOWN_S) & ~np.isnan(observed.seen[:, -1]) & (observed.capacity > 0)
        )
        wanted = np.full(len(known), np.nan)
        if not len(fit):
            return wanted
        moment = moment_of(
            self._believed(observed, fit),
            observed.saturated[fit, -intervals:],
            observed.capacity[fit],
            step_s=self._model.step_s,
            lead=self._model.lead,
            now=self._start + timedelta(seconds=observed.t * self._model.step_s),
        )
        wanted[fit] = cheapest(
            curves(self._model, moment, observed.floor[fit]),
            capacity=moment.capacity,
            ordered=observed.ordered[fit],
            spent=self._spent[fit],
            headroom=self._headroom[fit],
            granule=self._granule,
            prices=self._prices,
        )
        return wanted


def spent_of(violated: Flags, below: Flags, *, step_s: int, before: Union[float, Doubles] = 0.0) -> Doubles:
    """What VMs [V] spent of error budgets: the share of time in which they got too little, since they first had less.

    Both flags are of settled intervals [V, T]: an outcome counts once an act taken on it could have landed. ``below``:
    where a VM had less than its capacity; before that nothing could go wrong. ``before``: the share in the SETTLED_S
    before it.
    """
    with needs("numpy"):
        import numpy as np
    settled = SETTLED_S // step_s
    sized = np.logical_or.accumulate(below, axis=1).sum(axis=1)
    spent: Doubles = (violated.sum(axis=1) + settled * before) / (sized + settled)
    return spent


def believed(seen: Doubles, saturated: Flags, capacity: Doubles, beyond: float) -> Doubles:
    """Demand [V, T] as it is taken to have been: at a cap more than was seen, up to ``capacity`` [V] or [V, T].

    What is not known counts as none: a VM that is not known well enough is not sized.
    """
    with needs("numpy"):
        import numpy as np
    demand = np.where(np.isnan(seen), 0.0, seen)
    vm, at = np.unravel_index(np.flatnonzero(saturated), saturated.shape)
    most = np.broadcast_to(capacity.reshape(len(capacity), -1), demand.shape)
    demand[vm, at] = np.minimum(demand[vm, at] * beyond, most[vm, at])
    return demand


def moment_of(demand: Doubles, saturated: Flags, capacity: Doubles, *, step_s: int, lead: int, now: datetime) -> Moment:
    """The moment of VMs whose past may be shorter than what is looked at; before it nothing was demanded."""
    with needs("numpy"):
        import numpy as np
    missing = max(PAST_DAYS * DAY_S // step_s - demand.shape[1], 0)
    wide = (len(demand), missing + demand.shape[1])
    past, held = np.zeros(wide, dtype=np.float32), np.zeros(wide, dtype=np.bool_)
    past[:, missing:], held[:, missing:] = demand, saturated
    return Moment(
        demand=past,
        saturated=held,
        capacity=capacity,
        step_s=step_s,
        lead=lead,
        since_midnight=(now.hour * 3600 + now.minute * 60 + now.second) // step_s,
        weekday=now.weekday(),
    )
