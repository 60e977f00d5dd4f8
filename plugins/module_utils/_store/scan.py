# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One reading of the telemetry store: sorted rows in tables of whole VMs, and the header that names them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.clock import EPOCH, format_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import COLUMNS, DAY_S, METRICS, Series, interval_schema
from .delta import query, shown, version_of
from .rows import RowsDigest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

SECOND_US = 1_000_000


@dataclass(frozen=True)
class Source:
    """A table of the store, open at one version; None where there is none."""

    place: str
    table: Any


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
        self._interval_us = wanted.interval_s * SECOND_US
        self._start_us = _epoch_us(wanted.start) // self._interval_us * self._interval_us
        self._slots = max(0, -((self._start_us - _epoch_us(wanted.end)) // self._interval_us))
        self._unique_ids = self._found() if wanted.unique_ids is None else sorted(set(wanted.unique_ids))
        self._chunk_vms = max(1, chunk_rows // max(1, self._slots * len(self._metrics)))
        self._digest = RowsDigest()
        self._done = False

    @property
    def sources(self) -> tuple[Source, Source]:
        """The table and, in a rehearsal, its overlay, whose rows count."""
        return self._base, self._overlay

    @property
    def unique_ids(self) -> tuple[str, ...]:
        """The VMs asked for, or found."""
        return tuple(self._unique_ids)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics asked for, sorted."""
        return tuple(self._metrics)

    @property
    def interval_s(self) -> int:
        """The length of the intervals asked for."""
        return self._interval_us // SECOND_US

    @property
    def start_us(self) -> int:
        """START of the first interval, since the epoch."""
        return self._start_us

    @property
    def slots(self) -> int:
        """How many intervals there can be."""
        return self._slots

    @property
    def range(self) -> tuple[datetime, datetime]:
        """START of the first interval, and the end of the last."""
        start, end = (EPOCH + timedelta(microseconds=one) for one in (self._start_us, self.end_us))
        return start, end

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
            interval_s=self._interval_us // SECOND_US,
            start=_time(self._start_us),
            end=_time(self.end_us),
            unique_ids=self.unique_ids,
            metrics=tuple(self._metrics),
            rows=self._digest.rows,
            rows_digest=self._digest.value(),
            overlay=shown(self._overlay.place),
            overlay_version=version_of(self._overlay.table),
        )

    @property
    def end_us(self) -> int:
        """END of the last interval, since the epoch."""
        return self._start_us + self._slots * self._interval_us

    def where(self, metrics: Sequence[str]) -> str:
        """The condition of SQL that the rows of these metrics meet, of whatever VM."""
        return f"{self.when(metrics)} AND interval_s = {self._interval_us // SECOND_US}"

    def when(self, metrics: Sequence[str]) -> str:
        """The same for intervals of whatever length."""
        start, end = _time(self._start_us), _time(self.end_us)
        return (
            f"metric IN ({', '.join(map(quoted, metrics)) or 'NULL'})"
            f" AND day >= DATE '{start[:10]}' AND day <= DATE '{end[:10]}'"
            f" AND ds >= TIMESTAMP '{start}' AND ds < TIMESTAMP '{end}'"
        )

    def _found(self) -> list[str]:
        found: set[str] = set()
        for source in (self._base, self._overlay):
            where = self.where(self._metrics)
            text = f"SELECT DISTINCT unique_id FROM series WHERE {where}"  # noqa: S608 - own values
            for batch in query(source.table, text):
                found.update(batch["unique_id"].to_pylist())
        return sorted(found)

    def _table(self, unique_ids: Sequence[str]) -> pa.Table:
        """Read the rows of these VMs. They are sorted by place: a row's key is its place in the grid of all keys."""
        with needs("pyarrow", "numpy"):
            import numpy as np
            import pyarrow as pa
        ids = pa.array(unique_ids, pa.string())
        bounds = f"unique_id >= {quoted(unique_ids[0])} AND unique_id <= {quoted(unique_ids[-1])}"
        columns = ", ".join(name for name in COLUMNS if name != "metric")
        place = np.full(len(ids) * len(self._metrics) * self._slots, -1, dtype=np.int32)
        batches: list[pa.RecordBatch] = []
        count = 0
        for source in (self._base, self._overlay):  # the overlay's rows take the place of the base's
            first = count
            for number, metric in enumerate(self._metrics):
                where = f"{self.where([metric])} AND {bounds}"
                text = f"SELECT {columns} FROM series WHERE {where}"  # noqa: S608 - own values, ids quoted
                for batch in query(source.table, text):
                    coded = _coded(batch, ids, number)
                    series = coded["unique_id"].to_numpy().astype(np.int64) * len(self._metrics) + number
                    slot = (coded["ds"].cast("int64").to_numpy() - self._start_us) // self._interval_us
                    place[series * self._slots + slot] = np.arange(count, count + coded.num_rows, dtype=np.int32)
                    count += coded.num_rows
                    batches.append(coded)
            if np.count_nonzero(place >= first) != count - first:
                raise HeadroomError(
                    "series.duplicate",
                    f"The telemetry at {shown(source.place)} holds two rows for one VM, metric and interval.",
                    advice="Something else than Headroom wrote into the table: restore an earlier version of it.",
                )
        if not count:
            return _read_schema().empty_table()
        rows = pa.Table.from_batches(batches).combine_chunks().take(pa.array(place[place >= 0]))
        dictionaries = {"unique_id": ids, "metric": pa.array(self._metrics, pa.string())}
        return pa.Table.from_arrays(
            [
                pa.DictionaryArray.from_arrays(rows[name].chunk(0), dictionaries[name])
                if name in dictionaries
                else rows[name]
                for name in COLUMNS
            ],
            schema=_read_schema(),
        )


def _coded(batch: pa.RecordBatch, ids: pa.Array, metric: int) -> pa.RecordBatch:
    """Put the place in ``ids`` and the metric's number for the two texts, and drop rows of other VMs."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    vm = pc.index_in(batch["unique_id"].cast(pa.string()), value_set=ids)
    columns = {"unique_id": vm, "metric": pa.repeat(pa.scalar(metric, pa.int32()), len(vm))}
    coded = pa.RecordBatch.from_arrays(
        [columns[name] if name in columns else batch[name] for name in COLUMNS], names=list(COLUMNS)
    )
    return coded.filter(vm.is_valid()) if vm.null_count else coded


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


def _time(epoch_us: int) -> str:
    return format_utc(EPOCH + timedelta(microseconds=epoch_us))


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
