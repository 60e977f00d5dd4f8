# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a VM's past, relative to each candidate size: the input of the outcome model.

Everything is either a count of exceedances of the candidate or the logarithm of a level over it, so that one model
serves VMs of every size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar, Union

from .._core.needs import needs
from .._records.candidates import COUNT, Ladder
from .._records.series import DAY_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
WORD = 8  # bytes
MOST_WORDS = 255  # of flags, to add up


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
    """Names [F] and values [V, K, F] for all candidates of the ladder; in memory the features come first."""
    with needs("numpy"):
        import numpy as np
    found = [*_exceedances(moment, ladder), *_levels(moment, ladder), *_calendar(moment, ladder)]
    values = np.empty((len(found), len(moment.capacity), COUNT), dtype=np.float32).transpose(1, 2, 0)
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
    landing = demand.shape[1] + moment.lead
    slots = np.stack([_slot(exceeded, landing - days * day, hour) for days in range(1, PAST_DAYS + 1)], axis=1)
    # A burst begins where a candidate is exceeded that was not exceeded just before.
    again = np.minimum(exceeded[:, 1:], exceeded[:, :-1])
    alike, after = _recurrences(exceeded, hourly, moment)
    windows = dict(zip(WINDOWS_H, (0, *WINDOWS_H)))  # each without the one before
    end = exceeded.shape[1]
    above = _above(
        {
            **{f"{hours}h": exceeded[:, end - hours * hour : end - newer * hour] for hours, newer in windows.items()},
            "hours_24h": peaks[:, -24:],
            "hours_7d": peaks,
            "slots_3d": slots[:, :3],
            "slots_7d": slots,
            "first_7d": exceeded[:, :1],
            "first_24h": exceeded[:, -day : -day + 1],
            "again_24h": again[:, -day + 1 :],
            "again_7d": again[:, : -day + 1],
            "hours_since": np.maximum.accumulate(peaks[:, ::-1], axis=1),
            **{f"after_{name}": after * flags.view(np.uint8) for name, flags in alike.items()},
        },
        COUNT,
    )
    for hours, newer in windows.items():
        above[f"{hours}h"] += above[f"{newer}h"] if newer else 0
        yield f"exceeded_{hours}h", np.log1p(2000 * above[f"{hours}h"] / (hours * hour))
    yield "exceeded_hours_24h", above["hours_24h"]
    yield "exceeded_hours_7d", np.log1p(above["hours_7d"])
    yield "exceeded_slots_3d", above["slots_3d"]
    yield "exceeded_slots_7d", above["slots_7d"]
    again_7d = above["again_24h"] + above["again_7d"]
    yield "onsets_7d", np.log1p(above[f"{24 * PAST_DAYS}h"] - above["first_7d"] - again_7d)
    yield "onsets_24h", np.log1p(above["24h"] - above["first_24h"] - above["again_24h"])
    yield "since_exceeded", np.log1p(_since(exceeded, peaks.shape[1] - above["hours_since"], hour))
    counts = _above(alike, 1)
    for name in alike:
        yield f"recurs_{name}", above[f"after_{name}"] / (counts[name] + 1.0)
        yield f"alike_{name}", np.log1p(counts[name])
    excess = _excess(demand[:, -day:], exceeded[:, -day:], above["24h"], ladder)
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
    peaks = _blocks(demand, hour)
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
    saturated = _above({f"{hours}h": moment.saturated[:, -hours * hour :] for hours in WINDOWS_H}, 1)
    for name, count in saturated.items():
        yield f"saturated_{name}", np.log1p(count)


def _above(pieces: Mapping[str, Union[Bins, Flags]], below: int) -> dict[str, Doubles]:
    """How many values of each piece [V, T] are above 0, 1, ... ``below`` - 1: of each [V, below].

    Whether a value is takes one byte; of eight such bytes at a time the words are added up, as many as no byte of the
    sum overflows for. All pieces at once, for a call costs as much as a few hundred values.
    """
    with needs("numpy"):
        import numpy as np
    rows = len(next(iter(pieces.values())))
    words = [-(-piece.shape[1] // WORD) for piece in pieces.values()]
    firsts = [0, *accumulate(words)]
    values = np.zeros((rows, firsts[-1] * WORD), dtype=np.uint8)  # 0 is above nothing
    for piece, first in zip(pieces.values(), firsts):
        values[:, first * WORD : first * WORD + piece.shape[1]] = piece
    parts = [range(first, first + count, MOST_WORDS) for first, count in zip(firsts, words)]
    starts = [start for part in parts for start in part]
    flags = np.empty(values.shape, dtype=np.bool_)
    sums = np.empty((rows, below, len(starts)), dtype=np.uint64)
    for number in range(below):
        np.greater(values, number, out=flags)
        np.add.reduceat(flags.view(np.uint64), starts, axis=1, out=sums[:, number])
    even = np.uint64(0x00FF00FF00FF00FF)
    pairs = (sums & even) + ((sums >> np.uint64(8)) & even)
    of_parts = (pairs * np.uint64(0x0001000100010001)) >> np.uint64(48)
    ends = [0, *accumulate(len(part) for part in parts)]
    return {
        name: of_parts[:, :, first:end].sum(axis=2).astype(np.float64)
        for name, first, end in zip(pieces, ends, ends[1:])
    }


def _since(exceeded: Bins, hours: Doubles, hour: int) -> Doubles:
    """For how many intervals each candidate was not exceeded [V, K], of whole ``hours`` [V, K] and within the next."""
    with needs("numpy"):
        import numpy as np
    newest_first = exceeded[:, ::-1].reshape(len(exceeded), -1, hour)
    where = np.minimum(hours, newest_first.shape[1] - 1).astype(np.int64)[:, :, None]
    within = np.take_along_axis(newest_first, where, axis=1) > np.arange(COUNT)[:, None]
    return np.asarray(hours * hour + within.argmax(axis=2))


def _recurrences(exceeded: Bins, hourly: Bins, moment: Moment) -> tuple[dict[str, Flags], Bins]:
    """Which moments were like this one, by the last interval and by the last hour; and what followed [V, T]."""
    with needs("numpy"):
        import numpy as np
    after = hourly[:, moment.hour + moment.lead :]  # of the hour that begins lead after an hour's end
    states = {"last": exceeded[:, moment.hour - 1 :], "1h": hourly}
    # The difference wraps around below 0.
    return {
        name: np.asarray(state[:, : after.shape[1]] - (state[:, -1:] - ALIKE) <= 2 * ALIKE)
        for name, state in states.items()
    }, after


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


def _blocks(values: Floats, width: int) -> Floats:
    """Maximum of each ``width`` values, one after another: [V, T / width]."""
    with needs("numpy"):
        import numpy as np
    while width > 1:
        part = next(one for one in range(2, width + 1) if width % one == 0)
        values = reduce(np.maximum, (values[:, place::part] for place in range(part)))
        width //= part
    return values


def _excess(demand: Floats, exceeded: Bins, above: Doubles, ladder: Ladder) -> Doubles:
    """Mean demand beyond each candidate: [V, K]."""
    with needs("numpy"):
        import numpy as np
    rows, least = len(demand), COUNT + 1
    cells = (exceeded + np.arange(0, rows * least, least)[:, None]).ravel()
    by_number = np.bincount(cells, demand.ravel(), rows * least).reshape(rows, least)
    # From what fell on each number of candidates exceeded to what exceeds each candidate.
    beyond = np.cumsum(by_number[:, ::-1], axis=1)[:, COUNT - 1 :: -1] - above * ladder.sizes
    return np.asarray(np.maximum(beyond, 0.0) / demand.shape[1])


def _slot(values: npt.NDArray[Any], first: int, count: int) -> npt.NDArray[Any]:
    """Maximum [V] of ``count`` columns from ``first``, as far as they are known; the oldest where none is."""
    largest: npt.NDArray[Any] = values[:, max(first, 0) : max(first + count, 1)].max(axis=1)
    return largest
