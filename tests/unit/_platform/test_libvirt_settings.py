# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a domain: how each reads where it stands and where it is absent, its bounds, every refusal."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import capability, fields
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import (
    Description,
    HostTraits,
    parse,
)
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.kernel import SHAPING, lacking
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import SET, Capability

from .libvirt_domains import domain_xml, powered_off, running

MAC = "52:54:00:00:00:01"
DISK = "<disk type='file' device='disk'><target dev='vda'/>{}</disk>"
INTERFACE = f"<interface type='bridge'><mac address='{MAC}'/>{{}}</interface>"
PINS = "".join(f"<vcpupin vcpu='{number}' cpuset='0-1,3'/>" for number in range(4))


def judged(description: Description, resource: str) -> Capability:
    (found,) = (one for one in capability.capabilities(description) if (one.resource, one.direction) == (resource, SET))
    return found


def tuned(text: str) -> dict[str, Any]:
    return {"more": f"<cputune>{text}</cputune>"}


def disk(text: str = "") -> dict[str, Any]:
    return {"devices": DISK.format(f"<iotune>{text}</iotune>" if text else "")}


def interface(text: str = "") -> dict[str, Any]:
    return {"devices": INTERFACE.format(f"<bandwidth>{text}</bandwidth>" if text else "")}


@pytest.mark.parametrize(
    ("field", "what", "value"),
    [
        ("cpu_limit_millicores", {}, 0),
        ("cpu_limit_millicores", tuned("<global_quota>150000</global_quota>"), 1500),
        ("cpu_limit_millicores", tuned("<global_quota>-1</global_quota>"), 0),
        ("cpu_limit_millicores", tuned("<quota>150000</quota>"), 0),
        ("cpu_shares", {}, None),
        ("cpu_shares", tuned("<shares>512</shares>"), 512),
        ("cpu_pinning/0", {}, None),
        ("cpu_pinning/3", tuned(PINS), "0-1,3"),
        ("disk_iops/vda", {}, None),
        ("disk_iops/vda", disk(), 0),
        ("disk_iops/vda", disk("<total_iops_sec>300</total_iops_sec>"), 300),
        ("disk_bytes_per_s/vda", disk("<total_iops_sec>300</total_iops_sec>"), 0),
        ("disk_bytes_per_s/vda", disk("<total_bytes_sec>9</total_bytes_sec>"), 9),
        (f"interface_inbound_bits_per_s/{MAC}", interface(), 0),
        (f"interface_inbound_bits_per_s/{MAC}", interface("<inbound average='1000'/>"), 8_000_000),
        (f"interface_outbound_bits_per_s/{MAC}", interface("<inbound average='1000'/>"), 0),
        ("memory_stats_period_s", {}, 5),
        ("memory_stats_period_s", {"balloon": "none"}, None),
    ],
)
def test_a_setting_reads_from_each_definition(field: str, what: dict[str, Any], value: object) -> None:
    found = fields.read_fields(running(**what))
    assert (found.get(f"live.{field}"), found.get(f"config.{field}")) == (value, value)
    assert found.get(f"live.{field}") == value
    off = fields.read_fields(powered_off(**what))
    assert (off.get(f"live.{field}"), off.get(f"config.{field}")) == (None, value)


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(
    ("absent", "present"),
    [
        ({}, tuned("<global_quota>150000</global_quota>")),
        (disk(), disk("<total_iops_sec>300</total_iops_sec><total_bytes_sec>9</total_bytes_sec>")),
        (interface(), interface("<inbound average='1000'/><outbound average='5'/>")),
        (interface(), {"devices": INTERFACE.format("<bandwidth/>")}),
        (tuned("<shares>512</shares>"), tuned("<shares>9</shares>")),
        (tuned(PINS), tuned(PINS.replace("0-1,3", "2"))),
    ],
)
def test_the_values_of_settings_are_not_of_the_generation(absent: dict[str, Any], present: dict[str, Any]) -> None:
    assert fields.generation(powered_off(**absent)) == fields.generation(powered_off(**present))


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, tuned(PINS)),
        ({}, tuned("<shares>1024</shares>")),
        (disk(), disk("<read_iops_sec>300</read_iops_sec>")),
        (interface("<inbound average='1000'/>"), interface("<inbound average='1000' peak='2000'/>")),
    ],
)
def test_all_else_is_of_the_generation(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fields.generation(powered_off(**one)) != fields.generation(powered_off(**other))


@pytest.mark.safety(rule=6)
def test_an_act_planned_on_a_vm_that_is_off_is_none_for_one_that_runs() -> None:
    off = powered_off()
    assert fields.generation(off) != fields.generation(replace(off, power="running"))


@pytest.mark.safety(rule=5)
@pytest.mark.parametrize(
    ("resource", "code", "what"),
    [
        ("maximum_vcpus", "maximum_vcpus.numa", {"more": "<cpu><numa/></cpu>"}),
        ("maximum_vcpus", "maximum_vcpus.topology", {"more": "<cpu><topology sockets='2' cores='2'/></cpu>"}),
        ("maximum_vcpus", "vcpus.pinned", tuned(PINS)),
        ("maximum_vcpus", "vcpus.listed", {"config": {"more": "<vcpus><vcpu id='0'/></vcpus>"}}),
        ("maximum_memory_mib", "maximum_memory.numa", {"more": "<cpu><numa/></cpu>"}),
        ("maximum_memory_mib", "maximum_memory.slots", {"more": "<maxMemory slots='4'>9</maxMemory>"}),
        ("maximum_memory_mib", "memory.fraction", {"config": {"memory": 512 * 1024 + 1}}),
        ("memory_stats_period_s", "memory.no_balloon", {"balloon": "none"}),
        ("cpu_limit_millicores", "cpu.unknown", {"host": HostTraits(4)}),
        ("cpu_limit_millicores", "cpu.no_cgroup", {"host": HostTraits(4, "nothing")}),
        ("cpu_limit_millicores", "cpu.no_bandwidth", {"host": HostTraits(4, "shared")}),
        ("cpu_limit_millicores", "cpu_limit.period", tuned("<global_period>50000</global_period>")),
        ("cpu_limit_millicores", "cpu_limit.fraction", tuned("<global_quota>150001</global_quota>")),
        ("cpu_limit_millicores", "cpu_limit.explicit", {"config": tuned("<global_quota>-1</global_quota>")}),
        ("cpu_shares", "field_absent", {}),
        ("cpu_shares", "field_absent", {"config": tuned("<shares>512</shares>")}),
        ("cpu_shares", "cpu.no_cgroup", {"host": HostTraits(4, "nothing"), **tuned("<shares>512</shares>")}),
        ("cpu_pinning", "field_absent", {}),
        ("cpu_pinning", "field_absent", tuned("<vcpupin vcpu='0' cpuset='1'/>")),
        ("disk_iops/vda", "disk.group", disk("<group_name>slow</group_name>")),
        ("disk_iops/vda", "disk.other_limit", disk("<read_iops_sec>9</read_iops_sec>")),
        ("disk_iops/vda", "disk.other_limit", disk("<total_iops_sec_max>9</total_iops_sec_max>")),
        ("disk_bytes_per_s/vda", "disk.other_limit", disk("<write_bytes_sec>9</write_bytes_sec>")),
        ("disk_iops/vda", "field_absent", {**disk(), "config": {"devices": ""}}),
        (f"interface_inbound_bits_per_s/{MAC}", "interface.other_limit", interface("<inbound average='9' peak='9'/>")),
        (
            f"interface_inbound_bits_per_s/{MAC}",
            "interface.no_kernel_support",
            {**interface(), "host": HostTraits(4, "limited", frozenset({"NET_SCH_SFQ"}))},
        ),
        (f"interface_inbound_bits_per_s/{MAC}", "field_absent", {**interface(), "config": {"devices": ""}}),
    ],
)
def test_a_setting_that_is_refused(resource: str, code: str, what: dict[str, Any]) -> None:
    found = judged(running(**what), resource)
    assert (found.allowed, found.code) == (False, code)
    assert found.reason


def test_the_other_limits_of_a_disk_are_another_matter() -> None:
    assert judged(running(**disk("<read_bytes_sec>9</read_bytes_sec>")), "disk_iops/vda").allowed


@pytest.mark.parametrize(
    ("resource", "what", "bounds", "both"),
    [
        ("maximum_vcpus", {"vcpus": 3}, (3, 255, 1), False),
        ("maximum_memory_mib", {"current_memory": 256 * 1024 + 1}, (257, 16 * 2**20, 1), False),
        ("memory_stats_period_s", {}, (0, 60, 1), True),
        ("cpu_limit_millicores", {}, (0, 1_024_000, 10), True),
        ("cpu_shares", tuned("<shares>512</shares>"), (2, 10_000, 1), True),
        ("disk_iops/vda", disk(), (0, 10**15, 1), True),
        (f"interface_outbound_bits_per_s/{MAC}", interface(), (0, (2**32 - 1) * 8000, 8000), True),
    ],
)
def test_the_bounds_of_a_setting_and_its_fields(
    resource: str, what: dict[str, Any], bounds: tuple[int, int, int], *, both: bool
) -> None:
    live = (f"live.{resource}",) if both else ()
    for description, names in (
        (running(**what), (*live, f"config.{resource}")),
        (powered_off(**what), (f"config.{resource}",)),
    ):
        found = judged(description, resource)
        assert (found.allowed, found.inverse, found.restart) == (True, "live", False), found
        assert (found.minimum, found.maximum, found.step) == bounds
        assert found.fields == names


@pytest.mark.safety(rule=5)
def test_a_kernel_that_is_not_known_is_tried_on_a_vm_that_runs() -> None:
    resource, unknown = f"interface_outbound_bits_per_s/{MAC}", HostTraits(4, "limited")
    assert judged(running(**interface(), host=unknown), resource).allowed
    assert judged(powered_off(**interface(), host=unknown), resource).code == "interface.unproven"
    other = HostTraits(4, "limited", frozenset({"NET_SCH_SFQ"}))
    assert judged(powered_off(**interface(), host=other), resource).allowed


def test_what_a_kernel_was_built_without(tmp_path: Path) -> None:
    config = tmp_path / "config.gz"
    options = sorted(SHAPING["inbound"] | SHAPING["outbound"])
    lines = [f"CONFIG_{option}={'ym'[number % 2]}" for number, option in enumerate(options)]
    config.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert lacking("qemu:///system", config=config) == frozenset()
    lines[0] = f"# CONFIG_{options[0]} is not set"
    config.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert lacking("qemu+unix:///system?socket=/run/x", config=config) == {options[0]}
    assert lacking("qemu+ssh://kvm1/system", config=config) is None
    assert lacking("qemu:///system", config=tmp_path / "none") is None
    config.write_bytes(b"no gzip")
    assert lacking("qemu:///system", config=config) is None


def test_a_pin_is_of_every_vcpu_within_the_cpus_of_the_host() -> None:
    found = judged(running(**tuned(PINS)), "cpu_pinning")
    assert (found.minimum, found.maximum) == (0, 3)
    assert found.fields == tuple(f"{kind}.cpu_pinning/{vcpu}" for kind in ("live", "config") for vcpu in range(4))


def test_only_disks_and_interfaces_that_can_be_limited_are_named() -> None:
    devices = (
        DISK.format("")
        + "<disk type='file' device='cdrom'><target dev='sda'/></disk>"
        + "<disk type='vhostuser' device='disk'><target dev='vdb'/></disk>"
        + INTERFACE.format("")
        + f"<interface type='user'><mac address='{MAC[:-1]}2'/></interface>"
        + f"<interface type='bridge'><mac address='{MAC[:-1]}3'/></interface>" * 2
    )
    named = {name.partition("/")[2] for name in fields.read_fields(running(devices=devices)) if "/" in name}
    assert named == {"vda", MAC}


# --- virtio-mem -------------------------------------------------------------------------------------------------------

BOOT = 512 * 1024
PLUGGED = """\
<memory model='virtio-mem'><target><size unit='KiB'>{size}</size><block unit='KiB'>2048</block>\
<requested unit='KiB'>{requested}</requested>{current}</target></memory>"""


def plugged(requested_mib: int, *, current_mib: int | None = None, balloon_kib: int = 0, **more: Any) -> Description:
    size = 256 * 1024
    current_kib = (requested_mib if current_mib is None else current_mib) * 1024

    def device(text: str) -> str:
        return PLUGGED.format(size=size, requested=requested_mib * 1024, current=text)

    return running(
        memory=BOOT + size,
        current_memory=BOOT + current_kib - balloon_kib,
        devices=device(f"<current unit='KiB'>{current_kib}</current>"),
        config={"devices": device(""), "current_memory": BOOT - balloon_kib},
        **more,
    )


def ways(description: Description, direction: str) -> dict[str, Capability]:
    return {
        one.operation: one
        for one in capability.capabilities(description)
        if (one.resource, one.direction) == ("memory_mib", direction)
    }


def test_plugged_memory_counts_with_what_the_vm_boots_with() -> None:
    description = plugged(128, current_mib=64)
    found = fields.read_fields(description)
    assert (found["live.plugged_memory_mib"], found["config.plugged_memory_mib"]) == (576, 640)
    assert fields.effective_memory_mib(found) == 576
    assert fields.effective_memory_mib(fields.read_fields(replace(description, power="off", live=None))) == 640
    assert "live.plugged_memory_mib" not in fields.read_fields(running())


@pytest.mark.safety(rule=5)
def test_a_virtio_mem_device_takes_the_balloons_place() -> None:
    grow, shrink = ways(plugged(128), "grow"), ways(plugged(128), "shrink")
    assert {name for name, one in grow.items() if one.allowed} == {"memory.virtio_mem"}
    for way, bounds in ((grow["memory.virtio_mem"], (641, 768)), (shrink["memory.virtio_mem"], (512, 639))):
        assert (way.minimum, way.maximum, way.step, way.inverse) == (*bounds, 2, "live")
        assert way.fields == ("live.plugged_memory_mib", "config.plugged_memory_mib")
    assert ways(running(), "grow")["memory.virtio_mem"].code == "memory.no_virtio_mem"
    assert ways(plugged(128, balloon_kib=2048), "grow")["memory.virtio_mem"].code == "memory.balloon_used"
    hard = {"more": "<memtune><hard_limit>1</hard_limit></memtune>"}
    assert ways(plugged(128, **hard), "grow")["memory.virtio_mem"].code == "memory.hard_limit"


def test_figures_that_are_none_are_an_error() -> None:
    for what in (tuned("<global_quota>much</global_quota>"), tuned("<vcpupin vcpu='0' cpuset='all'/>")):
        broken = replace(powered_off(), inactive=parse(domain_xml(**what)))
        with pytest.raises(HeadroomError) as error:
            fields.read_fields(broken)
        assert error.value.code == "vm.unreadable"
