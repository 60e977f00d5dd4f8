# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a named field is, and a family of them: one for each disk, interface or vCPU."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..._core.needs import needs
from ..._records.vm import Value
from .description import Description

LIVE = "live."
CONFIG = "config."

# libvirt changes a definition, and what the host itself limits, before it answers.
SETTLE_AT_ONCE_S = 1.0

Read = Callable[[ET.Element], Optional[Value]]


@dataclass(frozen=True)
class Field:
    """One row: ``read`` gives None where the VM has no such field now; ``mask`` takes its value out of inactive XML."""

    name: str
    read: Callable[[Description], Optional[Value]]
    write: Callable[[Any, Any], object]  # of a libvirt domain and the value
    settle_s: float = SETTLE_AT_ONCE_S
    by_guest: bool = False  # the guest carries it out, so a refusal is the guest's
    mask: Optional[Callable[[ET.Element], None]] = None


@dataclass(frozen=True)
class Family:
    """A field for each of a VM's ``targets``, named "live.disk_iops/vda"; ``mask`` is of all of them."""

    name: str
    targets: Callable[[ET.Element], Iterable[str]]
    field: Callable[[str], Field]
    mask: Optional[Callable[[ET.Element], None]] = None


def of_config(read: Read) -> Callable[[Description], Optional[Value]]:
    """What the persistent definition says."""
    return lambda description: read(description.inactive)


def of_live(read: Read) -> Callable[[Description], Optional[Value]]:
    """What the running VM has."""
    return lambda description: None if description.live is None else read(description.live)


def flag(name: str) -> int:
    """Which of its definitions a field is of, as libvirt's flag."""
    with needs("libvirt"):
        import libvirt
    value: int = libvirt.VIR_DOMAIN_AFFECT_CONFIG if name.startswith(CONFIG) else libvirt.VIR_DOMAIN_AFFECT_LIVE
    return value


def both(
    setting: str, read: Read, write: Callable[[str], Callable[[Any, Any], object]], mask: Callable[[ET.Element], None]
) -> tuple[Field, Field]:
    """The two fields of a setting that the running VM and its definition have; ``write`` is given a field's name."""
    live, config = LIVE + setting, CONFIG + setting
    return (
        Field(live, of_live(read), write(live)),
        Field(config, of_config(read), write(config), mask=mask),
    )


def both_families(
    setting: str,
    targets: Callable[[ET.Element], Iterable[str]],
    read: Callable[[str], Read],
    write: Callable[[str, str], Callable[[Any, Any], object]],
    mask: Callable[[ET.Element], None],
) -> tuple[Family, Family]:
    """As ``both`` for each target; ``write`` is given a family's name and the target."""

    def live(target: str) -> Field:
        return Field(f"{LIVE}{setting}/{target}", of_live(read(target)), write(LIVE + setting, target))

    def config(target: str) -> Field:
        return Field(f"{CONFIG}{setting}/{target}", of_config(read(target)), write(CONFIG + setting, target))

    return Family(LIVE + setting, targets, live), Family(CONFIG + setting, targets, config, mask)


def drop(root: ET.Element, parent: str, *names: str) -> None:
    """Take these children out of every such parent, and the parent as well once it is empty; part of a mask."""
    above, _unused, last = parent.rpartition("/")
    for outer in root.findall(above) if above else [root]:
        for element in outer.findall(last):
            for name in names:
                for child in element.findall(name):
                    element.remove(child)
            if len(element) == 0 and not element.attrib:
                outer.remove(element)
