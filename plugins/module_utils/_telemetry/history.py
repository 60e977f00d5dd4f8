# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A synthetic past: demand with daily and weekly rhythm, bursts and noise, for the lab, the tests and the benchmarks.

The shapes are simple on purpose and stand for what the Bitbrains traces show (Shen, van Beek, Iosup, CCGrid 2015): many
VMs idle near a floor, few follow office hours, batch work comes in blocks, bursts are short and several times the mean.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import COLUMNS, CPU_DELAY_MILLICORES, CPU_MILLICORES, DAY_S, MEMORY_USED_MIB, interval_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0
WEEKEND = (5, 6)


@dataclass(frozen=True)
class Profile:
    """The shape of a demand, as shares of the VM's level."""

    floor: float  # at night
    weekend: float  # share of the weekday's rhythm left on Saturday and Sunday
    office: bool  # rises from 7 to 10, falls from 16 to 20 UTC; else flat
    block_hours: tuple[int, ...]  # whole hours of the day at full level
    bursts_per_day: float
    burst: float  # height of a burst above the level
    noise: float  # standard deviation of the mean of an interval
    peak: float  # how far the maximum inside an interval lies above its mean, typically


PROFILES = {
    "idle": Profile(0.9, 1.0, office=False, block_hours=(), bursts_per_day=1, burst=1.5, noise=0.15, peak=0.4),
    "busy": Profile(0.9, 0.95, office=False, block_hours=(), bursts_per_day=4, burst=0.25, noise=0.05, peak=0.15),
    "office": Profile(0.15, 0.3, office=True, block_hours=(), bursts_per_day=6, burst=0.5, noise=0.08, peak=0.3),
    "batch": Profile(0.05, 1.0, office=False, block_hours=(1, 2, 3), bursts_per_day=0, burst=0, noise=0.05, peak=0.1),
}


@dataclass(frozen=True)
class Demand:
    """What one VM asked for in the past."""

    profile: str  # a key of PROFILES
    cpu_millicores: int  # level in its busy hours
    memory_used_mib: int


def history(
    demands: Mapping[str, Demand], *, start: datetime, end: datetime, interval_s: int, seed: int = 0
) -> pa.Table:
    """Generate rows of whole intervals in [start, end) for each VM, with mean, p95 and maximum.

    A day of a VM depends on the seed, the VM and the day alone: another end, or more VMs, give the same rows again.
    Raises ``history.profile``.
    """
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    first, last = -(-int(start.timestamp()) // interval_s), int(end.timestamp()) // interval_s
    days = range(first * interval_s // DAY_S, -(-last * interval_s // DAY_S))
    per_day = DAY_S // interval_s
    tables = [interval_schema().empty_table()]
    for unique_id, demand in sorted(demands.items()):
        if demand.profile not in PROFILES:
            raise HeadroomError(
                "history.profile",
                f"There is no demand profile {demand.profile!r}.",
                advice=f"Use one of {', '.join(sorted(PROFILES))}.",
            )
        generated = [_day(unique_id, demand, day=day, per_day=per_day, seed=seed) for day in days]
        for metric in (CPU_MILLICORES, CPU_DELAY_MILLICORES, MEMORY_USED_MIB):
            offset = days.start * per_day
            mean, p95, maximum = (
                np.concatenate([part[metric][row] for part in generated])[first - offset : last - offset]
                for row in range(3)
            )
            count = len(mean)
            columns = {
                "unique_id": pa.array([unique_id]).take(pa.array(np.zeros(count, dtype=np.int64))),
                "metric": pa.array([metric]).take(pa.array(np.zeros(count, dtype=np.int64))),
                "ds": pa.array(np.arange(first, last) * (interval_s * 1_000_000), pa.timestamp("us", "UTC")),
                "interval_s": pa.array(np.full(count, interval_s, dtype=np.int32)),
                "mean": pa.array(mean),
                "p95": pa.array(p95),
                "maximum": pa.array(maximum),
                "samples": pa.array(np.full(count, max(1, interval_s // 5), dtype=np.int32)),
                "coverage_ppm": pa.array(np.full(count, 1_000_000, dtype=np.int32)),
            }
            tables.append(pa.table([columns[name] for name in COLUMNS], schema=interval_schema()))
    return pa.concat_tables(tables).combine_chunks()


def _day(unique_id: str, demand: Demand, *, day: int, per_day: int, seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return [3, per_day] (mean, p95, maximum) of each metric for one UTC day since the epoch."""
    with needs("numpy"):
        import numpy as np
    rng = np.random.default_rng([seed, zlib.crc32(unique_id.encode()), day])
    profile = PROFILES[demand.profile]
    hour = np.arange(per_day) * 24 / per_day
    level = np.full(per_day, profile.floor)
    if profile.office:
        rise, fall = np.clip((hour - 7) / 3, 0, 1), np.clip((20 - hour) / 4, 0, 1)
        level += (1 - profile.floor) * np.minimum(rise, fall)
    if profile.block_hours:
        level[np.isin(hour.astype(int), profile.block_hours)] = 1.0
    if (day + EPOCH_WEEKDAY) % 7 in WEEKEND:
        level = profile.floor + (level - profile.floor) * profile.weekend
    shape = level * (1 + profile.noise * rng.standard_normal(per_day))
    for begin in rng.integers(0, per_day, rng.poisson(profile.bursts_per_day)):
        shape[begin : begin + max(1, per_day // 96)] += profile.burst * rng.uniform(0.5, 1)
    mean = demand.cpu_millicores * np.clip(shape, 0.01, None)
    spread = profile.peak * rng.gamma(4, 0.25, per_day)
    # Memory follows load slowly: most of it is resident whatever the hour.
    resident = 0.85 + 0.15 * np.convolve(np.pad(level, (6, 0), mode="edge"), np.full(7, 1 / 7), mode="valid")
    used = demand.memory_used_mib * resident * (1 + 0.01 * rng.standard_normal(per_day))
    delay = 0.02 * mean * rng.gamma(2, 0.5, per_day)

    def rows(of: npt.NDArray[np.float64], above: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.round(np.stack([of, of * (1 + 0.7 * above), of * (1 + above)]), 3).astype(np.float64)

    return {
        CPU_MILLICORES: rows(mean, spread),
        CPU_DELAY_MILLICORES: rows(delay, spread),
        MEMORY_USED_MIB: rows(used, 0.02 * spread),
    }
