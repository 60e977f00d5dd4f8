# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records made of what libvirt says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError, HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import snapshot, telemetry
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import Agent
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import decode, encode
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import NumaCell
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM

from .libvirt_domains import running

ENDPOINT = Endpoint("east", "qemu:///system", vcpus_reserved=2, memory_reserved_mib=1024)
NODE = ["x86_64", 7976, 3, 2400, 2, 1, 2, 1]
CAPABILITIES = """\
<capabilities>
  <host>
    <uuid>5522ec97-5291-4dc6-8dad-15d1e5b251af</uuid>
    <topology>
      <cells num='2'>
        <cell id='0'><memory unit='KiB'>4194304</memory><cpus num='2'><cpu id='0'/><cpu id='1'/></cpus></cell>
        <cell id='1'><memory unit='KiB'>3973120</memory><cpus num='1'><cpu id='2'/></cpus></cell>
      </cells>
    </topology>
  </host>
</capabilities>
"""
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STATS = {
    "cpu.time": 8_088_960_000,
    "vcpu.current": 2,
    "vcpu.0.delay": 5,
    "vcpu.1.delay": 7,
    "vcpu.1.wait": 1000,
    "vcpu.12.delay": 11,
    "balloon.available": 257_500,
    "balloon.usable": 218_999,
    "balloon.last-update": int(NOW.timestamp()) - 5,
}


def host() -> Any:
    return snapshot.read_host(ENDPOINT, capabilities_xml=CAPABILITIES, node_info=NODE, name="kvm1")


def test_a_host_has_what_libvirt_and_its_endpoint_say() -> None:
    made = host()
    assert (made.host_id, made.name, made.host_set) == ("east/5522ec97-5291-4dc6-8dad-15d1e5b251af", "kvm1", "east")
    assert (made.vcpus, made.memory_mib, made.vcpus_reserved, made.memory_reserved_mib) == (3, 7976, 2, 1024)
    assert made.numa == (NumaCell(0, 2, 4096), NumaCell(1, 1, 3880))


def test_a_host_without_an_id_is_an_error_of_the_endpoint() -> None:
    with pytest.raises(EndpointError) as error:
        snapshot.read_host(ENDPOINT, capabilities_xml="<capabilities><host/></capabilities>", node_info=NODE, name="")
    assert error.value.code == "endpoint.unreadable"


def test_a_vm_is_a_record_that_survives_the_store() -> None:
    tag = "<h:vm xmlns:h='https://headroom.fleet/xmlns/vm/1' tenant='blue' owner='ann' mode='off' host_set='fast'/>"
    pci = (
        "<hostdev mode='subsystem' type='pci'><source>"
        "<address domain='0x0000' bus='0x01' slot='0x00' function='0x1'/></source></hostdev>"
    )
    vm = snapshot.read_vm(ENDPOINT, running(vcpus=3, online=2, metadata=tag, devices=pci), host=host())
    assert vm.unique_id == "east/458888c9-118f-5ce5-98fd-bf1dbc58a6f9"
    assert (vm.host_id, vm.host_set, vm.power) == (host().host_id, "fast", "running")
    assert (vm.vcpus, vm.memory_mib, vm.mode, vm.tenant, vm.owner) == (2, 256, "ignore", "blue", "ann")
    assert vm.devices == ("pci:0000:01:00:1",)
    assert vm.warnings
    assert decode(VM, encode(vm)) == vm


def test_a_refused_vm_says_why_and_offers_nothing() -> None:
    vm = snapshot.read_vm(ENDPOINT, running(job="backup"), host=host())
    assert (vm.refused_code, vm.refused, vm.capabilities) == ("vm.job", "has a running job: backup", ())
    assert vm.host_set == "east"


@pytest.mark.parametrize(
    ("answer", "agent"),
    [
        ({"vcpus": "0-3", "online": "0-3", "offlinable": "1-3"}, Agent(known=4, online=4, fixed=1)),
        ({"vcpus": "0-3", "online": "0,2", "offlinable": "1-3"}, Agent(known=4, online=2, fixed=1)),
        ({"vcpus": "0-1", "online": "0-1"}, Agent(known=2, online=2, fixed=2)),
        ({"vcpus": "0", "online": "0", "offlinable": "0"}, Agent(known=1, online=1, fixed=0)),
    ],
)
def test_what_the_agent_says_of_vcpus(answer: dict[str, str], agent: Agent) -> None:
    assert snapshot.read_agent(answer) == agent


def test_what_the_agent_cannot_mean() -> None:
    with pytest.raises(HeadroomError) as error:
        snapshot.read_agent({"vcpus": "0-x", "online": "0"})
    assert error.value.code == "vm.unreadable"


def sampled(**changes: Any) -> Any:
    stats = {key: value for key, value in {**STATS, **changes}.items() if value is not None}
    return telemetry.read_sample(ENDPOINT, "u", boot=7, stats=stats, taken_at=NOW)


def test_a_sample_adds_up_the_delays_and_counts_whole_mib() -> None:
    found = sampled()
    assert (found.unique_id, found.boot_id, found.taken_at) == ("east/u", "7", NOW)
    assert (found.cpu_time_ns, found.cpu_delay_ns) == (8_088_960_000, 23)
    assert (found.memory_available_mib, found.memory_usable_mib) == (251, 213)


@pytest.mark.safety(rule=2)
@pytest.mark.parametrize("age_s", [telemetry.STALE_S + 1, -telemetry.STALE_S - 1, NOW.timestamp()])
def test_stale_memory_statistics_are_none(age_s: float) -> None:
    found = sampled(**{"balloon.last-update": int(NOW.timestamp() - age_s)})
    assert (found.memory_available_mib, found.memory_usable_mib) == (None, None)
    assert found.cpu_time_ns is not None


def test_what_libvirt_does_not_say_is_none_and_not_zero() -> None:
    silent = telemetry.read_sample(ENDPOINT, "u", boot=7, stats={"vcpu.0.wait": 3}, taken_at=NOW)
    assert (silent.cpu_time_ns, silent.cpu_delay_ns) == (None, None)
    assert (silent.memory_available_mib, silent.memory_usable_mib) == (None, None)
    old_guest = sampled(**{"balloon.usable": None})
    assert (old_guest.memory_available_mib, old_guest.memory_usable_mib) == (251, None)
