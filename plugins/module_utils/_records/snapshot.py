# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet at one moment: hosts, VMs, and the endpoints that did not answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .host import Host
from .vm import VM


@dataclass(frozen=True)
class Gap:
    """Part of the fleet that could not be read: recorded, never filled."""

    endpoint: str
    subject: str  # "endpoint", or the VM or host that failed
    code: str
    message: str


@dataclass(frozen=True)
class Snapshot:
    """Everything one observation saw. VMs and hosts are sorted by id."""

    KIND: ClassVar[str] = "snapshot"
    VERSION: ClassVar[int] = 1

    taken_at: str
    endpoints: tuple[str, ...]
    hosts: tuple[Host, ...]
    vms: tuple[VM, ...]
    gaps: tuple[Gap, ...] = ()
