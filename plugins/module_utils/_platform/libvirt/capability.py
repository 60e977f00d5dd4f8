# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done to a domain, what not and why: pure functions of its description, stored in the snapshot.

Two tables: REFUSALS, for whatever keeps us away from the whole VM, and OPERATIONS, one row per way to change a
resource. An operation writes its fields in the order given, the one that can be refused first.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Callable, Optional

from ..._core.units import KIB_PER_MIB, kib_to_mib
from ..._records.vm import (
    DIRECTIONS,
    GROW,
    INVERSE_AT_NEXT_RESTART,
    INVERSE_LIVE,
    MEMORY_MIB,
    SHRINK,
    VCPUS,
    Capability,
)
from .description import OFF, RUNNING, Description, integer, kib
from .fields import (
    CONFIG_MEMORY_MIB,
    CONFIG_VCPUS,
    GUEST_VCPUS,
    LIVE_MEMORY_MIB,
    LIVE_VCPUS,
    current_memory_kib,
    effective_memory_mib,
    effective_vcpus,
    read_fields,
)

# No general-purpose guest boots in less. The guest's own floor, far above this, is for the plan to take from telemetry.
MEMORY_FLOOR_MIB = 128

# Namespaces in <metadata> by which other managers mark their domains. They would undo or misread any change of ours.
MANAGERS = (
    ("http://openstack.org/xmlns/libvirt/nova/", "OpenStack Nova"),
    ("http://ovirt.org/vm/", "oVirt"),
    ("http://kubevirt.io", "KubeVirt"),
)

KVM = "kvm"
HYPERVISORS = (KVM, "qemu")  # types of domain whose setters behave as this table says; "qemu" is TCG

# Architectures on which QEMU plugs vCPUs one by one (ppc64 plugs whole cores, aarch64 none).
HOTPLUG_ARCHITECTURES = ("x86_64", "i686", "s390x")

# Devices whose memory access is pinned (VFIO, vDPA): QEMU then ignores the balloon.
PASSED_THROUGH = (
    "devices/hostdev[@type='pci']",
    "devices/hostdev[@type='mdev']",
    "devices/interface[@type='hostdev']",
    "devices/interface[@type='vdpa']",
    "devices/disk[@type='nvme']",
    "devices/disk[@type='vhostvdpa']",
)

# Power states other than running and off in which nothing is done.
UNSTEADY = {
    "paused": ("vm.paused", "is paused"),
    "shutting_down": ("vm.shutting_down", "is being shut down"),
    "crashed": ("vm.crashed", "has crashed"),
    "suspended": ("vm.suspended", "is suspended by its guest"),
    "unknown": ("vm.state_unknown", "is in a state that libvirt does not name"),
}

Why = tuple[str, str]  # stable code, and the words for people: of a VM a predicate, of an operation a clause


def refusal(description: Description) -> Optional[Why]:
    """Why nothing at all may be done to the VM; None: see ``capabilities``."""
    return next((why for why in (check(description) for check in REFUSALS) if why is not None), None)


def capabilities(description: Description) -> tuple[Capability, ...]:
    """Every operation for the VM's power state, in both directions, preferred first. None for a VM refused whole."""
    if refusal(description) is not None:
        return ()
    return tuple(
        _judge(operation, description, direction)
        for direction in DIRECTIONS
        for operation in _in_order(description, direction)
    )


@dataclass(frozen=True)
class Operation:
    """One way to change a resource. ``bounds`` gives the lowest and highest size that all fields can take together."""

    name: str
    resource: str
    power: str
    fields: Callable[[Description], tuple[str, ...]]
    obstacles: tuple[Callable[[Description, str], Optional[Why]], ...]
    bounds: Callable[[Description, str], tuple[int, int]]
    inverse: Callable[[Description, str], str]


def _in_order(description: Description, direction: str) -> list[Operation]:
    """The table's order, but what can be shrunk by unplugging is: that frees the host's side as well."""
    rows = [row for row in OPERATIONS if row.power == description.power]
    if direction == SHRINK and _is_kvm(description):
        rows.sort(key=lambda row: row.name == VCPUS_AGENT)
    return rows


def _judge(operation: Operation, description: Description, direction: str) -> Capability:
    def answer(why: Why) -> Capability:
        code, reason = why
        return Capability(operation.name, operation.resource, direction, allowed=False, code=code, reason=reason)

    for obstacle in operation.obstacles:
        why = obstacle(description, direction)
        if why is not None:
            return answer(why)
    low, high = operation.bounds(description, direction)
    fields = read_fields(description)
    size = effective_vcpus(fields) if operation.resource == VCPUS else effective_memory_mib(fields)
    if direction == GROW:
        low = max(low, size + 1)
    else:
        high = min(high, size - 1)
    if low > high:
        edge, bound = ("maximum", high) if direction == GROW else ("minimum", low)
        return answer(
            (f"{operation.name.partition('.')[0]}.at_{edge}", f"it stands at {size}, and this way ends at {bound}")
        )
    return Capability(
        operation.name,
        operation.resource,
        direction,
        allowed=True,
        fields=operation.fields(description),
        minimum=low,
        maximum=high,
        inverse=operation.inverse(description, direction),
    )


# --- the whole VM -----------------------------------------------------------------------------------------------------


def _managed_elsewhere(description: Description) -> Optional[Why]:
    for root in _definitions(description):
        for element in root.findall("metadata/*"):
            for namespace, manager in MANAGERS:
                if element.tag.startswith("{" + namespace):
                    return "vm.foreign", f"is managed by {manager}"
    return None


def _other_hypervisor(description: Description) -> Optional[Why]:
    kind = description.inactive.get("type", "")
    return None if kind in HYPERVISORS else ("vm.hypervisor", f"runs on {kind!r}, not on KVM or QEMU")


def _transient(description: Description) -> Optional[Why]:
    return None if description.persistent else ("vm.transient", "is transient: it has no definition to come back to")


def _unsteady(description: Description) -> Optional[Why]:
    if description.power in (RUNNING, OFF):
        return None
    return UNSTEADY.get(description.power, UNSTEADY["unknown"])


def _saved(description: Description) -> Optional[Why]:
    if not description.managed_save:
        return None
    return "vm.managed_save", "has a managed save image: its next start takes the sizes from there"


def _has_job(description: Description) -> Optional[Why]:
    if description.job:
        return "vm.job", f"has a running job: {description.job}"
    if description.live is not None and description.live.find("devices/disk/mirror") is not None:
        return "vm.block_job", "has a running block job"
    return None


REFUSALS = (_managed_elsewhere, _other_hypervisor, _transient, _unsteady, _saved, _has_job)


# --- vCPUs ------------------------------------------------------------------------------------------------------------


def _vcpus_laid_out(description: Description, _direction: str) -> Optional[Why]:
    if any(root.find("cputune/vcpupin") is not None for root in _definitions(description)):
        return "vcpus.pinned", "its vCPUs are pinned one by one"
    if description.inactive.find("vcpus") is not None:
        return "vcpus.listed", "its vCPUs are listed one by one, and the list could not be restored as it is"
    return None


def _agent_silent(description: Description, _direction: str) -> Optional[Why]:
    agent = description.agent
    return (agent.code, agent.reason) if agent.code else None


def _cannot_plug(description: Description, direction: str) -> Optional[Why]:
    architecture = _attribute(description.inactive, "os/type", "arch")
    if architecture not in HOTPLUG_ARCHITECTURES:
        return "vcpus.architecture", f"vCPUs of {architecture or 'this architecture'} are not plugged one by one"
    if direction == SHRINK and not _is_kvm(description):
        # libvirt times out (code 68) though QEMU did it, and shows the old number until the VM is started again.
        return "vcpus.no_unplug", "QEMU without KVM does not confirm that a vCPU was unplugged"
    return None


def _agent_bounds(description: Description, _direction: str) -> tuple[int, int]:
    agent = description.agent
    plugged = read_fields(description).get(LIVE_VCPUS, 0)
    return max(1, agent.fixed), min(agent.known, plugged, _maximum_vcpus(description))


def _hotplug_bounds(description: Description, direction: str) -> tuple[int, int]:
    plugged = read_fields(description).get(LIVE_VCPUS, 0)
    if direction == GROW:
        return plugged + 1, _maximum_vcpus(description)
    return max(1, _cold_vcpus(description)), plugged - 1


def _config_vcpus_bounds(description: Description, _direction: str) -> tuple[int, int]:
    return 1, _maximum_vcpus(description)


def _agent_fields(_description: Description) -> tuple[str, ...]:
    # The definition follows, so that a restart brings the size the guest has now.
    return GUEST_VCPUS, CONFIG_VCPUS


def _hotplug_fields(description: Description) -> tuple[str, ...]:
    # A plugged vCPU is of use once the guest has it on-line. Many guests do that by themselves, others must be asked.
    guest = () if description.agent.code else (GUEST_VCPUS,)
    return (LIVE_VCPUS, *guest, CONFIG_VCPUS)


def _hotplug_inverse(description: Description, _direction: str) -> str:
    return INVERSE_LIVE if _is_kvm(description) else INVERSE_AT_NEXT_RESTART


def _maximum_vcpus(description: Description) -> int:
    return min(integer(root, "vcpu") or 0 for root in _definitions(description))


def _cold_vcpus(description: Description) -> int:
    """VCPUs that were there at the start and cannot be unplugged; where the list is missing, every one may be."""
    listed = [] if description.live is None else description.live.findall("vcpus/vcpu")
    if not listed:
        return read_fields(description).get(LIVE_VCPUS, 0)
    return sum(item.get("enabled") == "yes" and item.get("hotpluggable") != "yes" for item in listed)


# --- memory -----------------------------------------------------------------------------------------------------------


def _no_balloon(description: Description, _direction: str) -> Optional[Why]:
    for root in _definitions(description):
        if not _attribute(root, "devices/memballoon", "model").startswith("virtio"):
            return "memory.no_balloon", "it has no virtio balloon"
    return None


def _memory_held(description: Description, direction: str) -> Optional[Why]:
    for root in _definitions(description):
        for path, why in HOLDERS:
            if root.find(path) is not None:
                return why
        device = root.find("devices/memory")
        if device is not None:
            return "memory.devices", f"it has memory devices ({device.get('model', 'unknown')})"
        if direction == GROW:
            for path, why in GROWTH_LIMITS:
                if root.find(path) is not None:
                    return why
    return None


def _fraction(description: Description, _direction: str) -> Optional[Why]:
    size = current_memory_kib(description.inactive) or 0
    if size % KIB_PER_MIB:
        return "memory.fraction", f"its definition asks for {size} KiB, no whole MiB, which could not be restored"
    return None


def _balloon_bounds(description: Description, _direction: str) -> tuple[int, int]:
    return MEMORY_FLOOR_MIB, min(kib_to_mib(kib(root, "memory") or 0) for root in _definitions(description))


HOLDERS: tuple[tuple[str, Why], ...] = (
    *(
        (path, ("memory.passthrough", "it has a passed-through device, which pins its memory"))
        for path in PASSED_THROUGH
    ),
    ("memoryBacking/hugepages", ("memory.hugepages", "it lives in huge pages, which a balloon cannot give back")),
    ("memoryBacking/locked", ("memory.locked", "it has its memory locked")),
    ("launchSecurity", ("memory.encrypted", "it has encrypted memory, which is pinned")),
)
GROWTH_LIMITS: tuple[tuple[str, Why], ...] = (
    ("numatune/memory[@mode='strict']", ("memory.numa_strict", "it may take memory from its NUMA nodes only")),
    ("numatune/memnode[@mode='strict']", ("memory.numa_strict", "it may take memory from its NUMA nodes only")),
    ("memtune/hard_limit", ("memory.hard_limit", "it has a hard memory limit, above which the host kills it")),
)


# --- the table --------------------------------------------------------------------------------------------------------


def _always_live(_description: Description, _direction: str) -> str:
    return INVERSE_LIVE


def _is_kvm(description: Description) -> bool:
    return description.inactive.get("type") == KVM


def _definitions(description: Description) -> tuple[ET.Element, ...]:
    return (description.inactive,) if description.live is None else (description.inactive, description.live)


def _attribute(root: ET.Element, path: str, name: str) -> str:
    element = root.find(path)
    return "" if element is None else element.get(name, "")


VCPUS_AGENT = "vcpus.agent"

OPERATIONS = (
    # Growing: first what the guest has but does not use, then more.
    Operation(
        VCPUS_AGENT, VCPUS, RUNNING, _agent_fields, (_vcpus_laid_out, _agent_silent), _agent_bounds, _always_live
    ),
    Operation(
        "vcpus.hotplug",
        VCPUS,
        RUNNING,
        _hotplug_fields,
        (_vcpus_laid_out, _cannot_plug),
        _hotplug_bounds,
        _hotplug_inverse,
    ),
    Operation(
        "vcpus.config",
        VCPUS,
        OFF,
        lambda _: (CONFIG_VCPUS,),
        (_vcpus_laid_out,),
        _config_vcpus_bounds,
        _always_live,
    ),
    Operation(
        "memory.balloon",
        MEMORY_MIB,
        RUNNING,
        lambda _: (LIVE_MEMORY_MIB, CONFIG_MEMORY_MIB),
        (_no_balloon, _memory_held, _fraction),
        _balloon_bounds,
        _always_live,
    ),
    Operation(
        "memory.config",
        MEMORY_MIB,
        OFF,
        lambda _: (CONFIG_MEMORY_MIB,),
        (_no_balloon, _memory_held, _fraction),  # without a balloon the next start takes all of <memory>
        _balloon_bounds,
        _always_live,
    ),
)
