# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host: what it has, what it keeps for itself, and how far it may be promised more than once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NumaCell:
    """One NUMA node of a host."""

    cell_id: int
    cpus: int
    memory_mib: int


@dataclass(frozen=True)
class Host:
    """A hypervisor. Capacity, reserved and allocation ratio mean what they mean in OpenStack Placement."""

    host_id: str  # endpoint name + platform id, as VM.unique_id
    endpoint: str
    name: str
    host_set: str
    vcpus: int  # hardware threads
    vcpus_reserved: int
    vcpus_allocation_ratio_ppm: int
    memory_mib: int
    memory_reserved_mib: int
    memory_allocation_ratio_ppm: int
    numa: tuple[NumaCell, ...] = ()
