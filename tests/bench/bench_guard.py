# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One pass of the guard over synthetic fleets: seconds from the start of its process to the plan stored.

The telemetry table has a day of five-minute intervals, the last hour in files as a collection every five minutes leaves
them, before it as one every hour does, none of them compacted; one VM in fifty is short of something. "wall" is what
counts; "CPU" beside it tells how much of it was waiting for a busy machine. Each size runs in processes of its own,
generating apart. Exits 1 when the largest fleet misses its target.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path[:0] = [os.environ.get("HEADROOM_COLLECTIONS", ""), str(Path(__file__).resolve().parent)]

SIZES = (1_000, 10_000, 100_000)
TARGET_VMS, TARGET_S = 100_000, 5.0
INTERVAL_S = 300
HOUR = 12  # intervals
SHORT = 50  # one VM in so many
SEED = 20260301
POLICY = """\
schema: headroom.sizing-policy/1
defaults:
  mode: auto
  cpu_limit: {profile: elastic}
rules:
  - match: {name: "db-*"}
    set: {guard: {memory_used_percent: 90}}
  - when: "'batch' in tags"
    set: {mode: approve}
"""


def fill(vms: int, scratch: Path) -> str:
    """Write stores for a fleet of this many VMs; returns the snapshot's digest."""
    from bench_plan import HOSTS_PER_SET, NOW, VMS_PER_HOST, _vm

    from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest_bytes
    from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
    from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import encode_artifact
    from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
    from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
    from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import SET, Capability
    from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore

    fields = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
    way = Capability("cpu.limit", fields[0].partition(".")[2], SET, True, "", "", fields, 0, 2**40, 1, "live")

    def guest(number: int) -> Any:
        one = _vm(number, 1 + number % 16, 1024 + 256 * (number % 60))
        limit = one.vcpus * 400
        return replace(
            one, fields={**one.fields, **dict.fromkeys(fields, limit)}, capabilities=(*one.capabilities, way)
        )

    guests = [guest(number) for number in range(vms)]
    snapshot = Snapshot(
        taken_at=format_utc(NOW),
        endpoints=("e",),
        hosts=tuple(
            Host(f"e/h{n}", "e", f"h{n}", f"set{n // HOSTS_PER_SET}", 1024, 4, 4_000_000, 2**21, 8192, 1_000_000)
            for n in range(-(-vms // VMS_PER_HOST))
        ),
        vms=tuple(guests),
    )
    # As ArtifactStore.put writes it, less its checks, which take minutes here.
    data = json.dumps(encode_artifact(snapshot), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    name = ArtifactStore(str(scratch / "artifacts")).put_bytes(data)
    if name != digest_bytes(data):
        raise RuntimeError(name)
    _fill_telemetry(scratch, guests, NOW)
    return name


def _fill_telemetry(scratch: Path, guests: list[Any], now: Any) -> None:
    """The last hour by intervals, of all metrics; before it, by hours, of those whose peaks are looked for."""
    import numpy as np
    import pyarrow as pa

    from ansible_collections.headroom.fleet.plugins.module_utils._plan.signals import signals_by
    from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
    from ansible_collections.headroom.fleet.plugins.module_utils._records.series import (
        CPU_MILLICORES,
        MEMORY_USED_MIB,
        interval_schema,
    )
    from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

    store = SeriesStore(str(scratch / "telemetry"))
    rng = np.random.default_rng(SEED)
    ids = pa.array([one.unique_id for one in guests], pa.string())
    has = {
        CPU_MILLICORES: np.array([one.vcpus * 400.0 for one in guests]),
        MEMORY_USED_MIB: np.array([float(one.memory_mib) for one in guests]),
    }
    schema = interval_schema()
    metrics = sorted({signal.metric for signal in signals_by(load_policy(POLICY, name="bench.yml"))})

    def rows(metric: str, back: int) -> pa.Table:
        """One interval of one metric, so many intervals ago."""
        ds = now - timedelta(seconds=back * INTERVAL_S)
        values = rng.uniform(0.05, 0.8, len(ids)) * has.get(metric, 0.0)
        if back == 1 and metric in has:
            first = SHORT if metric == CPU_MILLICORES else 0  # half of those that are short of each
            values[first :: SHORT * 2] = has[metric][first :: SHORT * 2]
        ones = {
            "metric": pa.scalar(metric, pa.string()),
            "ds": pa.scalar(ds, pa.timestamp("us", "UTC")),
            "interval_s": pa.scalar(INTERVAL_S, pa.int32()),
            "samples": pa.scalar(30, pa.int32()),
            "coverage_ppm": pa.scalar(1_000_000, pa.int32()),
        }
        columns = {
            **{name: pa.repeat(one, len(ids)) for name, one in ones.items()},
            **dict.fromkeys(("mean", "p95", "maximum"), pa.array(values)),
            "unique_id": ids,
        }
        return pa.table([columns[name] for name in schema.names], schema=schema)

    for hour in range(24, 1, -1):
        backs = range(hour * HOUR, (hour - 1) * HOUR, -1)
        store.merge(pa.concat_tables([rows(metric, back) for metric in has for back in backs]))
    for back in range(HOUR, 0, -1):
        store.merge(pa.concat_tables([rows(metric, back) for metric in metrics]))


def measure(snapshot: str, scratch: Path, started: float) -> dict[str, Any]:
    """One pass; ``started``: wall clock when its process was."""
    from bench_plan import NOW

    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.guard import guard

    urls = {"artifacts": str(scratch / "artifacts"), "telemetry": str(scratch / "telemetry")}
    context = Context(now=NOW, who="bench", urls={**urls, "state": str(scratch / "state.db")})
    found = guard(context, snapshot=snapshot, policy_text=POLICY, policy_name="bench.yml")
    context.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_s": round(time.time() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mib": usage.ru_maxrss // 1024,
        "short": len(found.values["short"]),
        "acts": len(found.values["actions"]),
    }


def main() -> int:
    """Fill stores and run two passes on them: the first and one as every later one is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vms", type=int, action="append", help="a fleet's size; may be given again")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fill:
        print(fill(arguments.fill, Path.cwd()))
        return 0
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], Path(arguments.one[1]), float(arguments.one[2]))))
        return 0
    titles = ("VMs", "pass", "wall s", "CPU s", "peak MiB", "short", "acts")
    print("  ".join(title.rjust(8) for title in titles), flush=True)
    met = True
    for vms in arguments.vms or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            filled = [sys.executable, __file__, "--fill", str(vms)]
            digest = subprocess.run(filled, check=True, stdout=subprocess.PIPE, text=True, cwd=folder).stdout.strip()
            for number in ("first", "next"):
                command = [sys.executable, __file__, "--one", digest, folder, str(time.time())]
                told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                now = json.loads(told)
                cells = (vms, number, now["wall_s"], now["cpu_s"], now["peak_mib"], now["short"], now["acts"])
                print("  ".join(str(cell).rjust(8) for cell in cells), flush=True)
                met = met and (vms != TARGET_VMS or now["wall_s"] <= TARGET_S)
    print(f"target for {TARGET_VMS} VMs: at most {TARGET_S:g} s of wall clock: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
