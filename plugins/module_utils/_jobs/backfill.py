# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back-fill: put a past into the telemetry store, generated or read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from .._records.series import DAY_S
from .._store.series import SeriesStore
from .._telemetry.files import Layout, read_file
from .._telemetry.history import Demand, history

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa


@dataclass(frozen=True)
class Backfill:
    """What was put there."""

    rows: int
    version: int


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
    return _stored(rows, series)


def backfill_file(path: str, *, series: SeriesStore, layout: Layout) -> Backfill:
    """Store the rows of a Parquet or CSV file."""
    return _stored(read_file(path, layout), series)


def _stored(rows: pa.Table, series: SeriesStore) -> Backfill:
    version = series.merge(rows)
    return Backfill(rows=rows.num_rows, version=version)
