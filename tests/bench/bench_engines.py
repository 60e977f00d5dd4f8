# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each engine is worth, and what it costs: python tests/bench/bench_engines.py [TRACE] [options].

Pinball loss of the next three and the next twelve samples at .5, .9 and .95, as shares of naive's, and CPU seconds to
train and for 1,000 series, all in one run: of generated demand, and with TRACE (or TRACES=), Parquet of unique_id, ds,
vcpus and cpu_pct, of CPU in % of capacity. Models are trained before the first scored moment; moments are 13 hours
apart in the last week, or with PROTOCOL= in its scored window, where the series that it sets aside for tuning count.

Beside the product's engines with --others statsforecast's AutoETS, AutoTheta and SeasonalNaive, which need
``pip install statsforecast`` beside what the product's tests need.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CHECKOUT = Path(__file__).resolve().parents[2]
INTERVAL_S, DAY, STEPS = 300, 288, 12
NEXT = (3, STEPS)
LEVELS = ("0.5", "0.9", "0.95")
NUMBERS = np.array([float(level) for level in LEVELS])
BANDS = [80, 90]  # intervals whose upper ends are the upper two quantiles
SCORED, SPACING = 7 * DAY, 13 * 12
SEED = 0
FINEST = {"generated": "10", "trace": "0.3"}
MOST = {"generated": np.inf, "trace": 100.0}  # no forecast may be larger


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trace", nargs="?", default=os.environ.get("TRACES", ""))
    options.add_argument("--protocol", default=os.environ.get("PROTOCOL", ""), help="JSON: scored_from, tune_ids")
    options.add_argument("--vms", type=int, default=200, help="at most so many series")
    options.add_argument("--scored", type=int, default=40, help="series that all engines are scored by")
    options.add_argument("--moments", type=int, default=13, help="moments that they are scored at")
    options.add_argument("--origins", type=int, default=150, help="moments that models learn from")
    options.add_argument("--others", action="store_true", help="engines of other libraries too")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        sources = {"trace": lambda: traced(chosen.trace, chosen.vms, chosen.protocol)} if chosen.trace else {}
        for name, read in {**sources, "generated": lambda: generated(chosen.vms)}.items():
            compare(
                name,
                *read(),
                scored=chosen.scored,
                moments=chosen.moments,
                origins=chosen.origins,
                others=chosen.others,
            )


def generated(vms: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Four weeks of the profiles that the tests and the lab use, in millicores; the series scored, and since when."""
    from datetime import UTC, datetime, timedelta

    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import PROFILES, Demand, history

    rng, names, end = np.random.default_rng(1), sorted(PROFILES), datetime(2026, 3, 1, tzinfo=UTC)
    demands = {
        f"bench/{number:04}": Demand(names[number % len(names)], int(rng.gamma(2, 500)) + 50, 512)
        for number in range(vms)
    }
    rows = history(demands, start=end - timedelta(weeks=4), end=end, interval_s=INTERVAL_S).to_pandas()
    rows = rows[rows["metric"] == "cpu_millicores"]
    past = _dense(rows.pivot_table(index="unique_id", columns="ds", values="mean", observed=True))
    return past, np.arange(len(past)), past.shape[1] - SCORED


def traced(path: str, vms: int, protocol: str) -> tuple[np.ndarray, np.ndarray, int]:
    """CPU in % of capacity of a share of the VMs; the series scored, and since when."""
    rows = pd.read_parquet(path, columns=["unique_id", "ds", "vcpus", "cpu_pct"])
    rows["ds"] = pd.to_datetime(rows["ds"], utc=True).dt.floor(f"{INTERVAL_S}s")
    rows = rows[rows["vcpus"] > 0].drop_duplicates(["unique_id", "ds"], keep="last")
    wide = rows.pivot_table(index="unique_id", columns="ds", values="cpu_pct").clip(0, 100)
    wide = wide.sample(min(vms, len(wide)), random_state=SEED).sort_index()
    past, told = _dense(wide), json.loads(Path(protocol).read_text()) if protocol else {}
    if not told:
        return past, np.arange(len(past)), past.shape[1] - SCORED
    since = pd.Timestamp(told["scored_from"]).tz_convert("UTC") - wide.columns.min()
    return past, np.flatnonzero(wide.index.isin(told["tune_ids"])), int(since.total_seconds()) // INTERVAL_S


def _dense(wide: pd.DataFrame) -> np.ndarray:
    times = pd.date_range(wide.columns.min(), wide.columns.max(), freq=f"{INTERVAL_S}s")
    return wide.reindex(columns=times).ffill(axis=1).fillna(0).to_numpy(np.float32)


def compare(
    source: str,
    past: np.ndarray,
    rows: np.ndarray,
    begin: int,
    *,
    scored: int,
    moments: int,
    origins: int,
    others: bool,
) -> None:
    """Print a row for each engine, naive's first."""
    ends = list(range(begin, past.shape[1] - STEPS + 1, SPACING))
    ends = [ends[place] for place in np.linspace(0, len(ends) - 1, min(moments, len(ends))).astype(int)]
    rows = rows[np.linspace(0, len(rows) - 1, min(scored, len(rows))).astype(int)]
    truth = np.stack([past[rows, end : end + STEPS] for end in ends], axis=1).astype(np.float64)
    naive = np.ones((len(NEXT), len(LEVELS)))
    print(f"{source}: {len(past)} series learnt from, {len(rows)} scored at {len(ends)} moments, {STEPS} steps ahead")
    ahead = "".join(f"   next {steps}: .5 / .9 / .95".ljust(29) for steps in NEXT)
    print(f"{'engine':44}{ahead} coverage of .9   CPU-s to train   for 1,000 series")
    makers = {
        **ours(past, begin, origins, FINEST[source]),
        **(theirs(past, begin) if others else {}),
    }
    for name, make in makers.items():
        clock = time.process_time()
        speak = make()
        trained = time.process_time() - clock
        clock = time.process_time()
        value = np.stack([speak(past[rows], end) for end in ends], axis=1).astype(np.float64)
        each = (time.process_time() - clock) / (len(ends) * len(rows)) * 1000
        last = past[rows][:, [end - 1 for end in ends], None, None]
        value = np.minimum(
            np.where(np.isfinite(value), value, last), MOST[source]
        )  # who says nothing leaves it to naive
        loss = np.stack([_loss(truth[:, :, :steps], value[:, :, :steps]) for steps in NEXT])
        naive = loss if name == "naive" else naive
        ratio = "   ".join("  ".join(f"{one:6.3f}" for one in of).ljust(26) for of in loss / naive)
        covered = 100 * np.mean(truth <= value[..., 1])
        print(f"{name:44}   {ratio}{covered:13.1f}%   {trained:14.1f}   {each:16.2f}", flush=True)


def _loss(truth: np.ndarray, value: np.ndarray) -> np.ndarray:
    error = truth[..., None] - value
    return np.maximum(NUMBERS * error, (NUMBERS - 1) * error).mean(axis=(0, 1, 2))


def ours(past: np.ndarray, begin: int, origins: int, finest: str) -> dict[str, Any]:
    """The product's engines: each makes something that speaks from a moment."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast import (
        conformal,
        engines,
        ets,
        grid,
        quantile_engine,
        quantile_features,
        quantile_model,
        recurrent_training,
        select,
        trained,
    )

    shape = select.Shape(INTERVAL_S, 0, STEPS, NUMBERS)
    clock = quantile_features.Clock(INTERVAL_S)
    models: dict[str, Any] = {}

    def alone(engine: Any) -> Any:
        return lambda: (
            lambda known, end: engine.forecast(known, [end], steps=STEPS, levels=NUMBERS, interval_s=INTERVAL_S)[:, 0]
        )

    def chosen(known: np.ndarray) -> tuple[Any, Any, np.ndarray]:
        trials = select.attempt(known, shape, engines=engines.ENGINES)
        best, fleet, level = select.select(trials), conformal.FleetErrors(), grid.level_of(known)
        fleet.add(trials[0].naive_errors, level)
        prior = level[:, None] * fleet.offsets(NUMBERS)[None, :]
        return trials, best, conformal.corrected(best.raw, own=best.offset, exact=best.exact, fleet=prior)

    def taught(name: str, train: Any) -> Any:
        def make() -> Any:
            ends = quantile_model.origins(begin, clock, most=origins, seed=SEED)
            models[name] = train(
                past[:, :begin], ends, interval_s=INTERVAL_S, steps=STEPS, levels=LEVELS, finest=finest, seed=SEED
            )
            return lambda known, end: said(name, known, end)

        return make

    def said(name: str, known: np.ndarray, end: int) -> np.ndarray:
        return quantile_engine.predict(models[name], known[:, :end], end=end)

    def beside(name: str) -> Any:
        def speak(known: np.ndarray, end: int) -> np.ndarray:
            trials, best, values = chosen(known[:, :end])
            engine = quantile_engine.ModelEngine(models[name], unseen=end - begin)
            return trained.listen(engine, known[:, :end], shape, trials=trials, chosen=best).beside(values)[0]

        return lambda: speak

    def both(known: np.ndarray, end: int) -> np.ndarray:
        return (said("trees", known, end) + said("network", known, end)) / 2

    return {
        **{engine.name: alone(engine) for engine in engines.ENGINES},
        "chosen among these, corrected": lambda: lambda known, end: chosen(known[:, :end])[2],
        "quantile trees": taught("trees", quantile_model.train),
        "trees beside the chosen (as issued)": beside("trees"),
        "recurrent network": taught("network", recurrent_training.train),
        "network beside the chosen": beside("network"),
        "mean of trees and network": lambda: both,
        "ets (statsmodels)": alone(ets.Ets()),
    }


def theirs(past: np.ndarray, begin: int) -> dict[str, Any]:
    """Engines of other libraries, as their authors set them."""
    from statsforecast.models import AutoETS, AutoTheta, SeasonalNaive

    def each(model: Any, samples: int) -> Any:
        def speak(known: np.ndarray, end: int) -> np.ndarray:
            return np.stack([_told(model, series[end - samples : end]) for series in known])

        def make() -> Any:
            _told(model, past[0, begin - samples : begin])  # what is compiled at first use is not its cost
            return speak

        return make

    return {
        "AutoETS (statsforecast)": each(AutoETS(season_length=1), DAY),
        "AutoTheta (statsforecast)": each(AutoTheta(season_length=1), DAY),
        "SeasonalNaive, a day (statsforecast)": each(SeasonalNaive(season_length=DAY), 8 * DAY),
    }


def _told(model: Any, series: np.ndarray) -> np.ndarray:
    """Quantiles [STEPS, Q]; the last value where the library fails, as it does on a constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = model.forecast(y=series.astype(np.float64), h=STEPS, level=BANDS)
            value = np.stack([found["mean"], *(found[f"hi-{band}"] for band in BANDS)], axis=1)
        except (ValueError, ZeroDivisionError, FloatingPointError, RuntimeError):
            value = np.full((STEPS, len(LEVELS)), np.nan)
    return np.where(np.isfinite(value), np.clip(value, 0, None), series[-1])


if __name__ == "__main__":
    main()
