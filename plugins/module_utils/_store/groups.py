# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of the telemetry table, read by row group as they lie in its files, no more columns than needed.

A week of 100,000 VMs is 200 million rows of each metric: nobody looks at the text of an id in each of them. Files have
dictionaries of the ids in them, and those are looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from .._core.clock import EPOCH, format_utc
from .._core.needs import needs
from .._core.units import SECOND_US
from .delta import filesystem, query, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Integers = npt.NDArray[np.int64]

READER = 1  # of Delta's protocol: the last in which a row of a file is a row of the table, as it stands
MOST_KNOWN = 64  # arrays of ids
FEW = 8  # times as many ids asked for as there are to look up
CODED_BYTES = 8  # of an id in a file, at most, where it comes often enough for a dictionary to be worth its reading
KINDS = {  # Arrow's names and NumPy's
    **{f"{sign}int{8 * size}": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
    "double": "f8",
}
LAST = chr(0x10FFFF)  # no text that is an id stands after it
TIMES = ("min.ds", "max.ds")
FILE_COLUMNS = ("path", "partition.metric", "partition.day", "min.unique_id", "max.unique_id", *TIMES)
LOGGED_US = 1000  # the log of the table keeps times no finer


@dataclass(frozen=True)
class Source:
    """A table of the store, open at one version; None where there is none."""

    place: str
    table: Any


@dataclass(frozen=True)
class Span:
    """Intervals of one length, one after another."""

    start_us: int  # START of the first, since the epoch
    interval_s: int
    slots: int  # how many

    @property
    def end_us(self) -> int:
        """END of the last, since the epoch."""
        return self.start_us + self.slots * self.interval_s * SECOND_US

    @property
    def start(self) -> datetime:
        """START of the first."""
        return EPOCH + timedelta(microseconds=self.start_us)

    @property
    def end(self) -> datetime:
        """END of the last."""
        return EPOCH + timedelta(microseconds=self.end_us)

    def slots_of(self, ds_us: Integers) -> Integers:
        """Which interval each time is in, the first being 0."""
        return (ds_us - self.start_us) // (self.interval_s * SECOND_US)

    def where(self, metrics: Sequence[str]) -> str:
        """The condition of SQL that the rows of these metrics meet, of whatever VM."""
        return f"{self.when(metrics)} AND interval_s = {self.interval_s}"

    def when(self, metrics: Sequence[str]) -> str:
        """The same for intervals of whatever length."""
        start, end = format_utc(self.start), format_utc(self.end)
        return (
            f"metric IN ({', '.join(map(quoted, metrics)) or 'NULL'})"
            f" AND day >= DATE '{start[:10]}' AND day <= DATE '{end[:10]}'"
            f" AND ds >= TIMESTAMP '{start}' AND ds < TIMESTAMP '{end}'"
        )


class Groups:
    """The row groups of one table that may hold rows of a span."""

    def __init__(self, source: Source, span: Span) -> None:
        self._source, self._span = source, span
        self._files: list[_File] | None = None
        if self.there and source.table.protocol().min_reader_version <= READER:
            self._files = _files(source.table, span)

    @property
    def there(self) -> bool:
        """Whether there is a table."""
        return self._source.table is not None

    def read(
        self, metric: str, first: str, last: str, columns: Sequence[str], *, edge: Sequence[str] = ()
    ) -> Iterator[Any]:
        """Yield tables or batches that hold all rows of the VMs between two, and rows of other VMs and times.

        Rows of intervals of another length are not among them. ``edge``: columns that are wanted as well, but not of
        files that have no rows of other times. Raises ``store.unreachable``.
        """
        if not self.there:
            return
        if self._files is None:
            where = f"{self._span.where([metric])} AND unique_id >= {quoted(first)} AND unique_id <= {quoted(last)}"
            names = ", ".join((*columns, *edge))
            text = f"SELECT {names} FROM series WHERE {where}"  # noqa: S608 - own values, ids quoted
            yield from query(self._source.table, text)
            return
        for one in self._files:
            if one.metric == metric and one.first <= last and first <= one.last:
                yield from self._of_file(one.path, first, last, columns if one.within else (*columns, *edge))

    def _of_file(self, path: str, first: str, last: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        with needs("pyarrow"):
            import pyarrow as pa
            import pyarrow.compute as pc
            import pyarrow.parquet as pq
        place, interval_s = self._source.place, self._span.interval_s
        local = place.startswith("/")
        try:
            opened = pa.OSFile(f"{place}/{path}") if local else filesystem(self._source.table).open_input_file(path)
            with opened:
                known = pq.read_metadata(opened)
                ranges = [_ranges(known.row_group(number)) for number in range(known.num_row_groups)]
                mixed = any(one.get("interval_s") != (interval_s, interval_s) for one in ranges)
                coded = ["unique_id"] if mixed or _is_coded(known) else []
                names = list(dict.fromkeys((*columns, "interval_s"))) if mixed else columns
                file = pq.ParquetFile(opened, metadata=known, read_dictionary=coded, pre_buffer=not local)
                for number, one in enumerate(ranges):
                    least, greatest = one.get("unique_id", (first, last))
                    if greatest < first or last < least:
                        continue
                    rows = file.read_row_group(number, columns=names, use_threads=False)
                    rows = rows.filter(pc.equal(rows["interval_s"], interval_s)) if mixed else rows
                    if rows.num_rows:
                        yield rows
        except (OSError, pa.ArrowException) as error:
            raise unreachable(place, error) from error


class Ids:
    """The places of VMs among those asked for."""

    def __init__(self, unique_ids: Sequence[str]) -> None:
        self._row_of = {unique_id: row for row, unique_id in enumerate(unique_ids)}
        self._known: dict[tuple[str, str, str, int], tuple[pa.Array, Integers]] = {}

    def of(self, column: Any) -> tuple[npt.NDArray[np.integer[Any]], Integers]:
        """A number for the VM of each row, and by number the place of that VM, -1 for one that was not asked for."""
        with needs("numpy", "pyarrow"):
            import numpy as np
            import pyarrow as pa
        if isinstance(column, pa.ChunkedArray):
            chunks = column.unify_dictionaries().chunks
            column = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)
        if pa.types.is_dictionary(column.type):
            return numbers(column.indices), self._places(column.dictionary.cast(pa.string()))
        return np.arange(len(column)), self._places(column.cast(pa.string()))

    @cached_property
    def _asked(self) -> pa.StringArray:
        return _texts(list(self._row_of))

    def _places(self, ids: pa.Array) -> Integers:
        """Files of one time have the same ids, and so have those of successive times, if mostly in another order."""
        with needs("numpy", "pyarrow"):
            import numpy as np
            import pyarrow.compute as pc
        if not len(ids):
            return np.empty(0, dtype=np.int64)
        key = (ids[0].as_py(), ids[len(ids) // 2].as_py(), ids[-1].as_py(), len(ids))
        known = self._known.get(key)
        if known is not None and known[0].equals(ids):
            return known[1]
        if len(self._known) == MOST_KNOWN:
            self._known.clear()
        if len(ids) * FEW < len(self._row_of):  # not worth a table of all that are asked for
            places = np.array([self._row_of.get(unique_id, -1) for unique_id in ids.to_pylist()], dtype=np.int64)
        else:
            found = pc.index_in(ids, value_set=self._asked)
            places = np.where(_valid(found), _plain(found), -1).astype(np.int64)
        self._known[key] = (ids, places)
        return places


def numbers(column: Any) -> npt.NDArray[Any]:
    """Values, times in microseconds; NaN for null. Taken from memory as they lie: ``to_numpy`` imports pandas."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    flat = column
    if isinstance(column, pa.ChunkedArray):  # to combine a single chunk would copy it
        flat = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_timestamp(flat.type):
        flat = (flat if flat.type.unit == "us" else flat.cast(pa.timestamp("us"))).view(pa.int64())
    plain = _plain(flat)
    return np.where(_valid(flat), plain, np.nan) if flat.null_count else plain


def _plain(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers of an array; anything where it is null."""
    with needs("numpy"):
        import numpy as np
    dtype = np.dtype(KINDS[str(array.type)])
    start = array.offset * dtype.itemsize
    return np.frombuffer(array.buffers()[1], dtype, len(array), start) if len(array) else np.empty(0, dtype)


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Where an array is not null. ``pyarrow.compute.fill_null`` imports pandas."""
    with needs("numpy"):
        import numpy as np
    bits = array.buffers()[0]
    if bits is None:
        return np.ones(len(array), dtype=np.bool_)
    end = array.offset + len(array)
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=end, bitorder="little")[array.offset :].astype(np.bool_)


def _texts(words: Sequence[str]) -> pa.StringArray:
    """An array of texts; ``pyarrow.array`` imports pandas."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    encoded = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


class _File(NamedTuple):
    """A file of the table, between which ids its rows are, and whether all are known to be of the span."""

    metric: str
    first: str
    last: str
    path: str
    within: bool


def _files(table: Any, span: Span) -> list[_File]:
    """The files that a span may need; those that begin with one VM stand together."""
    with needs("pyarrow"):
        import pyarrow as pa
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
            within=None not in (one.get("min.ds"), one.get("max.ds"))
            and span.start_us <= one["min.ds"]
            and one["max.ds"] + LOGGED_US <= span.end_us,
        )
        for one in found
        if span.start.date() <= one["partition.day"] <= span.end.date()
        and (one.get("min.ds") is None or one["min.ds"] < span.end_us)
        and (one.get("max.ds") is None or one["max.ds"] + LOGGED_US >= span.start_us)
    )


def _ranges(group: Any) -> dict[str, tuple[Any, Any]]:
    """Column -> the least and the greatest value in a row group, of columns where they are known."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return {
        one.path_in_schema: (one.statistics.min, one.statistics.max)
        for one in columns
        if one.path_in_schema in {"unique_id", "interval_s"} and one.is_stats_set and one.statistics.has_min_max
    }


def _is_coded(known: Any) -> bool:
    """Whether ids come again and again in the first row group, as they do where it is sorted by VM."""
    if not known.num_row_groups:
        return False
    group = known.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    sizes = [one.total_uncompressed_size for one in columns if one.path_in_schema == "unique_id"]
    return bool(sum(sizes) < CODED_BYTES * group.num_rows)
