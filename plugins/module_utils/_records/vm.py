# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM: its sizes, what may be done to it, and what not and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Union

from .._core.units import MILLICORES_PER_VCPU

# The class of an act's inverse: when the VM is as it was, once the act is undone.
INVERSE_LIVE = "live"
INVERSE_AT_NEXT_RESTART = "at_next_restart"
INVERSE_RESTART = "restart"
INVERSES = (INVERSE_LIVE, INVERSE_AT_NEXT_RESTART, INVERSE_RESTART)

# Resources whose size is planned. Each is also the name of the VM's field that holds its effective size.
VCPUS = "vcpus"
MEMORY_MIB = "memory_mib"
RESOURCES = (VCPUS, MEMORY_MIB)

GROW = "grow"
SHRINK = "shrink"
DIRECTIONS = (GROW, SHRINK)

# Settings: what a person may ask for; of them a plan by forecast touches the LIMITS alone. Each is of the VM ("") or
# of every one of its disks or interfaces, whose name then follows: "disk_iops/vda". Of a limit, 0 means that there is
# none.
DISK = "disk"
INTERFACE = "interface"
MAXIMUM_VCPUS = "maximum_vcpus"
MAXIMUM_MEMORY_MIB = "maximum_memory_mib"
CPU_LIMIT_MILLICORES = "cpu_limit_millicores"
CPU_SHARES = "cpu_shares"
CPU_PINNING = "cpu_pinning"
DISK_IOPS = "disk_iops"
DISK_BYTES_PER_S = "disk_bytes_per_s"
INTERFACE_INBOUND_BITS_PER_S = "interface_inbound_bits_per_s"
INTERFACE_OUTBOUND_BITS_PER_S = "interface_outbound_bits_per_s"
MEMORY_STATS_PERIOD_S = "memory_stats_period_s"
SETTINGS = {
    MAXIMUM_VCPUS: "",
    MAXIMUM_MEMORY_MIB: "",
    CPU_LIMIT_MILLICORES: "",
    CPU_SHARES: "",
    CPU_PINNING: "",
    DISK_IOPS: DISK,
    DISK_BYTES_PER_S: DISK,
    INTERFACE_INBOUND_BITS_PER_S: INTERFACE,
    INTERFACE_OUTBOUND_BITS_PER_S: INTERFACE,
    MEMORY_STATS_PERIOD_S: "",
}


class Limited(NamedTuple):
    """What a planned limit is a limit of: a size, each unit of which is so much of the limit's, or nothing sized.

    ``lifted``: 0 stands for no limit. Where it does not the setting weighs, and the VM always has one.
    """

    size: str = ""
    per_unit: int = 1
    lifted: bool = True


# Settings that are planned beside the sizes: how much of what there is the guest may use, or its part where there is
# too little. What a limit holds back stays promised, so it takes no room of its host and gives none.
LIMITS = {
    CPU_LIMIT_MILLICORES: Limited(VCPUS, MILLICORES_PER_VCPU),
    CPU_SHARES: Limited(lifted=False),
    DISK_IOPS: Limited(),
    DISK_BYTES_PER_S: Limited(),
    INTERFACE_INBOUND_BITS_PER_S: Limited(),
    INTERFACE_OUTBOUND_BITS_PER_S: Limited(),
}

# Those of each disk or interface.
DEVICE_LIMITS = tuple(limit for limit in LIMITS if SETTINGS[limit])


def kind_of(resource: str) -> str:
    """A resource, limit or setting without its target: "disk_iops" of "disk_iops/vda"."""
    return resource.partition("/")[0]


def target_of(resource: str) -> str:
    """The disk or interface that a setting is of: "vda" of "disk_iops/vda"; "" of one of the VM."""
    return resource.partition("/")[2]


SET = "set"  # the direction of a setting: it takes no room of its host and gives none

# Of a named field: digest-covered JSON holds both, and no fraction. A number unless there is no honest one ("0-3,8").
Value = Union[int, str]


@dataclass(frozen=True)
class Capability:
    """One way to change one resource of one VM in one direction, judged at observation time.

    When allowed, an act of this operation sets every one of ``fields``, in this order, to a size within
    [minimum, maximum] that is a multiple of ``step``. When not, ``code`` and ``reason`` say why.
    Among the allowed capabilities of a resource and direction the first listed is preferred.
    """

    operation: str  # "vcpus.agent", "vcpus.hotplug", "memory.balloon"
    resource: str  # one of RESOURCES, or one of SETTINGS with its target
    direction: str  # one of DIRECTIONS, or SET
    allowed: bool
    code: str = ""
    reason: str = ""
    fields: tuple[str, ...] = ()  # platform fields, "config.vcpus", "guest.vcpus"
    minimum: int = 0
    maximum: int = 0
    step: int = 1
    inverse: str = ""  # one of INVERSES when allowed
    restart: bool = False


@dataclass(frozen=True)
class VM:
    """A virtual machine as one pass over its platform saw it."""

    unique_id: str  # endpoint name + "/" + platform UUID: stable when the VM moves
    endpoint: str
    name: str
    host_id: str
    host_set: str
    power: str  # "running", "off", "paused", ...
    vcpus: int  # effective now: what the guest can use
    memory_mib: int
    generation: str  # digest of whether it runs, and of its definition without the values of ``fields``
    fields: dict[str, Value]  # every named field a setter exists for, as it stands; absent where the platform has none
    tenant: str = ""
    owner: str = ""
    mode: Optional[str] = None  # asked for by the VM's own tag; None: no tag
    warnings: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()  # passed-through devices
    refused: str = ""  # why nothing at all may be done to it ("is owned by Nova"); empty: see capabilities
    refused_code: str = ""
    capabilities: tuple[Capability, ...] = field(default=())

    def size(self, resource: str) -> int:
        """What it has of a resource; of a setting the VM as it runs, else its definition; 0: none, or no number."""
        known = self.fields
        for one in (getattr(self, resource, None), known.get(f"live.{resource}"), known.get(f"config.{resource}")):
            if isinstance(one, int):
                return one
        return 0

    def each(self, setting: str) -> list[str]:
        """A setting with each target that this VM has of it now: "disk_iops/vda"; one of the VM stays as it is."""
        if not SETTINGS[setting]:
            return [setting]
        kind = "live." if self.power == "running" else "config."
        return sorted(name[len(kind) :] for name in self.fields if name.startswith(f"{kind}{setting}/"))

    def has(self, resource: str) -> int:
        """What its guest can use of one of RESOURCES, or of a limit of one: without a limit, or below it, all of it."""
        if resource not in LIMITS:
            return int(getattr(self, resource))
        limit, whole = self.size(resource), self.whole(resource)
        return min(limit, whole) if limit else whole

    def whole(self, limit: str) -> int:
        """All of the size that this limit of one limits, in the limit's unit."""
        return int(getattr(self, LIMITS[limit].size)) * LIMITS[limit].per_unit
