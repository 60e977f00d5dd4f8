# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units: memory in MiB, CPU size in vCPU, CPU demand and limit in millicores, ratios in parts per million."""

from __future__ import annotations

KIB_PER_MIB = 1024
BYTES_PER_MIB = 2**20
MILLICORES_PER_VCPU = 1000
PPM = 1_000_000
PERCENT = 100
PPM_PER_PERCENT = PPM // PERCENT
MS_PER_S = 1000
US_PER_MS = 1000
SECOND_US = 1_000_000


def ceil_div(amount: int, unit: int) -> int:
    """Smallest whole number of units that holds the amount."""
    return -(-amount // unit)


def kib_to_mib(kib: int) -> int:
    """Whole MiB that fit into the KiB: a size is never shown larger than it is."""
    return kib // KIB_PER_MIB
