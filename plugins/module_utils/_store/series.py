# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The telemetry store: interval rows in a Delta table that several writers and every engine of the field can share.

Partitioned by metric and by UTC day of ds. A forecast reads one metric over weeks, a collector writes every metric of
the last minutes, retention drops days. At 100,000 VMs and 300 s a partition holds 29 million rows, a few hundred
megabytes; inside it the statistics of ds let a merge of fresh intervals skip every older file, so that writing costs
by what is written and not by what is known. There is no partition by VM: that would be one file per VM and collection.
VMs are found by the statistics of unique_id, which ``retention.compact`` sharpens by sorting whole days.

Two writers at once: a merge that lost the race to a commit which may hold the same keys runs again on the new version.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Optional

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import COLUMNS, KEY, METRICS, VALUES, Series
from .delta import location, open_or_create, open_table, retried, shown, table_schema, version_of, writer_properties
from .groups import Source
from .rows import checked_rows
from .scan import Scan, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

CHUNK_ROWS = 4_000_000  # about 0.5 GB while a chunk is read and sorted


class SeriesStore:
    """Reads and merges interval rows.

    ``url`` is a path, a ``file://`` URL or an object store that deltalake knows (``s3://...``); credentials come from
    the environment alone. With ``overlay_url`` (a rehearsal) writes go to the overlay and reads see both, the
    overlay's row winning: the base is never created or written.
    """

    def __init__(self, url: str, *, overlay_url: str = "") -> None:
        self._base = location(url)
        self._overlay = location(overlay_url) if overlay_url else ""

    def merge(self, table: pa.Table) -> int:
        """Upsert rows by their key; return the table's version. Rows that are there already make no new version.

        Raises what ``checked_rows`` and ``open_table`` raise, and ``store.busy``.
        """
        rows = checked_rows(table)
        target = self._overlay or self._base
        if not rows.num_rows:
            return version_of(open_table(target))
        return retried(target, lambda: _merge(open_or_create(target), rows))

    def read(
        self,
        unique_ids: Optional[Sequence[str]],
        *,
        metrics: Sequence[str] = METRICS,
        start: datetime,
        end: datetime,
        interval_s: int,
        version: Optional[int] = None,
    ) -> pa.Table:
        """Return the rows with start <= ds < end as one table sorted by (unique_id, metric, ds); None: of all VMs.

        ``version`` is one of the base. For more rows than memory holds there is ``scan``.
        """
        with needs("pyarrow"):
            import pyarrow as pa
        scan = self.scan(unique_ids, metrics=metrics, start=start, end=end, interval_s=interval_s, version=version)
        tables = [scan.empty(), *scan.tables()]
        return pa.concat_tables(tables).unify_dictionaries().combine_chunks()

    def header(
        self,
        unique_ids: Optional[Sequence[str]],
        *,
        metrics: Sequence[str] = METRICS,
        start: datetime,
        end: datetime,
        interval_s: int,
        version: Optional[int] = None,
    ) -> Series:
        """Read the rows once and name them."""
        scan = self.scan(unique_ids, metrics=metrics, start=start, end=end, interval_s=interval_s, version=version)
        for _unused in scan.tables():
            pass
        return scan.header()

    def scan(
        self,
        unique_ids: Optional[Sequence[str]],
        *,
        metrics: Sequence[str] = METRICS,
        start: datetime,
        end: datetime,
        interval_s: int,
        version: Optional[int] = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> Scan:
        """Read in tables of whole VMs, of at most ``chunk_rows`` rows each, or of one VM."""
        base = Source(self._base, open_table(self._base, version))
        overlay = Source(self._overlay, open_table(self._overlay) if self._overlay else None)
        return Scan(base, overlay, Wanted(unique_ids, metrics, start, end, interval_s), chunk_rows=chunk_rows)

    def pinned(self, header: Series, *, chunk_rows: int = CHUNK_ROWS) -> Scan:
        """Read the rows that a header names. After the last table the caller compares ``Scan.header`` with it.

        Raises ``series.elsewhere`` when the header names another table than this store's, ``store.version_gone``.
        """
        if (header.table, header.overlay) not in {
            (shown(self._base), ""),
            (shown(self._base), shown(self._overlay)),
        }:
            raise HeadroomError(
                "series.elsewhere",
                f"The series were read from {header.table} {header.overlay}".rstrip()
                + f", not from {shown(self._base)}.",
                advice="Name that table as the telemetry store.",
            )
        base = Source(self._base, open_table(self._base, header.table_version))
        overlay = Source("", None)
        if header.overlay:
            overlay = Source(self._overlay, open_table(self._overlay, header.overlay_version))
        wanted = Wanted(
            header.unique_ids, header.metrics, parse_utc(header.start), parse_utc(header.end), header.interval_s
        )
        return Scan(base, overlay, wanted, chunk_rows=chunk_rows)


def _merge(table: Any, rows: pa.Table) -> int:
    """One MERGE in one commit, confined to the partitions and the time that the rows span."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    day = pc.cast(rows["ds"].cast(pa.timestamp("us")), pa.date32())  # ds is UTC
    source = rows.append_column(table_schema().field("day"), day)
    span = pc.min_max(rows["ds"]).as_py()
    metrics = ", ".join(f"'{metric}'" for metric in sorted(pc.unique(rows["metric"]).to_pylist()))
    bounds = (
        f"old.metric IN ({metrics}) AND old.day >= DATE '{span['min']:%Y-%m-%d}'"
        f" AND old.day <= DATE '{span['max']:%Y-%m-%d}'"
        f" AND old.ds >= TIMESTAMP '{span['min']:%Y-%m-%dT%H:%M:%SZ}'"
        f" AND old.ds <= TIMESTAMP '{span['max']:%Y-%m-%dT%H:%M:%SZ}'"
    )
    same_key = " AND ".join(f"old.{name} = new.{name}" for name in [*KEY, "day"])
    differs = " OR ".join(f"(old.{name} IS DISTINCT FROM new.{name})" for name in VALUES)
    merger = table.merge(
        source,
        predicate=f"{same_key} AND {bounds}",
        source_alias="new",
        target_alias="old",
        streamed_exec=False,  # streaming knows no statistics of the source, and would read every file
        writer_properties=writer_properties(),
    )
    values = {name: f"new.{name}" for name in VALUES}
    everything = {name: f"new.{name}" for name in [*COLUMNS, "day"]}
    merger.when_matched_update(values, predicate=differs).when_not_matched_insert(everything).execute()
    return version_of(table)
