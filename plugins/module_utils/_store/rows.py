# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the interval table: what may enter it, and the digest that names rows read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from .._core.canonical import digest
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._records.series import COLUMNS, DAY_S, KEY, METRICS, interval_schema

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

NONE_NEGATIVE = ("mean", "p95", "maximum", "samples", "coverage_ppm")
ROUNDING = 1e-9  # relative; a mean of equal values may exceed their maximum by the last bit


def checked_rows(table: pa.Table) -> pa.Table:
    """Bring rows into the one form that is stored: schema, sorted by key, one row per key (the last one given wins).

    Raises ``series.columns``, ``series.naive_time``, ``series.interval``, ``series.unaligned``, ``series.metric``,
    ``series.value``.
    """
    with needs("pyarrow", "numpy"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    _check_columns(table)
    schema = interval_schema()
    try:
        rows = table.select(COLUMNS).cast(pa.schema([pa.field(field.name, field.type) for field in schema]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise _bad("series.columns", f"A column does not have its type: {error}.") from error
    for field in schema:
        if not field.nullable and rows[field.name].null_count:
            raise _bad("series.value", f"The column {field.name} holds a null.")
    rows = rows.cast(schema).combine_chunks()
    _check_keys(rows)
    for name in NONE_NEGATIVE:
        column = rows[name]
        wrong = pc.invert(pc.greater_equal(column, pa.scalar(0, column.type)))  # true for NaN as well
        if pa.types.is_floating(column.type):
            wrong = pc.or_(wrong, pc.is_inf(column))
        _refuse(rows, wrong, "series.value", f"{name} is negative or no number")
    _refuse(rows, pc.greater(rows["coverage_ppm"], PPM), "series.value", f"coverage_ppm is above {PPM}")
    ceiling = pc.multiply(rows["maximum"], 1 + ROUNDING)
    for name in ("mean", "p95"):
        _refuse(rows, pc.greater(rows[name], ceiling), "series.value", f"{name} is above the maximum")
    order = np.lexsort([_codes(rows[name]) for name in reversed(KEY)])
    rows = rows.take(pa.array(order))
    if rows.num_rows > 1:
        keys = np.stack([_codes(rows[name]) for name in KEY])
        last = np.append((keys[:, 1:] != keys[:, :-1]).any(axis=0), True)
        rows = rows.filter(pa.array(last))
    return rows


class RowsDigest:
    """The digest of sorted rows, fed in tables that each hold whole series; the order of the tables does not matter.

    Definition: for each series (unique_id, metric) the SHA-256 of its rows in the order of ds, each row packed little
    endian as ds (int64, microseconds since the epoch), interval_s (int32), mean, p95, maximum (float64; null as the
    quiet NaN 0x7ff8000000000000), samples, coverage_ppm (int32). The digest is that of the canonical JSON list of
    [unique_id, metric, number of rows, that SHA-256], sorted. It depends neither on files nor on partitions.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._series: list[list[Any]] = []

    def update(self, table: pa.Table) -> None:
        """Add rows, sorted by (unique_id, metric, ds)."""
        with needs("pyarrow", "numpy"):
            import numpy as np
        if not table.num_rows:
            return
        kinds = {
            "ds": "<i8", "interval_s": "<i4", "mean": "<f8", "p95": "<f8", "maximum": "<f8", "samples": "<i4",
            "coverage_ppm": "<i4",
        }  # fmt: skip
        columns = {name: (table[name].cast("int64") if name == "ds" else table[name]).to_numpy() for name in kinds}
        unique_id, metric = _codes(table["unique_id"]), _codes(table["metric"])
        starts = np.flatnonzero(np.append(True, (np.diff(unique_id) != 0) | (np.diff(metric) != 0)))
        ends = np.append(starts[1:], table.num_rows)
        names = zip(table["unique_id"].take(starts).to_pylist(), table["metric"].take(starts).to_pylist())
        packed = np.empty((ends - starts).max(), dtype=list(kinds.items()))  # of one series, so that it stays in cache
        for (vm, of), start, end in zip(names, starts.tolist(), ends.tolist()):
            for name, column in columns.items():
                packed[name][: end - start] = column[start:end]
            self._series.append([vm, of, end - start, hashlib.sha256(packed[: end - start].data).hexdigest()])
        self.rows += table.num_rows

    def value(self) -> str:
        """``sha256:HEX`` of all rows so far."""
        return digest(sorted(self._series))


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Integers that sort as the column does."""
    with needs("pyarrow", "numpy"):
        import numpy as np
        import pyarrow as pa
    kind = column.type
    if pa.types.is_timestamp(kind):
        return np.asarray(column.cast("int64").to_numpy(), dtype=np.int64)
    if pa.types.is_integer(kind):
        return np.asarray(column.to_numpy(), dtype=np.int64)
    encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
    flat = encoded.unify_dictionaries().combine_chunks()
    flat = flat.chunk(0) if isinstance(flat, pa.ChunkedArray) else flat
    words = np.asarray(flat.dictionary.to_pylist(), dtype=object)
    rank: npt.NDArray[np.int64] = np.argsort(np.argsort(words, kind="stable"))
    return rank[np.asarray(flat.indices, dtype=np.int64)]


def _check_columns(table: pa.Table) -> None:
    with needs("pyarrow"):
        import pyarrow as pa
    missing = [name for name in COLUMNS if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in COLUMNS]
    if missing or unknown:
        raise _bad("series.columns", f"Missing columns: {missing}; unknown columns: {unknown}.")
    kind = table.schema.field("ds").type
    if not pa.types.is_timestamp(kind):
        raise _bad("series.columns", f"The column ds is {kind}, not a time.")
    if kind.tz is None:
        raise _bad("series.naive_time", "The times in column ds have no zone.")


def _check_keys(rows: pa.Table) -> None:
    with needs("pyarrow", "numpy"):
        import pyarrow as pa
        import pyarrow.compute as pc
    unknown = set(pc.unique(rows["metric"]).to_pylist()) - set(METRICS)
    if unknown:
        raise _bad("series.metric", f"Unknown metric: {', '.join(sorted(unknown))}; known are {', '.join(METRICS)}.")
    for interval_s in pc.unique(rows["interval_s"]).to_pylist():
        if interval_s <= 0 or DAY_S % interval_s:
            raise _bad("series.interval", f"An interval of {interval_s} s does not divide the day.")
    ds_us, interval_us = _codes(rows["ds"]), _codes(rows["interval_s"]) * 1_000_000
    _refuse(rows, pa.array(ds_us % interval_us != 0), "series.unaligned", "ds is no multiple of the interval")
    _refuse(rows, pc.equal(rows["unique_id"], ""), "series.value", "unique_id is empty")


def _refuse(rows: pa.Table, wrong: Any, code: str, why: str) -> None:
    with needs("pyarrow"):
        import pyarrow.compute as pc
    if pc.any(wrong).as_py():
        first = rows.slice(pc.index(wrong, True).as_py(), 1).select([*KEY, "mean"]).to_pylist()[0]
        where = f"{first['unique_id']}, {first['metric']}, {first['ds']:%Y-%m-%dT%H:%M:%SZ}"
        raise _bad(code, f"In the row of {where}, {why}.")


def _bad(code: str, message: str) -> HeadroomError:
    return HeadroomError(code, message, advice="Nothing of this table was stored; correct its source.")
