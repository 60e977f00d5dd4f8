# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which telemetry goes and which stays: days past their age, files in too many pieces, files that nothing names.

The table's own log is one of them: a collection each five minutes makes 100,000 commits a year, and who opens the table
lists them all.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

from .._core.clock import utc_now
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import METRICS
from .delta import filesystem, location, open_table, query, retried, table_schema, unreachable, writer_properties
from .groups import Source, quoted
from .scan import Scan, Wanted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import date

    import pyarrow as pa

FILE_BYTES = 128 * 2**20  # what compaction makes of a partition: files of about this size, and one for the rest
SMALL_BYTES = FILE_BYTES // 4
SORTED_ROWS = 2_000_000  # put in order at once, or those of one VM; of such parts the writer takes any first
# Files that the table let go of, or that no commit names, stay so long: for readers and writers under way.
GRACE_HOURS = 24
LOG = "_delta_log"
LOG_FILES_AT_ONCE = 5000  # of one prune, for each is a request: some minutes of them, and weeks of commits
_LOG_FILE = re.compile(r"(\d{20})\.(json|checkpoint\.parquet)")  # of a version: the commit, all that stands then


@dataclass(frozen=True)
class Retained:
    """What went: rows of old days, days that were rewritten as few files, files that nothing names any more."""

    rows: int = 0
    days: int = 0
    files: int = 0


def retain(
    url: str, *, oldest: datetime, settled: datetime, versions: Collection[int], dry_run: bool = False
) -> Retained:
    """Drop days before ``oldest``, compact days before ``settled``, and remove files that no kept version names.

    ``versions`` stay readable as they are. Raises what ``open_table`` raises, ``store.busy``, and when all else is done
    ``series.*`` for a day whose rows cannot be what Headroom wrote: it stays as it is.
    """
    rows = drop(url, before=oldest, dry_run=dry_run)
    try:
        days = compact(url, before=settled, since=oldest, dry_run=dry_run)
    finally:
        files = vacuum(url, versions=versions, dry_run=dry_run) + shorten(url, versions=versions, dry_run=dry_run)
    return Retained(rows, days, files)


def drop(url: str, *, before: datetime, dry_run: bool = False) -> int:
    """Take the days before this time out of the table's newest version; returns how many rows they have."""
    place, day = location(url), _day(before)

    def act() -> int:
        table = open_table(place)
        rows = int(sum(one["num_records"] for one in _files(table) if one["partition.day"] < day))
        if rows and not dry_run:
            table.delete(f"day < DATE '{day.isoformat()}'")
        return rows

    return retried(place, act)


def compact(url: str, *, before: datetime, since: datetime, dry_run: bool = False) -> int:
    """Rewrite days in this span as few files in which each VM's rows lie together: commits leave many small ones.

    The rows stay as they are, and the old files stay until ``vacuum``. A day in few files is left alone. Each metric of
    a day is a commit, so that what is done stays done. Metrics of a later release are left to it. Returns the number of
    days.
    """
    place, first, end = location(url), _day(since), _day(before)
    small = Counter(
        (one["partition.metric"], one["partition.day"])
        for one in _files(open_table(place))
        if first <= one["partition.day"] < end
        and one["size_bytes"] < SMALL_BYTES
        and one["partition.metric"] in METRICS
    )
    scattered = sorted(key for key, count in small.items() if count > 1)
    refused = []
    for metric, day in () if dry_run else scattered:
        try:
            retried(place, partial(_put_in_order, place, metric, day))
        except HeadroomError as error:
            if not error.code.startswith("series."):
                raise
            refused.append(error)
    if refused:
        raise refused[0]
    return len({day for _metric, day in scattered})


def vacuum(url: str, *, versions: Collection[int], dry_run: bool = False) -> int:
    """Remove files that neither the newest nor one of these versions names; returns how many."""
    place = location(url)

    def act() -> int:
        table = open_table(place)
        if table is None:
            return 0
        kept = _readable(_log(filesystem(table)), versions)
        rules = {
            "retention_hours": GRACE_HOURS,
            "enforce_retention_duration": False,
            "full": True,  # also files of writers that died before their commit
            "keep_versions": [version for version in kept if version <= table.version()],
        }
        files = _present(table, table.vacuum(dry_run=True, **rules))
        if files and not dry_run:
            table.vacuum(dry_run=False, **rules)
        return files

    return retried(place, act)


def shorten(url: str, *, versions: Collection[int], dry_run: bool = False) -> int:
    """Remove the log before the last checkpoint from which all of these versions can be read; returns how many files.

    So can the version that was the newest a day ago, and all since. Delta's own cleanup goes by age alone, and would
    take versions that are named. Of a long log the oldest LOG_FILES_AT_ONCE files go, and the rest the next times.
    """
    place = location(url)

    def act() -> int:
        table = open_table(place)
        if table is None:
            return 0
        files = filesystem(table)
        log = _log(files)
        settled = utc_now() - timedelta(hours=GRACE_HOURS)
        past = [one.version for one in log if not one.checkpoint and one.written_at < settled]
        oldest = min([*_readable(log, versions), max(past, default=0)])
        first = max((one.version for one in log if one.checkpoint and one.version <= oldest), default=0)
        gone = sorted(one.path for one in log if one.version < first)[:LOG_FILES_AT_ONCE]
        if not dry_run:
            for path in gone:  # oldest first: what is left can be read whenever this ends
                with contextlib.suppress(FileNotFoundError):  # another prune was quicker
                    files.delete_file(path)
        return len(gone)

    return retried(place, act)


def _put_in_order(place: str, metric: str, day: date) -> None:
    """Write the rows of a metric and a day anew, those of an interval and a VM together.

    What another writer adds meanwhile is kept beside them; where it rewrites some of them, this commit fails. Raises
    ``series.*`` rather than lose a row.
    """
    with needs("deltalake", "pyarrow"):
        import pyarrow as pa
        from deltalake import write_deltalake
        from deltalake.exceptions import DeltaError
    table, schema = open_table(place), table_schema()
    partition = f"metric = {quoted(metric)} AND day = DATE '{day}'"
    text = f"SELECT interval_s, COUNT(*) AS rows FROM series WHERE {partition} GROUP BY 1"  # noqa: S608 - own values
    left = {one["interval_s"]: one["rows"] for batch in query(table, text) for one in batch.to_pylist()}
    start = datetime.combine(day, time(), tzinfo=timezone.utc)

    def batches() -> Iterator[pa.RecordBatch]:
        for interval_s in sorted(left):
            wanted = Wanted(None, [metric], start, start + timedelta(days=1), interval_s)
            for rows in Scan(Source(place, table), Source("", None), wanted, chunk_rows=SORTED_ROWS).tables():
                left[interval_s] -= len(rows)
                days = pa.repeat(pa.scalar(day, pa.date32()), len(rows))
                yield from rows.append_column("day", days).cast(schema).combine_chunks().to_batches()
            if left[interval_s]:
                raise HeadroomError(
                    "series.day",
                    f"{left[interval_s]} rows of {metric} lie in the folder of {day} and are of another day.",
                    advice="Something else than Headroom wrote into the table: restore an earlier version of it.",
                )

    refused: list[HeadroomError] = []
    sorted_rows = batches()

    def following() -> Optional[pa.RecordBatch]:
        try:
            return next(sorted_rows, None)
        except HeadroomError as error:  # of which the writer would make a text
            refused.append(error)
            raise

    with ThreadPoolExecutor(1) as reader:  # a thread that writes for Delta cannot read from it
        ordered = iter(lambda: reader.submit(following).result(), None)
        try:
            write_deltalake(
                table,
                pa.RecordBatchReader.from_batches(schema, ordered),
                mode="overwrite",
                predicate=partition,
                target_file_size=FILE_BYTES,
                writer_properties=writer_properties(),
            )
        except DeltaError:
            if refused:
                raise refused[0] from None
            raise


@dataclass(frozen=True)
class _LogFile:
    version: int
    checkpoint: bool
    path: str
    written_at: datetime


def _log(files: Any) -> list[_LogFile]:
    with needs("pyarrow"):
        from pyarrow.fs import FileSelector
    return [
        _LogFile(int(found[1]), found[2] != "json", one.path, one.mtime)
        for one in files.get_file_info(FileSelector(LOG))
        if (found := _LOG_FILE.fullmatch(one.base_name))
    ]


def _readable(log: list[_LogFile], versions: Collection[int]) -> list[int]:
    """Those of these versions that the log still tells of; it goes oldest first.

    A version that another prune has taken can be named still: by a header in an artifact store which that prune does
    not know, or by one that was put while it was under way. It is lost, and no reason to keep anything.
    """
    whole = any(one.version == 0 and not one.checkpoint for one in log)
    first = 0 if whole else min((one.version for one in log if one.checkpoint), default=0)
    return sorted(version for version in versions if version >= first)


def _files(table: Any) -> list[dict[str, Any]]:
    """Every file of the table's newest version, as the log has it."""
    if table is None:
        return []
    with needs("pyarrow"):
        import pyarrow as pa
    columns = ["partition.metric", "partition.day", "num_records", "size_bytes"]
    found: list[dict[str, Any]] = pa.table(table.get_add_actions(flatten=True)).select(columns).to_pylist()
    return found


def _present(table: Any, paths: list[str]) -> int:
    """How many of these are there: vacuum names what it removed until the log forgets it."""
    with needs("pyarrow"):
        from pyarrow.fs import FileType
    root = table.table_uri.rstrip("/") + "/"
    try:
        found = filesystem(table).get_file_info([path.removeprefix(root) for path in paths])
    except OSError as error:
        raise unreachable(table.table_uri, error) from error
    return sum(one.type != FileType.NotFound for one in found)


def _day(moment: datetime) -> date:
    return moment.astimezone(timezone.utc).date()
