# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first process in the lab's namespaces: prepares them, runs virtlogd and libvirtd, adopts orphans.

``python3 inside.py ROOT TAG`` detaches itself. With it everything in the lab dies, mounts and interfaces included.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import cgroups
from command import run, say

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x02000000, 0x20000000, 0x40000000  # sched.h
BRIDGE = "lab0"
MASKED = (
    "/run",
    "/var/lib",
    "/var/log",
    "/var/cache",
)  # of the machine; no D-Bus, no systemd, no libvirt of others is seen
DAEMONS = (
    ("virtlogd", "--config", "/etc/libvirt/virtlogd.conf"),
    ("libvirtd", "--config", "/etc/libvirt/libvirtd.conf"),
)
CONFIG = {
    "virtlogd.conf": "",
    "libvirtd.conf": """\
unix_sock_dir = "{root}/run"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "6f0a4a52-8d0c-4a5e-9d43-6c6162686f73"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
""",
    # One user, no security driver, no private /dev: the lab's namespaces are the walls.
    "qemu.conf": """\
user = "root"
group = "root"
security_driver = "none"
namespaces = []
stdio_handler = "logd"
""",
}

# As Debian numbers them; nothing of the lab belongs to them.
ACCOUNT = {
    "passwd": "libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin\n",
    "group": "libvirt-qemu:x:64055:\n",
}


def main(root: Path, tag: str) -> None:
    """Fork into new namespaces; the parent returns at once."""
    usable = cgroups.enter(tag)
    os.setsid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWPID | CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)} (the lab needs root and its own namespaces)")
    if os.fork():
        return
    _prepare(root, usable)
    _serve()


def _prepare(root: Path, usable: list[cgroups.Hierarchy]) -> None:
    """Mounts, configuration and network of the namespaces."""
    here = os.open(root, os.O_PATH)
    for name, text in CONFIG.items():
        (root / "etc" / name).write_text(text.format(root=root))
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    run("umount", "--lazy", "--recursive", "/sys")
    run("mount", "-t", "sysfs", "sysfs", "/sys")  # of the new network namespace
    cgroups.mount(usable)
    run("mount", "--bind", root / "etc", "/etc/libvirt")
    _know_user(root / "etc")
    for folder in MASKED:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
    if not root.exists():  # the lab lies below a masked folder: show it again
        root.mkdir(parents=True)
        run("mount", "--bind", f"/proc/{os.getpid()}/fd/{here}", root)
    for name in ("lib", "log", "cache"):
        target = Path("/var") / name / "libvirt"
        target.mkdir()
        run("mount", "--bind", root / name, target)
    for scope in ("all", "default"):  # no router solicitations, no multicast: they would wake idle guests
        setting = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if setting.exists():
            setting.write_text("1")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0")
    run("ip", "link", "set", BRIDGE, "up")


def _know_user(folder: Path) -> None:
    """Show libvirtd the user and group it was built for: it looks them up before it reads that guests run as root.

    A package that is not needed makes them, together with the machine's own libvirtd.
    """
    for file, line in ACCOUNT.items():
        of_machine = Path("/etc") / file
        text = of_machine.read_text()
        name = line.partition(":")[0]
        if name not in (known.partition(":")[0] for known in text.splitlines()):
            (folder / file).write_text(text + line)
            run("mount", "--bind", folder / file, of_machine)


def _serve() -> None:
    """Keep the daemons running and reap what they leave behind. Guests outlive their libvirtd."""
    running: dict[int, tuple[str, ...]] = {}
    while True:
        for command in DAEMONS:
            if command not in running.values():
                say(f"starting {command[0]}")
                running[subprocess.Popen(command, stdin=subprocess.DEVNULL).pid] = command
        pid, status = os.wait()
        if running.pop(pid, None):
            say(f"process {pid} ended with status {status}")
            time.sleep(1)  # a daemon that cannot start must not spin


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
