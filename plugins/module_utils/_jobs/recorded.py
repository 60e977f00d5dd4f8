# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry of a snapshot's VMs as a trace: demand and capacity, one column per interval, and who was left out and why.

Capacity is what the snapshot says that a VM may have at most, from the first interval it is known in. What a VM has is
what earlier plans left it: as capacity it would lower, with each shrink, the size that the next plan may go back to.
No interval at or after the end that was asked for is looked at. A series that fails a check leaves the others as they
are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Optional, Protocol

from .._core.clock import EPOCH
from .._core.needs import needs
from .._core.units import SECOND_US
from .._records.forecast import TARGET_MAXIMUM
from .._records.series import CPU_MILLICORES, DAY_S, MEMORY_USED_MIB
from .._records.vm import MAXIMUM_MEMORY_MIB, MAXIMUM_VCPUS, MEMORY_MIB, VCPUS
from .._replay.protocol import FLOORS
from .._replay.trace import CARRY, STEP_S, Floor, Trace, carried
from .._store.dense import GridsDigest, grids

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .._records.vm import VM
    from .._store.dense import Grid
    from .context import Context

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

LEAST_KNOWN_S = DAY_S  # of a series, to learn from it


@dataclass(frozen=True)
class Measure:
    """How a metric is sized: its target in a replay, the unit that sizes have, and what a VM may have of it."""

    target: str
    unit: float  # of the metric, in one unit of size
    sizes: tuple[str, ...]  # resources, the largest counts; the first is what a VM has

    @property
    def resource(self) -> str:
        """What of it a VM has."""
        return self.sizes[0]


MEASURES = {
    CPU_MILLICORES: Measure("cpu", 1000.0, (VCPUS, MAXIMUM_VCPUS)),
    MEMORY_USED_MIB: Measure("memory", 1.0, (MEMORY_MIB, MAXIMUM_MEMORY_MIB)),
}


@dataclass(frozen=True)
class Recorded:
    """What can be learnt from or judged by, and the others."""

    trace: Trace
    rejected: dict[str, str]  # unique_id -> why


class Tables(Protocol):
    """Interval rows in tables of whole VMs, as a scan has them."""

    def tables(self) -> Iterator[pa.Table]:
        """Each once."""


def newest_end(now: datetime, step_s: int) -> datetime:
    """When the newest interval ended that is over."""
    step = timedelta(seconds=step_s)
    return EPOCH + (now - EPOCH) // step * step


def read_recorded(
    context: Context,
    vms: Sequence[VM],
    *,
    metric: str,
    target: str,
    start: datetime,
    end: datetime,
    step_s: int,
) -> tuple[Recorded, str]:
    """Read one metric of a fleet from the telemetry store, as ``recorded`` lays it out; and the digest of the rows."""
    scan = context.series.scan([vm.unique_id for vm in vms], metrics=[metric], start=start, end=end, interval_s=step_s)
    read = GridsDigest()

    def parts() -> Iterator[tuple[list[str], Doubles]]:
        for grid in grids(scan):
            read.update(grid)
            yield _of_grid(grid, target)

    found = _recorded(parts(), vms, metric=metric, start=start, step_s=step_s, steps=scan.span.slots)
    return found, read.value()


def recorded(
    scan: Tables,
    vms: Sequence[VM],
    *,
    metric: str,
    target: str,
    start: datetime,
    end: datetime,
    step_s: int = STEP_S,
) -> Recorded:
    """Lay out one metric over [start, end), both multiples of the interval. VMs are sorted by id."""
    steps = int((end - start).total_seconds()) // step_s
    start_us = round(start.timestamp()) * SECOND_US
    parts = (_laid(table, target, start_us=start_us, step_s=step_s, steps=steps) for table in scan.tables())
    return _recorded(parts, vms, metric=metric, start=start, step_s=step_s, steps=steps)


def _recorded(
    parts: Iterator[tuple[list[str], Doubles]],
    vms: Sequence[VM],
    *,
    metric: str,
    start: datetime,
    step_s: int,
    steps: int,
) -> Recorded:
    """From the values [V, T] of some VMs after others, in the metric's unit."""
    with needs("numpy"):
        import numpy as np
    measure = MEASURES[metric]
    floor = Floor(FLOORS[measure.target], FLOORS["share"])
    had = {vm.unique_id: float(max(vm.size(name) for name in measure.sizes)) for vm in vms}
    rejected = dict.fromkeys(had, "no telemetry")
    names: list[str] = []
    values = [np.empty((0, steps))]
    for found, use in parts:
        capacity = np.array([had[name] for name in found])
        reasons = np.full(len(found), "", dtype=object)
        for why, failed in _checks(use, capacity, step_s):
            reasons[failed & (reasons == "")] = why
        rejected.update(zip(found, reasons.tolist()))
        sound = np.flatnonzero(reasons == "")
        names += [found[row] for row in sound.tolist()]
        values.append(use[sound] / measure.unit)
    use = np.concatenate(values)
    return Recorded(
        _trace(tuple(names), use, np.array([had[name] for name in names]), floor=floor, start=start, step_s=step_s),
        {name: why for name, why in sorted(rejected.items()) if why},
    )


def known_part(trace: Trace) -> Trace:
    """From the first interval of which anything is known."""
    with needs("numpy"):
        import numpy as np
    known = np.flatnonzero(~np.isnan(trace.demand).all(axis=0))
    first = int(known[0]) if len(known) else 0
    cut = slice(first, None)
    return replace(
        trace,
        start=trace.start + timedelta(seconds=first * trace.step_s),
        demand=trace.demand[:, cut],
        capacity=trace.capacity[:, cut],
        floor=trace.floor[:, cut],
    )


def newest_at(trace: Trace, minute: Optional[int], *, cycle: int) -> int:
    """The newest column that a decision at this minute of the hour would begin with; None: at the end of the trace.

    ``cycle``: intervals in an hour.
    """
    if minute is None:
        return trace.steps
    wanted = -(-(minute * 60 - round(trace.start.timestamp())) // trace.step_s)
    return trace.steps - (trace.steps - wanted) % cycle


def _of_grid(grid: Grid, target: str) -> tuple[list[str], Doubles]:
    """VMs of a grid that have a row, and their values as ``_laid`` has them."""
    with needs("numpy"):
        import numpy as np
    known = np.flatnonzero(~np.isnan(grid.mean).all(axis=1))
    mean, maximum = grid.mean[known], grid.maximum[known]
    use = np.where(np.isnan(maximum), mean, maximum) if target == TARGET_MAXIMUM else mean
    return [grid.unique_ids[row] for row in known.tolist()], use


def _laid(table: pa.Table, target: str, *, start_us: int, step_s: int, steps: int) -> tuple[list[str], Doubles]:
    """VMs of a table and their values [V, T]; NaN: no row, infinite: a row that holds no number."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    ids = table["unique_id"].unify_dictionaries().combine_chunks()
    ids = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids
    codes, vm = np.unique(ids.indices.to_numpy(), return_inverse=True)
    names = [str(ids.dictionary[code].as_py()) for code in codes.tolist()]
    slot = (table["ds"].cast(pa.int64()).to_numpy() - start_us) // (step_s * SECOND_US)
    mean, maximum = (np.asarray(table[name].to_numpy(), dtype=np.float64) for name in ("mean", "maximum"))
    value = np.where(np.isnan(maximum), mean, maximum) if target == TARGET_MAXIMUM else mean
    use = np.full((len(names), steps), np.nan)
    inside = (slot >= 0) & (slot < steps)
    use[vm[inside], slot[inside]] = np.where(np.isnan(value), np.inf, value)[inside]
    return names, use


def _checks(use: Doubles, capacity: Doubles, step_s: int) -> tuple[tuple[str, Flags], ...]:
    """Why a series cannot be used, and of which VMs [V] that holds; the first counts."""
    with needs("numpy"):
        import numpy as np
    known = np.count_nonzero(~np.isnan(use), axis=1)
    return (
        ("a value is no number", np.any(np.isinf(use), axis=1)),
        ("a value is negative", np.any(use < 0, axis=1)),
        ("less than a day known", known * step_s < LEAST_KNOWN_S),
        ("no capacity known", capacity <= 0),
    )


def _trace(
    names: tuple[str, ...], use: Doubles, capacity: Doubles, *, floor: Floor, start: datetime, step_s: int
) -> Trace:
    with needs("numpy"):
        import numpy as np
    there = np.logical_or.accumulate(~np.isnan(use), axis=1)
    had = np.where(there, capacity[:, None], np.nan)
    with np.errstate(invalid="ignore"):
        demand = np.clip(carried(use, limit=CARRY * STEP_S // step_s), 0, had)
        least = np.minimum(floor.least, floor.share * had)
    return Trace(names, start, demand, had, least, step_s=step_s)
