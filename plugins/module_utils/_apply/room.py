# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the hosts of one endpoint, counted afresh when a run begins and kept up with its acts."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .._core.units import PPM
from .._records.vm import GROW, MEMORY_MIB, RESOURCES, VCPUS

if TYPE_CHECKING:
    from .._platform.base import Observation
    from .._records.action import Action
    from .._records.host import Host


class Room:
    """What each host can still promise. Used by several workers of one endpoint."""

    def __init__(self, observation: Observation) -> None:
        self._lock = threading.Lock()
        self._free = {
            (host.host_id, resource): _promised(host, resource) for host in observation.hosts for resource in RESOURCES
        }
        for vm in observation.vms:
            for resource, size in ((VCPUS, vm.vcpus), (MEMORY_MIB, vm.memory_mib)):
                if (vm.host_id, resource) in self._free:
                    self._free[vm.host_id, resource] -= size

    def fits(self, action: Action) -> str:
        """Why the host has no room for a grow; "" where it has, and for every shrink."""
        if action.direction != GROW:
            return ""
        needed = action.size_after - action.size_before
        with self._lock:
            free = self._free.get((action.host_id, action.resource))
        if free is None:
            return f"Host {action.host_id} is not there any more."
        return f"It needs {needed} more {action.resource}; its host has {free} left." if needed > free else ""

    def reserve(self, action: Action) -> None:
        """Set room aside for a grow that begins."""
        if action.direction == GROW:
            self._take(action, action.size_after - action.size_before)

    def settle(self, action: Action, *, done: bool) -> None:
        """Give back what an undone grow had set aside, or what a shrink that is done has freed."""
        if done != (action.direction == GROW):
            self._take(action, -abs(action.size_after - action.size_before))

    def _take(self, action: Action, amount: int) -> None:
        with self._lock:
            self._free[action.host_id, action.resource] -= amount


def _promised(host: Host, resource: str) -> int:
    if resource == VCPUS:
        return (host.vcpus - host.vcpus_reserved) * host.vcpus_allocation_ratio_ppm // PPM
    return (host.memory_mib - host.memory_reserved_mib) * host.memory_allocation_ratio_ppm // PPM
