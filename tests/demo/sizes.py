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


class Size(NamedTuple):
    """What a guest has: vCPUs on-line, MiB where the balloon stands."""

    vcpus: int
    memory_mib: int


FIRST = {guest.name: Size(guest.vcpus, guest.memory_mib) for guest in GUESTS}


def read_sizes() -> dict[str, Size]:
    """Ask libvirt and the guests' agents. Raises DemoError where one does not answer."""
    report = json.loads(lab("status", "--json"))
    silent = [guest["name"] for guest in report["guests"] if guest["vcpus_online"] is None]
    if report["state"] == "down" or silent:
        raise DemoError(f"the lab is {report['state']}; no answer from {', '.join(silent) or 'any guest'}")
    return {guest["name"]: Size(guest["vcpus_online"], guest["memory_mib"]) for guest in report["guests"]}


def unique_ids(endpoint: str) -> dict[str, str]:
    """Name -> unique_id; the lab's guests have the same UUIDs in every lab."""
    return {guest.name: f"{endpoint}/{guest.uuid}" for guest in GUESTS}


def reset(stage: Stage) -> dict[str, Size]:
    """Bring every guest to its first size, by the collection's own means; returns the sizes."""
    sizes = read_sizes()
    for first in sorted(set(FIRST.values())):
        names = [name for name, size in FIRST.items() if size == first and sizes[name] != first]
        if names:
            say(f"  {' and '.join(names)}: back to {first.vcpus} vCPU and {first.memory_mib} MiB")
            options = ("--limit", ",".join(names), "--forks", "1")
            new = {"headroom_new_vcpus": first.vcpus, "headroom_new_memory_mib": first.memory_mib}
            stage.play(f"reset-{names[0]}", RESIZE, *options, **new)
    sizes = read_sizes()
    wrong = [name for name, first in FIRST.items() if sizes[name] != first]
    if wrong:
        raise DemoError(
            f"not back at their first sizes: {', '.join(wrong)}. make lab-down ends the lab; then run again."
        )
    return sizes
