# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much would I save? Replays sizing policies on a recorded fleet: make bench TRACES=... PROTOCOL=... QUICK=1

TRACES is a Parquet file with unique_id, ds (START of the 300-s interval, UTC), vcpus and cpu_pct (of capacity),
mem_capacity_kb and mem_used_kb. Without PROTOCOL one is derived (report and tuning VMs by hash, the last third scored)
and written beside the results. Operating points are read from operating_points.json, never sought here.

Into the folder of results go every policy's decisions as Parquet, results.json and page.html.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import decisions_table
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import (
    FLOORS,
    ReplayProtocol,
    derive_protocol,
    read_protocol,
    write_protocol,
)
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import TARGETS, Floor, make_trace

from . import forecast
from .page import page
from .policy import Entry, Point
from .run import (
    POINTS,
    Fleet,
    are_foreign,
    fleet,
    has,
    operating_points,
    point_of,
    read_table,
    run,
    scored,
    scored_with_intervals,
    trace_path,
)
from .table import ROWS, Row, entries

FACTORS = (0.8, 0.9, 1.15, 1.35)  # of all sizes: the points of the curve beside the operating point
RESULTS = Path("tests/output/sizing")

# Of the printed table: heading, figure, format.
FIGURES = (
    ("reclaimed", "reclaimed", "{:.1f}"),
    ("violations", "violations", "{:.2f}"),
    ("by cap.", "violations_by_capacity", "{:.2f}"),
    ("unserved", "unserved_of_demand", "{:.2f}"),
    ("worst VM", "worst_vm", "{:.1f}"),
    ("p99 VM", "p99_vm", "{:.1f}"),
    ("VMs<=.5%", "vms_within_half_pct", "{:.0f}"),
    ("VMs<=1%", "vms_within_1pct", "{:.0f}"),
    ("resizes", "resizes_per_vm_day", "{:.1f}"),
    ("longest min", "longest_run_min", "{}"),
    ("runs>30min", "vms_with_run_over_30min", "{}"),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--traces", required=True, help="a Parquet file, or a folder that holds the protocol's")
    options.add_argument("--protocol", default="")
    options.add_argument("--ids", choices=("report", "tune", "all"), default="report")
    options.add_argument("--out", type=Path, default=RESULTS)
    options.add_argument("--quick", action="store_true", help="three rows, no curves")
    options.add_argument("--policies", default="*", help="only those whose name matches, as files do in a shell")
    options.add_argument("--rows", default="*", help="only those whose name matches")
    options.add_argument("--points", type=Path, default=POINTS)
    options.add_argument(
        "--reference", default=os.environ.get("REFERENCE", ""), help="Parquet of another forecast, to compare with"
    )
    chosen = options.parse_args()
    try:
        bench(chosen)
    except HeadroomError as error:
        sys.exit(str(error))


def bench(chosen: argparse.Namespace) -> None:
    """Replay, print, and write the results."""
    begin, clock = time.process_time(), time.monotonic()
    chosen.out.mkdir(parents=True, exist_ok=True)
    protocol, table = protocol_and_table(chosen)
    points, foreign = operating_points(chosen.points), are_foreign(protocol, chosen.points)
    if foreign:
        print(
            "Operating points are those of another fleet; Headroom makes its own careful by the days before the window."
        )
    results: list[dict[str, object]] = []
    fleets: dict[str, Fleet] = {}
    for row in ROWS:
        wanted = fnmatchcase(row.name, chosen.rows) and (row.quick or not chosen.quick)
        if not wanted or row.lead_s not in protocol.leads_s or not has(table, row.target):
            continue
        if row.target not in fleets:
            fleets[row.target] = fleet(table, protocol, row.target, chosen.ids, foreign=foreign)
            print(f"{row.target}: {about(fleets[row.target], chosen.ids)}")
        heading(row)
        for entry in entries(row):
            if not fnmatchcase(entry.name, chosen.policies):
                continue
            point = point_of(entry, row, points)
            if point is None:
                print(f"  {entry.name:34} has no operating point here: make tune")
                continue
            results.append(result(entry, row, point, fleets[row.target], chosen))
            show(results[-1])
    times = count_scored(chosen.out, chosen.ids)
    print(f"\nThe {chosen.ids} VMs were scored {times} times into {chosen.out}.")
    said = {"ids": chosen.ids, "scored": times, "slo4": asdict(protocol.slo4), "results": results}
    (chosen.out / "results.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    (chosen.out / "page.html").write_text(page(said), encoding="utf-8")
    if not chosen.quick and (chosen.rows, chosen.policies) == ("*", "*") and has(table, "cpu"):
        print("\nForecasts of CPU, in % of capacity:")
        path = trace_path(chosen.traces, protocol.trace)
        forecast.tell(path, json.loads(write_protocol(protocol)), ids=chosen.ids, reference=chosen.reference)
    print(f"{time.process_time() - begin:.0f} CPU-s, {time.monotonic() - clock:.0f} s")


def protocol_and_table(chosen: argparse.Namespace) -> tuple[ReplayProtocol, pa.Table]:
    """The protocol that is named, or one that is derived from the trace and written out; and the samples."""
    if chosen.protocol:
        try:
            protocol = read_protocol(Path(chosen.protocol).read_bytes())
        except OSError as error:
            raise HeadroomError(
                "bench.protocol", f"The protocol cannot be read: {error}.", advice="Name its file in PROTOCOL, or none."
            ) from error
        return protocol, read_table(chosen.traces, protocol.trace)
    table = read_table(chosen.traces)
    targets = [target for target in TARGETS if has(table, target)] or ["cpu"]
    every_vm = make_trace(table, target=targets[0], floor=Floor(FLOORS[targets[0]], FLOORS["share"]))
    end = every_vm.start + timedelta(seconds=every_vm.steps * every_vm.step_s)
    protocol = derive_protocol(every_vm.unique_ids, start=every_vm.start, end=end, trace=Path(chosen.traces).name)
    path = chosen.out / "protocol.json"
    path.write_text(write_protocol(protocol), encoding="utf-8")
    print(f"A protocol was derived from the trace: {path}")
    return protocol, table


def result(entry: Entry, row: Row, point: Point, of: Fleet, chosen: argparse.Namespace) -> dict[str, object]:
    """Replay one policy, write its decisions, and say all that is known of it."""
    outcome = run(entry, row, point, of)
    found = scored_with_intervals(outcome, of)
    name = f"{slug(row.name)}--{slug(entry.name)}--{chosen.ids}.parquet"
    folder = chosen.out / "decisions"
    folder.mkdir(exist_ok=True)
    pq.write_table(
        decisions_table(outcome.trace, outcome.replayed, lead=row.lead_s // of.protocol.tick_s), folder / name
    )
    curve = []
    if not (chosen.quick or row.variant or row.burst or entry.sees_future) and entry.curve:
        around = [scored(run(entry, row, point, of, factor=factor), of) for factor in FACTORS]
        curve = [{"reclaimed": one.reclaimed, "violations": one.violations} for one in around]
    return {
        "row": row.name,
        "policy": entry.name,
        "target": row.target,
        "lead_s": row.lead_s,
        "decisions": name,
        "score": asdict(found.score),
        "intervals": found.intervals,
        "cpu_s": outcome.cpu_s,
        "curve": curve,  # hindsight: all sizes a little smaller or larger
    }


def about(of: Fleet, ids: str) -> str:
    """What is replayed, and what had to be settled in the samples."""
    days = (of.last - of.first) * of.protocol.tick_s / 86400
    lines = [f"{len(of.chosen.unique_ids)} VMs, {days:.1f} days from {of.protocol.scored_from:%Y-%m-%d %H:%M} UTC"]
    absent = set(of.protocol.ids(ids)) - set(of.chosen.unique_ids)
    if absent:
        lines.append(f"{len(absent)} VMs of the protocol are not in the trace")
    return "\n  ".join([*lines, "in the whole trace:", *(str(finding) for finding in of.chosen.findings)])


def heading(row: Row) -> None:
    print(f"\n{row.name}")
    print(f"  {'policy':34}" + "".join(f"{title:>19}" if wide(name) else f"{title:>12}" for title, name, _f in FIGURES))


def wide(name: str) -> bool:
    """Whether a column has an interval beside the figure."""
    return name not in ("longest_run_min", "vms_with_run_over_30min")


def show(one: dict[str, object]) -> None:
    """Print one line of the table: each figure, and its interval where there is one."""
    cells = []
    for _title, name, form in FIGURES:
        text = form.format(one["score"][name])
        if wide(name):
            low, high = one["intervals"][name]
            cells.append(f"{text + ' [' + form.format(low) + ',' + form.format(high) + ']':>19}")
        else:
            cells.append(f"{text:>12}")
    met = "SLO-4" if one["score"]["slo4"] else "fails"
    print(f"  {one['policy']:34}{''.join(cells)}  {met}  {one['cpu_s']:.1f} CPU-s", flush=True)


def count_scored(folder: Path, ids: str) -> int:
    """Count how often the VMs of a set were scored: each look at the report is a step towards tuning on it."""
    path = folder / "scored.json"
    counts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    counts[ids] = counts.get(ids, 0) + 1
    path.write_text(json.dumps(counts) + "\n", encoding="utf-8")
    return counts[ids]


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    main()
