# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry from files: Parquet or CSV, wide (a column per metric) or long (a column that names the metric)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._records.series import COLUMNS, interval_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


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


def read_file(path: str, layout: Layout) -> pa.Table:
    """Read a file into interval rows; a null mean is no row. The store checks the values.

    Raises ``file.unreadable``, ``file.columns``, ``series.naive_time``.
    """
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet as pq
    try:
        table = pa.csv.read_csv(path) if path.lower().endswith(".csv") else pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise HeadroomError(
            "file.unreadable", f"{path} cannot be read: {error}.", advice="Give a Parquet file, or a CSV named .csv."
        ) from error
    wanted = {layout.unique_id, layout.ds, layout.metric}
    for column in layout.columns.values():
        wanted |= {column.mean, column.p95, column.maximum, column.times}
    missing = sorted(wanted - {""} - set(table.column_names))
    if missing:
        raise HeadroomError(
            "file.columns",
            f"{path} has no column {', '.join(missing)}.",
            advice=f"It has {', '.join(table.column_names)}.",
        )
    table = _renamed(table, layout)
    parts = [interval_schema().empty_table()]
    for metric, column in layout.columns.items():
        parts.append(_rows(table, metric, column, layout))
    return pa.concat_tables(parts).combine_chunks()


def _renamed(table: pa.Table, layout: Layout) -> pa.Table:
    """Put the names of VMs and UTC times in place."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    unique_id, ds = table[layout.unique_id].cast(pa.string()), table[layout.ds]
    if not pa.types.is_timestamp(ds.type) or (ds.type.tz is None and not layout.assume_utc):
        raise HeadroomError(
            "series.naive_time",
            f"The times in column {layout.ds} are {ds.type}, without a zone.",
            advice="Write them with a zone, or set assume_utc if they are known to be UTC.",
        )
    utc = pa.timestamp("us", "UTC")
    ds_us = pc.add(ds.cast(pa.timestamp("us", ds.type.tz)).cast(pa.int64()), layout.shift_s * 1_000_000)
    table = table.set_column(table.column_names.index(layout.ds), layout.ds, ds_us.cast(utc))
    if layout.unique_ids is not None:
        place = pc.index_in(unique_id, value_set=pa.array(list(layout.unique_ids), pa.string()))
        unique_id = pa.chunked_array([pa.array(list(layout.unique_ids.values()), pa.string())]).take(place)
    table = table.set_column(table.column_names.index(layout.unique_id), layout.unique_id, unique_id)
    return table.filter(pc.is_valid(unique_id))


def _rows(table: pa.Table, metric: str, column: Column, layout: Layout) -> pa.Table:
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    if layout.metric:
        table = table.filter(pc.equal(table[layout.metric].cast(pa.string()), column.name or metric))
    table = table.filter(pc.is_valid(table[column.mean]))
    count = table.num_rows

    def value(name: str) -> Any:
        if not name:
            return pa.nulls(count, pa.float64())
        scaled = pc.multiply(table[name].cast(pa.float64()), column.factor)
        return pc.multiply(scaled, table[column.times].cast(pa.float64())) if column.times else scaled

    columns = {
        "unique_id": table[layout.unique_id],
        "metric": pa.repeat(pa.scalar(metric), count),
        "ds": table[layout.ds],
        "interval_s": pa.repeat(pa.scalar(layout.interval_s, pa.int32()), count),
        "mean": value(column.mean),
        "p95": value(column.p95),
        "maximum": value(column.maximum),
        "samples": pa.repeat(pa.scalar(0, pa.int32()), count),
        "coverage_ppm": pa.repeat(pa.scalar(PPM, pa.int32()), count),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=interval_schema())
