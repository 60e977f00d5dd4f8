# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guests' sizes as libvirt itself says them (virsh, not Headroom), and the way back to the first sizes."""

from __future__ import annotations

import json
import sys
from typing import NamedTuple

from stage import CHECKOUT, DemoError, Stage, lab, say

sys.path.append(str(CHECKOUT / "tests/lab"))
from guests import GUESTS

RESIZE = CHECKOUT / "playbooks/resize.yml"


TOLERANCE = 1.1  # of a limit: the kernel counts its quota in periods of 100 ms, and by processor


class Size(NamedTuple):
    """What a guest has: vCPUs on-line, MiB where the balloon stands, the limit of its CPU time (0: none)."""

    vcpus: int
    memory_mib: int
    cpu_limit_millicores: int


class Used(NamedTuple):
    """CPU time that a guest had used by a time, with all that QEMU does for it: what a limit limits."""

    cpu_s: float
    at_s: float


FIRST = {guest.name: Size(guest.vcpus, guest.memory_mib, 0) for guest in GUESTS}


def read_guests() -> tuple[dict[str, Size], dict[str, Used]]:
    """Ask libvirt and the guests' agents. Raises DemoError where one does not answer."""
    report = json.loads(lab("status", "--json"))
    silent = [guest["name"] for guest in report["guests"] if guest["vcpus_online"] is None]
    if report["state"] == "down" or silent:
        raise DemoError(f"the lab is {report['state']}; no answer from {', '.join(silent) or 'any guest'}")
    sizes, used = {}, {}
    for guest in report["guests"]:
        name = guest["name"]
        sizes[name] = Size(guest["vcpus_online"], guest["memory_mib"], guest["cpu_limit_millicores"])
        used[name] = Used(guest["cpu_s"], guest["at_s"])
    return sizes, used


def within_limits(first: dict[str, Used], sizes: dict[str, Size]) -> None:
    """Say how much of its limit each guest used since then. Raises DemoError where it is more than the limit."""
    _same, used = read_guests()
    for name, last in used.items():
        seconds = last.at_s - first[name].at_s
        millicores = round(1000 * (last.cpu_s - first[name].cpu_s) / seconds)
        limit = sizes[name].cpu_limit_millicores
        may = f"its limit is {limit}" if limit else f"no limit below its {sizes[name].vcpus} vCPU"
        say(f"  {name:6} {millicores:4} millicores in {seconds:.0f} s; {may}")
        if limit and millicores > TOLERANCE * limit:
            raise DemoError(f"{name} used {millicores} millicores, and its limit is {limit}")


def unique_ids(endpoint: str) -> dict[str, str]:
    """Name -> unique_id; the lab's guests have the same UUIDs in every lab."""
    return {guest.name: f"{endpoint}/{guest.uuid}" for guest in GUESTS}


def reset(stage: Stage) -> dict[str, Size]:
    """Bring every guest to its first size, by the collection's own means; returns the sizes."""
    sizes, _used = read_guests()
    for first in sorted(set(FIRST.values())):
        names = [name for name, size in FIRST.items() if size == first and sizes[name] != first]
        if names:
            say(f"  {' and '.join(names)}: back to {first.vcpus} vCPU and {first.memory_mib} MiB, without a limit")
            options = ("--limit", ",".join(names), "--forks", "1")
            new = {f"headroom_new_{resource}": value for resource, value in first._asdict().items()}
            stage.play(f"reset-{names[0]}", RESIZE, *options, **new)
    sizes, _used = read_guests()
    wrong = [name for name, first in FIRST.items() if sizes[name] != first]
    if wrong:
        raise DemoError(
            f"not back at their first sizes: {', '.join(wrong)}. make lab-down ends the lab; then run again."
        )
    return sizes
