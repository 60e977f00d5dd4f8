# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How good the quantile forecasts are on a trace: python tests/bench/sizing/forecast.py TRACE PROTOCOL [options].

TRACE is Parquet: unique_id, ds (START of an interval), vcpus, cpu_pct; PROTOCOL is JSON: scored_from, scored_to, and
lists of ids. What is forecast is CPU in % of the capacity then known, at the next samples, every two hours of the
scored window. The trees learn from all VMs of the trace, from samples before scored_from only, and with --refit again
every so many days of the scored window from what was seen until then.

With --reference (or REFERENCE=) another forecast of the same moments is read from a Parquet file: unique_id, origin
(START of the last sample known), h (1 is the next), y, q50, q90, q95. Then the ratio of the mean pinball losses is
printed, with a 90 % interval by bootstrap over VM x day. Coverage is that of the randomised probability integral
transform, for the fleet and for the tenth of the VMs that varied most in the week before the scored window.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

CHECKOUT = Path(__file__).resolve().parents[3]
INTERVAL_S, DAY, STEPS = 300, 288, 12
SPACING = 24  # samples between two origins: two hours
CARRIED = 6  # samples that a gap is carried over: 30 minutes
LEVELS = ("0.5", "0.9", "0.95")
COLUMNS = {"0.5": "q50", "0.9": "q90", "0.95": "q95"}
NEXT = (3, 12)
STAGES = ("trees", "trees, corrected", "trees, corrected, mixed with other engines")
DECIMALS = 2  # of a per cent: finer than a monitor tells
FINEST = "0.3"  # per cent: variation below it is none
DRAWS = 1000
MOST = 100_000  # origins learnt from
SEED = 0


@dataclass(frozen=True)
class Trace:
    """CPU in % of capacity, [V, T]; NaN where it is not known."""

    ids: npt.NDArray[Any]
    times: pd.DatetimeIndex
    past: Floats
    begin: int  # first scored sample
    end: int  # after the last


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trace", type=Path)
    options.add_argument("protocol", type=Path)
    options.add_argument("--ids", default="report", help="which list of the protocol is scored: report, tune or all")
    options.add_argument("--reference", default=os.environ.get("REFERENCE", ""), help="Parquet of another forecast")
    options.add_argument(
        "--refit", type=int, default=0, metavar="DAYS", help="train again every so many days; 0: never"
    )
    options.add_argument("--origins", type=int, default=MOST, help="at most so many origins to learn from")
    options.add_argument("--out", default="", help="write the forecasts, with the columns of a reference")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        tell(
            chosen.trace,
            json.loads(chosen.protocol.read_text()),
            ids=chosen.ids,
            reference=chosen.reference,
            refit=chosen.refit,
            most=chosen.origins,
            out=chosen.out,
        )


def tell(
    path: Path,
    protocol: dict[str, Any],
    *,
    ids: str = "report",
    reference: str = "",
    refit: int = 0,
    most: int = MOST,
    out: str = "",
) -> None:
    """Forecast, and print the losses, the ratios to the reference where there is one, and the coverage."""
    trace = load(path, protocol)
    wanted = set(trace.ids) if ids == "all" else set(protocol[f"{ids}_ids"])
    scored = np.flatnonzero(np.isin(trace.ids, list(wanted)))
    stages, spent = forecasts(trace, scored, refit=refit * DAY, most=most)
    if out:
        stages[STAGES[-1]].to_parquet(out, index=False)
    origins = spent.pop("origins")
    print(
        f"CPU seconds over {origins:.0f} origins of {len(scored)} VMs: "
        + ", ".join(f"{what} {seconds:.1f}" for what, seconds in spent.items())
    )
    for stage, rows in stages.items():
        losses(rows, stage)
        if reference:
            paired(rows, pd.read_parquet(reference))
        coverage(rows, trace)


def load(path: Path, protocol: dict[str, Any]) -> Trace:
    """Demand in % of the capacity then known, within 0 and 100; a longer gap than 30 minutes is not filled."""
    rows = pd.read_parquet(path, columns=["unique_id", "ds", "vcpus", "cpu_pct"])
    rows["ds"] = pd.to_datetime(rows["ds"], utc=True).dt.tz_localize(None).astype("datetime64[us]").dt.floor("300s")
    rows = rows.drop_duplicates(["unique_id", "ds"], keep="last")
    rows["used"] = rows["cpu_pct"].astype(float) / 100 * rows["vcpus"]
    rows.loc[rows["vcpus"] <= 0, "vcpus"] = np.nan  # switched off: capacity as last known
    times = pd.date_range(rows["ds"].min(), rows["ds"].max(), freq="300s")
    used, capacity = (
        rows.pivot_table(index="unique_id", columns="ds", values=name).reindex(columns=times).sort_index()
        for name in ("used", "vcpus")
    )
    capacity = capacity.reindex(used.index).ffill(axis=1)
    past = (100 * used.ffill(axis=1, limit=CARRIED) / capacity).clip(0, 100)
    begin, end = (
        int(np.searchsorted(times, pd.Timestamp(protocol[name]).tz_localize(None)))
        for name in ("scored_from", "scored_to")
    )
    return Trace(used.index.to_numpy(), times, past.to_numpy(np.float32), begin, min(end, len(times)))


def forecasts(
    trace: Trace, scored: npt.NDArray[np.int64], *, refit: int, most: int
) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """Quantiles from every origin, beside what came: of the trees, corrected, and mixed with other engines."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast import (
        calibration,
        mix,
        quantile_features,
        quantile_model,
    )
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import Naive, TrailingQuantile

    clock = quantile_features.Clock(INTERVAL_S)
    carried = pd.DataFrame(trace.past).ffill(axis=1).fillna(0).to_numpy(np.float32)  # as the reference sees a gap
    levels = np.array([float(level) for level in LEVELS])
    correction = calibration.uncorrected(len(scored), len(levels))
    peers = (TrailingQuantile(24), TrailingQuantile(3), Naive())
    standing = mix.unknown(len(scored), 1 + len(peers), len(levels))
    parts: dict[str, list[pd.DataFrame]] = {stage: [] for stage in STAGES}
    spent = dict.fromkeys(("train", "trees", "other engines", "correct and mix"), 0.0)
    model, trained_at, before = None, 0, None
    for end in range(trace.begin, trace.end - STEPS + 1, SPACING):
        clocked = time.process_time()
        if model is None or (refit and end - trained_at >= refit):
            ends = quantile_model.origins(end, clock, most=most, seed=SEED)
            model = quantile_model.train(
                trace.past[:, :end], ends, interval_s=INTERVAL_S, steps=STEPS, levels=LEVELS, finest=FINEST, seed=SEED
            )
            print(
                f"trained on {model.rows} rows of {model.series} VMs, {len(ends)} origins: {model.digest}", flush=True
            )
            trained_at = end
        clocked = _spend(spent, "train", clocked)
        past = carried[scored, :end]
        trees = np.round(np.minimum(quantile_model.predict(model, past, end=end), 100), DECIMALS).astype(np.float64)
        clocked = _spend(spent, "trees", clocked)
        said = [
            engine.forecast(past, [end], steps=STEPS, levels=levels, interval_s=INTERVAL_S)[:, 0] for engine in peers
        ]
        clocked = _spend(spent, "other engines", clocked)
        if before is not None:  # what was said two hours ago has come by now, and nothing later is looked at
            then, engines, moment = before
            came = past[:, moment : moment + STEPS].astype(np.float64)
            correction = calibration.learnt(correction, then, came, levels=levels)
            standing = mix.judged(standing, engines, came, levels=levels)
        corrected = np.minimum(calibration.corrected(trees, correction), 100)
        engines = np.stack([corrected, *said], axis=1)
        before = (trees, engines, end)
        values = dict(zip(STAGES, (trees, corrected, mix.combined(standing, engines)[0]), strict=True))
        _spend(spent, "correct and mix", clocked)
        for stage, value in values.items():
            parts[stage].append(_rows(trace, scored, end, np.round(value, DECIMALS), carried))
    spent["origins"] = len(parts[STAGES[0]])
    return {stage: pd.concat(rows, ignore_index=True) for stage, rows in parts.items()}, spent


def _spend(spent: dict[str, float], what: str, since: float) -> float:
    now = time.process_time()
    spent[what] += now - since
    return now


def _rows(trace: Trace, scored: npt.NDArray[np.int64], end: int, value: Any, carried: Floats) -> pd.DataFrame:
    rows = {
        "unique_id": np.repeat(trace.ids[scored], STEPS),
        "origin": trace.times[end - 1],
        "h": np.tile(np.arange(1, STEPS + 1), len(scored)),
        "y": carried[scored, end : end + STEPS].ravel(),
    }
    return pd.DataFrame(rows | {COLUMNS[level]: value[:, :, place].ravel() for place, level in enumerate(LEVELS)})


def pinball(rows: pd.DataFrame, level: str) -> pd.Series:
    """Loss of one quantile at each point."""
    error = rows["y"] - rows[COLUMNS[level]]
    return np.maximum(float(level) * error, (float(level) - 1) * error)


def losses(rows: pd.DataFrame, name: str) -> None:
    """Print the mean pinball losses."""
    for steps in NEXT:
        near = rows[rows["h"] <= steps]
        means = ", ".join(f"{level}: {pinball(near, level).mean():.4f}" for level in LEVELS)
        print(
            f"{name}, next {steps} samples: mean pinball {means} "
            f"({near['origin'].nunique()} origins, {near['unique_id'].nunique()} VMs)"
        )


def paired(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Print ratios of the mean losses on the points that both have, and their bootstrap intervals over VM x day."""
    for side in (ours, theirs):
        side["origin"] = pd.to_datetime(side["origin"], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    keys = ["unique_id", "origin", "h"]
    both = ours.merge(theirs, on=keys, suffixes=("", "_theirs"), validate="one_to_one")
    other = both.drop(columns=["y", *COLUMNS.values()]).rename(
        columns={f"{name}_theirs": name for name in ("y", *COLUMNS.values())}
    )
    differing = int((np.abs(both["y"] - other["y"]) > 1e-3).sum())
    losses(other, f"reference, {len(both)} of {len(theirs)} points, the truth differs at {differing}")
    rng = np.random.default_rng(SEED)
    for steps in NEXT:
        near = both["h"] <= steps
        block = both.loc[near].groupby(["unique_id", both.loc[near, "origin"].dt.floor("D")], sort=True).ngroup()
        draws = rng.multinomial(block.nunique(), np.full(block.nunique(), 1 / block.nunique()), size=DRAWS)
        for level in LEVELS:
            mine = np.bincount(block, pinball(both[near], level))
            yours = np.bincount(block, pinball(other[near], level))
            low, high = np.quantile((draws @ mine) / (draws @ yours), (0.05, 0.95))
            print(
                f"next {steps} samples, {level}: ratio {mine.sum() / yours.sum():.3f} (90 %: {low:.3f} to {high:.3f})"
            )


def coverage(rows: pd.DataFrame, trace: Trace) -> None:
    """Print how often the truth stayed at or below each quantile, ties in part."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered

    deviation = pd.Series(np.nanstd(trace.past[:, trace.begin - 7 * DAY : trace.begin], axis=1), index=trace.ids)
    deviation = deviation[rows["unique_id"].unique()].sort_values(ascending=False)
    lively = set(deviation.index[: max(len(deviation) // 10, 1)])
    levels = np.array([float(level) for level in LEVELS])
    share = covered(rows["y"].to_numpy(np.float64), rows[list(COLUMNS.values())].to_numpy(np.float64), levels)
    for name, where in (("fleet", np.full(len(rows), True)), ("most variable tenth", rows["unique_id"].isin(lively))):
        print(
            f"coverage, {name}: "
            + ", ".join(f"{lv}: {100 * c:.1f} %" for lv, c in zip(LEVELS, share[where].mean(axis=0), strict=True))
        )


if __name__ == "__main__":
    main()
