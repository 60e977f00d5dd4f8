# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt platform against the lab's libvirt and QEMU: observing, writing, undoing."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Reader, Writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_reader
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, SHRINK
from tests.integration.guests import GUESTS, LAB, Spare, define, definition, operation, put, remove, seen, start

pytestmark = pytest.mark.lab

FIELDS = {
    "guest.vcpus",
    *(f"{kind}.{name}" for kind in ("live", "config") for name in ("vcpus", "memory_mib", "cpu_limit_millicores")),
    *(f"{kind}.memory_stats_period_s" for kind in ("live", "config")),
    "config.maximum_vcpus",
    "config.maximum_memory_mib",
}


def test_one_pass_sees_the_host_and_every_guest(reader: Reader, lab: Any) -> None:
    observation = reader.observe()
    (host,) = observation.hosts
    assert host.vcpus == os.cpu_count()
    assert host.memory_mib == sum(cell.memory_mib for cell in host.numa) > 1024
    assert (host.vcpus_reserved, host.memory_reserved_mib, host.host_set) == (1, 512, "lab")
    vms = {vm.name: vm for vm in observation.vms}
    assert set(vms) >= GUESTS
    assert not [gap for gap in observation.gaps if gap.subject in GUESTS]
    for name in GUESTS:
        vm = vms[name]
        assert vm.unique_id == f"lab/{lab.lookupByName(name).UUIDString()}"
        assert (vm.power, vm.refused_code, vm.mode, vm.tenant) == ("running", "", "auto", "lab")
        assert {field for field in vm.fields if "/" not in field} == FIELDS
        kinds = {field.partition("/")[0].partition(".")[2] for field in vm.fields if "/" in field}
        assert kinds == {
            "disk_iops",
            "disk_bytes_per_s",
            "interface_inbound_bits_per_s",
            "interface_outbound_bits_per_s",
        }
        assert vm.vcpus == vm.fields["guest.vcpus"]
        assert vm.memory_mib == vm.fields["live.memory_mib"]
        assert any(item.allowed for item in vm.capabilities)


@pytest.mark.safety(rule=5)
def test_a_read_only_connection_ends_with_what_it_may_know(reader: Reader, spare: Spare, endpoint: Endpoint) -> None:
    limited = open_reader(replace(endpoint, options={"read_only": "true"}))
    whole, part = seen(reader, spare), seen(limited, spare)
    assert set(part.fields) == FIELDS - {"guest.vcpus"}
    assert part.generation == whole.generation
    assert operation(part, "vcpus.agent", SHRINK).code == "agent.needs_write_connection"
    assert operation(part, "memory.balloon", SHRINK).allowed
    assert {sample.unique_id for sample in limited.sample()} >= {spare.unique_id}
    assert limited.sample_guests() == ()
    limited.close()


def test_counters_rise_and_memory_is_what_the_guest_says(reader: Reader, spare: Spare) -> None:
    before = spare.inactive

    def own() -> Any:
        return next(sample for sample in reader.sample() if sample.unique_id == spare.unique_id)

    assert wait_until(lambda: "memory_used_mib" in own().gauges, timeout_s=30), own()
    first = own()
    time.sleep(1)
    second = own()
    assert first.counters["cpu_millicores"][""] < second.counters["cpu_millicores"][""]
    delays = [sum(sample.counters["cpu_delay_millicores"].values()) for sample in (first, second)]
    assert delays == sorted(delays)
    assert first.taken_at < second.taken_at
    assert first.boot_id == second.boot_id
    assert 0 < second.gauges["memory_used_mib"] < 256
    assert 0 < second.gauges["memory_balloon_mib"] <= 384
    assert spare.inactive == before


def test_without_a_statistics_period_memory_is_unknown(reader: Reader, lab: Any) -> None:
    root = definition(lab, vcpus=1, memory_mib=256)
    balloon = root.find("devices/memballoon")
    balloon.remove(balloon.find("stats"))
    domain = define(lab, root)
    try:
        domain.create()
        found = next(item for item in reader.sample() if item.unique_id == Spare(domain).unique_id)
        assert "memory_used_mib" not in found.gauges
        assert found.counters["cpu_millicores"][""] > 0
    finally:
        remove(domain)


@pytest.mark.safety(rule=6)
def test_the_agent_takes_a_vcpu_off_line_and_back(reader: Reader, writer: Writer, spare: Spare) -> None:
    before, generation = spare.inactive, writer.current(spare.unique_id).generation
    offer = operation(seen(reader, spare), "vcpus.agent", SHRINK)
    assert (offer.fields, offer.minimum, offer.maximum) == (("guest.vcpus", "config.vcpus"), 1, 1)
    put(writer, spare, guest_vcpus=1, config_vcpus=1)
    after = writer.current(spare.unique_id)
    assert after.fields["live.vcpus"] == 2
    assert after.generation == generation, "a field of ours must not change the generation"
    assert spare.inactive != before
    assert seen(reader, spare).vcpus == 1
    put(writer, spare, config_vcpus=2, guest_vcpus=2)
    assert spare.inactive == before
    assert seen(reader, spare).vcpus == 2


@pytest.mark.safety(rule=6)
def test_the_balloon_gives_and_takes_back(reader: Reader, writer: Writer, spare: Spare) -> None:
    before, generation = spare.inactive, writer.current(spare.unique_id).generation
    offer = operation(seen(reader, spare), "memory.balloon", GROW)
    assert (offer.fields, offer.maximum) == (("live.memory_mib", "config.memory_mib"), 512)
    for size in (300, 450, 384):
        put(writer, spare, live_memory_mib=size, config_memory_mib=size)
        assert seen(reader, spare).memory_mib == size
        assert writer.current(spare.unique_id).generation == generation
    assert spare.inactive == before


@pytest.mark.safety(rule=6)
def test_what_was_absent_from_a_definition_is_absent_again(reader: Reader, writer: Writer, off: Spare) -> None:
    before = off.inactive
    assert "current=" not in before
    vm = seen(reader, off)
    assert (vm.power, {field for field in vm.fields if not field.startswith("config.")}) == ("off", set())
    assert (vm.fields["config.vcpus"], vm.fields["config.memory_mib"]) == (4, 512)
    assert operation(vm, "vcpus.config", SHRINK).maximum == 3
    put(writer, off, config_vcpus=2, config_memory_mib=200)
    changed = seen(reader, off)
    assert (changed.vcpus, changed.memory_mib, changed.generation) == (2, 200, vm.generation)
    put(writer, off, config_memory_mib=512, config_vcpus=4)
    assert off.inactive == before


@pytest.mark.safety(rule=6)
def test_another_change_of_the_definition_changes_the_generation(writer: Writer, off: Spare) -> None:
    before = writer.current(off.unique_id).generation

    def title(text: str | None) -> str:
        off.domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, text, None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        return writer.current(off.unique_id).generation

    assert title("changed") != before
    assert title(None) == before


def test_a_value_that_stands_is_not_written_again(writer: Writer, off: Spare) -> None:
    files = LAB / "etc" / "qemu" / f"{off.domain.name()}.xml"
    before = files.stat().st_mtime_ns
    writer.write(off.unique_id, "config.vcpus", 4)
    assert files.stat().st_mtime_ns == before
    writer.write(off.unique_id, "config.vcpus", 3)
    assert files.stat().st_mtime_ns != before


# --- last, for it leaves the guest with more vCPUs than it began with ------------------------------------------------


@pytest.mark.safety(rule=4)
def test_a_vcpu_is_plugged_and_its_undoing_has_the_class_it_was_said_to_have(
    reader: Reader, writer: Writer, spare: Spare
) -> None:
    before = spare.inactive
    kvm = "type='kvm'" in before.splitlines()[0]
    offer = operation(seen(reader, spare), "vcpus.hotplug", GROW)
    assert offer.fields == ("live.vcpus", "guest.vcpus", "config.vcpus")
    assert (offer.minimum, offer.maximum, offer.inverse) == (3, 4, "live" if kvm else "at_next_restart")
    put(writer, spare, live_vcpus=3, guest_vcpus=3, config_vcpus=3)
    grown = seen(reader, spare)
    assert grown.vcpus == 3
    boot = next(sample.boot_id for sample in reader.sample() if sample.unique_id == spare.unique_id)
    put(writer, spare, config_vcpus=2, guest_vcpus=2)
    assert spare.inactive == before
    if kvm:
        put(writer, spare, live_vcpus=2)
        return
    assert operation(grown, "vcpus.hotplug", SHRINK).code == "vcpus.no_unplug"
    spare.domain.destroy()
    start(spare, writer)
    restarted = writer.current(spare.unique_id).fields
    assert (restarted["live.vcpus"], restarted["guest.vcpus"]) == (2, 2)
    assert boot != next(sample.boot_id for sample in reader.sample() if sample.unique_id == spare.unique_id)
