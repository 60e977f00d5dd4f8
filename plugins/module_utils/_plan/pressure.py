# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that was short of memory in the last day is given none less, whatever it uses by now.

What it could not hold it had to read again, so that its use looks smaller than its need.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional

from .._policy.settings import Settings
from .._records.series import MEMORY_MAJOR_FAULTS_PER_S, MEMORY_OOM_KILLS_PER_S, MEMORY_SWAP_BYTES_PER_S

BYTES_PER_KIB = 1024


class Sign(NamedTuple):
    """From where on a metric tells of a want of memory: a setting of the policy, or "" for anything above 0."""

    setting: str
    per_unit: int  # of the metric in one unit of the setting
    text: str

    def least(self, settings: Settings) -> float:
        """In the metric's unit; what is 0 tells nothing."""
        return float(settings.calm[self.setting] * self.per_unit) if self.setting else 0.0


SIGNS = {
    MEMORY_OOM_KILLS_PER_S: Sign("", 1, "its kernel killed processes for want of memory"),
    MEMORY_SWAP_BYTES_PER_S: Sign("memory.calm_swap_kib_per_s", BYTES_PER_KIB, "it swapped {rate} KiB a second"),
    MEMORY_MAJOR_FAULTS_PER_S: Sign(
        "memory.calm_major_faults_per_s", 1, "it had {rate} pages a second brought back from a disk"
    ),
}


class Pressed(NamedTuple):
    """Why memory is not to shrink, and the setting that says so."""

    reason: str
    setting: str


UNREAD = Pressed(
    "it could shrink, but the telemetry that would tell of a want of memory cannot be read",
    "memory.guest_floor_percent",
)


def pressed(
    largest: Optional[Mapping[str, Mapping[str, float]]], unique_id: str, settings: Settings
) -> Optional[Pressed]:
    """Why this guest is not to shrink; None where it was never short.

    ``largest``: unique_id -> metric of SIGNS -> its largest mean of the last day; None where that cannot be read.
    """
    if largest is None:
        return UNREAD
    mine = largest.get(unique_id, {})
    for metric, sign in SIGNS.items():
        value = mine.get(metric, 0.0)
        if value > 0 and value >= sign.least(settings):
            text = sign.text.format(rate=round(value / sign.per_unit))
            return Pressed(f"it could shrink, but in the last day {text}", sign.setting or "memory.guest_floor_percent")
    return None
