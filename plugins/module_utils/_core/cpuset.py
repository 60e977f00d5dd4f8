# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of CPU numbers as the kernel and libvirt write them: "0-3,8" (cpuset(7), list format)."""

from __future__ import annotations

from collections.abc import Iterable

MOST_CPUS = 2**16  # far above any host; keeps a typo from filling the memory


def parse_cpuset(text: str) -> frozenset[int]:
    """The numbers; "" is the empty set. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        numbers = (first, last) if dash else (first, first)
        if not all(one.strip().isdecimal() for one in numbers):
            raise ValueError(f"{part[:40]!r} is no CPU number and no range")
        low, high = (int(one) for one in numbers)
        if not low <= high < MOST_CPUS:
            raise ValueError(f"{part[:40]!r} is no range of CPU numbers")
        found.update(range(low, high + 1))
    return frozenset(found)


def format_cpuset(numbers: Iterable[int]) -> str:
    """The one way of writing the set: ascending, runs as ranges."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
