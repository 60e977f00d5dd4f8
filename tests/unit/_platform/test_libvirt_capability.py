# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done to a domain: every refusal with its code, every bound, and the order of preference."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import capability
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import Agent, Description
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import Capability

from .libvirt_domains import powered_off, running

PIN = "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>"
STRICT = "<numatune><memory mode='strict' nodeset='0'/></numatune>"
PCI = "<hostdev mode='subsystem' type='pci'><source><address bus='0x01'/></source></hostdev>"
SHARED = "<memory model='virtio-mem'><target><size unit='KiB'>1024</size></target></memory>"
SILENT = Agent("agent.silent", "it does not answer")


def judged(description: Description, operation: str, direction: str) -> Capability:
    (found,) = (
        item
        for item in capability.capabilities(description)
        if (item.operation, item.direction) == (operation, direction)
    )
    return found


def allowed(description: Description, resource: str, direction: str) -> list[tuple[str, int, int]]:
    return [
        (item.operation, item.minimum, item.maximum)
        for item in capability.capabilities(description)
        if item.allowed and (item.resource, item.direction) == (resource, direction)
    ]


@pytest.mark.safety(rule=5)
@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("vm.transient", {"persistent": False}),
        ("vm.paused", {"power": "paused"}),
        ("vm.shutting_down", {"power": "shutting_down"}),
        ("vm.crashed", {"power": "crashed"}),
        ("vm.suspended", {"power": "suspended"}),
        ("vm.state_unknown", {"power": "unknown"}),
        ("vm.managed_save", {"managed_save": True}),
        ("vm.job", {"job": "backup"}),
        ("vm.block_job", {"devices": "<disk type='file'><mirror job='copy'/></disk>"}),
        ("vm.hypervisor", {"kind": "xen"}),
    ],
)
def test_a_vm_that_must_be_left_alone(code: str, what: dict[str, Any]) -> None:
    assert capability.refusal(running()) is None
    description = running(**what)
    assert capability.refusal(description)[0] == code
    assert capability.capabilities(description) == ()


@pytest.mark.safety(rule=10)
@pytest.mark.parametrize(
    ("manager", "namespace"),
    [
        ("OpenStack Nova", "http://openstack.org/xmlns/libvirt/nova/1.1"),
        ("OpenStack Nova", "http://openstack.org/xmlns/libvirt/nova/1.0"),
        ("oVirt", "http://ovirt.org/vm/1.0"),
        ("oVirt", "http://ovirt.org/vm/tune/1.0"),
        ("KubeVirt", "http://kubevirt.io"),
    ],
)
def test_a_domain_of_another_manager_is_not_ours(manager: str, namespace: str) -> None:
    tag = "<headroom:vm xmlns:headroom='https://headroom.fleet/xmlns/vm/1' mode='auto'/>"
    description = running(metadata=f"{tag}<a:instance xmlns:a='{namespace}'/>")
    assert capability.refusal(description) == ("vm.foreign", f"is managed by {manager}")


@pytest.mark.safety(rule=5)
@pytest.mark.parametrize(
    ("operation", "direction", "code", "what"),
    [
        ("vcpus.agent", "shrink", "agent.silent", {"agent": SILENT}),
        ("vcpus.agent", "shrink", "vcpus.pinned", {"more": PIN}),
        ("vcpus.agent", "shrink", "vcpus.listed", {"config": {"more": "<vcpus><vcpu id='0'/></vcpus>"}}),
        ("vcpus.agent", "shrink", "vcpus.at_minimum", {"vcpus": 1}),
        ("vcpus.agent", "grow", "vcpus.at_maximum", {}),
        ("vcpus.hotplug", "grow", "vcpus.at_maximum", {"vcpus": 4}),
        ("vcpus.hotplug", "grow", "vcpus.pinned", {"more": PIN}),
        ("vcpus.hotplug", "grow", "vcpus.architecture", {"arch": "aarch64"}),
        ("vcpus.hotplug", "shrink", "vcpus.no_unplug", {"cold": 1}),
        ("vcpus.hotplug", "shrink", "vcpus.at_minimum", {"kind": "kvm", "cold": 2}),
        ("memory.balloon", "shrink", "memory.no_balloon", {"balloon": "none"}),
        ("memory.balloon", "shrink", "memory.passthrough", {"devices": PCI}),
        ("memory.balloon", "grow", "memory.passthrough", {"devices": "<interface type='hostdev'/>"}),
        ("memory.balloon", "grow", "memory.passthrough", {"devices": "<hostdev type='mdev'/>"}),
        ("memory.balloon", "shrink", "memory.hugepages", {"more": "<memoryBacking><hugepages/></memoryBacking>"}),
        ("memory.balloon", "shrink", "memory.locked", {"more": "<memoryBacking><locked/></memoryBacking>"}),
        ("memory.balloon", "shrink", "memory.encrypted", {"more": "<launchSecurity type='sev'/>"}),
        ("memory.balloon", "shrink", "memory.devices", {"devices": SHARED}),
        ("memory.balloon", "grow", "memory.numa_strict", {"more": STRICT}),
        ("memory.balloon", "grow", "memory.hard_limit", {"more": "<memtune><hard_limit>1</hard_limit></memtune>"}),
        ("memory.balloon", "shrink", "memory.fraction", {"config": {"current_memory": 256 * 1024 + 1}}),
        ("memory.balloon", "grow", "memory.at_maximum", {"current_memory": 512 * 1024}),
        ("memory.balloon", "shrink", "memory.at_minimum", {"current_memory": 128 * 1024}),
    ],
)
def test_an_operation_that_is_refused(operation: str, direction: str, code: str, what: dict[str, Any]) -> None:
    found = judged(running(**what), operation, direction)
    assert (found.allowed, found.code) == (False, code)
    assert found.reason


def test_a_device_plugged_into_the_running_vm_counts() -> None:
    description = running(devices=PCI, config={"devices": ""})
    assert judged(description, "memory.balloon", "shrink").code == "memory.passthrough"


def test_a_usb_device_does_not_hold_memory() -> None:
    assert judged(running(devices="<hostdev mode='subsystem' type='usb'/>"), "memory.balloon", "shrink").allowed


def test_limits_of_growth_let_a_vm_shrink() -> None:
    assert judged(running(more=STRICT), "memory.balloon", "shrink").allowed


@pytest.mark.safety(rule=4)
def test_qemu_without_kvm_prefers_the_agent_and_plugs_what_the_agent_cannot() -> None:
    description = running(vcpus=3, online=2)
    assert allowed(description, "vcpus", "grow") == [("vcpus.agent", 3, 3), ("vcpus.hotplug", 4, 4)]
    assert allowed(description, "vcpus", "shrink") == [("vcpus.agent", 1, 1)]
    assert judged(description, "vcpus.agent", "shrink").inverse == "live"
    assert judged(description, "vcpus.hotplug", "grow").inverse == "at_next_restart"
    assert not any(item.restart for item in capability.capabilities(description))


@pytest.mark.safety(rule=4)
def test_kvm_prefers_to_unplug_what_was_plugged() -> None:
    description = running(kind="kvm", vcpus=4, cold=2)
    assert allowed(description, "vcpus", "shrink") == [("vcpus.hotplug", 2, 3), ("vcpus.agent", 1, 3)]
    grown = running(kind="kvm", vcpus=2)
    assert allowed(grown, "vcpus", "grow") == [("vcpus.hotplug", 3, 4)]
    assert judged(grown, "vcpus.hotplug", "grow").inverse == "live"


def test_the_agent_goes_no_lower_than_what_the_guest_can_take_off_line() -> None:
    description = running(vcpus=4, agent=Agent(known=3, online=3, fixed=2))
    assert allowed(description, "vcpus", "shrink") == [("vcpus.agent", 2, 2)]
    assert allowed(running(vcpus=4, agent=Agent(known=3, online=1, fixed=1)), "vcpus", "grow") == [
        ("vcpus.agent", 2, 3)
    ]


def test_a_lower_maximum_in_the_definition_is_the_bound() -> None:
    config = running(config={"memory": 400 * 1024})
    assert judged(config, "memory.balloon", "grow").maximum == 400
    assert judged(running(), "memory.balloon", "grow").maximum == 512


def test_the_fields_of_each_operation_and_their_order() -> None:
    on, silent, off = running(vcpus=2), running(vcpus=2, agent=SILENT), powered_off(vcpus=2)
    assert judged(on, "vcpus.agent", "shrink").fields == ("guest.vcpus", "config.vcpus")
    assert judged(on, "vcpus.hotplug", "grow").fields == ("live.vcpus", "guest.vcpus", "config.vcpus")
    assert judged(silent, "vcpus.hotplug", "grow").fields == ("live.vcpus", "config.vcpus")
    assert judged(on, "memory.balloon", "grow").fields == ("live.memory_mib", "config.memory_mib")
    assert judged(off, "vcpus.config", "grow").fields == ("config.vcpus",)
    assert judged(off, "memory.config", "grow").fields == ("config.memory_mib",)


def test_a_vm_that_is_off_is_changed_in_its_definition() -> None:
    description = powered_off(vcpus=2)
    assert allowed(description, "vcpus", "grow") == [("vcpus.config", 3, 4)]
    assert allowed(description, "vcpus", "shrink") == [("vcpus.config", 1, 1)]
    assert allowed(description, "memory_mib", "grow") == [("memory.config", 257, 512)]
    assert allowed(description, "memory_mib", "shrink") == [("memory.config", 128, 255)]
    assert {item.inverse for item in capability.capabilities(description) if item.allowed} == {"live"}
    assert judged(powered_off(balloon="none"), "memory.config", "grow").code == "memory.no_balloon"
