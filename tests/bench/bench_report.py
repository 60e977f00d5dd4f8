# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU seconds and size of a report of synthetic fleets: python tests/bench/bench_report.py [VMs ...].

Half of the VMs change. Everything from the records in memory to the texts of page, Markdown and metrics is counted.
Violations are looked for in one day of 500 VMs, and the figure scaled to the fleet, for a job reads table by table.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, os.environ.get("HEADROOM_COLLECTIONS", ""))

SIZES = (1_000, 10_000, 100_000)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
INTERVAL_S, PER_DAY, CHUNK_VMS = 300, 288, 500


def main() -> None:
    """Run each size in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vms", nargs="*", type=int, default=SIZES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(measured(arguments.one))
        return
    for vms in arguments.vms:
        subprocess.run([sys.executable, __file__, "--one", str(vms)], check=True)


def measured(vms: int) -> str:
    """Make the report of a fleet of this many VMs."""
    from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
    from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown
    from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import metrics
    from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
    from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view
    from ansible_collections.headroom.fleet.plugins.module_utils._report.violations import Violations, find_violations

    facts = replace(_facts(vms), policy=default_policy())
    spent = {}

    def timed(name: str, make: Any) -> Any:
        begin = time.process_time()
        made = make()
        spent[name] = time.process_time() - begin
        return made

    tables = list(_tables(facts.snapshot.vms[:CHUNK_VMS]))
    found = timed("violations", lambda: find_violations(tables, vms=facts.snapshot.vms[:CHUNK_VMS]))
    spent["violations"] *= vms / CHUNK_VMS
    facts = replace(facts, violations=Violations(facts.made_at, facts.made_at, INTERVAL_S, found))
    view = timed("view", lambda: build_view(facts))
    texts = {form.__name__: timed(form.__name__, lambda form=form: form(view)) for form in (page, markdown, metrics)}
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in spent.items())
    lengths = ", ".join(f"{name} {len(text.encode()) / 1e3:,.0f} kB" for name, text in texts.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return f"{vms:,} VMs: {sum(spent.values()):.2f} CPU-s ({parts}); {lengths}; peak {peak} MB"


def _facts(vms: int) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
    from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action, Change, Inverse
    from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Choice, Forecast
    from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Decision, Limits, Plan
    from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import DONE, Outcome, Receipt
    from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, MEMORY_USED_MIB
    from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
    from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
    from ansible_collections.headroom.fleet.plugins.module_utils._report.cards import MOST_CARDS
    from ansible_collections.headroom.fleet.plugins.module_utils._report.curves import Curve, Expected, Observed
    from ansible_collections.headroom.fleet.plugins.module_utils._report.facts import METRIC_OF, Facts

    moment, digest = format_utc(NOW), "sha256:" + "ab" * 32
    machines = tuple(
        VM(f"e/{n:032x}", "e", f"app-{n:06}", f"e/h{n // 40}", f"set{n // 1000}", "running", 4, 8192, digest, {})
        for n in range(vms)
    )
    actions, decisions = [], []
    for number, vm in enumerate(machines):
        acts = number % 2 == 0
        direction, after = ("shrink", 2) if number % 4 else ("grow", 6)
        action_id = f"a{number:06}" if acts else ""
        why = "P95 of demand is at most 2.10 vCPU: at 70 % use that takes 3 vCPU, it has 4"
        if acts:
            changes = (Change("guest.vcpus", 4, after), Change("config.vcpus", 4, after))
            actions.append(
                Action(
                    action_id, vm.unique_id, vm.name, "e", vm.host_id, vm.host_set, "", "vcpus.agent", "vcpus",
                    direction, "auto", 4, after, changes, digest, Inverse("vcpus.agent", "live"), restart=False,
                    reason=why,
                )
            )  # fmt: skip
        decisions += [
            Decision(
                vm.unique_id, vm.name, "vcpus", "act" if acts else "stay", direction if acts else "fits", why, 14, 4,
                after if acts else 4, 2100, action_id,
            ),
            Decision(vm.unique_id, vm.name, "memory_mib", "stay", f"code_{number % 12}", why, 14, 8192, 8192, 6000),
        ]  # fmt: skip
    start = int(NOW.timestamp())
    curve = Curve(
        tuple(Observed(start + n * INTERVAL_S, 1000.0 + n, 1200.0 + n) for n in range(-192, 0)), INTERVAL_S,
        tuple(Expected(start + n * 3600, 900.0, 1100.0, 1400.0) for n in range(6)), 3600,
    )  # fmt: skip
    return Facts(
        run_id="bench",
        made_at=moment,
        started_at=moment,
        snapshot=Snapshot(moment, ("e",), (), machines),
        plan=Plan(
            moment, moment, tuple(vm.unique_id for vm in machines), "size", digest, digest, digest,
            Budget(Limits()), tuple(actions), tuple(decisions),
        ),
        forecast=Forecast(
            digest, moment, moment, "maximum", 6 * 3600, 3600, ("0.5", "0.95"), ("bench",), digest, 0,
            tuple(
                Choice(vm.unique_id, metric, "bench", "the only one", 28 * 86_400, 990_000, moment, 100)
                for vm in machines
                for metric in (CPU_MILLICORES, MEMORY_USED_MIB)
            ),
        ),
        receipt=Receipt(
            "bench", digest, moment, moment,
            tuple(
                Outcome(one.action_id, one.unique_id, one.vm_name, one.operation, DONE, "", "", moment)
                for one in actions
            ),
        ),
        digests={"plan": digest},
        curves={(vm.unique_id, metric): curve for vm in machines[: 2 * MOST_CARDS] for metric in METRIC_OF.values()},
    )  # fmt: skip


def _tables(vms: Any) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._report.violations import LIMITS

    rng = np.random.default_rng(1)
    each = len(LIMITS) * PER_DAY
    rows = len(vms) * each
    ids = np.repeat(np.arange(len(vms), dtype=np.int32), each)
    metrics = np.tile(np.repeat(np.arange(len(LIMITS), dtype=np.int32), PER_DAY), len(vms))
    mean = rng.gamma(2, 700, rows)
    start = NOW - timedelta(days=1)
    yield pa.table(
        {
            "unique_id": pa.DictionaryArray.from_arrays(ids, pa.array([vm.unique_id for vm in vms])),
            "metric": pa.DictionaryArray.from_arrays(metrics, pa.array(list(LIMITS))),
            "ds": pa.array([start], pa.timestamp("us", "UTC")).take(pa.array(np.zeros(rows, np.int8))),
            "mean": mean,
            "maximum": mean * 1.3,
        }
    )


if __name__ == "__main__":
    main()
