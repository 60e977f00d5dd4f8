# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One replay of the bench: a trace, a protocol, a row and a policy in; decisions, their score and their cost out."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import Scaled
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import (
    Replayed,
    decisions_table,
    replay,
)
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import ReplayProtocol
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import (
    Score,
    Scored,
    score,
    score_with_intervals,
)
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import TARGETS, Trace, make_trace

from .policy import HOUR, Context, Entry, Point
from .table import Row, make

POINTS = Path(__file__).with_name("operating_points.json")
COLUMNS = ("unique_id", "ds", "vcpus", "cpu_pct", "mem_capacity_kb", "mem_used_kb")
BURSTS, BURST_TICKS, BURST_SHARE, BURST_SEED = 2, HOUR, 0.9, 16  # of each pool; share of capacity


def trace_path(traces: str, named: str = "") -> Path:
    """A Parquet file; or of a folder the file that the protocol names, or its only one."""
    path = Path(traces)
    if path.is_dir():
        found = [path / named] if named else sorted(path.glob("*.parquet"))
        if len(found) != 1 or not found[0].is_file():
            raise HeadroomError(
                "bench.traces", f"{path} does not hold exactly one trace.", advice="Name the Parquet file in TRACES."
            )
        path = found[0]
    return path


def read_table(traces: str, named: str = "") -> pa.Table:
    """The samples of a trace."""
    path = trace_path(traces, named)
    known = pq.read_schema(path).names
    return pq.read_table(path, columns=[name for name in COLUMNS if name in known])


@dataclass(frozen=True)
class Fleet:
    """A trace as the rows of a target need it: all VMs, and those that are replayed."""

    target: str
    protocol: ReplayProtocol
    everyone: Trace  # all VMs, before the first decision
    chosen: Trace
    first: int
    last: int
    foreign: bool = False  # see Context

    def only(self, unique_ids: Collection[str]) -> Fleet:
        """The same with fewer VMs to replay."""
        return replace(self, chosen=self.chosen.only(unique_ids))

    @cached_property
    def history(self) -> Trace:
        """What was known of the VMs that are replayed when the first decision was due."""
        return self.chosen.before(self.first)

    def context(self, row: Row, *, future: bool) -> Context:
        """What a policy may know; nothing of it leads to what comes after the first decision."""
        return Context(
            target=self.target,
            first=self.first,
            last=self.last,
            lead=row.lead_s // self.protocol.tick_s,
            every=self.protocol.decide_every_s // self.protocol.tick_s,
            slo=self.protocol.slo4,
            history=self.history,
            everyone=self.everyone,
            whole=row.variant == "whole",
            foreign=self.foreign,
            future=self.chosen if future else None,
        )


def fleet(table: pa.Table, protocol: ReplayProtocol, target: str, ids: str, *, foreign: bool = False) -> Fleet:
    """Make the arrays of a target. ``ids``: report, tune or all. ``foreign``: see Context."""
    every_vm = make_trace(table, target=target, floor=protocol.floor(target))
    first, last = every_vm.column(protocol.scored_from), every_vm.column(protocol.scored_to)
    chosen = every_vm.only(protocol.ids(ids) or every_vm.unique_ids)
    if not chosen.unique_ids:
        raise HeadroomError(
            "trace.empty",
            f"The trace has none of the {ids} VMs of the protocol.",
            advice="Name the protocol's own trace in TRACES, or no PROTOCOL: one is derived.",
        )
    past = every_vm.before(first)
    # A VM that comes later is not known to be coming.
    there = [name for name, row in zip(past.unique_ids, past.capacity, strict=True) if not np.isnan(row).all()]
    return Fleet(target, protocol, past.only(there), chosen, first, last, foreign)


def has(table: pa.Table, target: str) -> bool:
    """Whether the trace has the columns of a target."""
    return set(TARGETS[target][:2]) <= set(table.column_names)


def with_bursts(trace: Trace, protocol: ReplayProtocol, first: int, last: int) -> Trace:
    """All VMs of a pool demand nearly their capacity for an hour, twice within the window; the same at each run."""
    rng = np.random.default_rng(BURST_SEED)
    demand = trace.demand.copy()
    rows = {unique_id: row for row, unique_id in enumerate(trace.unique_ids)}
    for pool in protocol.pools:
        members = [rows[unique_id] for unique_id in pool if unique_id in rows]
        for begin in rng.integers(first, max(last - BURST_TICKS, first + 1), BURSTS):
            cells = np.ix_(members, range(begin, min(begin + BURST_TICKS, last)))
            demand[cells] = np.fmax(demand[cells], BURST_SHARE * trace.capacity[cells])
    return replace(trace, demand=demand)


@dataclass(frozen=True)
class Outcome:
    """What came of a policy in a row."""

    trace: Trace
    replayed: Replayed
    cpu_s: float


def run(entry: Entry, row: Row, point: Point, fleet: Fleet, *, factor: float = 1.0) -> Outcome:
    """Replay a policy. CPU seconds are those of the policy and the loop, training included."""
    trace = fleet.chosen
    if row.burst:
        trace = with_bursts(trace, fleet.protocol, fleet.first, fleet.last)
        fleet = replace(fleet, chosen=trace)
    context = fleet.context(row, future=entry.sees_future)
    begin = time.process_time()
    policy = make(entry, row, point, context)
    replayed = replay(
        policy if factor == 1 else Scaled(policy, factor),
        trace, first=fleet.first, last=fleet.last, lead=context.lead, every=context.every,
    )  # fmt: skip
    return Outcome(trace, replayed, time.process_time() - begin)


def scored(outcome: Outcome, fleet: Fleet) -> Score:
    """The figures alone."""
    return score(*_window(outcome, fleet), slo=fleet.protocol.slo4)


def scored_with_intervals(outcome: Outcome, fleet: Fleet) -> Scored:
    """The figures and their bootstrap intervals."""
    return score_with_intervals(*_window(outcome, fleet), slo=fleet.protocol.slo4)


def _window(outcome: Outcome, fleet: Fleet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cut = slice(fleet.first, fleet.last)
    return outcome.trace.demand[:, cut], outcome.replayed.allocation[:, cut], outcome.trace.capacity[:, cut]


def decisions(
    table: pa.Table, protocol: ReplayProtocol, row: Row, entry: Entry, point: Point, *, ids: str = "report"
) -> pa.Table:
    """From a table of samples to the table of decisions: what the honesty tests call."""
    of = fleet(table, protocol, row.target, ids)
    outcome = run(entry, row, point, of)
    return decisions_table(outcome.trace, outcome.replayed, lead=row.lead_s // protocol.tick_s)


def points_file(path: Path) -> dict[str, Any]:
    """What a file of points says; nothing where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def operating_points(path: Path = POINTS) -> dict[str, dict[str, Point]]:
    """The committed points, by row and policy."""
    said = points_file(path).get("rows", {})
    return {row: {name: found["point"] for name, found in of.items()} for row, of in said.items()}


def tuned_on(protocol: ReplayProtocol) -> str:
    """What names the VMs and the time that points are found on."""
    return digest(
        [protocol.trace, format_utc(protocol.scored_from), format_utc(protocol.scored_to), *protocol.tune_ids]
    )


def are_foreign(protocol: ReplayProtocol, path: Path = POINTS) -> bool:
    """Whether the committed points were found on anything but this protocol's VMs."""
    return points_file(path).get("tuned_on") != tuned_on(protocol)


def point_of(entry: Entry, row: Row, points: dict[str, dict[str, Point]]) -> Point | None:
    """The published point, or the tuned one; None: not tuned yet."""
    if entry.published is not None:
        return entry.published
    return points.get(row.tuned_as or row.name, {}).get(entry.name)
