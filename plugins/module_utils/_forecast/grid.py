# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interval rows as a dense past: one row per VM, one column per forecast interval, NaN where nothing is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._records.forecast import TARGET_MAXIMUM

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]

SECOND_US = 1_000_000
HOUR_S = 3600


@dataclass(frozen=True)
class Span:
    """The stretch of time that is looked at. Telemetry intervals fill forecast intervals, which end at the cutoff."""

    cutoff_us: int
    series_interval_s: int
    interval_s: int
    columns: int  # T, of forecast intervals

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
    history_s: Integers  # [V], from the first to the last known interval
    observed_until_us: Integers  # [V], end of the last known interval
    recent_maximum: Floats  # [V], largest value of the hour before observed_until


def past(table: pa.Table, *, metric: str, target: str, span: Span) -> Past:
    """Lay out one metric of a table of interval rows (each key once). Rows outside the span are ignored.

    For the maximum an interval counts with its maximum where that is known, else with its mean. A forecast interval
    takes the maximum, or mean, of what is known inside it. Raises ``forecast.rows`` for rows of another interval.
    """
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    table = table.filter(pc.equal(table["metric"].cast(pa.string()), metric))
    slot = (table["ds"].cast(pa.int64()).to_numpy() - span.start_us) // (span.series_interval_s * SECOND_US)
    inside = pa.array((slot >= 0) & (slot < span.slots))
    table, slot = table.filter(inside), slot[np.asarray(inside)]
    if pc.any(pc.not_equal(table["interval_s"], span.series_interval_s)).as_py():
        raise HeadroomError(
            "forecast.rows",
            f"The series hold other intervals than {span.series_interval_s} s.",
            advice="Read one interval length from the store.",
        )
    unique_id = table["unique_id"].cast(pa.string())
    unique_ids = sorted(pc.unique(unique_id).to_pylist())
    vm = np.asarray(pc.index_in(unique_id, value_set=pa.array(unique_ids, pa.string())), dtype=np.int64)
    place = vm * span.slots + slot

    def grid(column: pa.ChunkedArray) -> Floats:
        cells = np.full(len(unique_ids) * span.slots, np.nan, dtype=np.float32)
        cells[place] = column.to_numpy()
        return cells.reshape(len(unique_ids), span.slots)

    peak = grid(pc.coalesce(table["maximum"], table["mean"]))
    known = ~np.isnan(peak)
    count = np.count_nonzero(known, axis=1)
    first = np.argmax(known, axis=1)
    last = span.slots - 1 - np.argmax(known[:, ::-1], axis=1)
    maxima = np.bincount(vm, weights=np.asarray(table["maximum"].is_valid()), minlength=len(unique_ids))
    hour = np.maximum(last[:, None] - np.arange(max(1, HOUR_S // span.series_interval_s)), 0)
    blocks = (len(unique_ids), span.columns, span.per_column)
    if target == TARGET_MAXIMUM:
        values = np.fmax.reduce(peak.reshape(blocks), axis=2)
    else:
        means = grid(table["mean"]).reshape(blocks)
        number = np.count_nonzero(~np.isnan(means), axis=2)
        total = np.where(np.isnan(means), np.float32(0), means).sum(axis=2)
        values = np.divide(total, number, out=np.full(blocks[:2], np.nan, dtype=np.float32), where=number > 0)
    return Past(
        unique_ids=unique_ids,
        values=values,
        known_ppm=count * PPM // np.maximum(last - first + 1, 1),
        maxima_ppm=(maxima * PPM).astype(np.int64) // np.maximum(count, 1),
        history_s=(last - first + 1) * span.series_interval_s,
        observed_until_us=span.start_us + (last + 1) * span.series_interval_s * SECOND_US,
        recent_maximum=np.fmax.reduce(np.take_along_axis(peak, hour, axis=1), axis=1),
    )
