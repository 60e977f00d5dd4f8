# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, find and end the lab's namespaces, with libvirtd in them, from outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cgroups
from command import Virsh, wait_until
from settings import LabError

if TYPE_CHECKING:
    from settings import Settings

INSIDE = Path(__file__).resolve().parent / "inside.py"
FOLDERS = ("boot", "cache", "disks", "etc", "lib", "log", "run")
START_TIMEOUT_S = 60
# Nothing of the caller's environment reaches the daemons and the guests' processes.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def find(settings: Settings) -> int | None:
    """Return the process id of the first process in the lab's namespaces.

    It is told by its command line and by being number 1 of a process namespace: no file can be stale or lost.
    """
    tail = [os.fsencode(settings.root), os.fsencode(settings.tag)]
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")[:-1]
            if words[2:] == tail and f"\nNSpid:\t{entry.name}\t1\n" in (entry / "status").read_text():
                return int(entry.name)
        except OSError:  # it ended while we looked
            continue
    return None


def start(settings: Settings) -> bool:
    """Start the lab's daemons and wait until they answer; False when they were there already."""
    fresh = find(settings) is None
    if fresh:
        cgroups.remove(settings.tag)  # of a lab that was killed: nobody can enter a group that has children
        _make_folders(settings)
        words = [sys.executable, str(INSIDE), str(settings.root), settings.tag]
        with _log(settings).open("ab") as output:
            subprocess.run(words, env=ENVIRONMENT, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    wait(settings)
    return fresh


def wait(settings: Settings) -> None:
    """Wait until libvirtd answers; raise LabError at once when its namespaces are gone."""
    virsh = Virsh(settings.uri)

    def ready() -> bool:
        if find(settings) is None:
            raise LabError(f"the lab's namespaces ended: {_last_words(settings)}")
        return virsh.answers("version")

    what = f"libvirtd answers at {settings.uri} (its log: {settings.root}/log)"
    wait_until(ready, what=what, timeout_s=START_TIMEOUT_S)


def stop(settings: Settings) -> bool:
    """End the lab and remove all that it left; False when there was nothing."""
    pid = find(settings)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)  # the kernel ends every process of the namespace with it
        wait_until(lambda: find(settings) is None, what="the lab's processes end", timeout_s=20)
    cgroups.remove(settings.tag)
    existed = settings.root.exists()
    if existed:
        _check_owner(settings.root)
        shutil.rmtree(settings.root)
    return existed or pid is not None


def _make_folders(settings: Settings) -> None:
    settings.root.mkdir(mode=0o755, parents=True, exist_ok=True)
    _check_owner(settings.root)
    for name in FOLDERS:
        (settings.root / name).mkdir(mode=0o755, exist_ok=True)
    for socket in settings.run.iterdir():  # of a lab that was killed: nothing must seem to listen
        socket.unlink()


def _check_owner(root: Path) -> None:
    """Refuse a folder of someone else: its parent may be open to everyone, and we are root."""
    if root.is_symlink() or root.stat().st_uid != os.geteuid():
        raise LabError(f"{root} is not a folder of our own: choose another HEADROOM_LAB")


def _log(settings: Settings) -> Path:
    return settings.root / "log" / "inside.log"


def _last_words(settings: Settings) -> str:
    log = _log(settings)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " | ".join(lines[-3:]) or "no word in its log"
