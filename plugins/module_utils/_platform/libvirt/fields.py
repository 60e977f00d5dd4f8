# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named fields of a domain: one row each, how it is read, how it is set, and what it is in the inactive XML.

A new field is a row here and an operation in ``capability``. Every setter is typed and names one field of one
definition (live or persistent; libvirt's Python binding refuses both at once for most setters); no XML is redefined.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..._core.canonical import digest_bytes
from ..._core.needs import needs
from ..._core.units import KIB_PER_MIB, kib_to_mib
from .description import Description, integer, kib, number

CONFIG_VCPUS = "config.vcpus"
LIVE_VCPUS = "live.vcpus"
GUEST_VCPUS = "guest.vcpus"
CONFIG_MEMORY_MIB = "config.memory_mib"
LIVE_MEMORY_MIB = "live.memory_mib"

# How long a field may take to read back. libvirt changes a definition before it answers; a guest takes its time. On TCG
# a vCPU took 1 to 3 s and the balloon 100 MiB/s; on a host with eight tasks for each CPU, 5 MiB/s. KVM is faster.
SETTLE_CONFIG_S = 1.0
SETTLE_VCPUS_S = 30.0
SETTLE_BALLOON_S = 120.0


@dataclass(frozen=True)
class Field:
    """One row: ``read`` gives None where the VM has no such field now; ``mask`` takes its value out of inactive XML."""

    name: str
    read: Callable[[Description], Optional[int]]
    write: Callable[[Any, int], object]  # of a libvirt domain and the value
    settle_s: float
    by_guest: bool = False  # the guest carries it out, so a failure is the guest's
    mask: Optional[Callable[[ET.Element], None]] = None


def read_fields(description: Description) -> dict[str, int]:
    """Every field that can be read, by name. Raises ``vm.unreadable``."""
    values = {field.name: field.read(description) for field in FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def effective_vcpus(fields: dict[str, int]) -> int:
    """What the guest can use: what it has on-line, else what is plugged, else what the next start brings."""
    return next((fields[name] for name in (GUEST_VCPUS, LIVE_VCPUS, CONFIG_VCPUS) if name in fields), 0)


def effective_memory_mib(fields: dict[str, int]) -> int:
    """What the guest can use: where the balloon stands, else where the next start puts it."""
    return next((fields[name] for name in (LIVE_MEMORY_MIB, CONFIG_MEMORY_MIB) if name in fields), 0)


def generation(inactive: ET.Element) -> str:
    """Digest of the definition without the values of the fields: those are compared one by one, all else by this.

    C14N 2.0 (W3C) of the masked tree without insignificant white space; comments were never parsed.
    """
    masked = copy.deepcopy(inactive)
    for field in FIELDS:
        if field.mask is not None:
            field.mask(masked)
    return digest_bytes(ET.canonicalize(ET.tostring(masked, encoding="unicode"), strip_text=True).encode())


def current_vcpus(root: ET.Element) -> Optional[int]:
    """``<vcpu current=>``; absent, all of them."""
    element = root.find("vcpu")
    current = None if element is None else element.get("current")
    return integer(root, "vcpu") if current is None else number(current, "vcpu current")


def current_memory_kib(root: ET.Element) -> Optional[int]:
    """``<currentMemory>``; absent, all of it. In a running domain libvirt keeps it up by the balloon's events."""
    current = kib(root, "currentMemory")
    return kib(root, "memory") if current is None else current


def _current_memory_mib(root: ET.Element) -> Optional[int]:
    current = current_memory_kib(root)
    return None if current is None else kib_to_mib(current)


def _config(read: Callable[[ET.Element], Optional[int]]) -> Callable[[Description], Optional[int]]:
    return lambda description: read(description.inactive)


def _live(read: Callable[[ET.Element], Optional[int]]) -> Callable[[Description], Optional[int]]:
    return lambda description: None if description.live is None else read(description.live)


def _guest_vcpus(description: Description) -> Optional[int]:
    return None if description.agent.code else description.agent.online


def _set_config_vcpus(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setVcpusFlags(value, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _set_live_vcpus(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setVcpusFlags(value, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _set_guest_vcpus(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setVcpusFlags(value, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_VCPU_GUEST)


def _set_config_memory(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setMemoryFlags(value * KIB_PER_MIB, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _set_live_memory(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setMemoryFlags(value * KIB_PER_MIB, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _mask_vcpus(root: ET.Element) -> None:
    element = root.find("vcpu")
    if element is not None:
        element.attrib.pop("current", None)  # libvirt writes it only where it differs from the maximum


def _mask_memory(root: ET.Element) -> None:
    for element in root.findall("currentMemory"):
        root.remove(element)


FIELDS = (
    Field(CONFIG_VCPUS, _config(current_vcpus), _set_config_vcpus, SETTLE_CONFIG_S, mask=_mask_vcpus),
    Field(LIVE_VCPUS, _live(current_vcpus), _set_live_vcpus, SETTLE_VCPUS_S),
    Field(GUEST_VCPUS, _guest_vcpus, _set_guest_vcpus, SETTLE_VCPUS_S, by_guest=True),
    Field(CONFIG_MEMORY_MIB, _config(_current_memory_mib), _set_config_memory, SETTLE_CONFIG_S, mask=_mask_memory),
    Field(LIVE_MEMORY_MIB, _live(_current_memory_mib), _set_live_memory, SETTLE_BALLOON_S),
)
FIELD_BY_NAME = {field.name: field for field in FIELDS}
