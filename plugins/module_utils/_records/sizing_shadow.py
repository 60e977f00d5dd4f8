# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shadow: what a model would have decided on days that it had not seen, beside what the VMs really had.

Regret is what sizes cost more than those of one who knew what came, by the prices of the model's operating point: the
capacity above the least that would have served each decision's time, intervals in violation, and demand not served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .sizing_backtest import PolicyScore

SHADOW = "shadow"  # in the place of a policy

# Columns of the table of VMs, in this order; sums are over the scored intervals, in unit-hours of the size. held: what
# the VM really had; least: what hindsight would have given. at_limit: intervals in which use stood at what it had.
COLUMNS = (
    "unique_id",
    "intervals",
    "held_h",
    "shadow_h",
    "least_h",
    "demand_h",
    "unserved_h",
    "violated",
    "at_limit",
    "given_back_h",
    "regret_h",
    "regret_held_h",
)


@dataclass(frozen=True)
class SizingShadow:
    """Of one metric; ``table`` and ``decisions`` are digests of Parquet bytes. Numbers are decimal strings."""

    KIND: ClassVar[str] = "sizing_shadow"
    VERSION: ClassVar[int] = 1

    made_at: str
    snapshot: str  # digest
    before: str  # digest of the snapshot that tells what VMs had at the beginning; "": none was that old
    rows_digest: str  # of the telemetry read
    metric: str
    model: str  # digest
    lead_s: int
    every_s: int
    since: str  # of the time looked at
    until: str
    days: int  # of it
    days_known: int  # on which at least one VM's demand and size are known
    vms: int  # scored
    unit: str  # of sizes: vCPU or MiB
    held: str  # mean over time of what those VMs had together, and of what they would have had
    shadow: str
    least: str
    score: PolicyScore  # capacity is what the VMs really had
    at_limit_pct: str  # of the intervals: there demand may have been more than was seen
    regret_pct: str  # of what was held
    regret_held_pct: str  # of the sizes that were really held, by the same measure
    rejected: dict[str, str]  # unique_id -> why
    table: str
    rows: int
    decisions: str  # unique_id, issued_at, effective_at, allocation
    decided: int  # rows of it
