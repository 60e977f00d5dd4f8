# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every platform gives: a reader for observation and telemetry, and, to the apply engine alone, a writer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .._records.host import Host
from .._records.series import Sample
from .._records.snapshot import Gap
from .._records.vm import VM, Value

# Codes of a refused write.
GUEST_REFUSED = "guest.refused"
GUEST_TIMEOUT = "guest.timeout"  # no answer in time: the request stands, and the guest may carry it out later


@dataclass(frozen=True)
class Endpoint:
    """One platform API: a libvirt URI, the file of a fake fleet, later a vCenter or a cloud."""

    name: str  # part of every unique_id: do not rename
    uri: str
    host_set: str = ""  # default host set of its hosts; "": the endpoint's name
    vcpus_reserved: int = 0
    memory_reserved_mib: int = 0
    vcpus_allocation_ratio_ppm: int = 4_000_000
    memory_allocation_ratio_ppm: int = 1_000_000
    options: dict[str, str] = field(default_factory=dict, repr=False)  # credentials: never shown


@dataclass(frozen=True)
class Observation:
    """One endpoint's part of a snapshot."""

    hosts: tuple[Host, ...]
    vms: tuple[VM, ...]
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True)
class Current:
    """A VM as the gate sees it just before and just after a write."""

    generation: str
    fields: dict[str, Value]
    refused: str = ""  # as VM.refused: a backup or migration may have begun since the snapshot
    refused_code: str = ""


class Reader(Protocol):
    """A read-only connection; it works with read-only credentials."""

    def observe(self) -> Observation:
        """Hosts and VMs in one pass. A VM that cannot be read becomes a gap. Raises EndpointError."""

    def sample(self) -> tuple[Sample, ...]:
        """Counters of every running VM, in one call. Raises EndpointError."""

    def sample_guests(self) -> tuple[Sample, ...]:
        """What the guests themselves say, as far as they can be asked. It may take long. Raises EndpointError."""

    def close(self) -> None:
        """Let go of the connection; never raises."""


class Writer(Protocol):
    """A read-write connection. Only ``_apply`` obtains one."""

    def current(self, unique_id: str) -> Current:
        """Read one VM afresh. Raises RefusedError (``vm.vanished``, or why it cannot be read now), EndpointError."""

    def write(self, unique_id: str, field: str, value: Value) -> None:
        """Set one named field through its typed setter; returns when the platform took it.

        Reading back is the caller's: a guest may take seconds to follow, ``settle_s`` says how long is normal.
        Raises EndpointError, and RefusedError (``guest.refused``, ``guest.timeout``, ``platform.refused``,
        ``vm.vanished``).
        """

    def settle_s(self, field: str) -> float:
        """How long a written field may take to read back at its new value, in seconds."""

    def close(self) -> None:
        """Let go of the connection; never raises."""
