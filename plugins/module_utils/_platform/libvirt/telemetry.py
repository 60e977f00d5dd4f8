# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of every running VM in one call, on a read-only connection; nothing is ever set for it.

The names of statistics and their units are those of libvirt's virConnectGetAllDomainStats.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Optional, Union

from ..._core.clock import utc_now
from ..._core.needs import needs
from ..._core.units import kib_to_mib
from ..._records.series import (
    BALLOON,
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    CPU_WAIT_MILLICORES,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    DISK_READ_BYTES_PER_S,
    DISK_READ_IOPS,
    DISK_WRITE_BYTES_PER_S,
    DISK_WRITE_IOPS,
    MEMORY_BALLOON_MIB,
    MEMORY_MAJOR_FAULTS_PER_S,
    MEMORY_RSS_MIB,
    MEMORY_SWAP_BYTES_PER_S,
    MEMORY_USED_MIB,
    NET_RECEIVE_BITS_PER_S,
    NET_TRANSMIT_BITS_PER_S,
    Sample,
)
from ..base import Endpoint
from .session import Session
from .snapshot import unique_id

# Memory statistics older than this say nothing about now: their period is 0, or the guest's driver stopped. Twice the
# longest period in use (60 s), to allow for clocks that differ a little.
STALE_S = 120.0

# Group of statistics -> statistic of each device -> metric.
_DEVICES = {
    "vcpu": {"delay": CPU_DELAY_MILLICORES, "wait": CPU_WAIT_MILLICORES},
    "block": {
        "rd.bytes": DISK_READ_BYTES_PER_S,
        "wr.bytes": DISK_WRITE_BYTES_PER_S,
        "rd.reqs": DISK_READ_IOPS,
        "wr.reqs": DISK_WRITE_IOPS,
    },
    "net": {"rx.bytes": NET_RECEIVE_BITS_PER_S, "tx.bytes": NET_TRANSMIT_BITS_PER_S},
}
# Statistics that are counted together as well.
_TOTALS = {
    "rd.bytes": DISK_BYTES_PER_S,
    "wr.bytes": DISK_BYTES_PER_S,
    "rd.reqs": DISK_IOPS,
    "wr.reqs": DISK_IOPS,
}
_OF_DEVICE = re.compile(r"(vcpu|block|net)\.(\d+)\.(.+)")


def sample(session: Session) -> tuple[Sample, ...]:
    """Raises EndpointError. A VM whose monitor is busy gives what libvirt knows without asking it."""
    with needs("libvirt"):
        import libvirt
    groups = (
        libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
        | libvirt.VIR_DOMAIN_STATS_VCPU
        | libvirt.VIR_DOMAIN_STATS_BALLOON
        | libvirt.VIR_DOMAIN_STATS_BLOCK
        | libvirt.VIR_DOMAIN_STATS_INTERFACE
    )
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    begun = utc_now()
    answer = session.ask(lambda connection: connection.getAllDomainStats(groups, flags))
    taken_at = begun + (utc_now() - begun) / 2
    return tuple(
        one
        for domain, stats in answer
        if domain.ID() > 0
        for one in read_samples(session.endpoint, domain.UUIDString(), boot=domain.ID(), stats=stats, taken_at=taken_at)
    )


def read_samples(
    endpoint: Endpoint, uuid: str, *, boot: Union[int, str], stats: dict[str, Any], taken_at: datetime
) -> tuple[Sample, ...]:
    """One VM's statistics: what the host counts, and what the guest's balloon driver last said, which has its own time.

    ``boot`` is the domain's running number, or begins with it: another at every start. After a reboot of the host
    libvirt counts from 1 again; then the counters are smaller, which tells it.
    """
    vm, boot_id = unique_id(endpoint, uuid), str(boot)
    said_s = stats.get("balloon.last-update", 0)
    fresh = abs(taken_at.timestamp() - said_s) <= STALE_S
    gauges = {
        MEMORY_USED_MIB: _memory_used_mib(stats) if fresh else None,
        MEMORY_BALLOON_MIB: _mib(stats, "balloon.current"),
        MEMORY_RSS_MIB: _mib(stats, "balloon.rss"),
    }
    host = Sample(
        unique_id=vm,
        taken_at=taken_at,
        boot_id=boot_id,
        counters=_counters(stats),
        gauges={metric: value for metric, value in gauges.items() if value is not None},
    )
    guest = _guest_counters(stats)
    if not fresh or not guest:
        return (host,)
    said_at = datetime.fromtimestamp(said_s, timezone.utc)
    return (host, Sample(unique_id=vm, taken_at=said_at, boot_id=boot_id, counters=guest, source=BALLOON))


def _counters(stats: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What the host counts, by metric and by device; a device's number may change when another is unplugged."""
    counters: dict[str, dict[str, int]] = {}
    for group, metrics in _DEVICES.items():
        if stats.get(f"{group}.count") == 0:  # it has no such device: a known zero
            totals = [_TOTALS[statistic] for statistic in metrics if statistic in _TOTALS]
            counters.update((metric, {}) for metric in (*metrics.values(), *totals))
    if "cpu.time" in stats:
        counters[CPU_MILLICORES] = {"": stats["cpu.time"]}
    for key, value in stats.items():
        found = _OF_DEVICE.fullmatch(key)
        if found is None:
            continue
        group, number, statistic = found.groups()
        device = str(stats.get(f"{group}.{number}.name", number))
        metric = _DEVICES[group].get(statistic)
        if metric is not None:
            counters.setdefault(metric, {})[device] = value
        if statistic in _TOTALS:
            counters.setdefault(_TOTALS[statistic], {})[f"{device} {statistic}"] = value
    interfaces = stats.get("net.count", 0)
    for metric in _DEVICES["net"].values():
        # An interface that tells nothing carries traffic all the same: the others' sum would be too little.
        if len(counters.get(metric, ())) < interfaces:
            counters.pop(metric, None)
    return counters


def _guest_counters(stats: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What the guest itself counts."""
    counters: dict[str, dict[str, int]] = {}
    swapped = {way: stats[key] * 1024 for way in ("in", "out") if (key := f"balloon.swap_{way}") in stats}
    if len(swapped) == 2:  # noqa: PLR2004 - both ways
        counters[MEMORY_SWAP_BYTES_PER_S] = swapped
    if "balloon.major_fault" in stats:
        counters[MEMORY_MAJOR_FAULTS_PER_S] = {"": stats["balloon.major_fault"]}
    return counters


def _memory_used_mib(stats: dict[str, Any]) -> Optional[int]:
    """What the guest could not give back; None where it does not report, or reports nonsense."""
    available, usable = _mib(stats, "balloon.available"), _mib(stats, "balloon.usable")
    if available is None or usable is None or usable > available:
        return None
    return available - usable


def _mib(stats: dict[str, Any], name: str) -> Optional[int]:
    kib = stats.get(name)
    return None if kib is None else kib_to_mib(kib)
