# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a VM's past, relative to each candidate size: the input of the outcome model.

Everything is either a count of exceedances of the candidate or the logarithm of a level over it, so that one model
serves VMs of every size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

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

VERSION = 1  # raised whenever a column comes to mean something else: a model of another version is foreign
HOUR_S = 3600
PAST_DAYS = 7
WINDOWS_H = (1, 6, 24, 72, 24 * PAST_DAYS)  # exceedances are counted over each
SLOT_DAYS = (1, 2, 3, 7)  # the same hour, so many days ago
NEAR_LOG, FAR_LOG = 5.0, -6.0  # levels beyond exp of these, over the candidate, are all the same
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

    def only(self, rows: npt.NDArray[np.int64]) -> Moment:
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
    total = np.zeros((len(demand), COUNT))
    newer = 0
    for hours in WINDOWS_H:
        end = exceeded.shape[1] - newer
        newer = hours * hour
        total += _above(exceeded[:, -newer:end])
        yield f"exceeded_{hours}h", np.log1p(2000 * total / newer)
    peaks = exceeded.reshape(len(exceeded), -1, hour).max(axis=2)
    yield "exceeded_hours_24h", _above(peaks[:, -24:])
    yield "exceeded_hours_7d", np.log1p(_above(peaks))
    landing = demand.shape[1] + moment.lead
    slots = np.stack([_slot(exceeded, landing - days * day, hour) for days in range(1, PAST_DAYS + 1)], axis=1)
    yield "exceeded_slots_3d", _above(slots[:, :3])
    yield "exceeded_slots_7d", _above(slots)
    onsets = _onsets(exceeded)
    yield "onsets_7d", np.log1p(onsets)
    yield "onsets_24h", np.log1p(_onsets(exceeded[:, -day:]))
    newest = np.maximum.accumulate(exceeded[:, ::-1], axis=1)
    yield "since_exceeded", np.log1p(newest.shape[1] - _above(newest))
    for name, share, count in _recurrences(exceeded, moment):
        yield f"recurs_{name}", share
        yield f"alike_{name}", np.log1p(count)[:, None]
    yield "excess_24h", np.log(_excess(demand[:, -day:], exceeded[:, -day:], ladder) / ladder.sizes + LEAST_LEVEL)


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
    peaks = demand.reshape(len(demand), -1, hour).max(axis=2)
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
    with needs("numpy"):
        import numpy as np
    return _suffix(np.bincount(_cells(exceeded), minlength=len(exceeded) * (COUNT + 1)), len(exceeded))


def _recurrences(exceeded: Bins, moment: Moment) -> Iterator[tuple[str, Doubles, Doubles]]:
    """How often what followed moments like this one exceeded each candidate [V, K], and how many there were [V].

    Moments are alike where the last interval, or the last hour, stood within a rung of the ladder.
    """
    with needs("numpy"):
        import numpy as np
    hour, lead = moment.hour, moment.lead
    hourly = _sliding(exceeded, hour)  # [V, T - hour + 1], the maximum of an hour by its first column
    after = hourly[:, hour + lead :]  # of the hour that begins lead after an hour's end
    moments = after.shape[1]
    for name, state in (("last", exceeded[:, hour - 1 :]), ("1h", hourly)):
        now = state[:, -1, None].astype(np.int16)
        alike = np.abs(state[:, :moments] - now) <= 1
        count = np.count_nonzero(alike, axis=1)
        cells = np.bincount(_cells(after), weights=alike.ravel(), minlength=len(after) * (COUNT + 1))
        yield name, _suffix(cells, len(after)) / (count + 1.0)[:, None], count


def _sliding(values: Bins, width: int) -> Bins:
    """Maximum of each ``width`` neighbours: [V, T - width + 1]."""
    with needs("numpy"):
        import numpy as np
    done = 1
    while done < width:
        step = min(done, width - done)
        values = np.maximum(values[:, :-step], values[:, step:])
        done += step
    return values


def _onsets(exceeded: Bins) -> Doubles:
    """How often demand rose above each candidate: [V, K]."""
    with needs("numpy"):
        import numpy as np
    both = np.minimum(exceeded[:, 1:], exceeded[:, :-1])  # exceeded before already
    return _above(exceeded[:, 1:]) - _above(np.asarray(both))


def _excess(demand: Floats, exceeded: Bins, ladder: Ladder) -> Doubles:
    """Mean demand beyond each candidate: [V, K]."""
    with needs("numpy"):
        import numpy as np
    cells = np.bincount(_cells(exceeded), weights=demand.ravel(), minlength=len(demand) * (COUNT + 1))
    beyond = _suffix(cells, len(demand)) - _above(exceeded) * ladder.sizes
    return np.asarray(np.maximum(beyond, 0.0) / demand.shape[1])


def _cells(exceeded: Bins) -> npt.NDArray[Any]:
    with needs("numpy"):
        import numpy as np
    return (exceeded + np.arange(len(exceeded), dtype=np.int64)[:, None] * (COUNT + 1)).ravel()


def _suffix(cells: npt.NDArray[Any], vms: int) -> Doubles:
    """From what fell on each number of candidates exceeded, [V * (K + 1)], to what exceeds each candidate, [V, K]."""
    with needs("numpy"):
        import numpy as np
    of_vm = cells.reshape(vms, COUNT + 1)[:, ::-1]
    return np.asarray(np.cumsum(of_vm, axis=1)[:, COUNT - 1 :: -1], dtype=np.float64)


def _slot(values: npt.NDArray[Any], first: int, count: int) -> npt.NDArray[Any]:
    """Maximum [V] of ``count`` columns from ``first``, as far as they are known; the oldest where none is."""
    largest: npt.NDArray[Any] = values[:, max(first, 0) : max(first + count, 1)].max(axis=1)
    return largest
