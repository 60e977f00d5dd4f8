# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading of the telemetry store: sorted rows in tables of whole VMs, and the header that names them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Optional

from .._core.clock import EPOCH, format_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import SECOND_US
from .._records.series import COLUMNS, DAY_S, METRICS, Series, interval_schema
from .delta import query, shown, version_of
from .groups import KINDS, Groups, Ids, Source, Span, numbers
from .rows import RowsDigest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

READ = tuple(name for name in COLUMNS if name != "metric")  # the metric is in the name of a file's folder


@dataclass(frozen=True)
class Wanted:
    """Which rows: start <= ds < end. ``unique_ids`` None: of all VMs."""

    unique_ids: Optional[Sequence[str]]
    metrics: Sequence[str]
    start: datetime
    end: datetime
    interval_s: int


class Scan:
    """``tables`` once, then ``header``."""

    def __init__(self, base: Source, overlay: Source, wanted: Wanted, *, chunk_rows: int) -> None:
        unknown = sorted(set(wanted.metrics) - set(METRICS))
        if unknown:
            raise HeadroomError(
                "series.metric", f"Unknown metric: {', '.join(unknown)}.", advice=f"Known are {', '.join(METRICS)}."
            )
        if wanted.interval_s <= 0 or DAY_S % wanted.interval_s:
            raise HeadroomError(
                "series.interval",
                f"An interval of {wanted.interval_s} s does not divide the day.",
                advice="Use 60, 300, 900 or 3600.",
            )
        self._base, self._overlay = base, overlay
        self._metrics = sorted(set(wanted.metrics))
        interval_us = wanted.interval_s * SECOND_US
        start_us = _epoch_us(wanted.start) // interval_us * interval_us
        slots = max(0, -((start_us - _epoch_us(wanted.end)) // interval_us))
        self.span = Span(start_us, wanted.interval_s, slots)
        self._unique_ids = self._found() if wanted.unique_ids is None else sorted(set(wanted.unique_ids))
        self._chunk_rows = chunk_rows
        self._chunk_vms = max(1, chunk_rows // max(1, slots * len(self._metrics)))
        self._digest = RowsDigest()
        self._done = False

    @property
    def sources(self) -> tuple[Source, Source]:
        """The table and, in a rehearsal, its overlay, whose rows count."""
        return self._base, self._overlay

    @cached_property
    def groups(self) -> tuple[tuple[Source, Groups], ...]:
        """The same, and what of them may hold the rows."""
        return tuple((source, Groups(source, self.span)) for source in self.sources)

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """The VMs asked for, or found."""
        return tuple(self._unique_ids)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics asked for, sorted."""
        return tuple(self._metrics)

    def beside(self, unique_ids: Sequence[str], metrics: Sequence[str], *, start: datetime, end: datetime) -> Scan:
        """Another reading of the same versions of the table, of intervals of the same length."""
        wanted = Wanted(unique_ids, metrics, start, end, self.span.interval_s)
        return Scan(self._base, self._overlay, wanted, chunk_rows=self._chunk_rows)

    def tables(self) -> Iterator[pa.Table]:
        """Yield tables of whole VMs in ascending unique_id, rows sorted by (unique_id, metric, ds); none is empty."""
        for first in range(0, len(self._unique_ids), self._chunk_vms):
            table = self._table(self._unique_ids[first : first + self._chunk_vms])
            self._digest.update(table)
            if table.num_rows:
                yield table
        self._done = True

    def empty(self) -> pa.Table:
        """Return a table without rows, of the columns that ``tables`` have."""
        return _read_schema().empty_table()

    def header(self) -> Series:
        """Name the rows read. Every table must have been taken."""
        if not self._done:
            raise RuntimeError("Scan.header before the last of Scan.tables")
        return Series(
            table=shown(self._base.place),
            table_version=version_of(self._base.table),
            interval_s=self.span.interval_s,
            start=format_utc(self.span.start),
            end=format_utc(self.span.end),
            unique_ids=self.unique_ids,
            metrics=tuple(self._metrics),
            rows=self._digest.rows,
            rows_digest=self._digest.value(),
            overlay=shown(self._overlay.place),
            overlay_version=version_of(self._overlay.table),
        )

    def _found(self) -> list[str]:
        found: set[str] = set()
        for source in (self._base, self._overlay):
            where = self.span.where(self._metrics)
            text = f"SELECT DISTINCT unique_id FROM series WHERE {where}"  # noqa: S608 - own values
            for batch in query(source.table, text):
                found.update(batch["unique_id"].to_pylist())
        return sorted(found)

    def _table(self, unique_ids: Sequence[str]) -> pa.Table:
        """Read the rows of these VMs. They are sorted by place: a row's key is its place in the grid of all keys."""
        with needs("pyarrow", "numpy"):
            import numpy as np
            import pyarrow as pa
        ids, series = Ids(unique_ids), len(unique_ids) * len(self._metrics)
        there = np.zeros(series * self.span.slots, dtype=np.bool_)
        columns = {name: np.empty(len(there), dtype=_dtype(name)) for name in READ[1:]}
        for source, groups in self.groups:  # the overlay's rows take the place of the base's
            mine = np.zeros(len(there), dtype=np.bool_)
            count = 0
            for number, metric in enumerate(self._metrics):
                for table in groups.read(metric, unique_ids[0], unique_ids[-1], READ):
                    code, places = ids.of(table["unique_id"])
                    slot = self.span.slots_of(numbers(table["ds"]))
                    rows = np.flatnonzero((places[code] >= 0) & (slot >= 0) & (slot < self.span.slots))
                    key = (places[code[rows]] * len(self._metrics) + number) * self.span.slots + slot[rows]
                    for name, column in columns.items():
                        values = numbers(table[name])
                        column[key] = values if len(rows) == len(values) else values[rows]
                    mine[key] = True
                    count += len(rows)
            if np.count_nonzero(mine) != count:
                raise duplicate(source.place)
            there |= mine
        kept = np.flatnonzero(there)
        if not len(kept):
            return _read_schema().empty_table()
        of_series = (kept // self.span.slots).astype(np.int32)
        codes = {"unique_id": of_series // len(self._metrics), "metric": of_series % len(self._metrics)}
        words = {"unique_id": unique_ids, "metric": self._metrics}
        arrays = {
            name: pa.DictionaryArray.from_arrays(pa.array(code), pa.array(words[name], pa.string()))
            for name, code in codes.items()
        }
        for name, column in columns.items():
            values = column if len(kept) == len(column) else column[kept]
            kind = interval_schema().field(name)
            arrays[name] = pa.array(values, mask=np.isnan(values) if kind.nullable else None).cast(kind.type)
        return pa.Table.from_arrays([arrays[name] for name in COLUMNS], schema=_read_schema())


def _dtype(name: str) -> str:
    """NumPy's type of a column."""
    kind = interval_schema().field(name).type
    return KINDS.get(str(kind), "i8")  # times are microseconds


def duplicate(place: str) -> HeadroomError:
    """Say that a table holds a row twice."""
    return HeadroomError(
        "series.duplicate",
        f"The telemetry at {shown(place)} holds two rows for one VM, metric and interval.",
        advice="Something else than Headroom wrote into the table: restore an earlier version of it.",
    )


def _read_schema() -> pa.Schema:
    with needs("pyarrow"):
        import pyarrow as pa
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [field.with_type(text) if field.name in {"unique_id", "metric"} else field for field in interval_schema()]
    )


def _epoch_us(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise HeadroomError("time.naive", f"The time {moment} has no zone.", advice="Give an aware UTC time.")
    return (moment - EPOCH) // timedelta(microseconds=1)
