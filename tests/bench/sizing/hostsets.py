# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How good the joint quantiles of host sets are on a trace: python tests/bench/sizing/hostsets.py TRACE PROTOCOL.

TRACE and PROTOCOL as for forecast.py; the protocol's pools are the host sets. Every hour of the scored window each VM's
CPU is forecast, by the fleet's trees (--engine trees) or by the quantiles of its last week (--engine trailing), and the
sets' sums with what was learnt from the sums before. The first day is learnt from and not scored. Printed are coverage
of the joint 0.9 quantile and its pinball loss relative to that of the sum of the VMs' 0.9 quantiles, each with a 90 %
interval by bootstrap over set x day; the same for every VM as a set of its own.

Then days until full on generated growth of host sets, whose true day is known: the day from which one daily peak in ten
does not fit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forecast as trees
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]

HOURLY = 12  # samples
LEVELS = np.array([0.5, 0.9])
UPPER = LEVELS[1:]
MILLICORES_PER_PERCENT = 10  # of a vCPU
LEARNT_ONLY = 24  # hours
WEEK = 7
SETS, VMS, REPLICATES = 40, 16, 20
PAST_DAYS = (28, 56)
WEEKDAYS = np.array([1, 1, 1, 1, 0.95, 0.7, 0.7])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trace", type=Path)
    options.add_argument("protocol", type=Path)
    options.add_argument("--engine", choices=("trees", "trailing"), default="trees")
    options.add_argument("--forecasts", default="", help="forecasts that forecast.py --out wrote, instead of an engine")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(trees.CHECKOUT)
        sys.path.insert(0, scratch)
        protocol = json.loads(chosen.protocol.read_text())
        trace = trees.load(chosen.trace, protocol)
        pools = [np.flatnonzero(np.isin(trace.ids, pool)) for pool in protocol["pools"]]
        rows = np.unique(np.concatenate(pools))
        said, truth = _forecasts(trace, rows, chosen)
        capacity = _capacity(chosen.trace, trace)[rows]
        ends = np.arange(trace.begin, trace.end - trees.STEPS + 1, HOURLY)
        scale = MILLICORES_PER_PERCENT * capacity[:, ends - 1, None]
        said, truth = said * scale[..., None], truth * scale
        members = np.zeros((len(pools), len(rows)))
        for place, pool in enumerate(pools):
            members[place, np.searchsorted(rows, pool)] = 1
        print(f"{chosen.forecasts or chosen.engine}: {len(pools)} host sets, {len(rows)} VMs, {len(ends)} origins")
        for near in trees.NEXT:
            judge(f"host sets, next {near} samples", members, said[:, :, :near], truth[:, :, :near])
        judge("sets of 1 VM, next 3 samples", np.eye(len(rows)), said[:, :, :3], truth[:, :, :3])
        until_full()


def _capacity(path: Path, trace: trees.Trace) -> Doubles:
    """In vCPU, as last known, [V, T]."""
    rows = trees.pd.read_parquet(path, columns=["unique_id", "ds", "vcpus"])
    rows["ds"] = (
        trees.pd.to_datetime(rows["ds"], utc=True).dt.tz_localize(None).astype("datetime64[us]").dt.floor("5min")
    )
    rows = rows[rows["vcpus"] > 0].drop_duplicates(["unique_id", "ds"], keep="last")
    wide = rows.pivot_table(index="unique_id", columns="ds", values="vcpus").reindex(trace.ids, columns=trace.times)
    return wide.ffill(axis=1).fillna(0).to_numpy(np.float64)


def _forecasts(trace: trees.Trace, rows: Any, chosen: argparse.Namespace) -> tuple[Doubles, Doubles]:
    """Median and upper quantile [V, O, S, 2] in % of capacity, and what came [V, O, S]."""
    carried = trees.pd.DataFrame(trace.past).ffill(axis=1).fillna(0).to_numpy(np.float32)[rows]
    ends = range(trace.begin, trace.end - trees.STEPS + 1, HOURLY)
    truth = np.stack([carried[:, end : end + trees.STEPS] for end in ends], axis=1).astype(np.float64)
    if chosen.engine == "trailing" and not chosen.forecasts:
        back = WEEK * trees.DAY
        found = np.stack([np.quantile(carried[:, end - back : end], LEVELS, axis=1).T for end in ends], axis=1)
        return np.repeat(found[:, :, None], trees.STEPS, axis=2).astype(np.float64), truth
    if chosen.forecasts:
        table = trees.pd.read_parquet(chosen.forecasts)
    else:
        trees.SPACING = HOURLY
        table = trees.forecasts(trace, rows, refit=0, most=100_000)
    table = table[table["unique_id"].isin(trace.ids[rows])].sort_values(["unique_id", "origin", "h"])
    found = table[[trees.COLUMNS["0.5"], trees.COLUMNS["0.9"]]].to_numpy(np.float64)
    return found.reshape(*truth.shape, len(LEVELS)), truth


def judge(name: str, members: Doubles, said: Doubles, truth: Doubles) -> None:
    """Forecast the sums of the sets, members [P, V], one origin after the other; print how well."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.hostset import (
        fading,
        joint,
        multiples,
        spread,
        surprises,
    )
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import covered, pinball

    reach = np.maximum(said[..., 1] - said[..., 0], 0)
    middle, apart, came, total, squares = (
        np.einsum("pv,vos->pos", members, of) for of in (said[..., 0], said[..., 1], truth, reach, reach**2)
    )
    now = spread(total, squares)
    past = surprises(came - middle, now)
    places, origins, steps = came.shape
    together = np.empty((*came.shape, len(LEVELS)))
    for origin in range(origins):  # the last sample of the one before is known by now
        ages_s = np.repeat(np.arange(origin, 0, -1) * float(HOURLY * trees.INTERVAL_S), steps)
        multiple = multiples(past[:, :origin].reshape(places, -1), fading(ages_s), LEVELS)
        together[:, origin] = joint(middle[:, origin], now[:, origin], np.nan_to_num(multiple))
    both = np.stack([middle, apart], axis=-1)
    rng = np.random.default_rng(trees.SEED)
    part = np.s_[:, LEARNT_ONLY:]
    block = (np.arange(places)[:, None] * origins + np.arange(origins - LEARNT_ONLY) // 24).repeat(steps)
    block = np.unique(block, return_inverse=True)[1]
    losses = [pinball(came[part], of[part][..., 1:], UPPER).ravel() for of in (together, both)]
    shares = [covered(came[part], of[part], LEVELS)[..., 1].ravel() for of in (together, both)]
    mine, theirs, in_joint, in_sum, points = (
        np.bincount(block, weights=of) for of in (*losses, *shares, np.ones(len(block)))
    )
    draws = rng.multinomial(len(points), np.full(len(points), 1 / len(points)), size=trees.DRAWS)
    told = (
        ("coverage of the joint 0.9 quantile, %", 100 * in_joint, points),
        ("coverage of the sum of 0.9 quantiles, %", 100 * in_sum, points),
        ("pinball, ratio to the sum of 0.9 quantiles", mine, theirs),
    )
    for what, upper, lower in told:
        low, high = np.quantile((draws @ upper) / (draws @ lower), (0.05, 0.95))
        print(f"{name}: {what}: {upper.sum() / lower.sum():.3f} (90 %: {low:.3f} to {high:.3f})", flush=True)


def until_full() -> None:
    """Print the error of days until full for sets that grow, and how often sets that do not are said to."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.growth import LEVEL, trends
    from ansible_collections.headroom.fleet.plugins.module_utils._records.hostset import (
        GROWING,
        MILLI,
        Growth,
        outlook,
    )

    rng = np.random.default_rng(trees.SEED)

    def outlooks(peaks: Doubles, rooms: Doubles) -> list[Any]:
        found = trends(peaks)
        records = [
            Growth(
                int(found.days[place]),
                tuple(np.rint(found.slopes[place] * MILLI).astype(int).tolist()),
                tuple(np.ceil(found.levels[place]).astype(int).tolist()),
                bool(found.compound[place]),
            )
            for place in range(len(peaks))
        ]
        return [outlook(record, int(room)) for record, room in zip(records, rooms, strict=True)]

    for kind, past_days, until in itertools.product(("linear", "compound"), PAST_DAYS, (15, 30, 60, 90)):
        peaks, rooms = np.empty((SETS, past_days)), np.empty(SETS)
        for place in range(SETS):
            vms, rate = _vms(rng), rng.uniform(0.003, 0.015)
            peaks[place] = _peaks(vms, np.arange(-past_days, 0), rate, kind, rng)
            week = np.tile(np.arange(until - WEEK, until), REPLICATES)
            rooms[place] = np.quantile(_peaks(vms, week, rate, kind, rng), LEVEL)
        ends = outlooks(peaks, rooms)
        days = np.array([one.days if one.days >= 0 else np.inf for one in ends])
        error = np.abs(days - until) / until
        inside = [one.earliest <= until and (one.latest < 0 or until <= one.latest) for one in ends]
        print(
            f"days until full, {kind} growth, {past_days} days known, {until} to come: "
            f"median error {100 * np.median(error):.1f} %, within 20 % {100 * np.mean(error <= 0.2):.0f} % of {SETS}, "
            f"interval holds {100 * np.mean(inside):.0f} %, said to grow {100 * np.isfinite(days).mean():.0f} %"
        )
    flat = np.array([_peaks(_vms(rng), np.arange(-PAST_DAYS[0], 0), 0.0, "linear", rng) for _unused in range(5 * SETS)])
    ends = outlooks(flat, 1.3 * flat.max(axis=1))
    print(f"no growth: said to grow {100 * np.mean([one.state == GROWING for one in ends]):.1f} % of {len(ends)}")


def _vms(rng: np.random.Generator) -> tuple[Doubles, Doubles, int]:
    """Level and hour of the peak of each VM of a set, and its first weekday."""
    return rng.lognormal(7, 0.8, VMS), rng.normal(14, 3, VMS), int(rng.integers(WEEK))


def _peaks(vms: Any, days: Any, rate: float, kind: str, rng: np.random.Generator) -> Doubles:
    """Joint daily peaks of VMs with a daily wave, weekends, days of their own and noise, growing by ``rate`` a day."""
    level, hour, weekday = vms
    growth = (1 + rate) ** days if kind == "compound" else 1 + rate * days
    time = np.arange(trees.DAY) / trees.DAY * 24
    wave = 1 + 0.4 * np.cos((time[None, :] - hour[:, None]) / 24 * 2 * np.pi)
    own = np.exp(rng.normal(0, 0.1, (VMS, len(days))))
    of_day = level[:, None] * own * WEEKDAYS[(days + weekday) % WEEK] * growth
    noise = np.exp(rng.normal(0, 0.2, (VMS, len(days), trees.DAY)).astype(np.float32))
    return (of_day[:, :, None] * wave[:, None, :] * noise).sum(axis=0).max(axis=1)


if __name__ == "__main__":
    main()
