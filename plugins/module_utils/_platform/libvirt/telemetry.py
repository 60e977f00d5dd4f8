# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of every running VM in one call, on a read-only connection; nothing is ever set for it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Optional

from ..._core.clock import utc_now
from ..._core.needs import needs
from ..._core.units import kib_to_mib
from ..._records.series import Sample
from ..base import Endpoint
from .session import Session
from .snapshot import unique_id

# Memory statistics older than this say nothing about now: their period is 0, or the guest's driver stopped. Twice the
# longest period in use (60 s), to allow for clocks that differ a little.
STALE_S = 120.0

_DELAY = re.compile(r"vcpu\.\d+\.delay")


def sample(session: Session) -> tuple[Sample, ...]:
    """Raises EndpointError. A VM whose monitor is busy gives what libvirt knows without asking it."""
    with needs("libvirt"):
        import libvirt
    groups = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    begun = utc_now()
    answer = session.ask(lambda connection: connection.getAllDomainStats(groups, flags))
    taken_at = begun + (utc_now() - begun) / 2
    return tuple(
        read_sample(session.endpoint, domain.UUIDString(), boot=domain.ID(), stats=stats, taken_at=taken_at)
        for domain, stats in answer
        if domain.ID() > 0
    )


def read_sample(endpoint: Endpoint, uuid: str, *, boot: int, stats: dict[str, Any], taken_at: datetime) -> Sample:
    """One VM's statistics. ``boot`` is the domain's running number: another at every start.

    After a reboot of the host libvirt counts from 1 again; then the counters are smaller, which tells it.
    """
    fresh = abs(taken_at.timestamp() - stats.get("balloon.last-update", 0)) <= STALE_S
    delays = [value for key, value in stats.items() if _DELAY.fullmatch(key)]
    return Sample(
        unique_id=unique_id(endpoint, uuid),
        taken_at=taken_at,
        boot_id=str(boot),
        cpu_time_ns=stats.get("cpu.time"),
        cpu_delay_ns=sum(delays) if delays else None,
        memory_available_mib=_mib(stats.get("balloon.available")) if fresh else None,
        memory_usable_mib=_mib(stats.get("balloon.usable")) if fresh else None,
    )


def _mib(kib: Optional[int]) -> Optional[int]:
    return None if kib is None else kib_to_mib(kib)
