# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry from files: Parquet or CSV, wide (a column per metric) or long (a column that names the metric).

A file is read piece by piece and may be larger than memory. An empty value, or NaN, is no value: without a mean there
is no row. Anything else that cannot be true is an error that names the row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._records.series import COLUMNS, DAY_S, METRICS, interval_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

PIECE_ROWS = 2**17
PIECE_BYTES = 2**23  # of a CSV; its first piece decides what the times look like
ROUNDING = 1 + 1e-9  # a mean of equal values may exceed their maximum by the last bit


@dataclass(frozen=True)
class Column:
    """Where a metric stands in the file, and what makes it the metric's unit: value * factor * the column ``times``.

    A utilisation in percent of the VM's vCPUs is millicores with ``factor=10, times="vcpus"``.
    """

    mean: str
    p95: str = ""  # "": not in the file, and then null: never the mean
    maximum: str = ""
    factor: float = 1.0
    times: str = ""
    name: str = ""  # long files: what the metric's column says


@dataclass(frozen=True)
class Layout:
    """How to read a file. ds is the START of the row's interval."""

    columns: Mapping[str, Column]  # by metric
    interval_s: int
    unique_id: str = "unique_id"
    ds: str = "ds"
    metric: str = ""  # long files: the column that names the metric
    assume_utc: bool = False  # the file's times have no zone, and are known to be UTC
    unique_ids: Optional[Mapping[str, str]] = None  # id in the file -> VM; others are left out
    shift_s: int = 0  # added to every time


@dataclass
class Tally:
    """What became of the rows read."""

    rows: int = 0  # intervals
    vms: dict[str, set[str]] = field(default_factory=dict)  # metric -> VMs with a row
    unknown: set[str] = field(default_factory=set)  # ids that are no VM's


def read_file(path: str, layout: Layout, tally: Tally) -> Iterator[pa.Table]:
    """Yield interval rows, in the order of the file.

    Raises ``file.layout``, ``file.unreadable``, ``file.columns``, ``file.value``, ``series.naive_time``.
    """
    with needs("pyarrow"):
        import pyarrow as pa
    _check(layout)
    csv = path.lower().endswith(".csv")
    read = 1 if csv else 0  # a CSV's first line is the header
    try:
        for piece in _csv(path, layout) if csv else _parquet(path, layout):
            place = _Place(path, "line" if csv else "row", read + 1)
            read += piece.num_rows
            yield from _intervals(piece, layout, place, tally)
    except (OSError, pa.ArrowException) as error:
        raise HeadroomError(
            "file.unreadable",
            f"{path} cannot be read: {' '.join(str(error).split()).rstrip('.')}.",
            advice="Give a Parquet file, or a CSV named .csv with a header.",
        ) from error


@dataclass(frozen=True)
class _Place:
    """Where in the file a piece stands."""

    path: str
    unit: str
    first: int

    def refuse(self, wrong: Any, why: str) -> None:
        """Raise ``file.value`` for the first row that is wrong."""
        with needs("pyarrow"):
            import pyarrow.compute as pc
        at = pc.index(wrong, value=True).as_py()
        if at >= 0:
            raise HeadroomError(
                "file.value",
                f"In {self.path}, {self.unit} {self.first + at}, {why}.",
                advice="Nothing of this file was stored; correct it.",
            )


def _check(layout: Layout) -> None:
    unknown = sorted(set(layout.columns) - set(METRICS))
    wrong = (
        (not layout.columns, "There is no metric."),
        (bool(unknown), f"Unknown metric: {', '.join(unknown)}; known are {', '.join(METRICS)}."),
        (
            layout.interval_s < 1 or bool(DAY_S % layout.interval_s),
            f"An interval of {layout.interval_s} s does not divide the day.",
        ),
        (
            any(not math.isfinite(column.factor) or column.factor <= 0 for column in layout.columns.values()),
            "A factor is not above 0.",
        ),
    )
    for found, message in wrong:
        if found:
            raise HeadroomError("file.layout", message, advice="Nothing was read; correct the options.")


def _parquet(path: str, layout: Layout) -> Iterator[pa.Table]:
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    with pq.ParquetFile(path) as file:
        names = _wanted(path, layout, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=PIECE_ROWS, columns=names):
            yield pa.Table.from_batches([batch])


def _csv(path: str, layout: Layout) -> Iterator[pa.Table]:
    with needs("pyarrow"):
        import pyarrow as pa
        from pyarrow import csv
    # One thread: only then do errors know their row.
    options = csv.ReadOptions(block_size=PIECE_BYTES, use_threads=False)
    with csv.open_csv(path, read_options=options) as reader:
        found = reader.schema
    names = _wanted(path, layout, found.names)
    types = dict.fromkeys(names, pa.float64())
    for text in filter(None, (layout.unique_id, layout.metric)):
        types[text] = pa.string()
    time = found.field(layout.ds).type
    if pa.types.is_null(time):  # no rows
        time = pa.timestamp("us", None if layout.assume_utc else "UTC")
    elif pa.types.is_timestamp(time) and time.unit == "s":  # the next piece may be finer
        time = pa.timestamp("us", time.tz)
    types[layout.ds] = time
    convert = csv.ConvertOptions(column_types=types, include_columns=names)
    with csv.open_csv(path, read_options=options, convert_options=convert) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _wanted(path: str, layout: Layout, names: list[str]) -> list[str]:
    """The columns to read. Raises ``file.columns``."""
    wanted = {layout.unique_id, layout.ds, layout.metric}
    for column in layout.columns.values():
        wanted |= {column.mean, column.p95, column.maximum, column.times}
    wanted.discard("")
    for name in sorted(wanted):
        if names.count(name) != 1:
            raise HeadroomError(
                "file.columns",
                f"{path} has {'no' if name not in names else 'more than one'} column {name}.",
                advice=f"It has {', '.join(names)}.",
            )
    return sorted(wanted)


def _intervals(table: pa.Table, layout: Layout, place: _Place, tally: Tally) -> Iterator[pa.Table]:
    """The interval rows of one piece, a table per metric."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    given = table[layout.unique_id].cast(pa.string())
    ds = _times(table[layout.ds], layout)
    place.refuse(pc.or_kleene(pc.is_null(given), pc.equal(given, "").fill_null(fill_value=True)), "there is no VM")
    place.refuse(pc.is_null(ds), "there is no time")
    started_us = ds.cast(pa.int64())
    interval_us = layout.interval_s * 1_000_000
    rest = pc.subtract(started_us, pc.multiply(pc.divide(started_us, interval_us), interval_us))
    place.refuse(
        pc.not_equal(rest, 0),
        f"the time is no multiple of the interval of {layout.interval_s} s (shift_s moves all times)",
    )
    unique_id = given
    if layout.unique_ids is not None:
        found = pc.index_in(given, value_set=pa.array(list(layout.unique_ids), pa.string()))
        unique_id = pa.chunked_array([pa.array(list(layout.unique_ids.values()), pa.string())]).take(found)
        tally.unknown.update(pc.unique(given.filter(pc.is_null(found))).to_pylist())
    for metric, column in layout.columns.items():
        values = {name: _value(table, name, column) for name in (column.mean, column.p95, column.maximum) if name}
        mine = pc.is_valid(unique_id)
        if layout.metric:
            says = pc.equal(table[layout.metric].cast(pa.string()), column.name or metric)
            mine = pc.and_(mine, says.fill_null(fill_value=False))
        for name, value in values.items():
            wrong = pc.or_(pc.less(value, 0), pc.is_inf(value)).fill_null(fill_value=False)
            place.refuse(pc.and_(mine, wrong), f"{name} of {metric} is negative or infinite")
        mean, maximum = values[column.mean], values.get(column.maximum)
        for name in (column.mean, column.p95) if maximum is not None else ():
            above = pc.greater(values[name], pc.multiply(maximum, ROUNDING)) if name else None
            if above is not None:
                place.refuse(
                    pc.and_(mine, above.fill_null(fill_value=False)), f"{name} of {metric} is above the maximum"
                )
        mine = pc.and_(mine, pc.is_valid(mean))
        count = pc.sum(mine).as_py() or 0
        columns = {
            "unique_id": unique_id.filter(mine),
            "metric": pa.repeat(pa.scalar(metric), count),
            "ds": ds.filter(mine),
            "interval_s": pa.repeat(pa.scalar(layout.interval_s, pa.int32()), count),
            "samples": pa.repeat(pa.scalar(0, pa.int32()), count),
            "coverage_ppm": pa.repeat(pa.scalar(PPM, pa.int32()), count),
        }
        for kind, name in (("mean", column.mean), ("p95", column.p95), ("maximum", column.maximum)):
            columns[kind] = values[name].filter(mine) if name else pa.nulls(count, pa.float64())
        rows = pa.table([columns[name] for name in COLUMNS], schema=interval_schema())
        tally.rows += count
        tally.vms.setdefault(metric, set()).update(pc.unique(rows["unique_id"]).to_pylist())
        yield rows


def _times(ds: pa.ChunkedArray, layout: Layout) -> pa.ChunkedArray:
    """UTC, shifted. Raises ``series.naive_time``."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    if not pa.types.is_timestamp(ds.type) or (ds.type.tz is None and not layout.assume_utc):
        raise HeadroomError(
            "series.naive_time",
            f"The times in column {layout.ds} are {ds.type}, without a zone, or not all of one form.",
            advice="Write them with a zone, or set assume_utc if they are known to be UTC.",
        )
    shifted = pc.add(ds.cast(pa.timestamp("us", ds.type.tz)).cast(pa.int64()), layout.shift_s * 1_000_000)
    return shifted.cast(pa.timestamp("us", "UTC"))


def _value(table: pa.Table, name: str, column: Column) -> pa.ChunkedArray:
    """One column in the metric's unit; NaN becomes null."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    value = pc.multiply(table[name].cast(pa.float64()), column.factor)
    if column.times:
        value = pc.multiply(value, table[column.times].cast(pa.float64()))
    return pc.if_else(pc.is_nan(value), pa.scalar(None, pa.float64()), value)
