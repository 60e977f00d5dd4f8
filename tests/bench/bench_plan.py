# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot to plan for synthetic fleets: seconds, peak memory, and how both grow with the fleet.

Each size runs in a process of its own. "plan" is make_plan alone, from records and a forecast table in memory;
"digest" is what storing the plan adds: canonical JSON and its SHA-256. Targets are of processor time, so that a busy
machine does not change the verdict; the wall clock stands beside it. Exits 1 when the largest fleet misses its target.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, os.environ.get("HEADROOM_COLLECTIONS", ""))

SIZES = (1_000, 10_000, 100_000)
TARGET_VMS, TARGET_S, TARGET_MIB = 100_000, 20, 2048
VMS_PER_HOST, HOSTS_PER_SET = 40, 32
INTERVALS = 12  # a horizon of one hour
QUANTILES = ("0.5", "0.95", "0.98")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEED = 20260301

POLICY = """\
schema: headroom.sizing-policy/1
defaults: {mode: auto}
rules:
  - match: {tenant: "t1*"}
    set: {priority: 500}
  - match: {name: "db-*"}
    set: {mode: approve, memory: {target_use_percent: 80, shrink_target_use_percent: 70}}
  - when: "'batch' in tags and host_set != 'set3'"
    set:
      mode: {grow: auto, shrink: recommend}
      windows: [{zone: Europe/Berlin, days: [mon, tue, wed, thu, fri, sat, sun], from: 22:00, to: 04:00}]
"""


@dataclass(frozen=True)
class Figures:
    """What one run took."""

    vms: int
    plan_cpu_s: float
    plan_wall_s: float
    digest_cpu_s: float
    input_mib: int
    peak_mib: int
    actions: int
    plan_digest: str


def measure(vms: int) -> Figures:
    """Build a fleet of this many VMs and plan it."""
    from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest
    from ansible_collections.headroom.fleet.plugins.module_utils._plan.plan import make_plan
    from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
    from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
    from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import encode_artifact

    snapshot, header, table = _fleet(vms)
    scope = [vm.unique_id for vm in snapshot.vms]
    input_mib = _peak_mib()
    started, wall = time.process_time(), time.perf_counter()
    plan = make_plan(
        snapshot,
        forecast=header,
        table=table,
        policy=load_policy(POLICY, name="bench.yml"),
        state=PlanState(),
        scope=scope,
        now=NOW,
        snapshot_digest="sha256:0",
        forecast_digest="sha256:0",
        policy_digest="sha256:0",
    ).plan
    planned, plan_wall_s = time.process_time(), time.perf_counter() - wall
    peak_mib = _peak_mib()
    name = digest(encode_artifact(plan))
    return Figures(
        vms=vms,
        plan_cpu_s=round(planned - started, 3),
        plan_wall_s=round(plan_wall_s, 3),
        digest_cpu_s=round(time.process_time() - planned, 3),
        input_mib=input_mib,
        peak_mib=peak_mib,
        actions=len(plan.actions),
        plan_digest=name,
    )


def _fleet(vms: int) -> tuple[Any, Any, Any]:
    """A snapshot, a forecast header and its table. A third of the VMs is too small, a third too large."""
    import numpy as np
    import pyarrow as pa

    from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
    from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import COLUMNS, Choice, Forecast
    from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
    from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, MEMORY_USED_MIB
    from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot

    rng = np.random.default_rng(SEED)
    hosts = -(-vms // VMS_PER_HOST)
    vcpus = rng.integers(1, 17, vms)
    memory = rng.integers(4, 65, vms) * 256
    use = rng.uniform(0.05, 1.2, (2, vms))  # of the size, at the median
    moment = format_utc(NOW)
    metrics = (CPU_MILLICORES, MEMORY_USED_MIB)
    snapshot = Snapshot(
        taken_at=moment,
        endpoints=("e",),
        hosts=tuple(
            Host(f"e/h{n}", "e", f"h{n}", f"set{n // HOSTS_PER_SET}", 128, 4, 4_000_000, 524_288, 8192, 1_000_000)
            for n in range(hosts)
        ),
        vms=tuple(_vm(n, int(vcpus[n]), int(memory[n])) for n in range(vms)),
    )
    demand = np.stack([vcpus * 1000 * use[0], memory * use[1]], axis=1)  # VM, metric
    ids = [vm.unique_id for vm in snapshot.vms]
    rows = vms * len(metrics) * INTERVALS * len(QUANTILES)
    shape = (vms, len(metrics), INTERVALS, len(QUANTILES))
    shares = np.array([0.6, 0.95, 1.0])[None, None, None, :] * rng.uniform(0.7, 1.0, (vms, 1, INTERVALS, 1))
    values = np.broadcast_to(demand[:, :, None, None] * shares, shape).ravel()
    starts = [NOW + timedelta(minutes=5 * n) for n in range(INTERVALS)]

    def words(axis: int, names: Any) -> Any:
        index = np.broadcast_to(
            np.arange(shape[axis], dtype=np.int32).reshape([-1 if n == axis else 1 for n in range(4)]), shape
        )
        return pa.DictionaryArray.from_arrays(pa.array(index.ravel()), pa.array(names))

    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["maximum"]))
    times = pa.array(starts, pa.timestamp("us", "UTC"))
    columns = {
        "unique_id": words(0, ids),
        "metric": words(1, metrics),
        "target": one,
        "cutoff": pa.array([NOW], pa.timestamp("us", "UTC")).take(pa.array(np.zeros(rows, np.int8))),
        "lead_s": pa.array(np.zeros(rows, np.int64)),
        "ds": words(2, times).dictionary_decode(),
        "quantile": words(3, QUANTILES),
        "value": pa.array(values),
        "engine": one,
    }
    header = Forecast(
        series="sha256:0",
        made_at=moment,
        cutoff=moment,
        target="maximum",
        horizon_s=3600,
        interval_s=300,
        quantiles=QUANTILES,
        engines=("bench",),
        table="sha256:0",
        rows=rows,
        choices=tuple(
            Choice(unique_id, metric, "bench", "the only one", 28 * 86_400, 990_000, moment, int(demand[n, m] * 0.9))
            for n, unique_id in enumerate(ids)
            for m, metric in enumerate(metrics)
        ),
    )
    return snapshot, header, pa.table([columns[name] for name in COLUMNS], names=COLUMNS)


def _vm(number: int, vcpus: int, memory_mib: int) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
        DIRECTIONS,
        MEMORY_MIB,
        VCPUS,
        VM,
        Capability,
    )

    host = number // VMS_PER_HOST
    ways = (
        ("vcpus.agent", VCPUS, ("guest.vcpus", "config.vcpus"), 1, 32),
        ("memory.balloon", MEMORY_MIB, ("live.memory_mib", "config.memory_mib"), 128, 65_536),
    )
    return VM(
        unique_id=f"e/{number:08x}-0000-4000-8000-000000000000",
        endpoint="e",
        name=f"{('web', 'db', 'app')[number % 3]}-{number}",
        host_id=f"e/h{host}",
        host_set=f"set{host // HOSTS_PER_SET}",
        power="running",
        vcpus=vcpus,
        memory_mib=memory_mib,
        generation=f"sha256:{number:064x}",
        fields={
            "guest.vcpus": vcpus,
            "config.vcpus": vcpus,
            "live.memory_mib": memory_mib,
            "config.memory_mib": memory_mib,
        },
        tenant=f"t{number % 50}",
        tags=("batch",) if number % 10 == 0 else (),
        capabilities=tuple(
            Capability(operation, name, direction, True, "", "", fields, low, high, 1, "live")
            for operation, name, fields, low, high in ways
            for direction in DIRECTIONS
        ),
    )


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> int:
    """Run each size in its own process and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, action="append", help="a fleet's size; may be given again")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one).__dict__))
        return 0
    titles = ("VMs", "plan CPU s", "wall s", "digest CPU s", "input MiB", "peak MiB", "acts", "growth of CPU, of peak")
    print("  ".join(titles))
    met, last = True, None
    for vms in arguments.vms or SIZES:
        command = [sys.executable, __file__, "--one", str(vms)]
        now = Figures(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        growth = f"x{now.plan_cpu_s / last.plan_cpu_s:.1f}, x{now.peak_mib / last.peak_mib:.1f}" if last else ""
        cells = (
            now.vms,
            f"{now.plan_cpu_s:.2f}",
            f"{now.plan_wall_s:.2f}",
            f"{now.digest_cpu_s:.2f}",
            now.input_mib,
            now.peak_mib,
            now.actions,
            growth,
        )
        print("  ".join(str(cell).rjust(len(title)) for cell, title in zip(cells, titles, strict=True)), flush=True)
        met = met and (vms != TARGET_VMS or (now.plan_cpu_s < TARGET_S and now.peak_mib < TARGET_MIB))
        last = now
    verdict = "met" if met else "MISSED"
    print(f"target for {TARGET_VMS} VMs: plan below {TARGET_S} CPU s, peak below {TARGET_MIB} MiB: {verdict}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
