# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of the tests' own in the lab, and what tests ask of them."""

from __future__ import annotations

import contextlib
import os
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Reader, Writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import parse
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM

LAB = Path(os.environ.get("HEADROOM_LAB") or "/var/tmp/headroom-lab")
URI = os.environ.get("HEADROOM_LAB_URI") or f"qemu+unix:///system?socket={LAB}/run/libvirt-sock"
GUESTS = {"web1", "web2", "batch1", "db1", "idle1"}
ENDPOINT = Endpoint("lab", URI, vcpus_reserved=1, memory_reserved_mib=512)
BOOT_S = 120  # a kernel on TCG beside others


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


def connect() -> Any:
    """A connection of libvirt's own to the lab."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        return libvirt.open(URI)
    except libvirt.libvirtError as error:
        pytest.fail(f"the lab is not up (make lab): {error}")


def definition(lab: Any, *, vcpus: int, memory_mib: int) -> ET.Element:
    """As a guest of the lab, without its disk and its network, so that nothing is shared with it."""
    root = parse(lab.lookupByName("idle1").XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
    name = f"platform-{uuid.uuid4().hex[:8]}"
    for path, value in (("name", name), ("uuid", str(uuid.uuid4())), ("currentMemory", str(memory_mib * 1024))):
        root.find(path).text = value
    root.find("vcpu").set("current", str(vcpus))
    command_line = root.find("os/cmdline")
    command_line.text = command_line.text.partition("headroom.load=")[0] + "headroom.load=60:1:8"
    for element in root.findall("cputune"):  # a limit that the demo gave it
        root.remove(element)
    devices = root.find("devices")
    for path in ("disk", "interface", "serial", "console"):
        for element in devices.findall(path):
            devices.remove(element)
    return root


def define(lab: Any, root: ET.Element) -> Any:
    return lab.defineXML(ET.tostring(root, encoding="unicode"))


@contextlib.contextmanager
def guest_with_disk(lab: Any, writer: Writer, *devices: ET.Element) -> Iterator[Spare]:
    """A running guest with a disk, and with these devices; nothing in its definition limits anything."""
    root = definition(lab, vcpus=2, memory_mib=384)
    disk = LAB / "disks" / f"{root.findtext('name')}.raw"
    disk.write_bytes(bytes(2**20))
    drive = parse(
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    root.find("devices").extend([drive, *devices])
    it = Spare(define(lab, root))
    try:
        start(it, writer)
        yield it
    finally:
        remove(it.domain)
        disk.unlink()


def start(it: Spare, writer: Writer) -> None:
    it.domain.create()

    def at_rest() -> bool:  # its agent answers, and the balloon stands where the definition puts it
        fields = writer.current(it.unique_id).fields
        return "guest.vcpus" in fields and fields.get("live.memory_mib") == fields["config.memory_mib"]

    answered = wait_until(at_rest, timeout_s=BOOT_S)
    assert answered, "the guest's agent does not answer"


def remove(domain: Any) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        domain.destroy()
    with contextlib.suppress(libvirt.libvirtError):
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def put(writer: Writer, it: Spare, **fields: int) -> None:
    """Write these fields as ``put_fields``; "config_vcpus" is "config.vcpus"."""
    put_fields(writer, it, {name.replace("_", ".", 1): value for name, value in fields.items()})


def put_fields(writer: Writer, it: Spare, fields: Mapping[str, int | str]) -> None:
    """Write fields in this order, each until it reads back, as the engine does."""
    for field, value in fields.items():
        writer.write(it.unique_id, field, value)
        assert wait_until(
            lambda field=field, value=value: writer.current(it.unique_id).fields.get(field) == value,
            timeout_s=writer.settle_s(field),
        ), f"{field} is {writer.current(it.unique_id).fields.get(field)}, not {value}"


def seen(reader: Reader, it: Spare) -> VM:
    return next(vm for vm in reader.observe().vms if vm.unique_id == it.unique_id)


def operation(vm: VM, name: str, direction: str) -> Any:
    return next(item for item in vm.capabilities if (item.operation, item.direction) == (name, direction))
