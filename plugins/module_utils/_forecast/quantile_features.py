# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the quantile trees look at: the past of many series as numbers without a unit.

Levels are told relative to the last value and in units of the series' own scale, so that one model serves millicores,
MiB and per cent, large and small. What carries most: the maximum of windows from minutes to a week, quantiles, the same
minute of past hours and the same time of past days, and *analogs*: what followed the moments of the last week that
looked most like now (nearest neighbours of the last samples, at any minute and at the same minute of the hour).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs
from .._records.series import DAY_S
from .engines import HOUR_S, LEAST_KNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

VERSION = 1  # of the features: a model is asked only about those that it was trained on
LAGS = 11
WEEK_DAYS = 7
BESIDE = 2  # samples on either side of the same time of past days
CHANGES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
STEPS_OF_ANALOG = 6  # samples compared
ANALOGS = 24
PHASED_ANALOGS = 10  # at the same minute of the hour, compared over PHASED_STEPS samples
PHASED_STEPS = 4
FADING = 0.3  # how much less an older sample counts in the comparison


@dataclass(frozen=True)
class Clock:
    """Steps in the spans of time that demand repeats itself in."""

    interval_s: int

    @property
    def day(self) -> int:
        """Steps in a day."""
        return DAY_S // self.interval_s

    @property
    def cycle(self) -> int:
        """Steps in an hour, the beat of scheduled jobs; in a day, where a step is an hour or more."""
        return HOUR_S // self.interval_s if self.interval_s < HOUR_S else self.day

    @property
    def week(self) -> int:
        """Steps in a week."""
        return WEEK_DAYS * self.day

    @property
    def columns(self) -> int:
        """How far the features look back."""
        return self.week + self.day

    @property
    def furthest(self) -> int:
        """Steps ahead that they can tell of: the same minute of the last hour must be past, and what is beside it."""
        return min(self.cycle, self.day - BESIDE)


@dataclass(frozen=True)
class Described:
    """V series at one moment."""

    values: Floats  # [V, H, F]
    last: Floats  # [V]
    scale: Floats  # [V]


def unfit(past: Floats, clock: Clock) -> dict[str, Flags]:
    """Which series [V] the trees can neither learn from nor speak of, by reason: these checks come before all else."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(past)
    recent = known[:, -clock.day :]
    whole = past.shape[1] >= clock.day
    return {
        "a value is negative or infinite": np.asarray((past < 0).any(axis=1) | np.isinf(past).any(axis=1)),
        "less than a day is known": np.asarray(
            ~known[:, : max(past.shape[1] - clock.day + 1, 0)].any(axis=1) | (not whole)
        ),
        "most of the last day is missing": np.asarray(
            np.count_nonzero(recent, axis=1) < LEAST_KNOWN * max(recent.shape[1], 1)
        ),
    }


def filled(past: Floats, clock: Clock) -> Floats:
    """The last ``clock.columns``: a gap holds the value before it, the time before the first value holds that value."""
    with needs("numpy"):
        import numpy as np
    window = past[:, -clock.columns :]
    known = ~np.isnan(window)
    first = np.argmax(known, axis=1)
    place = np.maximum.accumulate(np.where(known, np.arange(window.shape[1]), first[:, None]), axis=1)
    value = np.take_along_axis(window, place, axis=1)
    short = clock.columns - window.shape[1]
    if short > 0:
        value = np.concatenate([np.repeat(value[:, :1], short, axis=1), value], axis=1)
    return np.ascontiguousarray(value, dtype=np.float32)


def fit_rows(past: Floats, clock: Clock) -> Integers:
    """Numbers of the series that are not ``unfit``."""
    with needs("numpy"):
        import numpy as np
    return np.flatnonzero(~np.logical_or.reduce(list(unfit(past, clock).values())))


def scale_of(window: Floats, clock: Clock, finest: float) -> Floats:
    """The unit [V] that a series is told in: its deviation, mostly that of the last day."""
    with needs("numpy"):
        import numpy as np
    hour, day, week = window[:, -clock.cycle :], window[:, -clock.day :], window[:, -clock.week :]
    variance = 0.6 * day.var(axis=1) + 0.2 * week.var(axis=1) + 0.2 * hour.var(axis=1)
    return np.asarray(np.sqrt(variance + finest**2), dtype=np.float32)


def names(clock: Clock) -> tuple[str, ...]:
    """Return what the columns of ``describe`` are called."""
    with needs("numpy"):
        import numpy as np
    ramp = np.tile(np.arange(clock.columns, dtype=np.float32), (1, 1))
    moment = _moment(ramp, clock, 1.0)
    return (*moment.names, *_step(ramp, clock, 1, moment).names)


def describe(window: Floats, clock: Clock, steps: Sequence[int], *, finest: float) -> Described:
    """Describe series [V, clock.columns] without NaN, as they stand at the end, for the values so many steps ahead.

    Of a series that varies by less than ``finest``, that is the scale: to such a one nothing that happens is little.
    """
    with needs("numpy"):
        import numpy as np
    moment = _moment(window, clock, finest)
    shared = moment.matrix()
    values = [np.concatenate([shared, _step(window, clock, step, moment).matrix()], axis=1) for step in steps]
    return Described(np.stack(values, axis=1), moment.last, moment.scale)


class _Columns:
    """Columns under way: a level is told relative to the last value, a change in units of the scale."""

    def __init__(self, last: Floats, scale: Floats) -> None:
        self.last, self.scale = last, scale
        self.names: list[str] = []
        self._values: list[Floats] = []

    def level(self, name: str, value: Floats) -> None:
        self.plain(name, (value - self.last) / self.scale)

    def levels(self, name: str, values: Floats, at: Sequence[float]) -> None:
        for share, value in zip(at, ranked(values, at)):
            self.level(f"{name}_{share}", value)

    def change(self, name: str, value: Floats) -> None:
        self.plain(name, value / self.scale)

    def changes(self, name: str, values: Floats, at: Sequence[float]) -> None:
        for share, value in zip(at, ranked(values, at)):
            self.change(f"{name}_{share}", value)

    def plain(self, name: str, value: Floats) -> None:
        self.names.append(name)
        self._values.append(value)

    def matrix(self) -> Floats:
        with needs("numpy"):
            import numpy as np
        return np.stack(self._values, axis=1).astype(np.float32)


class _Moment(_Columns):
    """What holds for every step, and the analogs: ends of pasts that looked like the present one."""

    analogs: dict[str, Integers]


def _moment(window: Floats, clock: Clock, finest: float) -> _Moment:
    with needs("numpy"):
        import numpy as np
    day, week = window[:, -clock.day :], window[:, -clock.week :]
    to = _Moment(window[:, -1], scale_of(window, clock, finest))
    for lag in range(1, LAGS + 1):
        to.level(f"lag_{lag}", window[:, -1 - lag])
    for width in (3, 6, 12, 36, 72, clock.day, 3 * clock.day, clock.week):
        of = window[:, -width:]
        to.level(f"mean_{width}", of.mean(axis=1))
        to.level(f"maximum_{width}", of.max(axis=1))
        to.level(f"minimum_{width}", of.min(axis=1))
        to.change(f"deviation_{width}", of.std(axis=1))
    for width in (36, clock.day, clock.week):
        to.levels(f"last_{width}", window[:, -width:], LEVELS)
    moves = np.abs(np.diff(window, axis=1))
    for width in (6, 12, 72, clock.day, clock.week):
        to.change(f"move_{width}", moves[:, -width:].mean(axis=1))
    to.plain("rank_day", (day < to.last[:, None]).mean(axis=1))
    to.plain("rank_week", (week < to.last[:, None]).mean(axis=1))
    to.plain("since_move", _since(moves[:, -clock.week :] > (0.75 * to.scale)[:, None]))
    to.change("last", to.last)
    to.analogs = {
        name: _analogs(window, to, name, of)
        for name, of in (
            ("analog", _Search(clock, stride=1, compared=STEPS_OF_ANALOG, kept=ANALOGS)),
            ("phased", _Search(clock, stride=clock.cycle, compared=PHASED_STEPS, kept=PHASED_ANALOGS)),
        )
    }
    return to


@dataclass(frozen=True)
class _Search:
    clock: Clock
    stride: int
    compared: int
    kept: int


def _analogs(window: Floats, to: _Moment, name: str, search: _Search) -> Integers:
    """Ends [V, kept] in the last week that come nearest to the present one; what followed them is past."""
    with needs("numpy"):
        import numpy as np
    now = window.shape[1] - 1
    # Newest first; from each the furthest step ahead is past.
    place = np.arange(now - search.clock.cycle, now - search.clock.week + search.compared, -search.stride)
    distance = np.zeros((len(window), len(place)), dtype=np.float32)
    for back in range(search.compared):
        distance += (window[:, place - back] - window[:, now - back][:, None]) ** 2 / np.float32(1 + FADING * back)
    kept = min(search.kept, len(place))
    nearest = np.argpartition(distance, kept - 1, axis=1)[:, :kept]
    to.change(f"{name}_distance", np.sqrt(np.take_along_axis(distance, nearest, axis=1).mean(axis=1)))
    return np.asarray(place[nearest], dtype=np.int64)


def _step(window: Floats, clock: Clock, step: int, moment: _Moment) -> _Columns:
    """Columns for the value ``step`` ahead."""
    with needs("numpy"):
        import numpy as np
    to = _Columns(moment.last, moment.scale)
    _days(to, window, clock, step)
    _hours(to, window, clock, step)
    ahead = window[:, step:] - window[:, :-step]
    for name, of in (("day", ahead[:, -clock.day :: 2]), ("week", ahead[:, -clock.week :: 4])):
        to.changes(f"ahead_in_{name}", of, CHANGES)
    for name, ends in moment.analogs.items():
        then = np.take_along_axis(window, ends + step, axis=1)
        moved = then - np.take_along_axis(window, ends, axis=1)
        to.levels(name, then, (0.1, 0.5, 0.8, 0.9, 0.95))
        to.level(f"{name}_mean", then.mean(axis=1))
        to.changes(f"{name}_moved", moved, (0.5, 0.9))
        to.change(f"{name}_moved_mean", moved.mean(axis=1))
    to.plain("step", np.full(len(window), step, dtype=np.float32))
    return to


def _days(to: _Columns, window: Floats, clock: Clock, step: int) -> None:
    """Add the same time of the last days, what stands beside it, and what happened from the present time to it."""
    with needs("numpy"):
        import numpy as np
    now = window.shape[1] - 1
    back = clock.day * np.arange(1, WEEK_DAYS + 1)
    then = window[:, now + step - back]
    for days in (1, 2, 3, 7):
        to.level(f"day_{days}", then[:, days - 1])
    to.levels("days", then, (0.0, 0.5, 0.83, 1.0))
    to.level("days_mean", then.mean(axis=1))
    around = window[:, (now + step - back[:, None] + np.arange(-BESIDE, BESIDE + 1)[None, :]).ravel()]
    to.levels("around", around, (0.5, 0.8, 0.95))
    to.level("around_yesterday", around[:, : 2 * BESIDE + 1].max(axis=1))
    moved = then - window[:, now - back]
    to.changes("days_moved", moved, (0.17, 0.5, 0.83))
    to.change("days_moved_mean", moved.mean(axis=1))


def _hours(to: _Columns, window: Floats, clock: Clock, step: int) -> None:
    """Add the same minute of the last hours, and what happened from the present minute to it."""
    with needs("numpy"):
        import numpy as np
    now = window.shape[1] - 1
    back = clock.cycle * np.arange(1, clock.week // clock.cycle + 1)
    then = window[:, now + step - back]
    moved = then - window[:, now - back]
    for hours in (1, 2, 3, 4, 6):
        to.level(f"hour_{hours}", then[:, hours - 1])
    to.level("six_hours_mean", then[:, :6].mean(axis=1))
    to.level("six_hours_maximum", then[:, :6].max(axis=1))
    to.levels("hours", then[:, :24], (0.5, 0.9, 1.0))
    to.level("hours_mean", then[:, :24].mean(axis=1))
    to.levels("hours_of_week", then, (0.5, 0.9, 0.95))
    to.changes("hours_moved", moved[:, :24], (0.5, 0.9))
    to.changes("hours_of_week_moved", moved, (0.1, 0.5, 0.9, 0.95))


def ranked(values: Floats, levels: Sequence[float]) -> list[Floats]:
    """Order statistics along the last axis, the nearest to each level."""
    with needs("numpy"):
        import numpy as np
    ascending = np.sort(values, axis=-1)
    return [ascending[..., round(level * (values.shape[-1] - 1))] for level in levels]


def _since(happened: Flags) -> Floats:
    """Steps since it last did; the width, if never."""
    with needs("numpy"):
        import numpy as np
    backwards = happened[:, ::-1]
    never = ~backwards.any(axis=1)
    return np.asarray(np.where(never, happened.shape[1], np.argmax(backwards, axis=1)), dtype=np.float32)
