# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records made of what libvirt says."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import (
    EndpointError,
    HeadroomError,
    RefusedError,
)
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import snapshot
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


class Session:
    """Calls go straight to the domain."""

    def on(self, domain: Any, act: Any) -> Any:
        return act(domain)


class Stopping:
    """A domain that goes off right after it said that it runs: only one that runs has an id."""

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's name
        return "<domain/>"

    def name(self) -> str:
        return "web1"


def test_a_vm_that_goes_off_while_it_is_read_is_a_refusal_and_stops_no_run() -> None:
    session: Any = Session()
    with pytest.raises(RefusedError) as error:
        snapshot.describe(session, Stopping(), state=1, managed_save=False, persistent=True)
    assert error.value.code == "vm.changing"
