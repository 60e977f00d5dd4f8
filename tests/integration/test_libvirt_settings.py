# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Maxima, limits and other settings on the lab's libvirt: set, read back, undone to the bytes; and the guest starts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Reader, Writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import parse
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, SET, SHRINK, VM, Capability
from tests.integration.guests import (
    Spare,
    define,
    definition,
    guest_with_disk,
    operation,
    put_fields,
    remove,
    seen,
    start,
)

pytestmark = pytest.mark.lab

MAC = "52:54:00:4c:61:62"
PINS = "<cputune>{}</cputune>"


@pytest.fixture(scope="module")
def guest(lab: Any, writer: Writer) -> Any:
    """A running guest with a disk and an interface, and nothing in its definition that limits anything."""
    interface = (
        f"<interface type='bridge'><mac address='{MAC}'/><source bridge='lab0'/><model type='virtio'/></interface>"
    )
    with guest_with_disk(lab, writer, parse(interface)) as it:
        yield it


def setting(vm: VM, resource: str) -> Capability:
    (found,) = (one for one in vm.capabilities if one.resource == resource and one.direction == SET)
    return found


def restarts(it: Spare) -> bool:
    it.domain.destroy()
    it.domain.create()
    return bool(it.domain.isActive())


# (resource, value): every one of them is absent from the definition at first, but for the maxima and the period.
SETTINGS = [
    ("maximum_vcpus", 6),
    ("maximum_memory_mib", 768),
    ("memory_stats_period_s", 9),
    ("memory_stats_period_s", 0),
    ("cpu_limit_millicores", 500),
    ("disk_iops/vda", 300),
    ("disk_bytes_per_s/vda", 2_000_000),
]


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(("resource", "value"), SETTINGS)
def test_a_setting_is_set_and_undone_to_the_bytes(
    reader: Reader, writer: Writer, guest: Spare, resource: str, value: int
) -> None:
    before, current = guest.inactive, writer.current(guest.unique_id)
    way = setting(seen(reader, guest), resource)
    assert way.allowed, way.reason
    assert (way.inverse, way.restart) == ("live", False)
    assert way.minimum <= value <= way.maximum
    assert value % way.step == 0
    put_fields(writer, guest, dict.fromkeys(way.fields, value))
    after = writer.current(guest.unique_id)
    assert guest.inactive != before
    assert after.fields == {**current.fields, **dict.fromkeys(way.fields, value)}
    assert after.generation == current.generation
    put_fields(writer, guest, {name: current.fields[name] for name in way.fields})
    assert guest.inactive == before
    assert writer.current(guest.unique_id).fields == current.fields


@pytest.mark.safety(rule=6)
def test_a_guest_starts_with_every_setting_and_again_without(writer: Writer, reader: Reader, guest: Spare) -> None:
    before, vm = guest.inactive, seen(reader, guest)
    ways = {resource: (setting(vm, resource), value) for resource, value in SETTINGS}
    for way, value in ways.values():
        put_fields(writer, guest, dict.fromkeys(way.fields, value))
    assert restarts(guest)
    inside = writer.current(guest.unique_id).fields
    assert (inside["live.cpu_limit_millicores"], inside["live.disk_iops/vda"]) == (500, 300)
    assert parse(guest.domain.XMLDesc(0)).findtext("vcpu") == "6"
    for way, _value in ways.values():
        put_fields(writer, guest, {name: vm.fields[name] for name in way.fields})
    assert guest.inactive == before
    assert restarts(guest)
    assert wait_until(lambda: "guest.vcpus" in writer.current(guest.unique_id).fields, timeout_s=120)


def test_a_cpu_limit_is_in_force(writer: Writer, guest: Spare) -> None:
    """The control group of the whole machine has it, whatever the number of vCPUs."""

    def quota() -> int:
        found: int = guest.domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE)["global_quota"]
        return found

    assert quota() == -1
    put_fields(writer, guest, {"live.cpu_limit_millicores": 1500})
    assert quota() == 150_000
    put_fields(writer, guest, {"live.cpu_limit_millicores": 0})
    assert quota() == -1


@pytest.mark.safety(rule=5)
def test_what_cannot_be_taken_back_is_refused(reader: Reader, guest: Spare) -> None:
    vm = seen(reader, guest)
    for resource in ("cpu_shares", "cpu_pinning"):
        assert (setting(vm, resource).allowed, setting(vm, resource).code) == (False, "field_absent")


@pytest.mark.safety(rule=5)
def test_numa_cells_fix_the_maxima_and_libvirt_says_so_too(reader: Reader, writer: Writer) -> None:
    vm = next(one for one in reader.observe().vms if one.name == "web2")
    assert setting(vm, "maximum_vcpus").code == "maximum_vcpus.numa"
    assert setting(vm, "maximum_memory_mib").code == "maximum_memory.numa"
    with pytest.raises(RefusedError) as refusal:
        writer.write(vm.unique_id, "config.maximum_memory_mib", 768)
    assert refusal.value.code == "platform.refused"


@pytest.mark.safety(rule=6)
def test_a_maximum_never_takes_the_present_size_along(writer: Writer, guest: Spare) -> None:
    before = guest.inactive
    for field, value in (("config.maximum_vcpus", 1), ("config.maximum_memory_mib", 383)):
        with pytest.raises(RefusedError) as refusal:
            writer.write(guest.unique_id, field, value)
        assert refusal.value.code == "platform.refused"
    assert guest.inactive == before


@pytest.mark.safety(rule=6)
def test_shares_and_pins_that_stand_are_changed_and_changed_back(reader: Reader, writer: Writer, lab: Any) -> None:
    root = definition(lab, vcpus=2, memory_mib=256)
    pins = "".join(f"<vcpupin vcpu='{number}' cpuset='0-1'/>" for number in range(4))
    root.insert(list(root).index(root.find("vcpu")) + 1, parse(PINS.format(f"<shares>512</shares>{pins}")))
    it = Spare(define(lab, root))
    try:
        it.domain.create()
        before, current, vm = it.inactive, writer.current(it.unique_id), seen(reader, it)
        for resource, value in (("cpu_shares", 256), ("cpu_pinning", "1")):
            way = setting(vm, resource)
            assert way.allowed, way.reason
            assert len(way.fields) == (2 if resource == "cpu_shares" else 8)
            put_fields(writer, it, dict.fromkeys(way.fields, value))
            assert writer.current(it.unique_id).generation == current.generation
        assert set(it.domain.vcpuPinInfo(libvirt.VIR_DOMAIN_AFFECT_LIVE)) == {(False, True)}
        assert restarts(it)
        for resource in ("cpu_shares", "cpu_pinning"):
            put_fields(writer, it, {name: vm.fields[name] for name in setting(vm, resource).fields})
        assert it.inactive == before
        assert restarts(it)
        assert operation(vm, "vcpus.config" if vm.power == "off" else "vcpus.agent", SHRINK).code == "vcpus.pinned"
    finally:
        remove(it.domain)


@pytest.mark.safety(rule=6)
def test_virtio_mem_gives_and_takes_back(reader: Reader, writer: Writer, lab: Any) -> None:
    root = definition(lab, vcpus=2, memory_mib=512)
    root.insert(0, parse("<maxMemory slots='4' unit='MiB'>2048</maxMemory>"))
    root.find("cpu").append(parse("<numa><cell id='0' cpus='0-3' memory='512' unit='MiB'/></numa>"))
    root.find("devices").append(
        parse(
            "<memory model='virtio-mem'><target><size unit='MiB'>256</size><node>0</node>"
            "<block unit='KiB'>2048</block><requested unit='MiB'>0</requested></target></memory>"
        )
    )
    it = Spare(define(lab, root))
    try:
        start(it, writer)
        before, current = it.inactive, writer.current(it.unique_id)
        vm = seen(reader, it)
        assert (vm.memory_mib, operation(vm, "memory.balloon", GROW).code) == (512, "memory.devices")
        way = operation(vm, "memory.virtio_mem", GROW)
        assert (way.allowed, way.maximum, way.step, way.inverse) == (True, 768, 2, "live")
        put_fields(writer, it, dict.fromkeys(way.fields, 704))
        grown = seen(reader, it)
        assert (grown.memory_mib, grown.generation) == (704, vm.generation)
        put_fields(writer, it, {name: vm.fields[name] for name in operation(grown, way.operation, SHRINK).fields})
        assert it.inactive == before
        assert writer.current(it.unique_id).fields == current.fields
        assert restarts(it)
    finally:
        remove(it.domain)


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_bandwidth_is_kept_by_the_kernel_or_refused(
    reader: Reader, writer: Writer, guest: Spare, direction: str
) -> None:
    before, current = guest.inactive, writer.current(guest.unique_id)
    resource = f"interface_{direction}_bits_per_s/{MAC}"
    live, config = f"live.{resource}", f"config.{resource}"
    way = setting(seen(reader, guest), resource)
    if way.allowed:
        assert (way.fields, way.step) == ((live, config), 8000)
        put_fields(writer, guest, {live: 8_000_000})
        put_fields(writer, guest, {live: 0})
    else:  # libvirt agrees, and a write that it refuses changes nothing
        assert way.code == "interface.no_kernel_support"
        with pytest.raises(RefusedError) as refusal:
            writer.write(guest.unique_id, live, 8_000_000)
        assert refusal.value.code == "platform.refused"
        assert writer.current(guest.unique_id) == current
    put_fields(writer, guest, {config: 8_000_000})
    assert writer.current(guest.unique_id).generation == current.generation
    put_fields(writer, guest, {config: 0})
    assert writer.current(guest.unique_id) == current
    # libvirt leaves an empty <bandwidth> until it reads the definition again.
    root = parse(guest.inactive)
    for interface in root.findall("devices/interface"):
        for empty in interface.findall("bandwidth"):
            assert not list(empty)
            interface.remove(empty)
    assert ET.canonicalize(ET.tostring(root), strip_text=True) == ET.canonicalize(before, strip_text=True).replace(
        "<bandwidth></bandwidth>", ""
    )
    assert restarts(guest)
