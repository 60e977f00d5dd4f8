# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a forecast costs and how good it is: python tests/bench/bench_forecast.py [VMs ...] [options].

Cost: CPU seconds and peak memory for four weeks at 300 s, as tables of 500 VMs, one metric, and how they grow;
generating the rows is not counted. Beside it, in the same run, what a loop over VMs costs that fits statsmodels' ETS to
each and takes its prediction interval. With --store the rows are written to a Delta table first, and reading, sorting
and the digest are counted too.

Accuracy: the rolling-origin back-test of the generated demand, and of a trace (columns unique_id, ds, vcpus, cpu_pct).
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parents[2]
END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, PER_DAY, INTERVAL_S = 28, 288, 300
CHUNK_VMS = 500
METRIC = "cpu_millicores"


PEER_VMS = 20
LARGE = 100_000
ACCURACY_VMS = 200


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("vms", nargs="*", type=int, default=[1_000, 10_000])
    options.add_argument("--large", action="store_true", help=f"also {LARGE:,} VMs")
    options.add_argument("--store", action="store_true", help="through a Delta table")
    options.add_argument("--accuracy", action="store_true", help="back-test instead of cost")
    options.add_argument("--trace", default="", help="back-test this Parquet file too")
    options.add_argument("--origins", type=int, default=24)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        if chosen.accuracy or chosen.trace:
            accuracy("generated demand", *generated_demand(), origins=chosen.origins)
            if chosen.trace:
                accuracy(Path(chosen.trace).name, *trace(chosen.trace), origins=chosen.origins)
            return
        costs = []
        for vms in [*chosen.vms, *([LARGE] if chosen.large else [])]:
            spent, line = measured(vms, Path(scratch, f"series-{vms}") if chosen.store else None)
            print(line, flush=True)
            costs.append((vms, spent))
        for (few, before), (many, after) in itertools.pairwise(costs):
            print(f"{many / few:.1f} times the VMs cost {after / before:.1f} times the CPU seconds")
        peer = loop_over_vms()
        vms, spent = costs[-1]
        print(
            f"a loop of statsmodels over {PEER_VMS} VMs: {1000 * peer:.1f} CPU-s per 1,000, "
            f"{peer / (spent / vms):.0f} times the {1000 * spent / vms:.2f} CPU-s of all engines at {vms:,} VMs"
        )


def loop_over_vms() -> float:
    """CPU seconds for each VM of one fit and one interval of ETS on its last day, in pandas: a usual script."""
    import pandas as pd
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    frame = chunk(0, PEER_VMS).select(["unique_id", "ds", "mean"]).to_pandas()
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _unused, rows in frame.groupby("unique_id", observed=True):
            day = pd.Series(rows["mean"].to_numpy()[-PER_DAY:])
            fitted = ETSModel(day, trend="add", damped_trend=True, initialization_method="heuristic").fit(disp=False)
            fitted.get_prediction(start=PER_DAY, end=PER_DAY + 11).pred_int(alpha=0.1)
    return (time.process_time() - begin) / PEER_VMS


def generated_demand() -> tuple[pa.Table, datetime]:
    """Five weeks of the profiles that the tests and the lab use."""
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import PROFILES, Demand, history

    rng = np.random.default_rng(1)
    names = sorted(PROFILES)
    demands = {
        f"bench/{number:04}": Demand(names[number % len(names)], int(rng.gamma(2, 500)) + 50, 512)
        for number in range(ACCURACY_VMS)
    }
    return history(demands, start=END - timedelta(weeks=5), end=END, interval_s=INTERVAL_S), END


def trace(path: str) -> tuple[pa.Table, datetime]:
    """CPU of a trace as interval rows; of several samples in one interval the last."""
    import pandas as pd

    frame = pd.read_parquet(path, columns=["unique_id", "ds", "vcpus", "cpu_pct"])
    frame["ds"] = pd.to_datetime(frame["ds"], utc=True).dt.floor(f"{INTERVAL_S}s").astype("datetime64[us, UTC]")
    frame["mean"] = (frame["cpu_pct"].clip(0, 100) * 10 * frame["vcpus"]).astype("float64")
    frame = frame.dropna().drop_duplicates(["unique_id", "ds"], keep="last")
    frame = frame.assign(metric=METRIC, interval_s=INTERVAL_S, maximum=float("nan"), coverage_ppm=1_000_000)
    rows = pa.Table.from_pandas(frame.drop(columns=["vcpus", "cpu_pct"]), preserve_index=False)
    end = frame["ds"].max().to_pydatetime() + timedelta(seconds=INTERVAL_S)
    return rows, end


def accuracy(what: str, rows: pa.Table, now: datetime, *, origins: int) -> None:
    """Print the pinball loss of naive and of the selection, paired, and the coverage."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.backtest import Rolling, back_test
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request

    request = Request(now=now, metrics=(METRIC,), target="mean", quantiles=("0.05", "0.5", "0.9", "0.95"))
    begin = time.process_time()
    _table, scores, intervals, _unused = back_test(
        [rows], Rolling(request, origins=origins, step_s=7 * 3600), unique_ids=[]
    )
    print(f"{what}: {origins} origins, {time.process_time() - begin:.0f} CPU-s")
    for score in scores:
        if score.engine == "selected":
            print(
                f"  {score.quantile:>5}: pinball {score.pinball:>9} millicores, naive {score.naive_pinball:>9}"
                f" (x {float(score.pinball) / float(score.naive_pinball):.3f}), coverage"
                f" {score.coverage_ppm / 1e6:.3f}, of the worst tenth of {score.vms} VMs"
                f" {score.worst_coverage_ppm / 1e6:.3f}"
            )
    for one in intervals:
        if one.engine == "selected":
            print(f"  {one.lower} to {one.upper}: {one.coverage_ppm / 1e4:.1f} % covered")


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


def measured(vms: int, place: Path | None) -> tuple[float, str]:
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
    from ansible_collections.headroom.fleet.plugins.module_utils._store.retention import compact
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
        compact(str(place), before=END, since=END - timedelta(days=DAYS))
        written = f"; written in {time.process_time() - begin - aside:.1f} CPU-s, {time.monotonic() - clock:.1f} s"
        aside = 0.0
        scan = store.scan(
            unique_ids, metrics=request.metrics, start=request.start, end=request.cutoff, interval_s=INTERVAL_S
        )
    begin, clock = time.process_time(), time.monotonic()
    table, choices, _unused = make_forecast(
        generated() if place is None else scan.tables(), request, unique_ids=unique_ids
    )
    size = len(table_bytes(table))
    digest = f", digest of {scan.header().rows:,} rows" if place is not None else ""
    spent, wall = time.process_time() - begin - aside, time.monotonic() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    engines = {name for choice in choices for name in choice.engine.split("+")}
    line = (
        f"{vms:,} VMs x 1 metric x {DAYS} days: {spent:.1f} CPU-s ({wall:.1f} s with generating) for"
        f" {table.num_rows:,} rows ({size / 1e6:.1f} MB, {len(engines)} engines){digest};"
        f" peak {peak} MB on {os.cpu_count()} CPUs{written}"
    )
    return spent, line


if __name__ == "__main__":
    main()
