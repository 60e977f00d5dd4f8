# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The telemetry store read into arrays: mean and maximum of VMs by intervals, for whoever looks at a whole fleet.

A week of 100,000 VMs is 200 million rows of each metric. So row groups of the table's files are read as they lie, no
more columns than needed, and put in their places; nothing is sorted, and no text is looked at but the dictionaries of
ids. Files that are sorted by VM, as ``retention.compact`` leaves them, are copied in blocks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from .._core.canonical import digest
from .._core.errors import HeadroomError
from .._core.needs import needs
from .delta import filesystem, query, shown, unreachable
from .scan import SECOND_US, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .scan import Scan, Source

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

CHUNK_VALUES = 2**25  # of a grid's mean, and of its maximum: half a gigabyte together
READER = 1  # of Delta's protocol: the last in which a row of a file is a row of the table, as it stands
KNOWN_DICTIONARIES = 64
KINDS = {"int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "double": "f8"}  # Arrow's names and NumPy's
LAST = chr(0x10FFFF)  # no text that is an id stands after it
VALUES = ("mean", "maximum")
COLUMNS = ("unique_id", "ds", *VALUES)
TIMES = ("min.ds", "max.ds")
FILE_COLUMNS = ("path", "partition.metric", "partition.day", "min.unique_id", "max.unique_id", *TIMES)
LOGGED_US = 1000  # the log of the table keeps times no finer


@dataclass(frozen=True)
class Grid:
    """One metric of V VMs over T intervals. NaN: no row, or none with a maximum; infinite: a mean that is no number."""

    metric: str
    unique_ids: tuple[str, ...]
    mean: Doubles  # [V, T]
    maximum: Doubles  # [V, T]


class GridsDigest:
    """The digest of grids, in whatever order and however the fleet is cut.

    Definition: for each series (unique_id, metric) that has a row, the SHA-256 of its means and then its maxima, one
    for each interval asked for, as little-endian float64, NaN being 0x7ff8000000000000. The digest is that of the
    canonical JSON list of [unique_id, metric, number of rows, that SHA-256], sorted.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._series: list[list[Any]] = []

    def update(self, grid: Grid) -> None:
        """Add the series of a grid."""
        with needs("numpy"):
            import numpy as np
        known = ~np.isnan(grid.mean)
        counts = np.count_nonzero(known, axis=1).tolist()
        for row, (unique_id, count) in enumerate(zip(grid.unique_ids, counts)):
            if count:
                read = hashlib.sha256()
                for values in (grid.mean[row], grid.maximum[row]):
                    unknown = np.isnan(values)
                    plain = np.where(unknown, np.nan, values) if unknown.any() else values
                    read.update(np.ascontiguousarray(plain, dtype="<f8").data)
                self._series.append([unique_id, grid.metric, count, read.hexdigest()])
                self.rows += count

    def value(self) -> str:
        """``sha256:HEX`` of all grids so far."""
        return digest(sorted(self._series))


def grids(scan: Scan, *, chunk_values: int = CHUNK_VALUES) -> Iterator[Grid]:
    """Yield grids of one metric each, by VM and then by metric; VMs without rows are there as well.

    Raises ``series.duplicate`` and ``store.unreachable``.
    """
    with needs("numpy"):
        import numpy as np
    base, overlay = (_Table(scan, source) for source in scan.sources)
    count = max(1, chunk_values // max(1, scan.slots))
    for first in range(0, len(scan.unique_ids), count):
        some = scan.unique_ids[first : first + count]
        for table in (base, overlay):
            table.select(some)
        for metric in scan.metrics:
            grid = base.grid(metric)
            if overlay.there:
                over = overlay.grid(metric)
                known = ~np.isnan(over.mean)  # the overlay's rows take the place of the base's
                mean, maximum = (np.where(known, getattr(over, name), getattr(grid, name)) for name in VALUES)
                grid = Grid(metric, some, mean, maximum)
            yield grid


class _Rows(NamedTuple):
    """Rows of one metric, as a file or a query has them."""

    code: npt.NDArray[np.integer[Any]]  # one number for each VM
    ds_us: Integers
    mean: Doubles
    maximum: Doubles

    def only(self, which: Any) -> _Rows:
        """Some of them."""
        return _Rows(*(column[which] for column in self))


class _Table:
    """One table of the store, and the files of it that a scan may need."""

    def __init__(self, scan: Scan, source: Source) -> None:
        self._scan, self._source = scan, source
        self._unique_ids: tuple[str, ...] = ()
        self._row_of: dict[str, int] = {}
        self._known: dict[tuple[str, str, int], tuple[pa.Array, Integers]] = {}
        self._files = None
        if self.there and source.table.protocol().min_reader_version <= READER:
            self._files = _files(scan, source.table)

    @property
    def there(self) -> bool:
        """Whether there is a table."""
        return self._source.table is not None

    def select(self, unique_ids: tuple[str, ...]) -> None:
        """Let grids be of these VMs."""
        self._unique_ids = unique_ids
        self._row_of = {unique_id: row for row, unique_id in enumerate(unique_ids)}
        self._known.clear()

    def grid(self, metric: str) -> Grid:
        """All rows of the VMs selected, each in its place."""
        with needs("numpy"):
            import numpy as np
        shape = (len(self._unique_ids), self._scan.slots)
        grid = Grid(metric, self._unique_ids, np.full(shape, np.nan), np.full(shape, np.nan))
        count = 0
        for table in self._read(metric, self._unique_ids[0], self._unique_ids[-1]):
            ids = _dictionary(table["unique_id"])
            rows = _Rows(_numbers(ids.indices), *(_numbers(table[name]) for name in COLUMNS[1:]))
            count += self._put(grid, rows, self._places(ids.dictionary))
        if np.count_nonzero(~np.isnan(grid.mean)) != count:
            raise HeadroomError(
                "series.duplicate",
                f"The telemetry at {shown(self._source.place)} holds two rows for one VM, metric and interval.",
                advice="Something else than Headroom wrote into the table: restore an earlier version of it.",
            )
        return grid

    def _read(self, metric: str, first: str, last: str) -> Iterator[Any]:
        """The rows of these VMs, and of some others."""
        if not self.there:
            return
        if self._files is None:
            where = f"{self._scan.where([metric])} AND unique_id >= {quoted(first)} AND unique_id <= {quoted(last)}"
            text = f"SELECT {', '.join(COLUMNS)} FROM series WHERE {where}"  # noqa: S608 - own values, ids quoted
            yield from query(self._source.table, text)
            return
        for one in self._files:
            if one.metric == metric and one.first <= last and first <= one.last:
                yield from self._of_file(one.path, first, last)

    def _of_file(self, path: str, first: str, last: str) -> Iterator[pa.Table]:
        with needs("pyarrow"):
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq
        place, interval_s = self._source.place, self._scan.interval_s
        local = place.startswith("/")
        try:
            opened = pa.OSFile(f"{place}/{path}") if local else filesystem(self._source.table).open_input_file(path)
            with opened, pq.ParquetFile(opened, read_dictionary=["unique_id"], pre_buffer=not local) as file:
                for number in range(file.metadata.num_row_groups):
                    ranges = _ranges(file.metadata.row_group(number))
                    least, greatest = ranges.get("unique_id", (first, last))
                    if greatest < first or last < least:
                        continue
                    if ranges.get("interval_s") == (interval_s, interval_s):
                        yield file.read_row_group(number, columns=COLUMNS, use_threads=False)
                    else:
                        rows = file.read_row_group(number, columns=(*COLUMNS, "interval_s"), use_threads=False)
                        yield rows.filter(pc.equal(rows["interval_s"], interval_s))
        except (OSError, pa.ArrowException) as error:
            raise unreachable(place, error) from error

    def _places(self, dictionary: pa.Array) -> Integers:
        """Which row of the grid each id has, -1 where none; files of successive times have the same dictionaries."""
        with needs("numpy"):
            import numpy as np
        if not len(dictionary):
            return np.empty(0, dtype=np.int64)
        key = (dictionary[0].as_py(), dictionary[-1].as_py(), len(dictionary))
        known = self._known.get(key)
        if known is not None and known[0].equals(dictionary):
            return known[1]
        if len(self._known) == KNOWN_DICTIONARIES:
            self._known.clear()
        places = np.array([self._row_of.get(unique_id, -1) for unique_id in dictionary.to_pylist()], dtype=np.int64)
        self._known[key] = (dictionary, places)
        return places

    def _put(self, grid: Grid, rows: _Rows, places: Integers) -> int:
        """Put rows in their places; how many have one. What is sorted by VM goes in blocks of one VM each."""
        with needs("numpy"):
            import numpy as np
        starts = np.flatnonzero(rows.code[1:] != rows.code[:-1]) + 1
        width = int(starts[1] - starts[0]) if len(starts) > 1 else 0
        if not width or (np.diff(starts) != width).any():
            return self._scatter(grid, rows, places)
        first, end = int(starts[0]), int(starts[-1])
        ds_us = rows.ds_us[first:end].reshape(-1, width)
        slots = self._slots(ds_us[0])
        whole = slots[0] >= 0 and slots[-1] < self._scan.slots and (slots == np.arange(width) + slots[0]).all()
        if not whole or (ds_us != ds_us[0]).any():
            return self._scatter(grid, rows, places)
        vms = places[rows.code[first:end:width]]
        mine, cut = vms >= 0, slice(int(slots[0]), int(slots[0]) + width)
        for name in VALUES:
            values = getattr(rows, name)[first:end].reshape(-1, width)
            values = _told(values) if name == "mean" else values
            getattr(grid, name)[vms[mine], cut] = values if mine.all() else values[mine]
        ends = (rows.only(slice(0, first)), rows.only(slice(end, None)))  # of VMs that go on in another row group
        return int(np.count_nonzero(mine)) * width + sum(self._scatter(grid, part, places) for part in ends)

    def _scatter(self, grid: Grid, rows: _Rows, places: Integers) -> int:
        """Put rows in their places one by one; how many have one."""
        with needs("numpy"):
            import numpy as np
        mine = np.flatnonzero(places[rows.code] >= 0)
        if len(mine) < len(rows.code):
            rows = rows.only(mine)
        slots = self._slots(rows.ds_us)
        inside = (slots >= 0) & (slots < self._scan.slots)
        if not inside.all():
            slots, rows = slots[inside], rows.only(inside)
        place = places[rows.code] * self._scan.slots + slots
        grid.mean.reshape(-1)[place] = _told(rows.mean)
        grid.maximum.reshape(-1)[place] = rows.maximum
        return len(place)

    def _slots(self, ds_us: Integers) -> Integers:
        return (ds_us - self._scan.start_us) // (self._scan.interval_s * SECOND_US)


class _File(NamedTuple):
    """A file of the table, and between which ids its rows are."""

    metric: str
    first: str
    last: str
    path: str


def _files(scan: Scan, table: Any) -> list[_File]:
    """The files that a scan may need; those that begin with one VM stand together."""
    with needs("pyarrow"):
        import pyarrow as pa
    start, end = scan.range
    known = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    columns = {name: known[name] for name in FILE_COLUMNS if name in known.column_names}
    times = {name: columns[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64()) for name in TIMES if name in columns}
    found = [dict(zip(columns, row)) for row in zip(*(of.to_pylist() for of in {**columns, **times}.values()))]
    return sorted(
        _File(
            one["partition.metric"],
            one.get("min.unique_id") or "",
            one.get("max.unique_id") or LAST,
            unquote(one["path"]),
        )
        for one in found
        if start.date() <= one["partition.day"] <= end.date()
        and (one.get("min.ds") is None or one["min.ds"] < scan.end_us)
        and (one.get("max.ds") is None or one["max.ds"] + LOGGED_US >= scan.start_us)
    )


def _ranges(group: Any) -> dict[str, tuple[Any, Any]]:
    """Column -> the least and the greatest value in a row group, of columns where they are known."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return {
        one.path_in_schema: (one.statistics.min, one.statistics.max)
        for one in columns
        if one.path_in_schema in {"unique_id", "interval_s"} and one.is_stats_set and one.statistics.has_min_max
    }


def _dictionary(column: Any) -> pa.DictionaryArray:
    """Texts as numbers and a dictionary."""
    with needs("pyarrow"):
        import pyarrow as pa
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def _numbers(column: Any) -> npt.NDArray[Any]:
    """Values, times in microseconds; NaN for null. Taken from memory as they lie: ``to_numpy`` imports pandas."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_timestamp(flat.type):
        flat = (flat if flat.type.unit == "us" else flat.cast(pa.timestamp("us"))).view(pa.int64())
    if flat.null_count:
        flat = pc.fill_null(flat, float("nan"))
    dtype = np.dtype(KINDS[str(flat.type)])
    start = flat.offset * dtype.itemsize
    return np.frombuffer(flat.buffers()[1], dtype, len(flat), start) if len(flat) else np.empty(0, dtype)


def _told(mean: Doubles) -> Doubles:
    """Infinite where there is a row that tells no number."""
    with needs("numpy"):
        import numpy as np
    unknown = np.isnan(mean)
    return np.where(unknown, np.inf, mean) if unknown.any() else mean
