# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done to a domain, what not and why: pure functions of its description, stored in the snapshot.

REFUSALS is for whatever keeps us away from the whole VM; OPERATIONS has one row per way to change a planned resource,
SETTINGS one per setting, each from the file that also has the fields. An act writes its fields in the order given,
the one that can be refused first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ..._records.vm import DIRECTIONS, GROW, INVERSE_LIVE, SET, SHRINK, VCPUS, Capability, Value
from . import cpu, disks, interfaces, memory, vcpus, virtio_mem
from .description import OFF, RUNNING, Description
from .field import CONFIG, LIVE
from .fields import effective_memory_mib, read_fields
from .operation import KVM, Obstacles, Operation, Setting, Why, definitions, is_kvm

OPERATIONS: tuple[Operation, ...] = (*vcpus.OPERATIONS, *memory.OPERATIONS, *virtio_mem.OPERATIONS)
SETTINGS: tuple[Setting, ...] = (
    *vcpus.SETTINGS,
    *memory.SETTINGS,
    *cpu.SETTINGS,
    *disks.SETTINGS,
    *interfaces.SETTINGS,
)

# Namespaces in <metadata> by which other managers mark their domains. They would undo or misread any change of ours.
MANAGERS = (
    ("http://openstack.org/xmlns/libvirt/nova/", "OpenStack Nova"),
    ("http://ovirt.org/vm/", "oVirt"),
    ("http://kubevirt.io", "KubeVirt"),
)

HYPERVISORS = (KVM, "qemu")  # types of domain whose setters behave as this table says; "qemu" is TCG

# Power states other than running and off in which nothing is done.
UNSTEADY = {
    "paused": ("vm.paused", "is paused"),
    "shutting_down": ("vm.shutting_down", "is being shut down"),
    "crashed": ("vm.crashed", "has crashed"),
    "suspended": ("vm.suspended", "is suspended by its guest"),
    "unknown": ("vm.state_unknown", "is in a state that libvirt does not name"),
}


def refusal(description: Description) -> Optional[Why]:
    """Why nothing at all may be done to the VM; None: see ``capabilities``."""
    return next((why for why in (check(description) for check in REFUSALS) if why is not None), None)


def capabilities(description: Description) -> tuple[Capability, ...]:
    """Every operation for the VM's power state, in both directions, preferred first, and then every setting.

    None for a VM refused whole.
    """
    if refusal(description) is not None:
        return ()
    fields = read_fields(description)
    return (
        *(
            _judge(operation, description, direction, fields)
            for direction in DIRECTIONS
            for operation in _in_order(description, direction)
        ),
        *(
            _judge_setting(setting, description, target, fields)
            for setting in SETTINGS
            for target in _targets(setting, description)
        ),
    )


def _in_order(description: Description, direction: str) -> list[Operation]:
    """The table's order, but what can be shrunk by unplugging is: that frees the host's side as well."""
    rows = [row for row in OPERATIONS if row.power == description.power]
    if direction == SHRINK and is_kvm(description):
        rows.sort(key=lambda row: row.name == vcpus.VCPUS_AGENT)
    return rows


def _judge(operation: Operation, description: Description, direction: str, fields: Mapping[str, Value]) -> Capability:
    why = _first(operation.obstacles, description, direction)
    low, high, size = 0, 0, 0
    if why is None:
        low, high = operation.bounds(description, direction)
        size = vcpus.effective_vcpus(fields) if operation.resource == VCPUS else effective_memory_mib(fields)
        low, high = (max(low, size + 1), high) if direction == GROW else (low, min(high, size - 1))
    if why is None and low > high:
        edge, bound = ("maximum", high) if direction == GROW else ("minimum", low)
        kind = operation.name.partition(".")[0]
        why = f"{kind}.at_{edge}", f"it stands at {size}, and this way ends at {bound}"
    if why is not None:
        return _refused(operation.name, operation.resource, direction, why)
    return Capability(
        operation.name,
        operation.resource,
        direction,
        allowed=True,
        fields=operation.fields(description),
        minimum=low,
        maximum=high,
        step=operation.step(description),
        inverse=operation.inverse(description, direction),
    )


def _judge_setting(setting: Setting, description: Description, target: str, fields: Mapping[str, Value]) -> Capability:
    resource = f"{setting.resource}/{target}" if target else setting.resource
    kinds = (CONFIG,) if setting.cold or description.live is None else (LIVE, CONFIG)
    names = setting.fields(description) if setting.fields else tuple(kind + resource for kind in kinds)
    why = _first(setting.obstacles, description, target)
    absent = [name for name in names if name not in fields]
    if why is None and absent:
        why = "field_absent", f"it has no {absent[0]}, so that the act could not be undone"
    if why is not None:
        return _refused(setting.name, resource, SET, why)
    low, high = setting.bounds(description, target)
    return Capability(
        setting.name,
        resource,
        SET,
        allowed=True,
        fields=names,
        minimum=low,
        maximum=high,
        step=setting.step,
        inverse=INVERSE_LIVE,
    )


def _targets(setting: Setting, description: Description) -> list[str]:
    """In the order of the definition; with what only the running VM has behind it."""
    return list(dict.fromkeys(target for root in definitions(description) for target in setting.targets(root)))


def _first(obstacles: Obstacles, description: Description, what: str) -> Optional[Why]:
    return next((why for why in (obstacle(description, what) for obstacle in obstacles) if why is not None), None)


def _refused(operation: str, resource: str, direction: str, why: Why) -> Capability:
    code, reason = why
    return Capability(operation, resource, direction, allowed=False, code=code, reason=reason)


# --- the whole VM -----------------------------------------------------------------------------------------------------


def _managed_elsewhere(description: Description) -> Optional[Why]:
    for root in definitions(description):
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
