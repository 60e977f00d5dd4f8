# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and times as people read them; one place, so that every form of the report says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from .._core.clock import parse_utc
from .._core.units import MILLICORES_PER_VCPU, PPM
from .._records.action import Action
from .._records.demand import DEMANDS, demand_of
from .._records.vm import (
    CPU_LIMIT_MILLICORES,
    CPU_SHARES,
    DEVICE_LIMITS,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    INTERFACE_INBOUND_BITS_PER_S,
    INTERFACE_OUTBOUND_BITS_PER_S,
    LIMITS,
    MEMORY_MIB,
    RESOURCES,
    SET,
    VCPUS,
    kind_of,
    target_of,
)

RESOURCE_WORD = {
    VCPUS: "CPU",
    MEMORY_MIB: "memory",
    CPU_LIMIT_MILLICORES: "CPU limit",
    CPU_SHARES: "CPU shares",
    DISK_IOPS: "limit of disk",
    DISK_BYTES_PER_S: "limit of disk",
    INTERFACE_INBOUND_BITS_PER_S: "limit into interface",
    INTERFACE_OUTBOUND_BITS_PER_S: "limit out of interface",
}
UNIT = {resource: DEMANDS[resource].unit for resource in RESOURCES}
MIB_PER_GIB = 1024
# How much of the demand's metric one unit of the size holds.
PER_UNIT = {resource: DEMANDS[resource].per_unit for resource in RESOURCES}

_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_PARTS = 2  # units of a duration that are told
_PRECISE_BELOW = 10  # vCPU; from there on hundredths say nothing


def size(resource: str, amount: float) -> str:
    """A size with its unit: "2 vCPU", "896 MiB", "1.75 GiB", "1.5 vCPU (1500 millicores)", "20 MB/s"."""
    if resource == CPU_LIMIT_MILLICORES:
        return f"{_vcpus(amount)} {UNIT[VCPUS]} ({amount:.0f} millicores)"
    if resource == MEMORY_MIB and abs(amount) >= MIB_PER_GIB:
        return f"{_short(amount / MIB_PER_GIB)} GiB"
    if kind_of(resource) in DEVICE_LIMITS:
        told = demand_of(resource)
        return f"{_short(amount / told.per_told)} {told.unit}"
    return f"{_short(amount)} {UNIT.get(resource, '')}".rstrip()


def step(resource: str, before: int, after: int) -> str:
    """A change of size: "1 → 2 vCPU", "1 GiB → 896 MiB", "2 → 1.5 vCPU (1500 millicores)"."""
    if resource == CPU_LIMIT_MILLICORES:
        return f"{_vcpus(before)} → {size(resource, after)}"
    first, second = size(resource, before), size(resource, after)
    unit = f" {second.rpartition(' ')[2]}"
    return f"{first.removesuffix(unit)} → {second}" if first.endswith(unit) else f"{first} → {second}"


def change(act: Action) -> str:
    """What an act changes: a size, or the fields of a setting, which may be words: "0-3 → 0-7"."""
    if act.resource in UNIT:
        return step(act.resource, act.size_before, act.size_after)
    if kind_of(act.resource) in DEVICE_LIMITS:  # of which 0 is none
        first = act.changes[0]
        ends = (size(act.resource, int(amount)) if amount else "none" for amount in (first.before, first.after))
        return f"{resource_word(act.resource)} {' → '.join(ends)}"
    if kind_of(act.resource) in LIMITS and act.direction != SET:
        return f"{resource_word(act.resource)} {step(act.resource, act.size_before, act.size_after)}"
    return f"{resource_word(act.resource)} " + "; ".join(f"{one.before} → {one.after}" for one in act.changes)


def demand(resource: str, amount: float) -> str:
    """A demand in the metric's unit, told in the unit of the size: 1380 millicores are "1.38 vCPU"."""
    value = amount / PER_UNIT.get(resource, 1)
    if resource == VCPUS:
        return f"{value:,.{2 if value < _PRECISE_BELOW else 0}f} {UNIT[VCPUS]}"
    return size(resource, round(value))


def resource_word(resource: str) -> str:
    """The name of a resource, or of a setting with its target: "limit of disk vda"."""
    kind = kind_of(resource)
    return f"{RESOURCE_WORD.get(kind, kind.replace('_', ' '))} {target_of(resource)}".rstrip()


def sizes(amounts: Mapping[tuple[str, str], int], direction: str) -> list[str]:
    """What acts in one direction come to, each resource with its unit; those of which nothing moves are left out.

    Of limits only those of a size add up: of the others, more is no more of anything.
    """
    return [
        size(resource, amount) + (f" of {resource_word(resource)}" if resource in LIMITS else "")
        for (resource, way), amount in amounts.items()
        if way == direction and amount and resource in (*UNIT, CPU_LIMIT_MILLICORES)
    ]


def cost(amount: float) -> str:
    """A change of cost with its sign, in the unit of the policy, whatever that is."""
    return f"{round(amount):+,}".replace("-", "\N{MINUS SIGN}")


def when(moment: str) -> str:
    """RFC 3339 to the minute: "2026-03-01 12:00 UTC"; "" stays ""."""
    return f"{parse_utc(moment):%Y-%m-%d %H:%M} UTC" if moment else ""


def span(seconds: float) -> str:
    """A duration in at most two units that follow each other: "1 h 5 min"."""
    rest = round(seconds)
    parts: list[str] = []
    for length, unit in _SPANS:
        if rest >= length and len(parts) < _PARTS:
            parts.append(f"{rest // length} {unit}")
            rest %= length
        elif parts:
            break
    return " ".join(parts) or "0 s"


def percent(ppm: int) -> str:
    """Parts per million as whole percent; what is not all is never "100 %", what is not nothing never "0 %"."""
    whole = round(ppm * 100 / PPM)
    return f"{whole if ppm in (0, PPM) else min(max(whole, 1), 99)} %"


def share(value: Optional[float]) -> str:
    """A share as percent with three digits, for limits such as 1 %: "1.04 %"."""
    return "not known" if value is None else f"{value * 100:.3g} %"


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 VM", "2 VMs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _vcpus(millicores: float) -> str:
    return f"{millicores / MILLICORES_PER_VCPU:g}"


def _short(amount: float) -> str:
    """At most two digits behind the point, and none that is 0."""
    return f"{amount:,.2f}".rstrip("0").rstrip(".")
