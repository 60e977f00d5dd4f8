# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control group of the lab's own in every hierarchy of the machine: version 1, version 2, or both at once.

The lab runs in a cgroup namespace rooted there: its libvirtd finds an empty tree, and all that it creates goes with the
lab.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from command import run, say, wait_until

ROOT = Path("/sys/fs/cgroup")
# Eight times the default of versions 1 and 2: on a busy machine all guests together would else count as one process,
# and their load would not follow its schedule. They ask for little more than one CPU.
WEIGHTS = {"cpu.shares": 8192, "cpu.weight": 800}
DAEMON = (
    "daemon"  # version 2 lets no group have both processes and children with controllers: the daemons sit one below
)


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy; ``options`` are what it takes to mount it once more."""

    path: Path
    version: int
    options: str

    def enable(self, group: Path) -> None:
        """Hand the controllers on to the children of a group (version 2); one that cannot be handed on is left out."""
        if self.version == 1:
            return
        for controller in (group / "cgroup.controllers").read_text().split():
            with suppress(OSError):  # e.g. EBUSY: processes of others sit in a container's own root
                (group / "cgroup.subtree_control").write_text(f"+{controller}")

    def create(self, tag: str) -> bool:
        """Make the lab's group; False when this hierarchy cannot be written."""
        group = self.path / tag
        try:
            group.mkdir(exist_ok=True)
        except OSError as error:
            say(f"cgroups: {self.path} left out: {error.strerror}")
            return False
        self.enable(self.path)
        for name, weight in WEIGHTS.items():
            if (group / name).exists():
                (group / name).write_text(str(weight))
        for name in ("cpuset.cpus", "cpuset.mems"):
            if self.version == 1 and (group / name).exists():  # empty in a new group: nothing could enter it
                (group / name).write_text((self.path / name).read_text())
        return True

    def enter(self, group: Path) -> None:
        """Move the calling process."""
        (group / "cgroup.procs").write_text(str(os.getpid()))


def hierarchies() -> list[Hierarchy]:
    """Read /proc/self/mountinfo (proc(5)): the last fields, after a dash, are type, source and super block options.

    A mount that another one hides is listed as well; what is seen at a path tells itself by its device number.
    """
    controllers = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:]}
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _unused, right = line.partition(" - ")
        kind, _unused, flags = right.split()[:3]
        device, path = left.split()[2], Path(left.split()[4])
        if kind in ("cgroup", "cgroup2") and path.is_relative_to(ROOT) and device == _device(path):
            wanted = [flag for flag in flags.split(",") if flag in controllers or flag.startswith("name=")]
            found[path] = Hierarchy(path, version=2 if kind == "cgroup2" else 1, options=",".join(wanted))
    return list(found.values())


def _device(path: Path) -> str:
    number = path.stat().st_dev if path.exists() else 0
    return f"{os.major(number)}:{os.minor(number)}"


def enter(tag: str) -> list[Hierarchy]:
    """Create the lab's groups and move the calling process into them; return the hierarchies that took it."""
    usable = [hierarchy for hierarchy in hierarchies() if hierarchy.create(tag)]
    for hierarchy in usable:
        hierarchy.enter(hierarchy.path / tag)
    return usable


def mount(usable: list[Hierarchy]) -> None:
    """In the lab's namespaces: show the hierarchies as the lab sees them, with its own groups for roots."""
    if all(hierarchy.path != ROOT for hierarchy in usable):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ROOT)
    for hierarchy in sorted(usable, key=lambda one: one.path):
        hierarchy.path.mkdir(exist_ok=True)
        kind = "cgroup2" if hierarchy.version == 2 else "cgroup"
        run("mount", "-t", kind, *(["-o", hierarchy.options] if hierarchy.options else []), kind, hierarchy.path)
        if hierarchy.version == 2:
            (hierarchy.path / DAEMON).mkdir(exist_ok=True)
            hierarchy.enter(hierarchy.path / DAEMON)
            hierarchy.enable(hierarchy.path)


def remove(tag: str) -> None:
    """Remove the lab's groups in all hierarchies, deepest first; raise LabError when processes stay in one."""
    for hierarchy in hierarchies():
        group = hierarchy.path / tag
        if group.exists():
            wait_until(partial(_rmdir, group), what=f"{group} empty", timeout_s=10)


def _rmdir(group: Path) -> bool:
    for folder, _unused, _unused in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            return False
    return True
