# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demand of each planned resource and limit is measured in."""

from __future__ import annotations

from dataclasses import dataclass

from .._core.units import MILLICORES_PER_VCPU
from .series import CPU_MILLICORES, MEMORY_USED_MIB, NET_RECEIVE_BITS_PER_S, NET_TRANSMIT_BITS_PER_S
from .vm import (
    CPU_LIMIT_MILLICORES,
    CPU_SHARES,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    INTERFACE_INBOUND_BITS_PER_S,
    INTERFACE_OUTBOUND_BITS_PER_S,
    MEMORY_MIB,
    VCPUS,
    kind_of,
)

MILLICORES_PER_SHARE = 10  # a vCPU in use weighs 100, the kernel's default of a control group (cpu.weight)
MILLION = 1_000_000


@dataclass(frozen=True)
class Demand:
    """What a resource's or limit's demand is measured in: the metric, and how much of it one unit of size serves.

    ``of_size``: the word for one unit of size, where it is none that demand is told in.
    """

    metric: str
    per_unit: int
    unit: str  # for people
    per_told: int  # of the metric in one such unit
    of_size: str = ""

    def amount(self, value: int) -> str:
        """A demand in the unit for people."""
        return f"{value / self.per_told:.2f} {self.unit}" if self.per_told > 1 else f"{value} {self.unit}"

    def size(self, size: int, *, unit: bool = True) -> str:
        """A size in the unit for people, exact: "4 vCPU", "1.5 vCPU"."""
        number = str(size) if self.of_size else f"{size * self.per_unit / self.per_told:.15g}"
        return f"{number} {self.of_size or self.unit}" if unit else number


DEMANDS = {
    VCPUS: Demand(metric=CPU_MILLICORES, per_unit=MILLICORES_PER_VCPU, unit="vCPU", per_told=MILLICORES_PER_VCPU),
    MEMORY_MIB: Demand(metric=MEMORY_USED_MIB, per_unit=1, unit="MiB", per_told=1),
    CPU_LIMIT_MILLICORES: Demand(metric=CPU_MILLICORES, per_unit=1, unit="vCPU", per_told=MILLICORES_PER_VCPU),
    CPU_SHARES: Demand(CPU_MILLICORES, MILLICORES_PER_SHARE, "vCPU", per_told=MILLICORES_PER_VCPU, of_size="shares"),
    # Limits of disks are named as their metrics.
    DISK_IOPS: Demand(metric=DISK_IOPS, per_unit=1, unit="IOPS", per_told=1),
    DISK_BYTES_PER_S: Demand(metric=DISK_BYTES_PER_S, per_unit=1, unit="MB/s", per_told=MILLION),
    INTERFACE_INBOUND_BITS_PER_S: Demand(NET_RECEIVE_BITS_PER_S, per_unit=1, unit="Mbit/s", per_told=MILLION),
    INTERFACE_OUTBOUND_BITS_PER_S: Demand(NET_TRANSMIT_BITS_PER_S, per_unit=1, unit="Mbit/s", per_told=MILLION),
}


def demand_of(resource: str) -> Demand:
    """Of a resource, or of a limit with its target."""
    return DEMANDS[kind_of(resource)]
