# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU seconds and peak memory of a forecast: python tests/bench/bench_forecast.py [--store] [VMs ...].

Four weeks at 300 s, as tables of 500 VMs, one metric. Generating the rows is not counted. With --store the rows are
written to a Delta table first, and reading, sorting and the digest are counted too.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parents[2]
END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, PER_DAY, INTERVAL_S = 28, 288, 300
CHUNK_VMS = 500
METRIC = "cpu_millicores"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("vms", nargs="*", type=int, default=[1_000, 10_000])
    options.add_argument("--store", action="store_true", help="through a Delta table")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        for vms in chosen.vms:
            print(measured(vms, Path(scratch, f"series-{vms}") if chosen.store else None), flush=True)


def chunk(first: int, count: int) -> pa.Table:
    """Rows of VMs first to first + count: a floor, a daily rhythm, bursts; sorted by VM and time."""
    rng = np.random.default_rng(first)
    hours = np.arange(DAYS * PER_DAY) * (24 / PER_DAY)
    level, swing = rng.gamma(2, 400, (count, 1)), rng.uniform(0, 1, (count, 1))
    shape = 1 + swing * np.sin((hours[None, :] - 9) / 24 * 2 * np.pi) + 0.1 * rng.standard_normal((count, len(hours)))
    mean = level * np.clip(shape + 2 * (rng.random(shape.shape) < 0.005), 0.02, None)
    rows = mean.size
    start_us = int((END - timedelta(days=DAYS)).timestamp()) * 1_000_000
    ids = pa.array([f"bench/{number:032x}" for number in range(first, first + count)])
    each = np.repeat(np.arange(count, dtype=np.int32), len(hours))
    ds = np.tile(start_us + np.arange(len(hours)) * (INTERVAL_S * 1_000_000), count)
    return pa.table(
        {
            "unique_id": pa.DictionaryArray.from_arrays(each, ids),
            "metric": pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int32), pa.array([METRIC])),
            "ds": pa.array(ds, pa.timestamp("us", "UTC")),
            "interval_s": np.full(rows, INTERVAL_S, dtype=np.int32),
            "mean": mean.ravel(),
            "p95": mean.ravel() * 1.2,
            "maximum": mean.ravel() * 1.3,
            "samples": np.full(rows, 60, dtype=np.int32),
            "coverage_ppm": np.full(rows, 1_000_000, dtype=np.int32),
        }
    )


def measured(vms: int, place: Path | None) -> str:
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
    from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes

    request = Request(now=END, metrics=(METRIC,))
    unique_ids = [f"bench/{number:032x}" for number in range(vms)]
    aside = 0.0  # CPU seconds spent on generating

    def generated():
        nonlocal aside
        for first in range(0, vms, CHUNK_VMS):
            begin = time.process_time()
            table = chunk(first, min(CHUNK_VMS, vms - first))
            aside += time.process_time() - begin
            yield table

    written = ""
    if place is not None:
        store = SeriesStore(str(place))
        begin, clock = time.process_time(), time.monotonic()
        for table in generated():
            store.merge(table)
        store.compact(before=END)
        written = f"; written in {time.process_time() - begin - aside:.1f} CPU-s, {time.monotonic() - clock:.1f} s"
        aside = 0.0
        scan = store.scan(
            unique_ids, metrics=request.metrics, start=request.start, end=request.cutoff, interval_s=INTERVAL_S
        )
    begin, clock = time.process_time(), time.monotonic()
    table, choices = make_forecast(generated() if place is None else scan.tables(), request, unique_ids=unique_ids)
    size = len(table_bytes(table))
    digest = f", digest of {scan.header().rows:,} rows" if place is not None else ""
    spent, wall = time.process_time() - begin - aside, time.monotonic() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    engines = {choice.engine for choice in choices}
    return (
        f"{vms:,} VMs x 1 metric x {DAYS} days: {spent:.1f} CPU-s ({wall:.1f} s with generating) for"
        f" {table.num_rows:,} rows ({size / 1e6:.1f} MB, {len(engines)} engines){digest};"
        f" peak {peak} MB on {os.cpu_count()} CPUs{written}"
    )


if __name__ == "__main__":
    main()
