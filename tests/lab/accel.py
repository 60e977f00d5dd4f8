# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KVM or TCG? /dev/kvm may open and still run no ordinary kernel, so the answer is a kernel that booted."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from settings import LabError

if TYPE_CHECKING:
    from image import Image

DOMAIN_TYPES = ("kvm", "qemu")  # of libvirt; qemu is TCG, QEMU's own translator
PROBE_TIMEOUT_S = 15  # the same kernel takes 3 s under TCG
ANSWER = "HEADROOM-PROBE-OK"


@dataclass(frozen=True)
class Verdict:
    """The domain type to use, and why."""

    type: str
    reason: str


def choose(image: Image, *, cache: Path) -> Verdict:
    """Ask HEADROOM_LAB_ACCEL, else what was found since the machine booted, else boot a kernel."""
    wanted = os.environ.get("HEADROOM_LAB_ACCEL")
    if wanted:
        if wanted not in DOMAIN_TYPES:
            raise LabError(f"HEADROOM_LAB_ACCEL={wanted}: must be one of {', '.join(DOMAIN_TYPES)}")
        return Verdict(wanted, "HEADROOM_LAB_ACCEL says so")
    known = cache / "accel.json"
    boot = {"boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "image": image.kernel.parent.name}
    if known.exists():
        found = json.loads(known.read_text())
        if found.items() >= boot.items():
            return Verdict(found["type"], found["reason"] + " (probed earlier)")
    verdict = _probe(image)
    fresh = known.with_suffix(".new")
    fresh.write_text(json.dumps({**boot, **asdict(verdict)}))
    fresh.replace(known)
    return verdict


def _probe(image: Image) -> Verdict:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Verdict("qemu", "/dev/kvm cannot be opened")
    command = ["qemu-system-x86_64", "-accel", "kvm", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "256"]
    command += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
    command += ["-append", "console=ttyS0 quiet panic=-1 headroom.probe"]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return Verdict("qemu", f"no kernel booted under KVM within {PROBE_TIMEOUT_S} s")
    if ANSWER in done.stdout:
        return Verdict("kvm", "a kernel booted under KVM")
    words = (done.stderr.strip().splitlines() or [f"QEMU ended with status {done.returncode}"])[-1]
    return Verdict("qemu", f"no kernel boots under KVM: {words}")
