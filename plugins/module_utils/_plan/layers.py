# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two layers: sizes, that follow demand with care, and limits, that say how much of a size, or device, is used.

A limit never lies above its size. Where one would, because the size shrinks in the same plan, the limit comes down
first; it needs no reason of its own then, for the size takes away as much. A size grows without its limit; a limit in
force is judged by the size that there will be, so that it does not hold back what was just given.

A limit of a device has no size. What goes without one is taken to have the policy's maximum, and a limit that comes to
so much is taken away; one that stands there already may go up to twice of itself first. Telemetry tells of all disks or
interfaces of a VM together: each may use as much as all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from .._core.units import ceil_div
from .._policy.settings import PROFILE_NONE, Settings, Sizing
from .._records.demand import DEMANDS
from .._records.vm import LIMITS, SHRINK, VM, kind_of
from .constraints import common_granule
from .target import Wanted


@dataclass(frozen=True)
class Layer:
    """What one decision is about: one of RESOURCES, or a limit with its target.

    ``has``: what the guest can use now, of a limit of no size as it is written, where 0 is none. ``size``: what the
    decision starts from. ``whole``: all that there is without a limit; 0 of what is none, and cannot be lifted.
    ``above``: from here the size must come down, whatever demand says.
    """

    resource: str
    has: int
    size: int
    sizing: Sizing
    whole: int = 0
    above: Optional[int] = None

    @property
    def kind(self) -> str:
        """Without its target."""
        return kind_of(self.resource)

    @property
    def supposed(self) -> bool:
        """Whether there is no limit, and nothing that tells how much there is without one but the policy."""
        return self.whole > 0 and not self.has


def size_layer(vm: VM, resource: str, settings: Settings) -> Layer:
    """One of RESOURCES."""
    return Layer(resource, vm.has(resource), vm.has(resource), settings.sizing[resource])


def planned_limits(vm: VM, settings: Settings) -> list[str]:
    """The limits of this VM, and of its devices, that the policy has planned."""
    return [one for limit in LIMITS if settings.sizing[limit].profile != PROFILE_NONE for one in vm.each(limit)]


def limit_layer(vm: VM, limit: str, settings: Settings, *, size_after: int) -> Layer:
    """One of ``planned_limits``; ``size_after``: what the plan makes of the size it limits, if it limits any."""
    if not LIMITS[kind_of(limit)].size:
        return _of_no_size(vm, limit, settings.sizing[kind_of(limit)])
    sizing, whole = settings.sizing[limit], vm.whole(limit)
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
    has, had = vm.has(limit), vm.size(limit)  # had 0: none, which goes down with its size
    return Layer(limit, has, has if had else end, own, whole, above=end if end < whole and had > end else None)


def standing_limit(vm: VM, limit: str, settings: Settings) -> Layer:
    """One of ``planned_limits``, while the size that it limits stays as it is."""
    of = LIMITS[kind_of(limit)].size
    return limit_layer(vm, limit, settings, size_after=vm.has(of) if of else 0)


def _of_no_size(vm: VM, limit: str, sizing: Sizing) -> Layer:
    had = vm.size(limit)
    if not LIMITS[kind_of(limit)].lifted:
        return Layer(limit, had, had, sizing)
    granule = common_granule(vm, limit, sizing)
    whole = max(sizing.maximum // granule, 1) * granule
    if had >= whole:
        whole = 2 * had // granule * granule
    # Half of what nobody has ever measured is no careful step.
    steps = sizing.step_limit_percent if had else {**sizing.step_limit_percent, SHRINK: None}
    own = replace(sizing, maximum=whole, step_limit_percent=steps)
    return Layer(limit, had, had or whole, own, whole)


def brought_down(layer: Layer, wanted: Wanted) -> Wanted:
    """What is wanted of a layer, at most what lies below ``above``."""
    if layer.above is None or (wanted.direction == SHRINK and wanted.size <= layer.above):
        return wanted
    demand = DEMANDS[layer.kind]
    reason = f"its {LIMITS[layer.kind].size} shrink: a limit of {demand.size(layer.size)} would lie above them"
    return wanted._replace(size=layer.above, direction=SHRINK, code=SHRINK, reason=reason, line=0)
