# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the libvirt platform leaves alone, and what says no, against the lab's libvirt and QEMU."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import libvirt_qemu
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import wait_until
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Reader, Writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import parse
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import SHRINK
from tests.integration.guests import LAB, Spare, define, definition, operation, remove, seen

pytestmark = pytest.mark.lab


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
        assert wait_until(lambda: writer.current(it.unique_id).refused_code == "", timeout_s=60)
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
