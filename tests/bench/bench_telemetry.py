# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU seconds and peak memory of each way into the telemetry store.

python tests/bench/bench_telemetry.py [--way W] [VMs ...]

One day: counters sampled each 60 s by libvirt, a Prometheus answer at 60 s, a Parquet and a CSV file at 300 s. Each
figure is of a process of its own; what generates the input is not counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import CSVWriter

CHECKOUT = Path(__file__).resolve().parents[2]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAY_S, INTERVAL_S, STEP_S = 86_400, 300, 60
DISKS = 2
PIECE_VMS = 100


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("vms", nargs="*", type=int, default=[100, 1_000])
    options.add_argument("--way", action="append", choices=["sampled", "queried", "parquet", "csv"])
    chosen = options.parse_args()
    for vms in chosen.vms:
        for way in chosen.way or ("sampled", "queried", "parquet", "csv"):
            with tempfile.TemporaryDirectory() as scratch:
                process = multiprocessing.get_context("spawn").Process(target=measure, args=(way, vms, scratch))
                process.start()
                process.join()


def measure(way: str, vms: int, scratch: str) -> None:
    """Print one figure."""
    namespace = Path(scratch, "ansible_collections/headroom")
    namespace.mkdir(parents=True)
    (namespace / "fleet").symlink_to(CHECKOUT)
    sys.path.insert(0, scratch)
    act = {found.__name__: found for found in (sampled, queried, parquet, csv)}[way](vms, Path(scratch))
    before_mb, begin, clock = peak_mb(), time.process_time(), time.monotonic()
    rows = act()
    spent, wall = time.process_time() - begin, time.monotonic() - clock
    print(
        f"{way:8} {vms:,} VMs x 1 day: {rows:,} rows in {spent:.1f} CPU-s ({1e6 * spent / rows:.1f} us a row),"
        f" {wall:.1f} s; peak {peak_mb()} MB, {peak_mb() - before_mb} MB above its input; {os.cpu_count()} CPUs",
        flush=True,
    )


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def sampled(vms: int, scratch: Path) -> Callable[[], int]:
    """From libvirt's statistics to the store, through the collection's own loop, in played time."""
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs import collect as module
    from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.telemetry import read_samples
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

    passed_s = 0.0

    def clock() -> datetime:
        return BEGIN + timedelta(seconds=passed_s)

    def sleep(seconds: float) -> None:
        nonlocal passed_s
        passed_s += seconds

    class Reader:
        def sample(self):
            stats = statistics(int(passed_s), clock())
            return tuple(
                sample
                for vm in range(vms)
                for sample in read_samples(endpoint, f"{vm:032x}", boot=1, stats=stats, taken_at=clock())
            )

        def close(self):
            pass

    class Pool:
        """Answers at once."""

        def __init__(self, **_unused):
            pass

        def submit(self, act):
            future = module.Future()
            future.set_result(act())
            return future

        def shutdown(self, **_unused):
            pass

    module.open_reader, module.ThreadPoolExecutor = lambda _unused: Reader(), Pool
    endpoint = module.Endpoint("bench", "bench://")
    series = SeriesStore(str(scratch / "series"))
    return lambda: (
        module.collect(
            [endpoint],
            series=series,
            duration_s=DAY_S,
            step_s=STEP_S,
            interval_s=INTERVAL_S,
            clock=clock,
            monotonic=lambda: passed_s,
            sleep=sleep,
        ).rows
    )


def statistics(seconds: int, at: datetime) -> dict[str, object]:
    """As libvirt has them, of a VM with four vCPUs, disks and one interface."""
    stats: dict[str, object] = {"cpu.time": seconds * 10**9, "block.count": DISKS, "net.count": 1}
    for vcpu in range(4):
        stats |= {f"vcpu.{vcpu}.time": seconds, f"vcpu.{vcpu}.delay": seconds * 10**6, f"vcpu.{vcpu}.wait": seconds}
    for disk in range(DISKS):
        stats[f"block.{disk}.name"] = f"vd{'ab'[disk]}"
        stats |= {f"block.{disk}.{name}": seconds * 100 for name in ("rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs")}
    stats |= {"net.0.name": "vnet0", "net.0.rx.bytes": seconds * 1000, "net.0.tx.bytes": seconds * 10}
    stats |= {
        f"balloon.{name}": 2**20 for name in ("current", "available", "rss", "swap_in", "swap_out", "major_fault")
    }
    return stats | {"balloon.usable": 2**19, "balloon.last-update": int(at.timestamp())}


def queried(vms: int, scratch: Path) -> Callable[[], int]:
    """From the bytes of answers to the store; the server's own work is not counted."""
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs import prometheus as job
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry import prometheus
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.http import Server, TooLargeError

    def post(_server, _path, form, *, most_bytes):
        times = range(int(form["start"]), int(form["end"]) + 1, STEP_S)
        if vms * len(times) * 26 > most_bytes:  # about as long as a point is
            raise TooLargeError("http.too_large", "Too large.")
        values = [[at, f"{at % 977 / 7:.12f}"] for at in times]
        one = [{"metric": {"uuid": f"{vm:032x}"}, "values": values} for vm in range(vms)]
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": one}}).encode()

    prometheus.post = post
    series = SeriesStore(str(scratch / "series"))
    return lambda: (
        job.query_prometheus(
            Server("http://bench"),
            {"cpu_millicores": prometheus.Query("up", "bench/{uuid}", factor=1000)},
            series=series,
            now=BEGIN + timedelta(days=1),
            history_s=DAY_S,
            step_s=STEP_S,
            interval_s=INTERVAL_S,
        ).rows
    )


def parquet(vms: int, scratch: Path) -> Callable[[], int]:
    path = scratch / "day.parquet"
    with pq.ParquetWriter(path, next(day(1)).schema) as writer:
        for table in day(vms):
            writer.write_table(table)
    return imported(path, scratch)


def csv(vms: int, scratch: Path) -> Callable[[], int]:
    path = scratch / "day.csv"
    with CSVWriter(path, next(day(1)).schema) as writer:
        for table in day(vms):
            writer.write_table(table)
    return imported(path, scratch)


def day(vms: int) -> Iterator[pa.Table]:
    """One day of two metrics, some VMs at a time."""
    rng = np.random.default_rng(1)
    count = DAY_S // INTERVAL_S
    start_us = int(BEGIN.timestamp()) * 1_000_000
    for first in range(0, vms, PIECE_VMS):
        some = range(first, min(first + PIECE_VMS, vms))
        ds = np.tile(start_us + np.arange(count) * (INTERVAL_S * 1_000_000), len(some))
        cpu, used = rng.gamma(2, 400, len(ds)), rng.gamma(9, 100, len(ds))
        yield pa.table(
            {
                "unique_id": np.repeat([f"bench/{vm:032x}" for vm in some], count),
                "ds": pa.array(ds, pa.timestamp("us", "UTC")),
                "cpu": cpu,
                "cpu_max": cpu * 1.5,
                "used": used,
            }
        )


def imported(path: Path, scratch: Path) -> Callable[[], int]:
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill_file
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import Column, Layout

    columns = {"cpu_millicores": Column("cpu", maximum="cpu_max"), "memory_used_mib": Column("used")}
    series = SeriesStore(str(scratch / "series"))
    return lambda: backfill_file(str(path), series=series, layout=Layout(columns, INTERVAL_S)).rows


if __name__ == "__main__":
    main()
