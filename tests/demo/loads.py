# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guests of the demo ask for: four weeks of past, and the load they run from now on, of one make.

The past is generated, or taken from a trace and scaled to guests of this size. The load continues it: a guest's next
hour is the hour that follows in the same generated, or recorded, series.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

INTERVAL_S = 300
WEEKS = 4
AHEAD = timedelta(hours=2)  # of load; longer than any demo runs
SLOT_S = 60
# Of a guest's own kernel and agent, in the measure of the forecast: available minus usable, with nothing else running.
BASE_MIB = 33
CPU, MEMORY = "cpu_millicores", "memory_used_mib"


@dataclass(frozen=True)
class Load:
    """A demand: the shape of its past, and its level. ``peak_millicores`` bounds a trace that is scaled to it."""

    profile: str  # of _telemetry/history.py
    cpu_millicores: int
    peak_millicores: int
    memory_used_mib: int


# Two guests of 2 vCPUs and 384 MiB: the one wants a third vCPU, the other does not use its second, nor all its memory.
BUSY = Load("busy", cpu_millicores=1300, peak_millicores=1700, memory_used_mib=270)
LAZY = Load("idle", cpu_millicores=60, peak_millicores=400, memory_used_mib=125)
SWAPPED = ("db1", "batch1")  # with SWAP=1 the second is busy and the first is lazy
OTHERS = {  # web1 and web2 have what they need; idle1 does not use its second vCPU
    "web1": Load("busy", cpu_millicores=200, peak_millicores=550, memory_used_mib=120),
    "web2": Load("idle", cpu_millicores=60, peak_millicores=400, memory_used_mib=120),
    "idle1": Load("idle", cpu_millicores=20, peak_millicores=100, memory_used_mib=45),
}


@dataclass(frozen=True)
class Past:
    """The rows to import, the load that follows, and which moment of the past is which."""

    rows: pa.Table  # columns of the interval table
    schedule: dict[str, dict[str, Any]]  # as tests/lab/lab.py schedule reads it
    until: datetime  # end of the rows: the interval that is under way is left to libvirt
    source: str
    shift: timedelta  # from the times of the source to ours


def loads(*, swap: bool) -> dict[str, Load]:
    """Who asks for what."""
    busy, lazy = reversed(SWAPPED) if swap else SWAPPED
    return {busy: BUSY, lazy: LAZY, **OTHERS}


def make_past(unique_ids: Mapping[str, str], *, now: datetime, swap: bool, trace: str = "") -> Past:
    """Make the past and the load of these guests (name -> unique_id) for a demo that begins at ``now``."""
    until = datetime.fromtimestamp(now.timestamp() // INTERVAL_S * INTERVAL_S, UTC)
    wanted = loads(swap=swap)
    if trace:
        rows, shift = _from_trace(trace, unique_ids, wanted, until=until)
    else:
        rows, shift = _generated(unique_ids, wanted, until=until), timedelta(0)
    return Past(
        rows=_between(rows, until - timedelta(weeks=WEEKS), until),
        schedule=_schedule(_between(rows, until, until + AHEAD), unique_ids, now=now),
        until=until,
        source=trace or "the generator",
        shift=shift,
    )


def write_past(past: Past, *, rows: Path, schedule: Path) -> None:
    """Put both into files."""
    import pyarrow.parquet as pq

    pq.write_table(past.rows, rows)
    schedule.write_text(json.dumps(past.schedule, indent=1), encoding="utf-8")


def _generated(unique_ids: Mapping[str, str], wanted: dict[str, Load], *, until: datetime) -> pa.Table:
    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand, history

    demands = {
        unique_ids[name]: Demand(load.profile, load.cpu_millicores, load.memory_used_mib)
        for name, load in wanted.items()
    }
    return history(demands, start=until - timedelta(weeks=WEEKS), end=until + AHEAD, interval_s=INTERVAL_S)


def _from_trace(
    path: str, unique_ids: Mapping[str, str], wanted: dict[str, Load], *, until: datetime
) -> tuple[pa.Table, timedelta]:
    """Take the last weeks of a trace with columns unique_id, ds, vcpus, cpu_pct and mem_used_kb.

    The busy guest gets the VM that is steadiest near its own peak at the end, the others those that follow; each is
    scaled so that its highest demand of all these weeks is the guest's peak.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import Column, Layout, read_file

    columns = {CPU: Column("cpu_pct", factor=10, times="vcpus"), MEMORY: Column("mem_used_kb", factor=1 / 1024)}
    found = read_file(path, Layout(columns=columns, interval_s=INTERVAL_S, assume_utc=True))
    newest = pc.max(found["ds"]).as_py()
    shift = until + AHEAD - timedelta(seconds=INTERVAL_S) - newest
    chosen = _steadiest(found, end=newest, count=len(wanted))
    parts = []
    for (name, load), vm in zip(wanted.items(), chosen, strict=True):
        of_vm = found.filter(pc.equal(found["unique_id"], vm))
        for metric, level in ((CPU, load.peak_millicores), (MEMORY, load.memory_used_mib)):
            part = of_vm.filter(pc.equal(of_vm["metric"], metric))
            scaled = pc.multiply(part["mean"], level / max(pc.max(part["mean"]).as_py(), 1e-9))
            part = part.set_column(part.column_names.index("mean"), part.schema.field("mean"), scaled)
            name_column = pa.array([unique_ids[name]] * part.num_rows, pa.string())
            parts.append(part.set_column(0, part.schema.field("unique_id"), name_column))
    rows = pa.concat_tables(parts)
    ds = pc.add(rows["ds"], pa.scalar(shift, pa.duration("us")))
    return rows.set_column(rows.column_names.index("ds"), rows.schema.field("ds"), ds), shift


def _steadiest(found: pa.Table, *, end: datetime, count: int) -> list[str]:
    """VMs whose mean of the last day is nearest to their peak, by CPU."""
    import pyarrow.compute as pc

    cpu = found.filter(pc.equal(found["metric"], CPU))
    peaks = cpu.group_by("unique_id").aggregate([("mean", "max")])
    days = (
        cpu.filter(pc.greater(cpu["ds"], end - timedelta(days=1))).group_by("unique_id").aggregate([("mean", "mean")])
    )
    peak = dict(zip(peaks["unique_id"].to_pylist(), peaks["mean_max"].to_pylist(), strict=True))
    share = {
        vm: mean / peak[vm]
        for vm, mean in zip(days["unique_id"].to_pylist(), days["mean_mean"].to_pylist(), strict=True)
        if peak[vm] > 0
    }
    if len(share) < count:
        raise ValueError(f"the trace has {len(share)} VMs with a load on its last day; {count} are needed")
    return sorted(share, key=lambda vm: (-share[vm], vm))[:count]


def _between(rows: pa.Table, start: datetime, end: datetime) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.and_(pc.greater_equal(rows["ds"], start), pc.less(rows["ds"], end)))


def _schedule(rows: pa.Table, unique_ids: Mapping[str, str], *, now: datetime) -> dict[str, dict[str, Any]]:
    """Slots of a minute from ``now`` on, each with what its interval asks for."""
    level: dict[tuple[str, str, int], float] = {}
    for row in rows.select(["unique_id", "metric", "ds", "mean"]).to_pylist():
        level[row["unique_id"], row["metric"], round(row["ds"].timestamp())] = row["mean"]
    first = int(now.timestamp())
    starts = [at // INTERVAL_S * INTERVAL_S for at in range(first, first + int(AHEAD.total_seconds()), SLOT_S)]

    def slots(unique_id: str, metric: str, *, per_slot: float, base: float) -> list[int]:
        known = [level[unique_id, metric, start] for start in starts if (unique_id, metric, start) in level]
        return [max(0, round(value / per_slot - base)) for value in known] or [0]

    return {
        name: {
            "cpu_percent": slots(unique_id, CPU, per_slot=10, base=0),
            "memory_mib": slots(unique_id, MEMORY, per_slot=1, base=BASE_MIB),
            "slot_s": SLOT_S,
        }
        for name, unique_id in unique_ids.items()
    }
