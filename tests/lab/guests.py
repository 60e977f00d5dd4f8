# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's guests: who they are, how they are defined and started, when they are ready."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import schedule
from command import run, say, wait_until
from inside import BRIDGE
from schedule import Schedule

if TYPE_CHECKING:
    from accel import Verdict
    from command import Virsh
    from image import Image
    from settings import Settings

VCPUS_MAX = 4
MEMORY_MAX_MIB = 512  # where the balloon ends
HOTPLUG_MAX_MIB = 2048  # where virtio-mem ends
READY_TIMEOUT_S = 120  # five kernels that boot at once on one slow core
NAMESPACE = uuid.UUID(
    "4d4f6b52-5a1c-4e0b-9a55-6c6162686561"
)  # of the guests' UUIDs: the same in every lab, so history fits


@dataclass(frozen=True)
class Guest:
    """One guest: what it has at first, and what it does.

    Memory slots (for virtio-mem) need a NUMA cell, and with one libvirt refuses to change the maximum of memory and to
    lower that of vCPUs. So some guests have slots, and the maxima of the others can be changed and changed back.
    """

    name: str
    vcpus: int
    memory_mib: int
    load: Schedule
    memory_slots: int = 0

    @property
    def uuid(self) -> uuid.UUID:
        """The same in every lab."""
        return uuid.uuid5(NAMESPACE, self.name)

    @property
    def mac(self) -> str:
        """A locally administered address of QEMU's range, the same in every lab."""
        return "52:54:00:" + self.uuid.bytes[:3].hex(":")


# Together about 1.2 CPUs: two cores carry it and still have room for the tests.
GUESTS = (
    Guest("web1", vcpus=1, memory_mib=256, load=Schedule((78, 82, 80), (80, 90, 85)), memory_slots=4),
    Guest("web2", vcpus=1, memory_mib=256, load=Schedule((10, 14, 12), (40,)), memory_slots=4),
    Guest("batch1", vcpus=2, memory_mib=384, load=Schedule((4, 6), (30,)), memory_slots=4),
    Guest("db1", vcpus=2, memory_mib=384, load=Schedule((18, 22), (180, 190))),
    Guest("idle1", vcpus=2, memory_mib=256, load=Schedule((2,), (8,))),
)
NAMES = tuple(guest.name for guest in GUESTS)

# Each saves time or memory in a guest that boots under TCG; without `no_timer_check` some fail on a busy machine. Other
# CPUs come when the kernel is up (guest-init): as it patches itself beside them, one boot in sixty hangs under TCG.
CMDLINE = (
    "console=ttyS0 quiet panic=-1 maxcpus=1 no_timer_check tsc=reliable mitigations=off cryptomgr.notests"
    " swiotlb=noforce ipv6.disable=1 memhp_default_state=online_movable headroom.load={load}"
)
TCG_FEATURES = (
    '<tcg><tb-cache unit="MiB">128</tb-cache></tcg>'  # QEMU's own default of 1 GiB is more than the guest itself
)

HOTPLUG = f"""\
  <maxMemory slots="{{slots}}" unit="MiB">{HOTPLUG_MAX_MIB}</maxMemory>
"""
NUMA = f"""
    <numa><cell id="0" cpus="0-{VCPUS_MAX - 1}" memory="{MEMORY_MAX_MIB}" unit="MiB"/></numa>
  """
DOMAIN = """\
<domain type={type}>
  <name>{guest.name}</name>
  <uuid>{guest.uuid}</uuid>
  <metadata>
    <headroom:vm xmlns:headroom="https://headroom.fleet/xmlns/vm/1"
                 tenant="lab" owner="demo" mode="auto" host_set="lab"/>
  </metadata>
{hotplug}  <memory unit="MiB">{memory_max}</memory>
  <currentMemory unit="MiB">{guest.memory_mib}</currentMemory>
  <vcpu placement="static" current="{guest.vcpus}">{vcpus_max}</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <kernel>{root}/boot/vmlinuz</kernel>
    <initrd>{root}/boot/initramfs.cpio</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/><apic/>{features}</features>
  <cpu mode="maximum">{numa}</cpu>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/>
      <source file="{root}/disks/{guest.name}.qcow2"/>
      <target dev="vda" bus="virtio"/>
    </disk>
    <controller type="usb" model="none"/>
    <interface type="bridge">
      <mac address="{guest.mac}"/>
      <source bridge="{bridge}"/>
      <model type="virtio"/>
    </interface>
    <serial type="file"><source path="{root}/log/{guest.name}.console"/></serial>
    <channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <memballoon model="virtio"><stats period="5"/></memballoon>
  </devices>
</domain>
"""


def domain_xml(guest: Guest, *, settings: Settings, domain_type: str) -> str:
    """Return the definition. It has no tuning elements at all: what is absent must stay absent after a rollback."""
    return DOMAIN.format(
        guest=guest,
        type=quoteattr(domain_type),
        features=TCG_FEATURES if domain_type == "qemu" else "",
        root=settings.root,
        bridge=BRIDGE,
        hotplug=HOTPLUG.format(slots=guest.memory_slots) if guest.memory_slots else "",
        numa=NUMA if guest.memory_slots else "",
        memory_max=MEMORY_MAX_MIB,
        vcpus_max=VCPUS_MAX,
        cmdline=CMDLINE.format(load=guest.load.line(separator=":")),
    )


def start(virsh: Virsh, missing: tuple[Guest, ...], *, settings: Settings, image: Image, verdict: Verdict) -> None:
    """Define those that are not defined; start all; give each its size and its load. All run in the end, or none."""
    boot = settings.root / "boot"
    for source, name in ((image.kernel, "vmlinuz"), (image.initramfs, "initramfs.cpio")):
        if not (boot / name).exists():  # a copy: a guest must start even if the cache is cleared
            shutil.copy(source, boot / name)
    defined = virsh.names("--all")
    for guest in missing:
        if guest.name not in defined:
            _define(virsh, guest, settings=settings, domain_type=verdict.type)
    try:
        sizes = {guest.name: _start(virsh, guest.name, plug_all=verdict.type == "qemu") for guest in missing}
        wait(virsh, missing, settings=settings)
        for guest in missing:
            what = f"{guest.name} has given back the memory that it is not to have"
            wait_until(partial(is_sized, virsh, guest.name), what=what, timeout_s=READY_TIMEOUT_S, step_s=0.3)
            virsh("setvcpus", guest.name, sizes[guest.name], "--guest")
            schedule.send(virsh, guest.name, guest.load)
    except BaseException:
        for guest in missing:  # else the next `up` would take them for ready
            virsh.answers("destroy", guest.name)
        raise


def wait(virsh: Virsh, guests: tuple[Guest, ...], *, settings: Settings) -> None:
    """Wait until the agents of all these guests answer."""
    for guest in guests:
        what = f"the agent of {guest.name} answers (its console: {settings.root}/log/{guest.name}.console)"
        wait_until(partial(answers, virsh, guest.name), what=what, timeout_s=READY_TIMEOUT_S, step_s=0.3)


def answers(virsh: Virsh, name: str) -> bool:
    """Whether the guest's agent answers."""
    return virsh.answers("qemu-agent-command", name, '{"execute":"guest-ping"}', "--timeout", "5")


def is_sized(virsh: Virsh, name: str) -> bool:
    """Whether the guest has no more memory than its definition says: it begins with all that it may ever have."""
    meant = ET.fromstring(virsh("dumpxml", "--inactive", name)).findtext("currentMemory", "0")  # noqa: S314 - libvirt's
    return int(statistics(virsh, name, "--balloon").get("balloon.current", 0)) <= int(meant)


def statistics(virsh: Virsh, name: str, *groups: str) -> dict[str, str]:
    """What libvirt counts of a guest, by its names."""
    lines = virsh("domstats", "--raw", *groups, name).split()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _define(virsh: Virsh, guest: Guest, *, settings: Settings, domain_type: str) -> None:
    disk = settings.root / "disks" / f"{guest.name}.qcow2"
    if not disk.exists():
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M")
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(domain_xml(guest, settings=settings, domain_type=domain_type))
        file.flush()
        virsh("define", file.name)


def _start(virsh: Virsh, name: str, *, plug_all: bool) -> int:
    """Start a guest and return how many vCPUs it shall have.

    Under TCG unplugging a vCPU is broken (QEMU does it, libvirt waits in vain), so all are plugged and the agent takes
    the rest off-line; the definition keeps the number that is meant.
    """
    vcpus = int(virsh("vcpucount", name, "--config", "--current"))
    say(f"{name}: starting with {vcpus} of {VCPUS_MAX} vCPUs")
    if not plug_all:
        virsh("start", name)
        return vcpus
    virsh("setvcpus", name, VCPUS_MAX, "--config")
    try:
        virsh("start", name)
    finally:
        virsh("setvcpus", name, vcpus, "--config")
    return vcpus


def describe(virsh: Virsh, name: str) -> dict[str, Any]:
    """Return what a person wants to know of a guest: sizes meant, sizes there, whether the agent answers."""
    stats, at = statistics(virsh, name, "--state", "--cpu-total", "--vcpu", "--balloon"), time.monotonic()
    running = stats.get("state.state") == "1"  # VIR_DOMAIN_RUNNING
    alive = running and answers(virsh, name)
    online = virsh.agent(name, "guest-get-vcpus") if alive else []
    return {
        "name": name,
        "running": running,
        "agent": alive,
        "vcpus_config": int(virsh("vcpucount", name, "--config", "--current")),
        "vcpus_plugged": int(stats["vcpu.current"]) if running else None,
        "vcpus_online": sum(vcpu["online"] for vcpu in online) if alive else None,
        "memory_mib": int(stats["balloon.current"]) // 1024 if running else None,
        "memory_usable_mib": int(stats["balloon.usable"]) // 1024 if "balloon.usable" in stats else None,
        "cpu_limit_millicores": _cpu_limit(virsh, name) if running else None,
        # What a limit limits: the CPU time used so far, with all that QEMU does for it; by a clock of this machine.
        "cpu_s": int(stats["cpu.time"]) / 1e9 if "cpu.time" in stats else None,
        "at_s": at,
    }


def _cpu_limit(virsh: Virsh, name: str) -> int:
    """Quota of the whole machine on CPU time; 0: none."""
    lines = (line.split(":") for line in virsh("schedinfo", name).splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in lines}
    return max(0, int(values["global_quota"])) * 1000 // int(values["global_period"])
