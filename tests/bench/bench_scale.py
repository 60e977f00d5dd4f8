# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What it costs to size a fleet once: python tests/bench/bench_scale.py [VMs ...] [--large] [--keep FOLDER].

Four metrics, a week of intervals of 300 s with mean and maximum, read from a Delta table into the telemetry store's
own grids; then features, three outcomes for each of the candidates, and the choice by price. Each metric has a model of
its own, learnt from some VMs of the same generated fleet. Each size of fleet is measured in a process of its own;
writing the telemetry and training are not counted.

CPU seconds are more where other processes share a core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parents[2]
END = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, PER_DAY, INTERVAL_S, LEAD, EVERY = 7, 288, 300, 1, 12
METRICS = ("cpu_millicores", "disk_read_iops", "memory_used_mib", "net_receive_bits_per_s")
LARGE = 100_000
WRITTEN_VMS = 2_500  # at once
SIZED_VMS = 4_000  # at once
LEARNT_VMS, MOMENTS = 300, 20
CAPACITY = 8_000.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("vms", nargs="*", type=int, default=[1_000, 10_000])
    options.add_argument("--large", action="store_true", help=f"also {LARGE:,} VMs: 14 GB of disk for a while")
    options.add_argument("--keep", type=Path, help="leave telemetry in this folder, and use what was left there")
    chosen = options.parse_args()
    sizes = [*chosen.vms, *([LARGE] if chosen.large else [])]
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        models = {metric: learnt(metric) for metric in METRICS}
        costs = [(vms, cost(vms, models, chosen.keep, Path(scratch))) for vms in sizes]
    for (few, before), (many, after) in itertools.pairwise(costs):
        print(f"{many / few:.1f} times the VMs cost {after / before:.1f} times the CPU seconds")


def cost(vms: int, models: dict, keep: Path | None, scratch: Path) -> float:
    """CPU seconds of a fleet of this size."""
    place = (keep or scratch) / str(vms)
    if not place.exists():
        part = place.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(str(part), vms)
        part.rename(place)
    told = scratch / "told"
    process = multiprocessing.get_context("spawn").Process(target=measure, args=(vms, str(place), models, told))
    process.start()
    process.join()
    if not keep:
        shutil.rmtree(place)
    return json.loads(told.read_bytes())


def demand(metric: str, first: int, count: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and maximum [V, T] of some VMs: a level, a daily rhythm, noise, bursts of an hour."""
    rng = np.random.default_rng([METRICS.index(metric), first])
    hours = np.arange(days * PER_DAY) * (24 / PER_DAY)
    level, swing = rng.uniform(0.02, 0.3, (count, 1)) * CAPACITY, rng.uniform(0, 1, (count, 1))
    bursts = np.repeat(rng.random((count, days * 24)) < 0.02, PER_DAY // 24, axis=1)
    shape = 1 + swing * np.sin((hours - 9) / 24 * 2 * np.pi) + 3 * bursts
    mean = level * np.clip(shape + 0.1 * rng.standard_normal(shape.shape), 0.02, None)
    peak = mean * (1 + 0.3 * rng.random(shape.shape))
    return np.round(np.minimum(mean, CAPACITY), 3), np.round(np.minimum(peak, CAPACITY), 3)


def vm_id(number: int) -> str:
    """The unique_id of a VM."""
    return f"bench/{number:032x}"


def learnt(metric: str):
    """A model of the outcomes of decisions on one more day of some VMs."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome_model import examples, train

    _mean, peak = demand(metric, 0, LEARNT_VMS, DAYS + 1)
    rng = np.random.default_rng(0)
    parts = []
    for tick in rng.choice(np.arange(DAYS * PER_DAY, (DAYS + 1) * PER_DAY - EVERY - LEAD), MOMENTS, replace=False):
        came = peak[:, tick + LEAD : tick + LEAD + EVERY]
        past = moment(peak[:, tick - DAYS * PER_DAY : tick], now=END + timedelta(seconds=int(tick) * INTERVAL_S))
        parts.append(examples(past, came, np.full(LEARNT_VMS, 0.01 * CAPACITY), jump=2.4, rng=rng))
    return train(parts, step_s=INTERVAL_S, lead=LEAD, seed=0)


def moment(peak: np.ndarray, now: datetime = END):
    """What is known of VMs that nothing has held back."""
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import believed, moment_of

    saturated, capacity = np.zeros(peak.shape, dtype=bool), np.full(len(peak), CAPACITY)
    of = believed(peak, saturated, capacity, 1.15)
    return moment_of(of, saturated, capacity, step_s=INTERVAL_S, lead=LEAD, now=now)


def write(place: str, vms: int) -> None:
    """A telemetry store whose days are sorted by VM, as it stands after it was compacted."""
    from deltalake import write_deltalake

    from ansible_collections.headroom.fleet.plugins.module_utils._store.delta import (
        open_or_create,
        table_schema,
        writer_properties,
    )

    start = END - timedelta(days=DAYS)
    ds = int(start.timestamp()) * 1_000_000 + np.arange(DAYS * PER_DAY) * (INTERVAL_S * 1_000_000)
    begin = time.monotonic()
    for first in range(0, vms, WRITTEN_VMS):
        count = min(WRITTEN_VMS, vms - first)
        ids = pa.array([vm_id(number) for number in range(first, first + count)])
        for metric in METRICS:
            mean, peak = demand(metric, first, count, DAYS)
            for day in range(DAYS):
                cut, rows = slice(day * PER_DAY, (day + 1) * PER_DAY), count * PER_DAY
                columns = {
                    "unique_id": ids.take(pa.array(np.repeat(np.arange(count), PER_DAY))),
                    "metric": pa.array([metric]).take(pa.array(np.zeros(rows, dtype=np.int64))),
                    "ds": pa.array(np.tile(ds[cut], count), pa.timestamp("us", "UTC")),
                    "interval_s": pa.array(np.full(rows, INTERVAL_S, dtype=np.int32)),
                    "mean": pa.array(mean[:, cut].ravel()),
                    "p95": pa.array(np.round(0.1 * mean[:, cut] + 0.9 * peak[:, cut], 3).ravel()),
                    "maximum": pa.array(peak[:, cut].ravel()),
                    "samples": pa.array(np.full(rows, 60, dtype=np.int32)),
                    "coverage_ppm": pa.array(np.full(rows, 1_000_000, dtype=np.int32)),
                    "day": pa.array(np.full(rows, (start + timedelta(days=day)).date())),
                }
                write_deltalake(
                    open_or_create(place),
                    pa.table(columns, table_schema()),
                    mode="append",
                    writer_properties=writer_properties(),
                )
    size = sum(one.stat().st_size for one in Path(place).rglob("*.parquet"))
    print(f"{vms:,} VMs: {size / 1e9:.2f} GB of telemetry written in {time.monotonic() - begin:.0f} s", flush=True)


def measure(vms: int, place: str, models: dict, told: Path) -> None:
    """Size all VMs by all metrics and print what that cost."""
    spent = sized(place, vms, models)
    total = sum(spent.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
    print(
        f"{vms:,} VMs x {len(METRICS)} metrics x {DAYS} days: {total:.1f} CPU-s ({parts}),"
        f" {1e3 * total / vms / len(METRICS):.3f} ms a VM and metric; peak {peak:.2f} GiB; {os.cpu_count()} CPUs",
        flush=True,
    )
    told.write_text(json.dumps(total))


def sized(place: str, vms: int, models: dict) -> dict[str, float]:
    """CPU seconds of each step; the first is what every process begins with."""
    import lightgbm  # noqa: F401 - here, so that no step is charged with it

    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome_model import curves
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import CPU_POINT
    from ansible_collections.headroom.fleet.plugins.module_utils._plan.price import Prices, cheapest
    from ansible_collections.headroom.fleet.plugins.module_utils._store.dense import grids
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

    prices = Prices(*(getattr(CPU_POINT, name) for name in Prices.__dataclass_fields__))
    spent: dict[str, float] = defaultdict(float)
    clock = 0.0

    def count(name: str) -> None:
        nonlocal clock
        now = time.process_time()
        spent[name] += now - clock
        clock = now

    count("imports")
    ids = [vm_id(number) for number in range(vms)]
    scan = SeriesStore(place).scan(
        ids, metrics=METRICS, start=END - timedelta(days=DAYS), end=END, interval_s=INTERVAL_S
    )
    for grid in grids(scan):
        if not (grid.mean <= grid.maximum).all():  # none is missing
            raise SystemExit("Telemetry was not read as it was written.")
        count("reading")
        for first in range(0, len(grid.unique_ids), SIZED_VMS):
            past = moment(grid.maximum[first : first + SIZED_VMS])
            count("layout")
            said = curves(models[grid.metric], past, 0.01 * past.capacity)
            count("features and outcomes")
            nothing = np.zeros(len(past.capacity))
            wanted = cheapest(
                said, capacity=past.capacity, ordered=past.capacity, spent=nothing, headroom=nothing,
                granule=0.0, prices=prices,
            )  # fmt: skip
            count("choice")
            if not (wanted > 0).all():
                raise SystemExit("A VM has no size.")
    count("reading")
    return dict(spent)


if __name__ == "__main__":
    main()
