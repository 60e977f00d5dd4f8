# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host: what it has, what it keeps for itself, and how far it may be promised more than once."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.units import PPM
from .vm import VCPUS


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

    def promised(self, resource: str) -> int:
        """How much of the resource it may promise to VMs."""
        total, reserved, ratio = (
            (self.vcpus, self.vcpus_reserved, self.vcpus_allocation_ratio_ppm)
            if resource == VCPUS
            else (self.memory_mib, self.memory_reserved_mib, self.memory_allocation_ratio_ppm)
        )
        return max(0, total - reserved) * ratio // PPM

    def outgrown_cell(self, resource: str, *, before: int, after: int) -> int:
        """Size of the largest NUMA cell where a VM that fits into it would no longer do so; else 0."""
        if len(self.numa) < 2:  # noqa: PLR2004 - one cell is the whole host
            return 0
        largest = max(cell.cpus if resource == VCPUS else cell.memory_mib for cell in self.numa)
        return largest if before <= largest < after else 0
