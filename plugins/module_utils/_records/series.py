# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry: a sample as a platform gives it, and the header that names what a stage read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Optional

# Metrics of a VM, one row each per interval. Demand, not allocation.
CPU_MILLICORES = "cpu_millicores"
CPU_DELAY_MILLICORES = "cpu_delay_millicores"  # ready to run, but waiting for the host: contention
MEMORY_USED_MIB = "memory_used_mib"  # what the guest could not give back: available - usable
METRICS = (CPU_MILLICORES, CPU_DELAY_MILLICORES, MEMORY_USED_MIB)


@dataclass(frozen=True)
class Sample:
    """Readings of one VM at one instant. Counters only ever rise, until the VM restarts; None: not to be had."""

    unique_id: str
    taken_at: datetime
    boot_id: str  # differs after a restart; counters of two boots are never subtracted
    cpu_time_ns: Optional[int] = None
    cpu_delay_ns: Optional[int] = None
    memory_available_mib: Optional[int] = None  # as the guest sees it
    memory_usable_mib: Optional[int] = None


@dataclass(frozen=True)
class Series:
    """Names exactly the telemetry rows that a forecast was made from."""

    KIND: ClassVar[str] = "series"
    VERSION: ClassVar[int] = 1

    table: str  # URL of the table, without credentials
    table_version: int
    interval_s: int
    start: str  # ds of the first interval
    end: str  # ds of the last interval + interval_s
    unique_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: int
    rows_digest: str  # of the sorted rows read
