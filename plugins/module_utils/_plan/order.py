# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proposals get the room, in which order the acts come, and what each must wait for.

Grows come first, by priority and then by pressure, each right after the shrinks whose room it needs; the other
shrinks follow, the largest savings first. What is only recommended counts on nothing that is real, and nothing real
counts on it: it is arranged last, with the room that is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Union

from .._core.units import PPM
from .._policy.settings import MODE_RECOMMEND, MODES, Settings
from .._records.vm import GROW, MEMORY_MIB, RESOURCES, SHRINK, VCPUS, VM, Capability
from .capacity import Ledger
from .constraints import Against, Opening, against_small_change
from .target import DEMANDS, Wanted

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Proposal:
    """An act that everything but capacity allows. ``decision``: index of the decision it came from."""

    vm: VM
    settings: Settings
    resource: str
    direction: str
    mode: str
    capability: Capability
    granule: int
    size_after: int
    wanted: Wanted
    opening: Opening
    reason: str
    line: int
    decision: int
    code: str  # of the decision, where it comes to an act
    after: tuple[int, ...] = ()  # decisions whose acts must be done before
    lead_ms: int = 0

    @property
    def size(self) -> int:
        """The size it has."""
        return self.vm.has(self.resource)

    @property
    def pressure_ppm(self) -> int:
        """Demand as a share of what the VM has."""
        return self.wanted.upper * PPM // max(1, self.size * DEMANDS[self.resource].per_unit)

    @property
    def saving(self) -> int:
        """What a shrink saves, in thousandths of the policy's relative cost."""
        freed = self.size - self.size_after
        per_unit = {VCPUS: self.settings.cost_per_vcpu * MIB_PER_GIB, MEMORY_MIB: self.settings.cost_per_memory_gib}
        return freed * per_unit.get(self.resource, 0) * 1000 // MIB_PER_GIB


class Placed(NamedTuple):
    """A proposal with its final size, in the order of the plan; ``after``: positions in that order."""

    proposal: Proposal
    size_after: int
    reason: str
    after: tuple[int, ...]


def arrange(
    proposals: list[Proposal], ledger: Ledger, *, exact: bool = False
) -> tuple[list[Placed], dict[int, Against]]:
    """Give out the room. Returns the acts in order, and why some proposals (by ``decision``) get none.

    ``exact``: room for a part of a grow is no room.
    """
    placed: list[Placed] = []
    positions: dict[int, int] = {}  # of shrinks already placed, by index into proposals
    refused: dict[int, Against] = {}

    by_decision = {one.decision: index for index, one in enumerate(proposals)}

    def place(index: int, size_after: int, reason: str, donors: set[int]) -> None:
        first = donors | {by_decision[one] for one in proposals[index].after}
        new = [one for one in first if one not in positions]
        for one in sorted(new, key=lambda one: _shrink_key(proposals[one])):
            if one not in positions:  # else it had to be done before another of them
                place(one, proposals[one].size_after, proposals[one].reason, set())
        after = tuple(sorted(positions[one] for one in first))
        positions[index] = len(placed)
        placed.append(Placed(proposals[index], size_after, reason, after))

    for recommended in (False, True):
        part = [index for index, one in enumerate(proposals) if (one.mode == MODE_RECOMMEND) == recommended]
        shrinks = [index for index in part if proposals[index].direction == SHRINK]
        for index in sorted(shrinks, key=lambda one: _donor_key(proposals[one])):
            one = proposals[index]
            ledger.donate(one.vm, one.resource, one.size - one.size_after, donor=index)
        grows = [index for index in part if proposals[index].direction == GROW]
        for index in sorted(grows, key=lambda one: _grow_key(proposals[one])):
            fit = _fit(proposals[index], ledger, exact=exact)
            if isinstance(fit, Against):
                refused[proposals[index].decision] = fit
            else:
                place(index, *fit)
        for index in sorted(shrinks, key=lambda one: _shrink_key(proposals[one])):
            if index not in positions:
                place(index, proposals[index].size_after, proposals[index].reason, set())
    return placed, refused


def _fit(one: Proposal, ledger: Ledger, *, exact: bool) -> Union[tuple[int, str, set[int]], Against]:
    """Take room for the grow, or for as much of it as there is and as is worth an act. A limit takes none."""
    if one.resource not in RESOURCES:
        return one.size_after, one.reason, set()
    short = ledger.shortage(one.vm, one.resource)
    if short.available >= one.size_after - one.size:
        return one.size_after, one.reason, ledger.take(one.vm, one.resource, one.size_after - one.size)
    part = (one.size + max(0, short.available)) // one.granule * one.granule
    sizing = one.settings.sizing[one.resource]
    reason = f"{one.reason}; {short.reason}"
    too_small = part <= one.size or part < one.capability.minimum
    if exact or too_small or against_small_change(one.size, part, sizing=sizing):
        return Against(short.code, reason, short.line)
    return part, f"{reason}, so it gets {part}", ledger.take(one.vm, one.resource, part - one.size)


def _donor_key(one: Proposal) -> tuple[int, int, str, str]:
    """What needs no approval first, then the largest: the fewest donors for each grow."""
    return -MODES.index(one.mode), one.size_after - one.size, one.vm.unique_id, one.resource


def _grow_key(one: Proposal) -> tuple[int, int, str, str]:
    return -one.settings.priority, -one.pressure_ppm, one.vm.unique_id, one.resource


def _shrink_key(one: Proposal) -> tuple[int, int, str, str]:
    return -one.settings.priority, -one.saving, one.vm.unique_id, one.resource
