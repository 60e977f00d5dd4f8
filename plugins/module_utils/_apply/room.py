# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the hosts of one endpoint, for the write gate: observed anew as it ages, and kept up with the run's acts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Callable

from .._core.errors import RefusedError
from .._records.plan import PURPOSE_ROLLBACK
from .._records.receipt import DONE, REVERTED
from .._records.snapshot import hosts_in_doubt
from .._records.vm import GROW, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Collection

    from .._platform.base import Observation
    from .._records.action import Action
    from .._records.host import Host
    from .._records.plan import Plan

# How old what a grow counts on may be. An observation is one pass over the endpoint, up to seconds of work; others
# place VMs there meanwhile.
AGE_S = 10.0


class Room:
    """What each host, and each host set with its reserve, can still promise. Used by several workers of one endpoint.

    An act under way counts with the larger of its two sizes. Raises EndpointError.
    """

    def __init__(
        self,
        plan: Plan,
        observe: Callable[[], Observation],
        *,
        age_s: float = AGE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reserves = plan.ha_reserve_hosts
        self._undoes = plan.purpose == PURPOSE_ROLLBACK
        self._observe = observe
        self._age_s = age_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, str], int] = {}  # (unique_id, resource) -> the size it counts with
        self._look()

    def check(self, action: Action) -> None:
        """Look whether there is room for a grow of a size; a limit takes none.

        Raises RefusedError (the plan stage's codes), EndpointError.
        """
        if action.direction != GROW or action.resource not in RESOURCES or not action.changes:
            return
        with self._lock:
            if self._monotonic() - self._observed_at >= self._age_s:
                self._look()
            host = self._host_of.get(action.unique_id)
            if host is None:
                raise RefusedError("host_unknown", f"The host of {action.vm_name} was not seen.")
            if host.host_id in self._in_doubt:
                raise RefusedError("capacity_unknown", f"Host {host.name} answered only in part.")
            size = self._sizes[action.unique_id, action.resource]
            needed = action.size_after - size
            free = host.promised(action.resource) - self._used(action.resource, {host.host_id})
            if needed > free:
                raise RefusedError(
                    "no_room", f"It needs {needed} more {action.resource}; its host has {max(0, free)} left."
                )
            if self._undoes:  # what is given back was there before: neither the reserve nor NUMA stops it
                return
            self._check_reserve(action, host, needed)
            if cell := host.outgrown_cell(action.resource, before=size, after=action.size_after):
                raise RefusedError(
                    "numa", f"{action.size_after} would not fit into one NUMA cell of {host.name}, which has {cell}."
                )

    def reserve(self, action: Action) -> None:
        """Let an act that begins count with the larger of its sizes."""
        if action.resource in RESOURCES and action.changes:
            with self._lock:
                self._under_way[action.unique_id, action.resource] = max(action.size_before, action.size_after)

    def settle(self, action: Action, *, state: str) -> None:
        """Let it count with the size it has now; where that is not known, until the next look, with the larger."""
        key = action.unique_id, action.resource
        with self._lock:
            counted = self._under_way.pop(key, None)
            if counted is not None:
                self._sizes[key] = {DONE: action.size_after, REVERTED: action.size_before}.get(state, counted)

    def _look(self) -> None:
        seen = self._observe()
        self._observed_at = self._monotonic()
        self._hosts = {host.host_id: host for host in seen.hosts}
        self._host_of = {vm.unique_id: self._hosts[vm.host_id] for vm in seen.vms if vm.host_id in self._hosts}
        self._sizes = {(vm.unique_id, resource): getattr(vm, resource) for vm in seen.vms for resource in RESOURCES}
        self._in_doubt = hosts_in_doubt(seen.hosts, seen.gaps)

    def _used(self, resource: str, host_ids: Collection[str]) -> int:
        """What the VMs of these hosts use of it."""
        return sum(
            max(self._sizes[unique_id, resource], self._under_way.get((unique_id, resource), 0))
            for unique_id, host in self._host_of.items()
            if host.host_id in host_ids
        )

    def _check_reserve(self, action: Action, host: Host, needed: int) -> None:
        together = {
            one.host_id: one.promised(action.resource) for one in self._hosts.values() if one.host_set == host.host_set
        }
        kept = min(self._reserves.get(host.host_set, 0), len(together) - 1)
        if not kept:
            return
        promised = sum(sorted(together.values())[: len(together) - kept])
        free = promised - self._used(action.resource, together)
        if needed > free:
            reason = f"Host set {host.host_set} keeps room for {kept} lost hosts, which leaves {max(0, free)}."
            raise RefusedError("ha_reserve", f"It needs {needed} more {action.resource}. {reason}")
