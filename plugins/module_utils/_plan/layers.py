# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two layers: sizes, that follow demand with care, and limits, that say how much of a size is used.

A limit never lies above its size. Where one would, because the size shrinks in the same plan, the limit comes down
first; it needs no reason of its own then, for the size takes away as much. A size grows without its limit; a limit in
force is judged by the size that there will be, so that it does not hold back what was just given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from .._core.units import ceil_div
from .._policy.settings import PROFILE_NONE, Settings, Sizing
from .._records.vm import LIMITS, SHRINK, VM
from .target import DEMANDS, Wanted


@dataclass(frozen=True)
class Layer:
    """What one decision is about. ``above``: from here the size must come down, whatever demand says."""

    resource: str
    size: int
    sizing: Sizing
    above: Optional[int] = None


def size_layer(vm: VM, resource: str, settings: Settings) -> Layer:
    """One of RESOURCES."""
    return Layer(resource, vm.has(resource), settings.sizing[resource])


def limit_layer(vm: VM, limit: str, settings: Settings, *, size_after: int) -> Optional[Layer]:
    """One of LIMITS, where the policy has it planned; ``size_after``: what the plan makes of the size it limits."""
    sizing, whole = settings.sizing[limit], vm.whole(limit)
    if sizing.profile == PROFILE_NONE:
        return None
    end = size_after * LIMITS[limit].per_unit
    minimum = max(sizing.minimum, ceil_div(end * sizing.minimum_percent, 100))
    of_size = settings.sizing[LIMITS[limit].size]
    own = replace(
        sizing,
        minimum=min(minimum, end),
        maximum=end,
        declared=min(of_size.declared * LIMITS[limit].per_unit, end),
        lines={**sizing.lines, "declared": of_size.lines["declared"]},
    )
    had = vm.size(limit)  # 0: none, which goes down with its size
    return Layer(limit, vm.has(limit) if had else end, own, above=end if end < whole and had > end else None)


def brought_down(layer: Layer, wanted: Wanted) -> Wanted:
    """What is wanted of a layer, at most what lies below ``above``."""
    if layer.above is None or (wanted.direction == SHRINK and wanted.size <= layer.above):
        return wanted
    demand = DEMANDS[layer.resource]
    reason = f"its {LIMITS[layer.resource].size} shrink: a limit of {demand.size(layer.size)} would lie above them"
    return wanted._replace(size=layer.above, direction=SHRINK, code=SHRINK, reason=reason, line=0)
