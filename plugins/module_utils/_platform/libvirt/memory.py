# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a domain: where its balloon stands, how much there may be at most, how often its guest tells of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Callable, Optional

from ..._core.errors import RefusedError
from ..._core.needs import needs
from ..._core.units import KIB_PER_MIB, kib_to_mib
from ..._records.vm import GROW, MAXIMUM_MEMORY_MIB, MEMORY_MIB, MEMORY_STATS_PERIOD_S
from .description import OFF, RUNNING, Description, kib, number, parse
from .field import CONFIG, Field, both, drop, flag, of_config, of_live
from .operation import Operation, Setting, Why, always_live, attribute, between, definitions
from .session import PLATFORM_REFUSED

CONFIG_MEMORY_MIB = "config.memory_mib"
LIVE_MEMORY_MIB = "live.memory_mib"
CONFIG_MAXIMUM_MEMORY_MIB = CONFIG + MAXIMUM_MEMORY_MIB

# On TCG the balloon took 100 MiB/s; on a host with eight tasks for each CPU, 5 MiB/s. KVM is faster.
SETTLE_BALLOON_S = 120.0

# No general-purpose guest boots in less. The guest's own floor, far above this, is for the plan to take from telemetry.
MEMORY_FLOOR_MIB = 128
MAXIMUM_OF_MAXIMA_MIB = 16 * 2**20  # 16 TiB: what 44 bits of a guest's physical addresses hold
LONGEST_PERIOD_S = 60  # statistics older than twice that count as stale (telemetry.STALE_S)

# Devices whose memory access is pinned (VFIO, vDPA): QEMU then ignores the balloon.
PASSED_THROUGH = (
    "devices/hostdev[@type='pci']",
    "devices/hostdev[@type='mdev']",
    "devices/interface[@type='hostdev']",
    "devices/interface[@type='vdpa']",
    "devices/disk[@type='nvme']",
    "devices/disk[@type='vhostvdpa']",
)


def current_memory_kib(root: ET.Element) -> Optional[int]:
    """``<currentMemory>``; absent, all of it. In a running domain libvirt keeps it up by the balloon's events."""
    current = kib(root, "currentMemory")
    return kib(root, "memory") if current is None else current


def memory_mib(root: ET.Element) -> int:
    """The text of ``<memory>``: all that the guest may have, memory devices included."""
    return kib_to_mib(kib(root, "memory") or 0)


def _current_mib(root: ET.Element) -> Optional[int]:
    current = current_memory_kib(root)
    return None if current is None else kib_to_mib(current)


def _maximum_mib(root: ET.Element) -> Optional[int]:
    return None if root.find("memory") is None else memory_mib(root)


def _period_s(root: ET.Element) -> Optional[int]:
    """0: the guest is not asked. None: there is no balloon to ask."""
    if not _has_balloon(root):
        return None
    return number(attribute(root, "devices/memballoon/stats", "period") or "0", "stats period")


def _set(name: str) -> Callable[[Any, int], object]:
    return lambda domain, value: domain.setMemoryFlags(value * KIB_PER_MIB, flag(name))


def _set_maximum(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    current = current_memory_kib(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))) or 0
    if value * KIB_PER_MIB < current:  # libvirt would lower that as well, which is another field
        raise RefusedError(PLATFORM_REFUSED, f"{domain.name()} is to start with {current} KiB of memory.")
    flags = flag(CONFIG_MAXIMUM_MEMORY_MIB) | libvirt.VIR_DOMAIN_MEM_MAXIMUM
    return domain.setMemoryFlags(value * KIB_PER_MIB, flags)


def _set_period(name: str) -> Callable[[Any, int], object]:
    return lambda domain, value: domain.setMemoryStatsPeriod(value, flag(name))


def _mask_current(root: ET.Element) -> None:
    for element in root.findall("currentMemory"):
        root.remove(element)


def _mask_maximum(root: ET.Element) -> None:
    for element in root.findall("memory"):
        element.text = ""


def _mask_period(root: ET.Element) -> None:
    drop(root, "devices/memballoon", "stats")


FIELDS = (
    Field(CONFIG_MEMORY_MIB, of_config(_current_mib), _set(CONFIG_MEMORY_MIB), mask=_mask_current),
    Field(LIVE_MEMORY_MIB, of_live(_current_mib), _set(LIVE_MEMORY_MIB), SETTLE_BALLOON_S),
    Field(CONFIG_MAXIMUM_MEMORY_MIB, of_config(_maximum_mib), _set_maximum, mask=_mask_maximum),
    *both(MEMORY_STATS_PERIOD_S, _period_s, _set_period, _mask_period),
)


# --- what may be done -------------------------------------------------------------------------------------------------


def _has_balloon(root: ET.Element) -> bool:
    return attribute(root, "devices/memballoon", "model").startswith("virtio")


def _no_balloon(description: Description, _direction: str) -> Optional[Why]:
    if all(_has_balloon(root) for root in definitions(description)):
        return None
    return "memory.no_balloon", "it has no virtio balloon"


def held(description: Description, direction: str) -> Optional[Why]:
    """What keeps memory from changing hands, whichever way."""
    for root in definitions(description):
        for path, why in HOLDERS:
            if root.find(path) is not None:
                return why
        if direction == GROW:
            for path, why in GROWTH_LIMITS:
                if root.find(path) is not None:
                    return why
    return None


def _has_devices(description: Description, _direction: str) -> Optional[Why]:
    for root in definitions(description):
        device = root.find("devices/memory")
        if device is not None:
            return "memory.devices", f"it has memory devices ({device.get('model', 'unknown')})"
    return None


def _fraction(description: Description, _direction: str) -> Optional[Why]:
    size = current_memory_kib(description.inactive) or 0
    if size % KIB_PER_MIB:
        return "memory.fraction", f"its definition asks for {size} KiB, no whole MiB, which could not be restored"
    return None


def _fixed_maximum(description: Description, _target: str) -> Optional[Why]:
    for path, code, words in (
        ("cpu/numa", "maximum_memory.numa", "its NUMA cells have the memory, and libvirt changes no cell"),
        ("maxMemory", "maximum_memory.slots", "it has slots for memory devices, which libvirt ties to NUMA cells"),
    ):
        if description.inactive.find(path) is not None:
            return code, words
    size = kib(description.inactive, "memory") or 0
    if size % KIB_PER_MIB:
        return "memory.fraction", f"its definition allows {size} KiB, no whole MiB, which could not be restored"
    return None


def _balloon_bounds(description: Description, _direction: str) -> tuple[int, int]:
    return MEMORY_FLOOR_MIB, min(memory_mib(root) for root in definitions(description))


def _maximum_bounds(description: Description, _target: str) -> tuple[int, int]:
    current = current_memory_kib(description.inactive) or 0
    return max(MEMORY_FLOOR_MIB, -(-current // KIB_PER_MIB)), MAXIMUM_OF_MAXIMA_MIB


HOLDERS: tuple[tuple[str, Why], ...] = (
    *(
        (path, ("memory.passthrough", "it has a passed-through device, which pins its memory"))
        for path in PASSED_THROUGH
    ),
    ("memoryBacking/hugepages", ("memory.hugepages", "it lives in huge pages, which a balloon cannot give back")),
    ("memoryBacking/locked", ("memory.locked", "it has its memory locked")),
    ("launchSecurity", ("memory.encrypted", "it has encrypted memory, which is pinned")),
)
GROWTH_LIMITS: tuple[tuple[str, Why], ...] = (
    ("numatune/memory[@mode='strict']", ("memory.numa_strict", "it may take memory from its NUMA nodes only")),
    ("numatune/memnode[@mode='strict']", ("memory.numa_strict", "it may take memory from its NUMA nodes only")),
    ("memtune/hard_limit", ("memory.hard_limit", "it has a hard memory limit, above which the host kills it")),
)

_BALLOON_OBSTACLES = (_no_balloon, held, _has_devices, _fraction)

OPERATIONS = (
    Operation(
        "memory.balloon",
        MEMORY_MIB,
        RUNNING,
        lambda _: (LIVE_MEMORY_MIB, CONFIG_MEMORY_MIB),
        _BALLOON_OBSTACLES,
        _balloon_bounds,
        always_live,
    ),
    Operation(
        "memory.config",
        MEMORY_MIB,
        OFF,
        lambda _: (CONFIG_MEMORY_MIB,),
        _BALLOON_OBSTACLES,  # without a balloon the next start takes all of <memory>
        _balloon_bounds,
        always_live,
    ),
)
SETTINGS = (
    Setting("memory.maximum", MAXIMUM_MEMORY_MIB, (_fixed_maximum,), _maximum_bounds, cold=True),
    Setting("memory.stats_period", MEMORY_STATS_PERIOD_S, (_no_balloon,), between(0, LONGEST_PERIOD_S)),
)
