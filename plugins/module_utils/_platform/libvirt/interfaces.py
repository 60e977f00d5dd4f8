# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bandwidth of each network interface of a domain, by its MAC address: the name it has in both definitions.

libvirt has the host's kernel keep it, with tc. An interface that had no limit keeps an empty ``<bandwidth>`` in its
definition until libvirt reads that again; it stands for nothing, and the generation leaves it out.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import Any, Callable, Optional

from ..._records.vm import INTERFACE_INBOUND_BITS_PER_S, INTERFACE_OUTBOUND_BITS_PER_S
from .description import Description, number
from .field import both_families, drop, flag
from .kernel import SHAPING
from .operation import Setting, Why, between, definitions

DIRECTION_OF = {INTERFACE_INBOUND_BITS_PER_S: "inbound", INTERFACE_OUTBOUND_BITS_PER_S: "outbound"}
BITS_PER_UNIT = 8000  # libvirt counts in kilobytes and hands them on to tc as such: 1000 bytes
MOST = (2**32 - 1) * BITS_PER_UNIT  # libvirt's parameter has 32 bits

# Of these the host has a device that tc can shape (virNetDevSupportsBandwidth).
SHAPED_TYPES = ("network", "bridge", "ethernet", "direct")


def _interfaces(root: ET.Element) -> list[tuple[str, ET.Element]]:
    found = [(one.find("mac"), one) for one in root.findall("devices/interface")]
    return [(mac.get("address", ""), one) for mac, one in found if mac is not None and one.get("type") in SHAPED_TYPES]


def _targets(root: ET.Element) -> list[str]:
    counts = Counter(mac for mac, _unused in _interfaces(root))
    return [mac for mac, times in counts.items() if mac and times == 1]


def _interface(root: ET.Element, mac: str) -> Optional[ET.Element]:
    return next((one for name, one in _interfaces(root) if name == mac), None)


def _read(setting: str) -> Callable[[str], Callable[[ET.Element], Optional[int]]]:
    def of_target(mac: str) -> Callable[[ET.Element], Optional[int]]:
        def read(root: ET.Element) -> Optional[int]:
            interface = _interface(root, mac)
            if interface is None:
                return None
            limit = interface.find(f"bandwidth/{DIRECTION_OF[setting]}")
            return 0 if limit is None else number(limit.get("average") or "0", "average") * BITS_PER_UNIT

        return read

    return of_target


def _set(setting: str) -> Callable[[str, str], Callable[[Any, int], object]]:
    parameter = f"{DIRECTION_OF[setting]}.average"

    def of_field(name: str, mac: str) -> Callable[[Any, int], object]:
        return lambda domain, value: domain.setInterfaceParameters(mac, {parameter: value // BITS_PER_UNIT}, flag(name))

    return of_field


def _mask(setting: str) -> Callable[[ET.Element], None]:
    direction = DIRECTION_OF[setting]

    def mask(root: ET.Element) -> None:
        for bandwidth in root.findall("devices/interface/bandwidth"):
            limit = bandwidth.find(direction)
            if limit is not None:
                limit.attrib.pop("average", None)
                if not limit.attrib:
                    bandwidth.remove(limit)
        drop(root, "devices/interface/bandwidth")

    return mask


FAMILIES = tuple(
    family
    for setting in DIRECTION_OF
    for family in both_families(setting, _targets, _read(setting), _set(setting), _mask(setting))
)


# --- what may be done -------------------------------------------------------------------------------------------------


def _cannot_shape(setting: str) -> Callable[[Description, str], Optional[Why]]:
    needed = SHAPING[DIRECTION_OF[setting]]

    def check(description: Description, _mac: str) -> Optional[Why]:
        lacks = description.host.kernel_lacks
        if lacks is None and description.live is None:
            # A limit that the kernel cannot keep would keep the VM from starting.
            return "interface.unproven", "it is off, and only one that runs shows whether its host's kernel can do it"
        missing = sorted(needed & (lacks or frozenset()))
        if missing:
            return "interface.no_kernel_support", f"the kernel of its host was built without {', '.join(missing)}"
        return None

    return check


def _other_limits(setting: str) -> Callable[[Description, str], Optional[Why]]:
    def check(description: Description, mac: str) -> Optional[Why]:
        for root in definitions(description):
            interface = _interface(root, mac)
            if interface is None:
                return "field_absent", f"{mac} is not in both the running VM and its definition"
            limit = interface.find(f"bandwidth/{DIRECTION_OF[setting]}")
            more = sorted(set() if limit is None else set(limit.attrib) - {"average"})
            if more:
                return "interface.other_limit", f"{mac} has a {more[0]} as well, which goes with its average"
        return None

    return check


SETTINGS = tuple(
    Setting(
        f"interface.{direction}",
        setting,
        (_cannot_shape(setting), _other_limits(setting)),
        between(0, MOST),
        targets=_targets,
        step=BITS_PER_UNIT,
    )
    for setting, direction in DIRECTION_OF.items()
)
