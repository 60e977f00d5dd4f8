# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A back-test of sizes: what a policy would have given back, and what that would have cost, had it set the sizes.

The record names its telemetry by the digest of the rows, not by a place: the same rows, protocol, seed and libraries
give the same digest at the same pinned clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# Policies: ours; what there is now; the largest use of the past, once and for all; that of the last day, with a guard.
HEADROOM, NOW, PAST_PEAK, DAY_PEAK = "headroom", "now", "past_peak", "day_peak"

# Columns of the table of VMs, in this order; sums are over the scored intervals, in unit-hours of the size.
COLUMNS = (
    "unique_id",
    "intervals",
    "capacity_h",
    "allocation_h",
    "demand_h",
    "unserved_h",
    "violated",
    "resizes",
    "reclaimed_pct",
    "violations_pct",
)


@dataclass(frozen=True)
class Figure:
    """One figure and its 90 % interval, decimal strings; "" where it is not known."""

    name: str
    value: str
    low: str
    high: str


@dataclass(frozen=True)
class PolicyScore:
    """What one policy came to."""

    policy: str
    figures: tuple[Figure, ...]
    slo4: bool  # whether the service level held

    def value(self, name: str) -> str:
        """A figure by its name; "" where there is none."""
        return next((figure.value for figure in self.figures if figure.name == name), "")


@dataclass(frozen=True)
class CurvePoint:
    """The same policy with all its sizes times a factor. Percent, as decimal strings."""

    factor: str
    reclaimed: str
    violations: str
    unserved: str
    slo4: bool


@dataclass(frozen=True)
class SizingBacktest:
    """Of one metric; ``table`` and ``decisions`` are digests of Parquet bytes, ``protocol`` of its text."""

    KIND: ClassVar[str] = "sizing_backtest"
    VERSION: ClassVar[int] = 1

    made_at: str
    snapshot: str  # digest
    rows_digest: str  # of the telemetry read
    metric: str
    target: str  # of _records.forecast.TARGETS
    interval_s: int
    lead_s: int
    every_s: int  # from one decision to the next
    seed: int
    protocol: str
    ids: str  # which VMs of the protocol: report, tune or all
    scored_from: str
    scored_to: str
    model: str  # digest of the model that was given; "": one was trained for this
    learnt_from: str  # of the telemetry learnt from
    learnt_to: str
    point: dict[str, str]  # the operating point; decimal strings
    libraries: dict[str, str]
    vms: int  # scored
    unit: str  # of sizes: vCPU or MiB
    provisioned: str  # what those VMs have, decimal strings in that unit
    given_back: Figure  # of that, on average over the scored time
    slo: dict[str, str]  # the limits of the service level, percent
    policies: tuple[PolicyScore, ...]  # Headroom's first
    curve: tuple[CurvePoint, ...]  # by factor; empty where it was not asked for
    rejected: dict[str, str]  # unique_id -> why
    table: str
    rows: int
    decisions: str  # of Headroom: unique_id, issued_at, effective_at, allocation
    decided: int  # rows of it
