# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry: a sample as a platform gives it, and the header that names what a stage read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

# Metrics of a VM, one row each per interval. Demand, not allocation.
CPU_MILLICORES = "cpu_millicores"
CPU_DELAY_MILLICORES = (
    "cpu_delay_millicores"  # ready to run, but waiting for the host: contention; guests see it as steal
)
CPU_WAIT_MILLICORES = "cpu_wait_millicores"  # its vCPU threads slept in the kernel until I/O was done
MEMORY_USED_MIB = "memory_used_mib"  # what the guest could not give back: available - usable
MEMORY_BALLOON_MIB = "memory_balloon_mib"  # what the balloon leaves to the guest
MEMORY_RSS_MIB = "memory_rss_mib"  # what the VM's process holds of the host
MEMORY_SWAP_BYTES_PER_S = "memory_swap_bytes_per_s"  # in and out of the guest's own swap
MEMORY_MAJOR_FAULTS_PER_S = "memory_major_faults_per_s"  # of the guest: pages that had to come from a disk
MEMORY_OOM_KILLS_PER_S = "memory_oom_kills_per_s"  # processes that the guest's kernel killed for want of memory
DISK_READ_BYTES_PER_S = "disk_read_bytes_per_s"
DISK_WRITE_BYTES_PER_S = "disk_write_bytes_per_s"
DISK_READ_IOPS = "disk_read_iops"
DISK_WRITE_IOPS = "disk_write_iops"
DISK_BYTES_PER_S = "disk_bytes_per_s"  # read and written: what a limit of a disk counts
DISK_IOPS = "disk_iops"
NET_RECEIVE_BITS_PER_S = "net_receive_bits_per_s"  # as the guest sees it
NET_TRANSMIT_BITS_PER_S = "net_transmit_bits_per_s"
GUEST_FILESYSTEM_USED_PPM = "guest_filesystem_used_ppm"  # of the fullest file system
GUEST_LOAD_MILLI = "guest_load_milli"  # load average of one minute, in thousandths

# Metrics that are the rate of a counter -> the rate, in the metric's unit, of one count per microsecond.
COUNTERS = {
    CPU_MILLICORES: 1,  # counted in nanoseconds of CPU time: one per us of wall time is a thousandth of a core
    CPU_DELAY_MILLICORES: 1,
    CPU_WAIT_MILLICORES: 1,
    MEMORY_SWAP_BYTES_PER_S: 1_000_000,
    MEMORY_MAJOR_FAULTS_PER_S: 1_000_000,
    MEMORY_OOM_KILLS_PER_S: 1_000_000,
    DISK_READ_BYTES_PER_S: 1_000_000,
    DISK_WRITE_BYTES_PER_S: 1_000_000,
    DISK_READ_IOPS: 1_000_000,
    DISK_WRITE_IOPS: 1_000_000,
    DISK_BYTES_PER_S: 1_000_000,
    DISK_IOPS: 1_000_000,
    NET_RECEIVE_BITS_PER_S: 8_000_000,  # counted in bytes
    NET_TRANSMIT_BITS_PER_S: 8_000_000,
}
# Metrics that hold at an instant.
GAUGES = (MEMORY_USED_MIB, MEMORY_BALLOON_MIB, MEMORY_RSS_MIB, GUEST_FILESYSTEM_USED_PPM, GUEST_LOAD_MILLI)
METRICS = (*COUNTERS, *GAUGES)

# Who keeps a VM's readings -> how far apart they are, in seconds, where that is not the collection's step.
HOST, BALLOON, AGENT = "host", "balloon", "agent"
PERIODS_S = {
    BALLOON: 60.0,  # the longest statistics period in use
    AGENT: 30.0,  # what an agent says changes slowly, and asking it costs the guest
}

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
    """Readings of one VM at one instant. What is not named was not to be had.

    Counters only ever rise, until the VM restarts; they are kept per device, for a sum would hide that one of its
    devices was unplugged or began anew. The device of what belongs to the VM as a whole is "".
    """

    unique_id: str
    taken_at: datetime
    boot_id: str  # differs after a restart; counters of two boots are never subtracted
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # metric -> device -> count
    gauges: Mapping[str, int] = field(default_factory=dict)  # metric -> reading in its unit
    source: str = HOST  # samples of two sources are never compared


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
