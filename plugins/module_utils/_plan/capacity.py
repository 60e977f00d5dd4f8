# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room: what hosts and host sets can still promise, and which shrinks must be done before a grow may count on it.

Capacity is (total - reserved) x allocation ratio, as in OpenStack Placement; every VM of the fleet uses its size,
also one that is off. A host set keeps its VMs' room with its k largest hosts lost (N+k); how they would be spread is
not simulated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from .._policy.sizing import SizingPolicy
from .._records.host import Host
from .._records.snapshot import Snapshot, hosts_in_doubt
from .._records.vm import RESOURCES, VM

_NOBODY = -1  # room that is free already


class Room:
    """Free room as a queue of parts, each with the donor whose shrink frees it.

    What a grow takes is taken from the front, so that no two grows count on the same part; where the place is
    overfull, the donors that first bring it back to its capacity must be done before any grow.
    """

    def __init__(self, free: int) -> None:
        self.available = free
        self._parts: deque[list[int]] = deque([[free, _NOBODY]] if free > 0 else [])
        self._basis: list[int] = []

    def donate(self, amount: int, *, donor: int) -> None:
        """Add what a planned shrink will free."""
        covers = min(amount, max(0, -self.available))
        self.available += amount
        if covers:
            self._basis.append(donor)
        if amount > covers:
            self._parts.append([amount - covers, donor])

    def take(self, amount: int) -> set[int]:
        """Use up to ``available``; returns the donors that must have shrunk before."""
        self.available -= amount
        donors = set(self._basis)
        while amount:
            part = self._parts[0]
            used = min(amount, part[0])
            amount -= used
            part[0] -= used
            donors.add(part[1])
            if not part[0]:
                self._parts.popleft()
        return donors - {_NOBODY}


class Shortage(NamedTuple):
    """How much a VM may grow, and what stands in the way of more."""

    available: int
    code: str
    reason: str
    line: int


class Ledger:
    """The room of every host and host set of the fleet."""

    def __init__(self, snapshot: Snapshot, policy: SizingPolicy) -> None:
        self.hosts = {host.host_id: host for host in snapshot.hosts}
        self.warnings: list[str] = []
        self.reserves: dict[str, int] = {}  # for the write gate; it sees one endpoint, so of host sets on one alone
        self._in_doubt = hosts_in_doubt(snapshot.hosts, snapshot.gaps)
        self._reserve_lines: dict[str, tuple[int, int]] = {}
        used_by_host = {(host_id, resource): 0 for host_id in self.hosts for resource in RESOURCES}
        used_by_set: dict[tuple[str, str], int] = {}
        for vm in snapshot.vms:
            for resource, size in ((resource, getattr(vm, resource)) for resource in RESOURCES):
                key = (vm.host_id, resource)
                if key in used_by_host:
                    used_by_host[key] += size
                place = (self._set_of(vm), resource)
                used_by_set[place] = used_by_set.get(place, 0) + size
        self._by_host = {
            (host_id, resource): Room(self.hosts[host_id].promised(resource) - used)
            for (host_id, resource), used in used_by_host.items()
        }
        self._by_set = self._rooms_of_sets(policy, used_by_set)

    def donate(self, vm: VM, resource: str, amount: int, *, donor: int) -> None:
        """Count on a planned shrink."""
        for room in self._rooms(vm, resource):
            room.donate(amount, donor=donor)

    def shortage(self, vm: VM, resource: str) -> Shortage:
        """Return how much room there is for this VM on its host and in its host set."""
        host = self.hosts.get(vm.host_id)
        rooms = self._rooms(vm, resource)
        if host is None or len(rooms) < len((self._by_host, self._by_set)):
            return Shortage(0, "host_unknown", f"its host {vm.host_id or '?'} is not in the snapshot", 0)
        if host.host_id in self._in_doubt:
            return Shortage(0, "capacity_unknown", f"its host {host.name} answered only in part", 0)
        on_host, in_set = (room.available for room in rooms)
        if on_host <= in_set:
            return Shortage(on_host, "no_room", f"{host.name} has room for {max(0, on_host)} more", 0)
        hosts, line = self._reserve_lines[host.host_set]
        reason = f"host set {host.host_set} keeps room for {hosts} lost hosts, which leaves {max(0, in_set)}"
        return Shortage(in_set, "ha_reserve", reason, line)

    def take(self, vm: VM, resource: str, amount: int) -> set[int]:
        """Use room; returns the donors that must have shrunk before."""
        return {donor for room in self._rooms(vm, resource) for donor in room.take(amount)}

    def _rooms(self, vm: VM, resource: str) -> list[Room]:
        found = (self._by_host.get((vm.host_id, resource)), self._by_set.get((self._set_of(vm), resource)))
        return [room for room in found if room is not None]

    def _set_of(self, vm: VM) -> str:
        host = self.hosts.get(vm.host_id)
        return host.host_set if host else vm.host_set

    def _rooms_of_sets(self, policy: SizingPolicy, used: dict[tuple[str, str], int]) -> dict[tuple[str, str], Room]:
        hosts_of: dict[str, list[Host]] = {}
        for host in self.hosts.values():
            hosts_of.setdefault(host.host_set, []).append(host)
        rooms = {}
        for name, hosts in sorted(hosts_of.items()):
            reserve = policy.reserve_of(name)
            kept = min(reserve.hosts, len(hosts) - 1)
            self._reserve_lines[name] = (kept, reserve.line)
            if len({host.endpoint for host in hosts}) == 1:
                self.reserves[name] = reserve.hosts
            if kept < reserve.hosts:
                self.warnings.append(
                    f"host set {name} has {len(hosts)} host(s): room is kept for {kept} lost hosts, not {reserve.hosts}"
                )
            for resource in RESOURCES:
                sizes = sorted(host.promised(resource) for host in hosts)
                rooms[name, resource] = Room(_without_largest(sizes, kept) - used.get((name, resource), 0))
        return rooms


def _without_largest(sizes: Iterable[int], count: int) -> int:
    kept = list(sizes)
    return sum(kept[: len(kept) - count])
