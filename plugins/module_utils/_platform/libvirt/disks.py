# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of each disk of a domain: operations and bytes in a second, reads and writes together.

QEMU itself keeps them, so no control group is needed. libvirt drops a limit of 0 from the definition: what was absent
is absent again.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Callable, Optional

from ..._records.vm import DISK_BYTES_PER_S, DISK_IOPS
from .description import Description, integer
from .field import both_families, drop, flag
from .operation import Setting, Why, between, definitions

PARAMETERS = {DISK_IOPS: "total_iops_sec", DISK_BYTES_PER_S: "total_bytes_sec"}
MOST = 10**15  # QEMU's THROTTLE_VALUE_MAX

# Sources that QEMU's block layer reads and writes, where its limits are kept; the others bypass it.
LIMITED_TYPES = ("file", "block", "network", "dir", "volume")


def _targets(root: ET.Element) -> list[str]:
    found = [
        target.get("dev", "")
        for disk in root.findall("devices/disk")
        if disk.get("device", "disk") == "disk" and disk.get("type") in LIMITED_TYPES
        for target in disk.findall("target")
    ]
    return [name for name in found if name]


def _disk(root: ET.Element, target: str) -> Optional[ET.Element]:
    disks = root.findall("devices/disk")
    return next((one for one in disks if any(it.get("dev") == target for it in one.findall("target"))), None)


def _read(setting: str) -> Callable[[str], Callable[[ET.Element], Optional[int]]]:
    def of_target(target: str) -> Callable[[ET.Element], Optional[int]]:
        def read(root: ET.Element) -> Optional[int]:
            disk = _disk(root, target)
            return None if disk is None else integer(disk, f"iotune/{PARAMETERS[setting]}") or 0

        return read

    return of_target


def _set(setting: str) -> Callable[[str, str], Callable[[Any, int], object]]:
    def of_field(name: str, target: str) -> Callable[[Any, int], object]:
        return lambda domain, value: domain.setBlockIoTune(target, {PARAMETERS[setting]: value}, flag(name))

    return of_field


def _mask(setting: str) -> Callable[[ET.Element], None]:
    return lambda root: drop(root, "devices/disk/iotune", PARAMETERS[setting])


FAMILIES = tuple(
    family
    for setting in PARAMETERS
    for family in both_families(setting, _targets, _read(setting), _set(setting), _mask(setting))
)


# --- what may be done -------------------------------------------------------------------------------------------------


def _other_limits(setting: str) -> Callable[[Description, str], Optional[Why]]:
    kind = PARAMETERS[setting].partition("_")[2]

    def check(description: Description, target: str) -> Optional[Why]:
        for root in definitions(description):
            disk = _disk(root, target)
            if disk is None:
                return "field_absent", f"{target} is not in both the running VM and its definition"
            if disk.find("iotune/group_name") is not None:
                return "disk.group", f"{target} shares its limits with other disks"
            for name in (f"read_{kind}", f"write_{kind}", f"total_{kind}_max"):
                if disk.find(f"iotune/{name}") is not None:
                    return "disk.other_limit", f"{target} has a {name}, which goes with no other total"
        return None

    return check


SETTINGS = tuple(
    Setting(f"disk.{name}", setting, (_other_limits(setting),), between(0, MOST), targets=_targets)
    for name, setting in (("iops", DISK_IOPS), ("bytes", DISK_BYTES_PER_S))
)
