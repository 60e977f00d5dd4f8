# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and times as people read them; one place, so that every form of the report says the same."""

from __future__ import annotations

from collections.abc import Sequence

from .._core.clock import parse_utc
from .._core.units import MILLICORES_PER_VCPU, PPM
from .._records.vm import MEMORY_MIB, VCPUS

RESOURCE_WORD = {VCPUS: "vCPU", MEMORY_MIB: "memory"}
UNIT = {VCPUS: "vCPU", MEMORY_MIB: "MiB"}
# How much of the demand's metric one unit of the size holds.
PER_UNIT = {VCPUS: MILLICORES_PER_VCPU, MEMORY_MIB: 1}

MOST_LISTED = 12  # names in one sentence or list

_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_PARTS = 2  # units of a duration that are told
_PRECISE_BELOW = 10  # vCPU; from there on hundredths say nothing


def size(resource: str, amount: int) -> str:
    """A size with its unit: "2 vCPU"."""
    return f"{amount:,} {UNIT.get(resource, '')}".rstrip()


def step(resource: str, before: int, after: int) -> str:
    """A change of size: "1 → 2 vCPU"."""
    return f"{before:,} → {size(resource, after)}"


def demand(resource: str, amount: float) -> str:
    """A demand in the metric's unit, told in the unit of the size: 1380 millicores are "1.38 vCPU"."""
    value = amount / PER_UNIT.get(resource, 1)
    digits = 2 if value < _PRECISE_BELOW and resource == VCPUS else 0
    return f"{value:,.{digits}f} {UNIT.get(resource, '')}".rstrip()


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


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 VM", "2 VMs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shortened(items: Sequence[str]) -> list[str]:
    """The first of a long list, and how many more there are."""
    rest = len(items) - MOST_LISTED
    return list(items) if rest <= 0 else [*items[:MOST_LISTED], f"and {rest:,} more"]
