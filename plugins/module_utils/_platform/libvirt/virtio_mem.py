# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that a virtio-mem device plugs block by block; counted with what the VM boots with, so as its whole size."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Callable, Optional

from ..._core.errors import RefusedError
from ..._core.needs import needs
from ..._core.units import KIB_PER_MIB, kib_to_mib
from ..._records.vm import MEMORY_MIB
from .description import OFF, RUNNING, Description, kib, parse
from .field import CONFIG, Field, flag, of_config, of_live
from .memory import current_memory_kib, held
from .operation import Operation, Why, always_live, definitions
from .session import PLATFORM_REFUSED

CONFIG_PLUGGED_MIB = "config.plugged_memory_mib"
LIVE_PLUGGED_MIB = "live.plugged_memory_mib"

# On TCG a guest took 2 s for 256 MiB, and longer to let go: it must first move what lies there.
SETTLE_PLUGGED_S = 60.0

DEVICES = "devices/memory"
MODEL = "virtio-mem"
REQUESTED = "target/requested"


def device(root: ET.Element) -> Optional[ET.Element]:
    """The one memory device where it is a virtio-mem; None where there are others or more."""
    found = root.findall(DEVICES)
    return found[0] if len(found) == 1 and found[0].get("model") == MODEL else None


def boot_memory_kib(root: ET.Element) -> int:
    """What the VM has without its memory devices."""
    return (kib(root, "memory") or 0) - sum(kib(one, "target/size") or 0 for one in root.findall(DEVICES))


def _size(path: str) -> Callable[[ET.Element], Optional[int]]:
    def read(root: ET.Element) -> Optional[int]:
        one = device(root)
        return None if one is None else kib_to_mib(boot_memory_kib(root) + (kib(one, path) or 0))

    return read


def _set(name: str) -> Callable[[Any, int], object]:
    def write(domain: Any, value: int) -> object:
        # libvirt compares the device with the one that it has, and takes no difference but the requested size.
        with needs("libvirt"):
            import libvirt
        root = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE if name.startswith(CONFIG) else 0))
        one = device(root)
        requested = None if one is None else one.find(REQUESTED)
        if one is None or requested is None:
            raise RefusedError(
                PLATFORM_REFUSED, f"{domain.name()} has no virtio-mem device now.", advice="Observe again."
            )
        requested.text = str(value * KIB_PER_MIB - boot_memory_kib(root))
        return domain.updateDeviceFlags(ET.tostring(one, encoding="unicode"), flag(name))

    return write


def _mask(root: ET.Element) -> None:
    for element in root.findall(f"{DEVICES}[@model='{MODEL}']/{REQUESTED}"):
        element.text = ""


FIELDS = (
    Field(LIVE_PLUGGED_MIB, of_live(_size("target/current")), _set(LIVE_PLUGGED_MIB), SETTLE_PLUGGED_S, by_guest=True),
    Field(CONFIG_PLUGGED_MIB, of_config(_size(REQUESTED)), _set(CONFIG_PLUGGED_MIB), mask=_mask),
)


# --- what may be done -------------------------------------------------------------------------------------------------


def _no_device(description: Description, _direction: str) -> Optional[Why]:
    if any(device(root) is None for root in definitions(description)):
        return "memory.no_virtio_mem", "it has not just one virtio-mem device and no other memory device"
    return None


def _balloon_used(description: Description, _direction: str) -> Optional[Why]:
    # Both at once would each undo what the other gave; and a balloon hides how much of the device's memory is used.
    live = description.live
    plugged = 0 if live is None else kib(live, f"{DEVICES}/target/current") or 0
    for root, more in ((description.inactive, 0), (live, plugged)):
        if root is not None and (current_memory_kib(root) or 0) < boot_memory_kib(root) + more:
            return "memory.balloon_used", "its balloon holds memory back, which the device's size does not show"
    return None


def _uneven(description: Description, _direction: str) -> Optional[Why]:
    for root in definitions(description):
        step = _block_kib(root)
        if boot_memory_kib(root) % step or step % KIB_PER_MIB:
            return "memory.fraction", f"its memory is no multiple of the device's blocks of {step} KiB"
    return None


def _block_kib(root: ET.Element) -> int:
    return max(1, kib(root, f"{DEVICES}/target/block") or 0)


def _bounds(description: Description, _direction: str) -> tuple[int, int]:
    roots = definitions(description)
    low = max(boot_memory_kib(root) for root in roots)
    return kib_to_mib(low), min(kib_to_mib(kib(root, "memory") or 0) for root in roots)


def _step(description: Description) -> int:
    return max(1, kib_to_mib(max(_block_kib(root) for root in definitions(description))))


_OBSTACLES = (_no_device, held, _balloon_used, _uneven)

OPERATIONS = (
    Operation(
        "memory.virtio_mem",
        MEMORY_MIB,
        RUNNING,
        lambda _: (LIVE_PLUGGED_MIB, CONFIG_PLUGGED_MIB),
        _OBSTACLES,
        _bounds,
        always_live,
        _step,
    ),
    Operation(
        "memory.virtio_mem",
        MEMORY_MIB,
        OFF,
        lambda _: (CONFIG_PLUGGED_MIB,),
        _OBSTACLES,
        _bounds,
        always_live,
        _step,
    ),
)
