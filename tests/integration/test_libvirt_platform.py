# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirt platform against the lab's libvirt and QEMU, on guests of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError, RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Reader, Writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import session as session_module
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import snapshot as snapshot_module
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import parse
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_reader, open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, SHRINK, VM

pytestmark = pytest.mark.lab

LAB = Path(os.environ.get("HEADROOM_LAB") or "/var/tmp/headroom-lab")
URI = os.environ.get("HEADROOM_LAB_URI") or f"qemu+unix:///system?socket={LAB}/run/libvirt-sock"
GUESTS = {"web1", "web2", "batch1", "db1", "idle1"}
BOOT_S = 120  # a kernel on TCG beside others
FIELDS = {"config.vcpus", "live.vcpus", "guest.vcpus", "config.memory_mib", "live.memory_mib"}


@dataclass(frozen=True)
class Spare:
    """A domain of the tests' own."""

    domain: Any

    @property
    def unique_id(self) -> str:
        return f"lab/{self.domain.UUIDString()}"

    @property
    def inactive(self) -> str:
        xml: str = self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return xml


@pytest.fixture(scope="module")
def lab() -> Any:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        connection = libvirt.open(URI)
    except libvirt.libvirtError as error:
        pytest.fail(f"the lab is not up (make lab): {error}")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return Endpoint("lab", URI, vcpus_reserved=1, memory_reserved_mib=512)


@pytest.fixture(scope="module")
def reader(endpoint: Endpoint) -> Any:
    it = open_reader(endpoint)
    yield it
    it.close()


@pytest.fixture(scope="module")
def writer(endpoint: Endpoint) -> Any:
    it = open_writer(endpoint)
    yield it
    it.close()


@pytest.fixture(scope="module")
def spare(lab: Any, writer: Writer) -> Any:
    """A running guest with 2 of 4 vCPUs and 384 of 512 MiB, whose agent answers."""
    domain = define(lab, definition(lab, vcpus=2, memory_mib=384))
    try:
        start(Spare(domain), writer)
        yield Spare(domain)
    finally:
        remove(domain)


@pytest.fixture
def off(lab: Any) -> Any:
    """A guest that is off, with all of its 4 vCPUs and 512 MiB: its definition names no ``current``."""
    domain = define(lab, definition(lab, vcpus=4, memory_mib=512))
    yield Spare(domain)
    remove(domain)


def definition(lab: Any, *, vcpus: int, memory_mib: int) -> ET.Element:
    """As a guest of the lab, without its disk and its network, so that nothing is shared with it."""
    root = parse(lab.lookupByName("idle1").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    name = f"platform-{uuid.uuid4().hex[:8]}"
    for path, value in (("name", name), ("uuid", str(uuid.uuid4())), ("currentMemory", str(memory_mib * 1024))):
        root.find(path).text = value
    root.find("vcpu").set("current", str(vcpus))
    command_line = root.find("os/cmdline")
    command_line.text = command_line.text.partition("headroom.load=")[0] + "headroom.load=60:1:8"
    devices = root.find("devices")
    for path in ("disk", "interface", "serial", "console"):
        for element in devices.findall(path):
            devices.remove(element)
    return root


def define(lab: Any, root: ET.Element) -> Any:
    return lab.defineXML(ET.tostring(root, encoding="unicode"))


def start(it: Spare, writer: Writer) -> None:
    it.domain.create()
    answered = wait_until(lambda: "guest.vcpus" in writer.current(it.unique_id).fields, timeout_s=BOOT_S)
    assert answered, "the guest's agent does not answer"


def remove(domain: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()
    with contextlib.suppress(libvirt.libvirtError):
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def put(writer: Writer, it: Spare, **fields: int) -> None:
    """Write fields in this order, each until it reads back, as the engine does."""
    for name, value in fields.items():
        field = name.replace("_", ".", 1)
        writer.write(it.unique_id, field, value)
        assert wait_until(
            lambda field=field, value=value: writer.current(it.unique_id).fields.get(field) == value,
            timeout_s=writer.settle_s(field),
        ), f"{field} is {writer.current(it.unique_id).fields.get(field)}, not {value}"


def seen(reader: Reader, it: Spare) -> VM:
    return next(vm for vm in reader.observe().vms if vm.unique_id == it.unique_id)


def operation(vm: VM, name: str, direction: str) -> Any:
    return next(item for item in vm.capabilities if (item.operation, item.direction) == (name, direction))


# --- observing --------------------------------------------------------------------------------------------------------


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
        assert set(vm.fields) == FIELDS
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


# --- writing and undoing ----------------------------------------------------------------------------------------------


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
    assert (vm.power, vm.fields) == ("off", {"config.vcpus": 4, "config.memory_mib": 512})
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


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_guest_says_no(writer: Writer, spare: Spare) -> None:
    with pytest.raises(RefusedError) as refusal:
        writer.write(spare.unique_id, "guest.vcpus", 3)  # it has two
    assert refusal.value.code == "guest.refused"


def test_the_platform_says_no(writer: Writer, spare: Spare, off: Spare) -> None:
    cases = ((spare, "live.memory_mib", 513), (spare, "config.vcpus", 5), (off, "live.vcpus", 2), (off, "no.such", 2))
    for it, field, value in cases:
        with pytest.raises(RefusedError) as refusal:
            writer.write(it.unique_id, field, value)
        assert refusal.value.code == "platform.refused", field


def test_a_vm_that_vanished(writer: Writer, lab: Any) -> None:
    domain = define(lab, definition(lab, vcpus=1, memory_mib=256))
    gone = Spare(domain).unique_id
    remove(domain)
    for act in (lambda: writer.current(gone), lambda: writer.write(gone, "config.vcpus", 1)):
        with pytest.raises(RefusedError) as refusal:
            act()
        assert refusal.value.code == "vm.vanished"


@pytest.mark.safety(rule=5)
def test_a_vm_in_another_state_is_left_alone(reader: Reader, writer: Writer, spare: Spare) -> None:
    spare.domain.suspend()
    try:
        assert writer.current(spare.unique_id).refused_code == "vm.paused"
        vm = seen(reader, spare)
        assert (vm.power, vm.refused_code, vm.capabilities) == ("paused", "vm.paused", ())
    finally:
        spare.domain.resume()


@pytest.mark.safety(rule=5)
def test_a_vm_with_a_saved_image_or_without_a_definition_is_left_alone(
    reader: Reader, writer: Writer, lab: Any
) -> None:
    domain = define(lab, definition(lab, vcpus=1, memory_mib=256))
    it = Spare(domain)
    try:
        domain.create()
        domain.managedSave(0)
        assert seen(reader, it).refused_code == writer.current(it.unique_id).refused_code == "vm.managed_save"
        domain.managedSaveRemove(0)
        assert seen(reader, it).refused_code == writer.current(it.unique_id).refused_code == ""
        domain.create()
        domain.undefine()
        assert seen(reader, it).refused_code == writer.current(it.unique_id).refused_code == "vm.transient"
    finally:
        remove(domain)


@pytest.mark.safety(rule=5)
def test_a_vm_in_backup_is_left_alone(reader: Reader, writer: Writer, lab: Any) -> None:
    root = definition(lab, vcpus=1, memory_mib=256)
    disk, scratch, server = (
        LAB / "disks" / f"{root.findtext('name')}.{part}" for part in ("disk", "scratch", "socket")
    )
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
    root.find("devices").append(
        parse(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
        )
    )
    domain = define(lab, root)
    it = Spare(domain)
    try:
        domain.create()
        assert writer.current(it.unique_id).refused_code == ""
        domain.backupBegin(
            f"<domainbackup mode='pull'><server transport='unix' socket='{server}'/>"
            f"<disks><disk name='vda' type='file'><scratch file='{scratch}'/></disk></disks></domainbackup>",
            None,
            0,
        )
        current, vm = writer.current(it.unique_id), seen(reader, it)
        assert current.refused_code == vm.refused_code == "vm.job"
        assert "backup" in current.refused
        domain.abortJob()
        assert wait_until(lambda: writer.current(it.unique_id).refused_code == "", timeout_s=10)
    finally:
        remove(domain)
        for path in (disk, scratch, server):
            path.unlink(missing_ok=True)


def test_an_agent_that_falls_silent(reader: Reader, writer: Writer, spare: Spare) -> None:
    pause = "(sleep 1; kill -STOP $(pidof qemu-ga); sleep 15; kill -CONT $(pidof qemu-ga)) > /dev/null 2>&1 &"
    command = {"execute": "guest-exec", "arguments": {"path": "/bin/sh", "arg": ["-c", pause]}}
    libvirt_qemu.qemuAgentCommand(spare.domain, json.dumps(command), 5, 0)
    looks = []
    assert wait_until(
        lambda: looks.append(seen(reader, spare)) or "guest.vcpus" not in looks[-1].fields, timeout_s=30, poll_s=0.5
    )
    assert operation(looks[-1], "vcpus.agent", SHRINK).code == "agent.silent"
    assert operation(looks[-1], "memory.balloon", SHRINK).allowed
    assert wait_until(lambda: "guest.vcpus" in writer.current(spare.unique_id).fields, timeout_s=60)


# --- what breaks ------------------------------------------------------------------------------------------------------


def test_an_endpoint_that_is_not_there(endpoint: Endpoint) -> None:
    lost = open_reader(replace(endpoint, uri="qemu+unix:///system?socket=/nonexistent/socket"))
    with pytest.raises(EndpointError) as error:
        lost.observe()
    assert error.value.code == "endpoint.unreachable"
    lost.close()


class Relay:
    """Stands between us and the daemon, to break the line or to hold it still."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "relay.sock"
        self.still = threading.Event()
        self.accepted = 0
        self._target = URI.partition("socket=")[2]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _unused = self._listener.accept()
                self.accepted += 1
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.still.is_set():
                    time.sleep(0.05)
                target.sendall(data)

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def close(self) -> None:
        self.still.clear()
        self._listener.close()
        self.path.unlink()
        self.cut()


@pytest.fixture
def relay(tmp_path: Path) -> Any:
    it = Relay(tmp_path)
    yield it
    it.close()


def through(endpoint: Endpoint, relay: Relay) -> Endpoint:
    return replace(endpoint, uri=f"qemu+unix:///system?socket={relay.path}")


def test_a_lost_connection_is_opened_again_for_reading(endpoint: Endpoint, relay: Relay, off: Spare) -> None:
    own = open_reader(through(endpoint, relay))
    before = seen(own, off)
    relay.cut()
    assert seen(own, off) == before
    assert relay.accepted == 2
    own.close()


@pytest.mark.safety(rule=8)
def test_a_write_is_never_tried_twice(endpoint: Endpoint, relay: Relay, off: Spare) -> None:
    session = session_module.Session(through(endpoint, relay), read_only=False)
    domain = session.call(lambda connection: connection.lookupByUUIDString(off.domain.UUIDString()))
    tries = []

    def write_into_a_cut_line(it: Any) -> None:
        tries.append(it)
        relay.cut()
        it.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    with pytest.raises(EndpointError) as error:
        session.on(domain, write_into_a_cut_line, retry=False)
    assert error.value.code == "endpoint.unreachable"
    assert len(tries) == 1
    session.close()


def test_a_daemon_that_hangs_holds_nobody(endpoint: Endpoint, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "OPEN_S", 1.0)
    monkeypatch.setattr(session_module, "RETRY_PAUSES_S", ())
    relay.still.set()
    own = open_reader(through(endpoint, relay))
    begun = time.monotonic()
    with pytest.raises(EndpointError) as error:
        own.sample()
    assert error.value.code == "endpoint.unreachable"
    own.close()
    assert time.monotonic() - begun < 10


def test_a_vm_that_hangs_is_a_gap_and_no_more(reader: Reader, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = define(lab, definition(lab, vcpus=1, memory_mib=256))
    process = None
    stuck = threading.Thread(target=domain.memoryStats, daemon=True)
    try:
        domain.create()
        process = qemu_of(domain)
        os.kill(process, signal.SIGSTOP)
        stuck.start()  # someone asks the VM's monitor, and holds its lock until it answers
        time.sleep(1)
        monkeypatch.setattr(snapshot_module, "JOB_S", 1.0)
        observation = reader.observe()
        assert {gap.subject: gap.code for gap in observation.gaps} == {domain.name(): "endpoint.timeout"}
        assert {vm.name for vm in observation.vms} >= GUESTS
        assert {sample.unique_id for sample in reader.sample()} >= {
            vm.unique_id for vm in observation.vms if vm.name in GUESTS
        }
    finally:
        if process is not None:
            os.kill(process, signal.SIGCONT)
        remove(domain)


def qemu_of(domain: Any) -> int:
    """The process of the domain's QEMU: the lab's processes are seen from outside."""
    wanted = f"uuid\0{domain.UUIDString()}\0".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "cmdline").read_bytes():
                    return int(folder.name)
    raise LookupError(domain.name())


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
