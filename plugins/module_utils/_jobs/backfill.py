# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back-fill: put a past into the telemetry store, generated or read from a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Callable

from .._core.needs import needs
from .._records.series import DAY_S, interval_schema
from .._store.delta import NO_VERSION
from .._store.series import SeriesStore
from .._telemetry.files import Layout, Tally, read_file
from .._telemetry.history import Demand, history

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    import pyarrow as pa

MERGE_ROWS = 300_000  # at once: a few hundred megabytes while they are sorted and merged


@dataclass(frozen=True)
class Backfill:
    """What was put there."""

    rows: int
    version: int
    tally: Tally = field(default_factory=Tally)


def backfill(
    demands: Mapping[str, Demand],
    *,
    series: SeriesStore,
    now: datetime,
    weeks: int = 4,
    interval_s: int = 300,
    seed: int = 0,
) -> Backfill:
    """Generate the last weeks of these VMs, up to the last whole interval before ``now``."""
    rows = history(demands, start=now - timedelta(seconds=weeks * 7 * DAY_S), end=now, interval_s=interval_s, seed=seed)
    return Backfill(rows=rows.num_rows, version=series.merge(rows))


def backfill_file(
    path: str, *, series: SeriesStore, layout: Layout, progress: Callable[[str], None] = lambda _: None
) -> Backfill:
    """Store the rows of a Parquet or CSV file; of two rows of one VM, metric and time the later one counts.

    It is read twice, so that nothing is stored of a file that is wrong somewhere. Raises what ``read_file`` and
    ``SeriesStore.merge`` raise.
    """
    for _unused in read_file(path, layout, Tally()):
        pass
    progress(f"{path} is sound")
    tally, version = Tally(), NO_VERSION
    for rows in _chunks(read_file(path, layout, tally)):
        version = series.merge(rows)
        progress(f"{tally.rows} rows of {path} are stored")
    return Backfill(rows=tally.rows, version=version, tally=tally)


def _chunks(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in larger tables; at least one, which may be empty."""
    with needs("pyarrow"):
        import pyarrow as pa
    held = [interval_schema().empty_table()]
    for piece in pieces:
        held.append(piece)
        if sum(table.num_rows for table in held) >= MERGE_ROWS:
            yield pa.concat_tables(held)
            held = held[:1]
    yield pa.concat_tables(held)
