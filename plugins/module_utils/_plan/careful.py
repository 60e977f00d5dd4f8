# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The careful profile: nothing shrinks below what was wanted of it at any time within the hold time.

So there is no shrink until the hold time after the present size, or more, was last wanted, nor within the hold time
after the first plan that asked; and a shrink that comes at night leaves what the day needed. Source: VPA, which goes by
the peaks of whole days.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Optional

from .._core.units import MS_PER_S
from .._policy.settings import PROFILE_CAREFUL, Settings
from .._records.demand import DEMANDS
from .._records.vm import VM
from .._records.wishes import Wishes
from .constraints import SECONDS_PER_HOUR
from .layers import Layer
from .state import PlanState
from .target import SECONDS_PER_MINUTE, up


class Kept(NamedTuple):
    """A careful layer shrinks no further than to ``size``, by this line of the policy."""

    size: int
    reason: str
    line: int


def renewed(
    vm: VM, layer: Layer, settings: Settings, *, wished: Optional[int], state: PlanState, now: datetime
) -> Optional[Wishes]:
    """What is to be kept of what plans wanted of a layer, this one too; None: its profile asks for nothing."""
    hold_ms, now_ms = _hold_ms(layer, settings), _ms(now)
    if not hold_ms:
        return None
    known = state.wishes.get((vm.unique_id, layer.resource), Wishes(now_ms))
    return known.renewed(wished, now_ms=now_ms, hold_ms=hold_ms)


def kept(vm: VM, layer: Layer, settings: Settings, *, granule: int, state: PlanState, now: datetime) -> Optional[Kept]:
    """How far a layer may shrink by what earlier plans wanted of it; None: as far as it likes.

    A limit that has to come down with its size comes down, whatever was wanted of it.
    """
    hold_ms, now_ms = _hold_ms(layer, settings), _ms(now)
    if not hold_ms:
        return None
    line = settings.lines["shrink.hold_hours"]
    rule = f"it shrinks when it wanted less for {settings.shrink_hold_hours} h"
    highest = layer.size if layer.above is None else layer.above
    known = state.wishes.get((vm.unique_id, layer.resource), Wishes(now_ms))
    largest = known.largest(after_ms=now_ms - hold_ms)
    if largest is not None:
        wanted = f"it wanted {DEMANDS[layer.kind].size(largest.size)} {_span(now_ms - largest.at_ms)} ago"
        if largest.size >= layer.size:
            return Kept(highest, f"{wanted}: {rule}", line)
    if now_ms - known.since_ms < hold_ms:
        return Kept(highest, f"what it wants is known for {_span(now_ms - known.since_ms)}: {rule}", line)
    if largest is None:
        return None
    return Kept(min(up(largest.size, granule), highest), f"{wanted}, and keeps so much for it", line)


def _hold_ms(layer: Layer, settings: Settings) -> int:
    careful = layer.sizing.profile == PROFILE_CAREFUL
    return settings.shrink_hold_hours * SECONDS_PER_HOUR * MS_PER_S if careful else 0


def _ms(now: datetime) -> int:
    return int(now.timestamp() * MS_PER_S)


def _span(age_ms: int) -> str:
    """For people, in hours; below one in minutes."""
    minutes = max(0, age_ms) // MS_PER_S // SECONDS_PER_MINUTE
    hours = minutes * SECONDS_PER_MINUTE // SECONDS_PER_HOUR
    return f"{hours} h" if hours else f"{minutes} minutes"
