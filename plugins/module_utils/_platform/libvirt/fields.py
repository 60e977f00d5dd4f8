# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The named fields of a domain: one row each, how it is read, how it is set, and what it is in the inactive XML.

The rows stand with what may be done with them, in a file for each thing that can be changed. Every setter is typed and
names one field of one definition (live or persistent; libvirt's Python binding refuses both at once for most setters);
no XML is redefined.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Optional

from ..._core.canonical import digest
from ..._records.vm import Value
from . import cpu, disks, interfaces, memory, vcpus, virtio_mem
from .description import Description
from .field import CONFIG, Family, Field

FIELDS: tuple[Field, ...] = (*vcpus.FIELDS, *memory.FIELDS, *virtio_mem.FIELDS, *cpu.FIELDS)
FAMILIES: tuple[Family, ...] = (*cpu.FAMILIES, *disks.FAMILIES, *interfaces.FAMILIES)
FIELD_BY_NAME = {field.name: field for field in FIELDS}
FAMILY_BY_NAME = {family.name: family for family in FAMILIES}


def effective_memory_mib(fields: Mapping[str, Value]) -> int:
    """What the guest can use: where the balloon stands, else what the next start brings."""
    names = (memory.LIVE_MEMORY_MIB, virtio_mem.CONFIG_PLUGGED_MIB, memory.CONFIG_MEMORY_MIB)
    return next((int(fields[name]) for name in names if name in fields), 0)


def find_field(name: str) -> Optional[Field]:
    """The row of this name; None where libvirt has no such field."""
    kind, _unused, target = name.partition("/")
    if not target:
        return FIELD_BY_NAME.get(name)
    family = FAMILY_BY_NAME.get(kind)
    return None if family is None else family.field(target)


def read_fields(description: Description) -> dict[str, Value]:
    """Every field that can be read, by name. Raises ``vm.unreadable``."""
    rows = list(FIELDS)
    for family in FAMILIES:
        root = description.inactive if family.name.startswith(CONFIG) else description.live
        if root is not None:
            rows += [family.field(target) for target in family.targets(root)]
    values = {row.name: row.read(description) for row in rows}
    return {name: value for name, value in values.items() if value is not None}


def generation(description: Description) -> str:
    """Digest of whether it runs, and of its definition without the values of the fields, which are compared one by one.

    C14N 2.0 (W3C) of the masked tree without insignificant white space; comments were never parsed.
    """
    masked = copy.deepcopy(description.inactive)
    for mask in (*(row.mask for row in FIELDS), *(family.mask for family in FAMILIES)):
        if mask is not None:
            mask(masked)
    canonical = ET.canonicalize(ET.tostring(masked, encoding="unicode"), strip_text=True)
    return digest({"power": description.power, "definition": canonical})
