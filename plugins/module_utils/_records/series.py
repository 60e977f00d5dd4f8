# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry: a sample as a platform gives it, and the header that names what a stage read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    import pyarrow as pa

# Metrics of a VM, one row each per interval. Demand, not allocation.
CPU_MILLICORES = "cpu_millicores"
CPU_DELAY_MILLICORES = "cpu_delay_millicores"  # ready to run, but waiting for the host: contention
MEMORY_USED_MIB = "memory_used_mib"  # what the guest could not give back: available - usable
METRICS = (CPU_MILLICORES, CPU_DELAY_MILLICORES, MEMORY_USED_MIB)

# The interval table: one row per KEY. ds: START of the interval; samples: readings inside the interval; p95, maximum:
# over these, null without any; coverage_ppm: share of the interval that mean speaks for.
KEY = ("unique_id", "metric", "ds", "interval_s")
VALUES = ("mean", "p95", "maximum", "samples", "coverage_ppm")
COLUMNS = KEY + VALUES
DAY_S = 86_400  # an interval divides the day, so that none crosses midnight UTC


def interval_schema() -> pa.Schema:
    """Arrow schema of the interval table; values in the metric's unit, times in microseconds UTC."""
    with needs("pyarrow"):
        import pyarrow as pa
    types = {
        "unique_id": pa.string(),
        "metric": pa.string(),
        "ds": pa.timestamp("us", "UTC"),
        "interval_s": pa.int32(),
        "mean": pa.float64(),
        "p95": pa.float64(),
        "maximum": pa.float64(),
        "samples": pa.int32(),
        "coverage_ppm": pa.int32(),
    }
    return pa.schema([pa.field(name, types[name], nullable=name in {"p95", "maximum"}) for name in COLUMNS])


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
    """Names exactly the telemetry rows that a forecast was made from.

    A rehearsal reads the union of two tables, ``table`` and ``overlay``, where the overlay's row wins. A version of -1
    means that the table did not exist.
    """

    KIND: ClassVar[str] = "series"
    VERSION: ClassVar[int] = 1

    table: str  # URL of the table, without credentials
    table_version: int
    interval_s: int
    start: str  # of the range asked for: rows with start <= ds < end
    end: str
    unique_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: int
    rows_digest: str  # of the sorted rows read: _store/rows.py defines it
    overlay: str = ""
    overlay_version: int = -1
