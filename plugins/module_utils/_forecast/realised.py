# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts held against what came: each interval by the newest forecast issued before it, at the size there was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Optional

from .._core.needs import needs
from .._core.units import SECOND_US
from .grid import Span, past
from .scores import covered, pinball

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

# The interval that should cover 90 %, from one quantile to another: the first whose quantiles the forecast has. None:
# from nothing on, for sizes rest on upper quantiles, and a forecast need not have any other.
BANDS: tuple[tuple[Optional[str], str], ...] = (("0.05", "0.95"), (None, "0.9"))
UNKNOWN = -1  # time of a forecast where there is none


@dataclass(frozen=True)
class Frame:
    """V VMs and T forecast intervals that follow each other, of one metric."""

    unique_ids: Sequence[str]
    metric: str
    start_us: int  # START of the first interval
    interval_s: int
    columns: int  # T

    @property
    def step_us(self) -> int:
        """Length of an interval."""
        return self.interval_s * SECOND_US


class Foretold:
    """What was forecast of a frame, filled from the newest forecast to the oldest."""

    def __init__(self, frame: Frame, quantiles: Sequence[str]) -> None:
        with needs("numpy"):
            import numpy as np
        shape = (len(frame.unique_ids), frame.columns)
        self.frame = frame
        self.quantiles = tuple(quantiles)  # ascending, in their normal form
        self.values: Doubles = np.full((*shape, len(quantiles)), np.nan)
        self.issued_us: Integers = np.full(shape, UNKNOWN, dtype=np.int64)

    @property
    def oldest_us(self) -> int:
        """When the oldest forecast that speaks was issued; where none does, the START of the frame."""
        spoken = self.issued_us != UNKNOWN
        return int(self.issued_us[spoken].min()) if spoken.any() else self.frame.start_us

    def add(self, table: pa.Table, *, target: str, spelled: Mapping[str, str], issued_us: int, end_us: int) -> None:
        """Take what this forecast (``spelled``: its quantiles as they stand in it -> normal) says before ``end_us``.

        Intervals of which a newer forecast spoke stay as they are. A forecast without one of the quantiles leaves it
        NaN.
        """
        with needs("pyarrow"):
            import pyarrow as pa
        frame = self.frame
        last_us = min(end_us, frame.start_us + frame.columns * frame.step_us)
        ds_us = table["ds"].cast(pa.int64()).to_numpy()
        chosen = (ds_us >= frame.start_us) & (ds_us < last_us) & ((ds_us - frame.start_us) % frame.step_us == 0)
        found = {
            "metric": [frame.metric],
            "target": [target],
            "unique_id": frame.unique_ids,
            "quantile": [_spelling(spelled, quantile) for quantile in self.quantiles],
        }
        places = {name: _places(table[name], words) for name, words in found.items()}
        for place in places.values():
            chosen &= place >= 0
        vm, level = places["unique_id"][chosen], places["quantile"][chosen]
        column, value = (ds_us[chosen] - frame.start_us) // frame.step_us, table["value"].to_numpy()[chosen]
        free = self.issued_us[vm, column] == UNKNOWN
        vm, level, column, value = (of[free] for of in (vm, level, column, value))
        self.values[vm, column, level] = value
        self.issued_us[vm, column] = issued_us


class Truth(NamedTuple):
    """What came [V, T], and the last value known when each forecast was issued [V, T]; NaN where nothing was."""

    values: Doubles
    naive: Doubles


def truth_of(table: pa.Table, foretold: Foretold, *, target: str, series_interval_s: int, late_s: int) -> Truth:
    """Read it from interval rows that reach back to ``late_s`` before the oldest forecast was issued.

    Raises ``forecast.rows``.
    """
    with needs("numpy"):
        import numpy as np
    frame, issued = foretold.frame, foretold.issued_us
    shape = (len(frame.unique_ids), frame.columns)
    empty = np.full(shape, np.nan)
    if not (issued != UNKNOWN).any():
        return Truth(empty, empty)
    late = -(-late_s // frame.interval_s)
    before = max(0, -((foretold.oldest_us - frame.start_us) // frame.step_us)) + late
    span = Span(
        cutoff_us=frame.start_us + frame.columns * frame.step_us,
        series_interval_s=series_interval_s,
        interval_s=frame.interval_s,
        columns=int(before) + frame.columns,
    )
    known = past(table, metric=frame.metric, target=target, span=span)
    place = {unique_id: row for row, unique_id in enumerate(frame.unique_ids)}
    values = np.full((shape[0], span.columns), np.nan)
    mine = [row for row, unique_id in enumerate(known.unique_ids) if unique_id in place]
    values[[place[known.unique_ids[row]] for row in mine]] = known.values[mine]
    # The newest interval known that was over when the forecast was issued, and not older than ``late``.
    number = np.where(np.isnan(values), -1, np.arange(span.columns))
    newest = np.maximum.accumulate(number, axis=1)
    at = np.clip((issued - span.start_us) // frame.step_us - 1, 0, span.columns - 1)
    found = np.take_along_axis(newest, at, axis=1)
    usable = (issued != UNKNOWN) & (found >= 0) & (at - found < late)
    naive = np.where(usable, np.take_along_axis(values, np.maximum(found, 0), axis=1), np.nan)
    return Truth(values[:, int(before) :], naive)


class Scores(NamedTuple):
    """Of each VM and interval, [V, T]; zeros where ``scored`` is not."""

    scored: Flags
    missed: Flags  # it was forecast, and what came, what was known or the size is not known
    violated: Flags
    loss: Doubles
    naive_loss: Doubles
    banded: Flags
    covered: Doubles


def score(
    foretold: Foretold,
    truth: Truth,
    *,
    size: Doubles,
    quantile: Sequence[str],
    share: Doubles,
    short: Flags,
) -> Scores:
    """Score it at the ``size`` [V, T] there was, in the metric's unit, and at the quantile [V] that the policy names.

    What was seen at the size, at ``share`` [V, 1] of it or more, is a lower bound of what was wanted: a violation, and
    for the losses what it is. So is an interval in which something else told that there was too little, ``short``
    [V, T].
    """
    with needs("numpy"):
        import numpy as np
    places = {name: place for place, name in enumerate(foretold.quantiles)}
    at = np.array([places.get(one, -1) for one in quantile], dtype=np.int64)
    level = np.array([float(one) for one in quantile])[:, None]
    value = np.take_along_axis(foretold.values, np.maximum(at, 0)[:, None, None], axis=2)[..., 0]
    value = np.where(at[:, None] >= 0, value, np.nan)
    came, naive = truth
    told = ~np.isnan(value)
    scored = told & ~np.isnan(came) & ~np.isnan(naive) & (size > 0)
    inside, banded = _inside(foretold, came)

    def of(measure: Doubles) -> Doubles:
        return np.where(scored, measure, 0.0)

    with np.errstate(invalid="ignore", divide="ignore"):
        loss, naive_loss = (
            pinball(came, guess[..., None], level[..., None])[..., 0] / size for guess in (value, naive)
        )
        at_size = came >= share * size
    violated = scored & (at_size | short)
    banded = banded & scored
    return Scores(
        scored=scored,
        missed=told & ~scored,
        violated=violated,
        loss=of(loss),
        naive_loss=of(naive_loss),
        banded=banded,
        covered=np.where(banded, inside, 0.0),
    )


def _inside(foretold: Foretold, came: Doubles) -> tuple[Doubles, Flags]:
    """How much of the truth lies in the interval of 90 % [V, T], and where there is such an interval."""
    with needs("numpy"):
        import numpy as np
    names = foretold.quantiles
    band = next(((low, high) for low, high in BANDS if high in names and (low is None or low in names)), None)
    if band is None:
        return np.zeros(came.shape), np.zeros(came.shape, dtype=bool)
    low, high = band
    below = covered(came, foretold.values, np.array([float(name) for name in names]))
    inside = below[..., names.index(high)] - (0.0 if low is None else below[..., names.index(low)])
    # A quantile that a forecast lacks would count as passed.
    return np.asarray(inside, dtype=np.float64), np.asarray(~np.isnan(foretold.values).any(axis=2))


@dataclass(frozen=True)
class Point:
    """What is known of a size at some time: it was ``before`` until ``from_us``, and ``after`` since ``to_us``."""

    from_us: int
    to_us: int
    before: float  # NaN: not known
    after: float


def sizes_along(points: Sequence[Point], frame: Frame) -> Doubles:
    """Sizes [T] of one VM, NaN where one point does not go on where the one before it ended.

    While an act is under way, and in the rest of that interval, its VM counts as having the larger of both sizes.
    """
    with needs("numpy"):
        import numpy as np
    found = np.full(frame.columns, np.nan)
    ordered = sorted(points, key=lambda point: (point.from_us, point.to_us))
    for column in range(frame.columns):
        start = frame.start_us + column * frame.step_us
        over = sum(point.to_us <= start for point in ordered)
        begun = sum(point.from_us < start + frame.step_us for point in ordered)
        if not over or begun == len(ordered):
            continue
        along = ordered[over - 1 : begun + 1]
        if all(before.after == after.before for before, after in zip(along, along[1:])):
            found[column] = max([along[-1].before, *(point.after for point in along[:-1])])
    return found


def _spelling(spelled: Mapping[str, str], quantile: str) -> str:
    return next((text for text, normal in spelled.items() if normal == quantile), "")


def _places(column: pa.ChunkedArray, words: Sequence[str]) -> Integers:
    """Place of each row's word among these; -1: it is none of them."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    value_set = pa.array(list(words), pa.string())
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in encoded.chunks:
        found = pc.fill_null(pc.index_in(chunk.dictionary.cast(pa.string()), value_set=value_set), -1)
        parts.append(np.asarray(found.to_numpy(), dtype=np.int64)[chunk.indices.to_numpy()])
    return np.concatenate(parts)
