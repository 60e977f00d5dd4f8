# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reader and writer of a fake fleet; the URI is ``fake:///path/fleet.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._core.canonical import digest
from ..._core.clock import utc_now
from ..._core.errors import EndpointError, RefusedError, UnreadableError
from ..._records.host import Host
from ..._records.series import AGENT, COUNTERS, HOST, Sample
from ..._records.snapshot import Gap
from ..._records.vm import VM
from ..base import GUEST_REFUSED, GUEST_TIMEOUT, Current, Observation
from .capability import capabilities
from .fleet import (
    FAULT_BLIND,
    FAULT_BREAK,
    FAULT_IGNORE,
    FAULT_REFUSE,
    FAULT_STUCK,
    FAULT_TIMEOUT,
    changed_fleet,
    read_fleet,
)

if TYPE_CHECKING:
    from ..._records.vm import Value
    from ..base import Endpoint

# What a write does not change, so what the generation covers.
_DEFINITION = ("name", "host", "power", "maxima", "definition", "tenant", "owner", "host_set")


def open_reader(endpoint: Endpoint) -> FakeReader:
    """Raises EndpointError ``endpoint.unreachable``."""
    return FakeReader(endpoint)


def open_writer(endpoint: Endpoint) -> FakeWriter:
    """Raises EndpointError ``endpoint.unreachable``."""
    return FakeWriter(endpoint)


class _FakeConnection:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.path = Path(endpoint.uri.partition("://")[2])
        read_fleet(self.path)

    def close(self) -> None:
        """There is nothing to let go of."""


class FakeReader(_FakeConnection):
    """Observation and samples of the fake fleet."""

    def observe(self) -> Observation:
        """All hosts and VMs; a VM marked unreadable becomes a gap."""
        fleet = read_fleet(self.path)
        gaps = tuple(
            Gap(self.endpoint.name, vm["name"], "vm.unreadable", "The fake VM cannot be read.")
            for vm in fleet["vms"].values()
            if vm.get("unreadable")
        )
        vms = tuple(
            _vm(self.endpoint, uuid, vm) for uuid, vm in sorted(fleet["vms"].items()) if not vm.get("unreadable")
        )
        return Observation(tuple(_host(self.endpoint, host) for host in fleet["hosts"]), vms, gaps)

    def sample(self) -> tuple[Sample, ...]:
        """Counters that rise with the clock at each running VM's load."""
        return self._samples(HOST)

    def sample_guests(self) -> tuple[Sample, ...]:
        """The metrics of the load that begin with ``guest_``."""
        return self._samples(AGENT)

    def _samples(self, source: str) -> tuple[Sample, ...]:
        now = utc_now()
        now_us = now.timestamp() * 1e6
        samples = []
        for uuid, vm in sorted(read_fleet(self.path)["vms"].items()):
            load = {
                metric: value
                for metric, value in (vm.get("load") or {}).items()
                if metric.startswith("guest_") == (source == AGENT)
            }
            if not load or vm.get("power", "running") != "running":
                continue
            samples.append(
                Sample(
                    unique_id=f"{self.endpoint.name}/{uuid}",
                    taken_at=now,
                    boot_id="1",
                    counters={
                        metric: {"": round(now_us * rate / COUNTERS[metric])}
                        for metric, rate in load.items()
                        if metric in COUNTERS
                    },
                    gauges={metric: reading for metric, reading in load.items() if metric not in COUNTERS},
                    source=source,
                )
            )
        return tuple(samples)


class FakeWriter(_FakeConnection):
    """Writes into the file, and counts them there."""

    def current(self, unique_id: str) -> Current:
        """Read one VM. Raises ``vm.vanished``, ``vm.unreadable``."""
        vm = _find(read_fleet(self.path), unique_id)
        if vm.get("unreadable"):
            raise UnreadableError("vm.unreadable", "The fake VM cannot be read.")
        return Current(_generation(vm), dict(vm["fields"]), *_refusal(vm))

    def write(self, unique_id: str, field: str, value: Value) -> None:
        """Set one field, or go wrong as the VM's ``faults`` say."""
        with changed_fleet(self.path) as fleet:
            vm = _find(fleet, unique_id)
            fault = vm.get("faults", {}).get(field)
            fleet["writes"] = fleet.get("writes", 0) + 1
            if fault == FAULT_REFUSE:
                raise RefusedError(GUEST_REFUSED, f"The guest refuses to set {field}.")
            if fault == FAULT_TIMEOUT:
                raise RefusedError(GUEST_TIMEOUT, f"The guest did not set {field} in time.")
            if fault == FAULT_IGNORE:
                return
            if fault == FAULT_STUCK:
                vm["faults"][field] = FAULT_REFUSE
            if fault == FAULT_BLIND:
                vm["unreadable"] = True
            vm["fields"][field] = value
        if fault == FAULT_BREAK:
            raise EndpointError("endpoint.broken", "The connection broke during a write.", advice="Apply again.")

    def settle_s(self, field: str) -> float:
        """Fake guests follow at once."""
        del field
        return 0.0


def _find(fleet: dict[str, Any], unique_id: str) -> dict[str, Any]:
    vm: dict[str, Any] | None = fleet["vms"].get(unique_id.partition("/")[2])
    if vm is None:
        raise RefusedError("vm.vanished", "The VM is not there any more.")
    return vm


def _generation(vm: dict[str, Any]) -> str:
    return digest({key: vm.get(key) for key in _DEFINITION})


def _refusal(vm: dict[str, Any]) -> tuple[str, str]:
    return (f"It is in {vm['refused']}.", f"vm.{vm['refused']}") if vm.get("refused") else ("", "")


def _vm(endpoint: Endpoint, uuid: str, vm: dict[str, Any]) -> VM:
    fields = vm["fields"]
    refused, refused_code = _refusal(vm)
    return VM(
        unique_id=f"{endpoint.name}/{uuid}",
        endpoint=endpoint.name,
        name=vm["name"],
        host_id=f"{endpoint.name}/{vm['host']}",
        host_set=vm.get("host_set") or endpoint.host_set or endpoint.name,
        power=vm.get("power", "running"),
        vcpus=fields.get("guest.vcpus", fields["live.vcpus"]),
        memory_mib=fields["live.memory_mib"],
        generation=_generation(vm),
        fields=dict(fields),
        tenant=vm.get("tenant", ""),
        owner=vm.get("owner", ""),
        mode=vm.get("mode"),
        refused=refused,
        refused_code=refused_code,
        capabilities=capabilities(vm),
    )


def _host(endpoint: Endpoint, host: dict[str, Any]) -> Host:
    return Host(
        host_id=f"{endpoint.name}/{host['name']}",
        endpoint=endpoint.name,
        name=host["name"],
        host_set=host.get("host_set") or endpoint.host_set or endpoint.name,
        vcpus=host["vcpus"],
        vcpus_reserved=endpoint.vcpus_reserved,
        vcpus_allocation_ratio_ppm=endpoint.vcpus_allocation_ratio_ppm,
        memory_mib=host["memory_mib"],
        memory_reserved_mib=endpoint.memory_reserved_mib,
        memory_allocation_ratio_ppm=endpoint.memory_allocation_ratio_ppm,
    )
