# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interval rows as a dense past: one row per VM, one column per forecast interval, NaN where nothing is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM, SECOND_US
from .._records.forecast import TARGET_MAXIMUM

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]

HOUR_S = 3600


@dataclass(frozen=True)
class Span:
    """The stretch of time that is looked at. Telemetry intervals fill forecast intervals, which end at the cutoff."""

    cutoff_us: int
    series_interval_s: int
    interval_s: int
    columns: int  # T, of forecast intervals
    under_way: bool = False  # whether the last telemetry interval is not over

    @property
    def per_column(self) -> int:
        """Telemetry intervals in a forecast interval."""
        return self.interval_s // self.series_interval_s

    @property
    def slots(self) -> int:
        """Telemetry intervals altogether."""
        return self.columns * self.per_column

    @property
    def start_us(self) -> int:
        """START of the first interval."""
        return self.cutoff_us - self.columns * self.interval_s * SECOND_US


@dataclass(frozen=True)
class Past:
    """One metric of V VMs that each have at least one value."""

    unique_ids: list[str]
    values: Floats  # [V, T], the target
    known_ppm: Integers  # [V], share of the telemetry intervals from the first to the last known that have a value
    maxima_ppm: Integers  # [V], share of the known ones whose maximum is known too
    seen_ppm: Integers  # [V], share of the time of the known ones that was sampled
    history_s: Integers  # [V], from the first to the last known interval
    observed_until_us: Integers  # [V], end of the last known interval
    recent_maximum: Floats  # [V], largest value of the hour before observed_until
    rejected: dict[str, str] = field(default_factory=dict)  # other VMs, that have rows which make no sense -> why


def past(table: pa.Table, *, metric: str, target: str, span: Span) -> Past:
    """Lay out one metric of a table of interval rows. Rows outside the span are ignored; a null is not known.

    For the maximum an interval counts with its maximum where that is known, else with its mean. A forecast interval
    takes the maximum of what is known inside it, or the mean, weighted by how much of the time was seen.

    An interval counts however little of it was seen: whoever samples one minute in five has no better estimate of its
    mean, and of its maximum a lower bound, which the truth that engines are scored by is as well. ``seen_ppm`` tells.
    The maximum of an interval under way may yet come: it stands no lower than that of the interval before it.

    A VM with two rows for one time, or with a value that is negative or no number, is rejected, and leaves the others
    as they are. Raises ``forecast.rows`` for rows of another interval.
    """
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    metrics, of = _words(table["metric"])
    rows = np.flatnonzero(of == metrics.index(metric)) if metric in metrics else np.empty(0, dtype=np.int64)
    slot = table["ds"].cast(pa.int64()).to_numpy()[rows] - span.start_us
    slot //= span.series_interval_s * SECOND_US
    mean, maximum = _numbers(table["mean"], rows), _numbers(table["maximum"], rows)
    seen = np.maximum(table["coverage_ppm"].to_numpy()[rows], 1)
    has_maximum = ~np.isnan(maximum)
    peak = np.where(has_maximum, maximum, mean)
    wanted = (slot >= 0) & (slot < span.slots) & ~np.isnan(peak)
    if not wanted.all():
        rows, slot, mean, peak, has_maximum, seen = (of[wanted] for of in (rows, slot, mean, peak, has_maximum, seen))
    if (table["interval_s"].to_numpy()[rows] != span.series_interval_s).any():
        raise _bad(f"The series hold other intervals than {span.series_interval_s} s.")
    vms, vm = _words(table["unique_id"])
    vm = vm[rows]
    wrong = (mean < 0) | (peak < 0) | np.isinf(mean) | np.isinf(peak)
    if wrong.any():
        return _without(
            table, np.unique(vm[wrong]), "a value is negative or no number", metric=metric, target=target, span=span
        )
    present = np.flatnonzero(np.bincount(vm, minlength=len(vms)))
    ascending = sorted(present.tolist(), key=vms.__getitem__)
    unique_ids = [vms[code] for code in ascending]
    row = np.empty(len(vms), dtype=np.int64)
    row[ascending] = np.arange(len(ascending))
    place = row[vm] * span.slots + slot

    def grid(column: npt.NDArray[np.float64]) -> Floats:
        cells = np.full(len(unique_ids) * span.slots, np.nan, dtype=np.float32)
        cells[place] = column
        return cells.reshape(len(unique_ids), span.slots)

    peaks = grid(peak)
    known = ~np.isnan(peaks)
    count = np.count_nonzero(known, axis=1)
    if int(count.sum()) != len(place):
        codes = np.array(ascending)[np.bincount(row[vm], minlength=len(count)) != count]
        return _without(table, codes, "two rows hold one time", metric=metric, target=target, span=span)
    first = np.argmax(known, axis=1)
    last = span.slots - 1 - np.argmax(known[:, ::-1], axis=1)
    maxima = count if has_maximum.all() else np.bincount(place[has_maximum] // span.slots, minlength=len(unique_ids))
    whole = (seen == PPM).all()
    seen_of = count * PPM if whole else np.bincount(place // span.slots, weights=seen, minlength=len(unique_ids))
    hour = np.maximum(last[:, None] - np.arange(max(1, HOUR_S // span.series_interval_s)), 0)
    blocks = (len(unique_ids), span.columns, span.per_column)
    if target == TARGET_MAXIMUM:
        values = _maxima(peaks, span)
    elif span.per_column == 1:
        values = grid(mean)
    else:
        weight = np.where(np.isnan(mean), 0, seen / PPM)  # of a row that has a maximum alone
        total, share = (np.nan_to_num(grid(one)).reshape(blocks).sum(axis=2) for one in (mean * weight, weight))
        values = np.divide(total, share, out=np.full(blocks[:2], np.nan, dtype=np.float32), where=share > 0)
    return Past(
        unique_ids=unique_ids,
        values=values,
        known_ppm=count * PPM // np.maximum(last - first + 1, 1),
        maxima_ppm=maxima * PPM // np.maximum(count, 1),
        seen_ppm=(seen_of // np.maximum(count, 1)).astype(np.int64),
        history_s=(last - first + 1) * span.series_interval_s,
        observed_until_us=span.start_us + (last + 1) * span.series_interval_s * SECOND_US,
        recent_maximum=np.fmax.reduce(np.take_along_axis(peaks, hour, axis=1), axis=1),
    )


def _without(table: pa.Table, codes: Integers, why: str, *, metric: str, target: str, span: Span) -> Past:
    """The past of the others."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    vms, vm = _words(table["unique_id"])
    kept = past(table.filter(pa.array(~np.isin(vm, codes))), metric=metric, target=target, span=span)
    return replace(kept, rejected={**kept.rejected, **{vms[code]: why for code in codes.tolist()}})


def _maxima(peaks: Floats, span: Span) -> Floats:
    """Maximum of each forecast interval, from those of the telemetry intervals."""
    with needs("numpy"):
        import numpy as np
    if span.under_way:
        begun = ~np.isnan(peaks[:, -1])
        peaks[begun, -1] = np.fmax.reduce(peaks[begun, -2:], axis=1)
    if span.per_column == 1:
        return peaks
    return np.asarray(np.fmax.reduce(peaks.reshape(len(peaks), span.columns, span.per_column), axis=2))


def level_of(values: Floats) -> Floats:
    """Level of each series [V]: its mean, at least one unit."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(values)
    total = np.where(known, values, np.float32(0)).sum(axis=1, dtype=np.float64)
    mean = total / np.maximum(np.count_nonzero(known, axis=1), 1)
    return np.asarray(np.maximum(mean, 1.0), dtype=np.float32)


def _numbers(column: pa.ChunkedArray, rows: Integers) -> npt.NDArray[np.float64]:
    """Values of these rows: a null as NaN, and a NaN that is a value as infinite, which is wrong as well."""
    with needs("numpy"):
        import numpy as np
    values: npt.NDArray[np.float64] = column.to_numpy()
    if np.count_nonzero(np.isnan(values)) != column.null_count:
        values = np.where(np.isnan(values) & ~column.is_null().to_numpy(), np.inf, values)
    return values[rows]


def _bad(why: str) -> HeadroomError:
    return HeadroomError(
        "forecast.rows", why, advice="Write telemetry with telemetry_collect, or with rows as it writes them."
    )


def _words(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the distinct words of a text column, and for each row its place among them."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = encoded.unify_dictionaries().chunks
    words = chunks[0].dictionary.to_pylist() if chunks else []
    codes = [np.asarray(chunk.indices, dtype=np.int32) for chunk in chunks]
    return words, np.concatenate([np.empty(0, dtype=np.int32), *codes])
