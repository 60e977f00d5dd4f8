# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a VM's past, relative to each candidate size: the input of the outcome model.

Everything is either a count of exceedances of the candidate or the logarithm of a level over it, so that one model
serves VMs of every size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from .._core.needs import needs
from .._records.candidates import COUNT, Ladder
from .._records.series import DAY_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]
    Bins = npt.NDArray[np.uint8]
    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]
    Feature = tuple[str, npt.NDArray[Any]]  # name; values, [V, K] or [V, 1]

Number = TypeVar("Number", bound=Any)

VERSION = 1  # raised whenever a column comes to mean something else: a model of another version is foreign
HOUR_S = 3600
PAST_DAYS = 7
WINDOWS_H = (1, 6, 24, 72, 24 * PAST_DAYS)  # exceedances are counted over each
SLOT_DAYS = (1, 2, 3, 7)  # the same hour, so many days ago
NEAR_LOG, FAR_LOG = 5.0, -6.0  # levels beyond exp of these, over the candidate, are all the same
ALIKE = 1  # moments are, where they stood at most so many rungs of the ladder apart
LEAST_LEVEL = 1e-4  # of capacity: below, demand is nothing


@dataclass(frozen=True)
class Moment:
    """What is known of V VMs when a size is to be chosen. The newest interval is the last."""

    demand: Floats  # [V, T] believed demand, without gaps, T >= PAST_DAYS days
    saturated: Flags  # [V, T] whether the allocation bound it
    capacity: Doubles  # [V]
    step_s: int
    lead: int  # intervals from now to when the size holds
    since_midnight: int  # intervals from midnight UTC to now
    weekday: int  # of now, Monday = 0

    def only(self, rows: Union[npt.NDArray[np.int64], slice]) -> Moment:
        """The same of some VMs."""
        return replace(self, demand=self.demand[rows], saturated=self.saturated[rows], capacity=self.capacity[rows])

    @property
    def hour(self) -> int:
        """Intervals in an hour."""
        return HOUR_S // self.step_s

    @property
    def day(self) -> int:
        """Intervals in a day."""
        return DAY_S // self.step_s


def describe(moment: Moment, ladder: Ladder) -> tuple[tuple[str, ...], Floats]:
    """Names [F] and values [V, K, F] for all candidates of the ladder."""
    with needs("numpy"):
        import numpy as np
    shape = (len(moment.capacity), COUNT)
    found = [*_exceedances(moment, ladder), *_levels(moment, ladder), *_calendar(moment, ladder)]
    values = np.empty((*shape, len(found)), dtype=np.float32)
    for place, (_name, column) in enumerate(found):
        values[:, :, place] = column
    return tuple(name for name, _column in found), values


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """Names [F] of all features; what they are is independent of the interval and the lead."""
    with needs("numpy"):
        import numpy as np
    past = np.zeros((1, PAST_DAYS * 24), dtype=np.float32)
    one = np.ones(1)
    moment = Moment(past, past > 0, one, step_s=HOUR_S, lead=0, since_midnight=0, weekday=0)
    return describe(moment, Ladder(one, one))[0]


def _exceedances(moment: Moment, ladder: Ladder) -> Iterator[Feature]:
    """Count how often, how long ago, and in how many bursts each candidate was exceeded."""
    with needs("numpy"):
        import numpy as np
    hour, day = moment.hour, moment.day
    demand = moment.demand[:, -PAST_DAYS * day :]
    exceeded = ladder.exceeded(demand)
    hourly = _sliding(exceeded, hour)
    peaks = hourly[:, ::hour]
    above = {0: np.zeros((len(demand), COUNT))}
    for newer, hours in zip((0, *WINDOWS_H), WINDOWS_H):
        end = exceeded.shape[1] - newer * hour
        above[hours] = above[newer] + _above(exceeded[:, -hours * hour : end])
        yield f"exceeded_{hours}h", np.log1p(2000 * above[hours] / (hours * hour))
    yield "exceeded_hours_24h", _above(peaks[:, -24:])
    yield "exceeded_hours_7d", np.log1p(_above(peaks))
    landing = demand.shape[1] + moment.lead
    slots = np.stack([_slot(exceeded, landing - days * day, hour) for days in range(1, PAST_DAYS + 1)], axis=1)
    yield "exceeded_slots_3d", _above(slots[:, :3])
    yield "exceeded_slots_7d", _above(slots)
    # A burst begins where a candidate is exceeded that was not exceeded just before.
    again = np.minimum(exceeded[:, 1:], exceeded[:, :-1])
    again_24h = _above(again[:, -day + 1 :])
    again_7d = again_24h + _above(again[:, : -day + 1])
    yield "onsets_7d", np.log1p(above[24 * PAST_DAYS] - _above(exceeded[:, :1]) - again_7d)
    yield "onsets_24h", np.log1p(above[24] - _above(exceeded[:, -day : -day + 1]) - again_24h)
    yield "since_exceeded", np.log1p(_since(exceeded, peaks, hour))
    for name, share, count in _recurrences(exceeded, hourly, moment):
        yield f"recurs_{name}", share
        yield f"alike_{name}", np.log1p(count)[:, None]
    excess = _excess(demand[:, -day:], exceeded[:, -day:], above[24], ladder)
    yield "excess_24h", np.log(excess / ladder.sizes + LEAST_LEVEL)


def _levels(moment: Moment, ladder: Ladder) -> Iterator[Feature]:
    """Levels of demand, over the candidate."""
    with needs("numpy"):
        import numpy as np
    hour, day = moment.hour, moment.day
    demand = moment.demand[:, -PAST_DAYS * day :]
    newest = demand[:, -day:]
    landing = demand.shape[1] + moment.lead
    ordered = np.sort(newest, axis=1)
    wide = [_slot(demand, landing - days * day - hour // 2, 2 * hour) for days in range(1, PAST_DAYS)]
    peaks = _sliding(demand, hour)[:, ::hour]
    change = np.abs(np.diff(newest, axis=1))
    levels = {
        **{f"slot_{days}d": _slot(demand, landing - days * day, hour) for days in SLOT_DAYS},
        "slot_usual": np.median(wide, axis=0),
        "last": demand[:, -1],
        "last_but_one": demand[:, -2],
        "maximum_15min": demand[:, -hour // 4 :].max(axis=1),
        "maximum_1h": peaks[:, -1],
        "maximum_3h": peaks[:, -3:].max(axis=1),
        "maximum_24h": ordered[:, -1],
        "maximum_3d": peaks[:, -72:].max(axis=1),
        "maximum_7d": peaks.max(axis=1),
        "mean_1h": demand[:, -hour:].mean(axis=1),
        "mean_24h": newest.mean(axis=1),
        "mean_7d": demand.mean(axis=1),
        "median_24h": ordered[:, day // 2],
        "p95_24h": ordered[:, day * 95 // 100],
        "p90_hours_7d": np.sort(peaks, axis=1)[:, peaks.shape[1] * 9 // 10],
        "change_1h": change[:, -hour:].mean(axis=1),
        "change_24h": change.mean(axis=1),
    }
    log_sizes = np.log(ladder.sizes)
    least = LEAST_LEVEL * moment.capacity
    for name, level in levels.items():
        yield name, np.clip(np.log(level + least)[:, None] - log_sizes, FAR_LOG, NEAR_LOG)


def _calendar(moment: Moment, ladder: Ladder) -> Iterator[Feature]:
    with needs("numpy"):
        import numpy as np
    hour, day = moment.hour, moment.day
    shape = (len(moment.capacity), 1)
    landing = moment.since_midnight + moment.lead
    angle = 2 * np.pi * (landing % day) / day
    yield "share_of_capacity", np.log(ladder.sizes / moment.capacity[:, None])
    yield "capacity", np.log(moment.capacity)[:, None]
    yield "sine_of_day", np.full(shape, np.sin(angle))
    yield "cosine_of_day", np.full(shape, np.cos(angle))
    yield "weekday", np.full(shape, (moment.weekday + landing // day) % 7)
    for hours in WINDOWS_H:
        yield f"saturated_{hours}h", np.log1p(moment.saturated[:, -hours * hour :].sum(axis=1))[:, None]


def _above(exceeded: Bins) -> Doubles:
    """How many of the values [V, T], given as the number of candidates they exceed, exceed each candidate: [V, K]."""
    return _suffix(_counted(exceeded, COUNT + 1))


def _since(exceeded: Bins, peaks: Bins, hour: int) -> Doubles:
    """For how many intervals each candidate was not exceeded [V, K]: by the hour, then within the hour where it was."""
    with needs("numpy"):
        import numpy as np
    hours = peaks.shape[1] - _above(np.maximum.accumulate(peaks[:, ::-1], axis=1))
    newest_first = exceeded[:, ::-1].reshape(len(exceeded), -1, hour)
    where = np.minimum(hours, peaks.shape[1] - 1).astype(np.int64)[:, :, None]
    within = np.take_along_axis(newest_first, where, axis=1) > np.arange(COUNT)[:, None]
    return np.asarray(hours * hour + within.argmax(axis=2))


def _recurrences(exceeded: Bins, hourly: Bins, moment: Moment) -> Iterator[tuple[str, Doubles, Doubles]]:
    """How often what followed moments like this one exceeded each candidate [V, K], and how many there were [V].

    Moments are alike by the last interval, or by the last hour.
    """
    with needs("numpy"):
        import numpy as np
    after = hourly[:, moment.hour + moment.lead :]  # of the hour that begins lead after an hour's end

    def alike(state: Bins) -> Bins:
        """1 where it was; the difference wraps around below 0."""
        return np.asarray((state[:, : after.shape[1]] - (state[:, -1:] - ALIKE) <= 2 * ALIKE).view(np.uint8))

    kind = alike(exceeded[:, moment.hour - 1 :]) + 2 * alike(hourly)
    cells = _counted(after + (COUNT + 1) * kind, 4 * (COUNT + 1)).reshape(-1, 2, 2, COUNT + 1)
    for name, of_kind in (("last", cells[:, :, 1].sum(axis=1)), ("1h", cells[:, 1].sum(axis=1))):
        count = of_kind.sum(axis=1)
        yield name, _suffix(of_kind) / (count + 1.0)[:, None], count


def _sliding(values: npt.NDArray[Number], width: int) -> npt.NDArray[Number]:
    """Maximum of each ``width`` neighbours, by the first of them: [V, T - width + 1]."""
    with needs("numpy"):
        import numpy as np
    done = 1
    while done < width:
        step = min(done, width - done)
        values = np.maximum(values[:, :-step], values[:, step:])
        done += step
    return values


def _excess(demand: Floats, exceeded: Bins, above: Doubles, ladder: Ladder) -> Doubles:
    """Mean demand beyond each candidate: [V, K]."""
    with needs("numpy"):
        import numpy as np
    beyond = _suffix(_counted(exceeded, COUNT + 1, weights=demand.ravel())) - above * ladder.sizes
    return np.asarray(np.maximum(beyond, 0.0) / demand.shape[1])


def _counted(numbers: Bins, below: int, weights: Optional[Floats] = None) -> npt.NDArray[Any]:
    """How often each number from 0 to ``below`` - 1 stands in each row, or the weights of those: [V, below]."""
    with needs("numpy"):
        import numpy as np
    rows = np.arange(0, len(numbers) * below, below)
    return np.bincount((numbers + rows[:, None]).ravel(), weights, len(rows) * below).reshape(-1, below)


def _suffix(counts: npt.NDArray[Any]) -> Doubles:
    """From what fell on each number of candidates exceeded, [V, K + 1], to what exceeds each candidate, [V, K]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.cumsum(counts[:, ::-1], axis=1)[:, COUNT - 1 :: -1], dtype=np.float64)


def _slot(values: npt.NDArray[Any], first: int, count: int) -> npt.NDArray[Any]:
    """Maximum [V] of ``count`` columns from ``first``, as far as they are known; the oldest where none is."""
    largest: npt.NDArray[Any] = values[:, max(first, 0) : max(first + count, 1)].max(axis=1)
    return largest
