# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet at one moment: hosts, VMs, and the endpoints that did not answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

from .host import Host
from .vm import VM


@dataclass(frozen=True)
class Gap:
    """Part of the fleet that could not be read: recorded, never filled."""

    endpoint: str
    subject: str  # "endpoint", or the VM or host that failed
    code: str
    message: str


@dataclass(frozen=True)
class Snapshot:
    """Everything one observation saw. VMs and hosts are sorted by id."""

    KIND: ClassVar[str] = "snapshot"
    VERSION: ClassVar[int] = 1

    taken_at: str
    endpoints: tuple[str, ...]
    hosts: tuple[Host, ...]
    vms: tuple[VM, ...]
    gaps: tuple[Gap, ...] = ()


def hosts_in_doubt(hosts: Collection[Host], gaps: Collection[Gap]) -> frozenset[str]:
    """Ids of the hosts whose use is not wholly known.

    They answered in part, or something on their endpoint did not answer that can be nowhere but on them.
    """
    broken = {(gap.endpoint, gap.subject) for gap in gaps}
    endpoints = {gap.endpoint for gap in gaps}
    count = Counter(host.endpoint for host in hosts)
    return frozenset(
        host.host_id
        for host in hosts
        if {(host.endpoint, host.host_id), (host.endpoint, host.name)} & broken
        or (host.endpoint in endpoints and count[host.endpoint] == 1)
    )
