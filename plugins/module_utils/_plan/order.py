# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proposals get the room, in which order the acts come, and what each must wait for.

Grows come first, by priority and then by pressure, each right after the shrinks whose room it needs; the other
shrinks follow, the largest savings first. What is only recommended counts on nothing that is real, and nothing real
counts on it: it is arranged last, with the room that is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Optional, Union

from .._core.units import PPM
from .._policy.settings import MODE_RECOMMEND, MODES, Settings
from .._records.demand import demand_of
from .._records.vm import GROW, LIMITS, MEMORY_MIB, RESOURCES, SHRINK, VCPUS, VM, Capability, kind_of
from .capacity import Ledger
from .constraints import Against, Opening, against_small_change
from .target import Wanted

MIB_PER_GIB = 1024


@dataclass(frozen=True)
class Proposal:
    """An act that everything but capacity allows. ``decision``: index of the decision it came from.

    ``size``: what the VM has, as ``Layer.has``; ``whole``: of a limit what it would have without.
    """

    vm: VM
    settings: Settings
    resource: str
    size: int
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
    whole: int = 0
    beside: Optional[int] = None  # of a limit that grows with its size: the decision on the size
    lead_ms: int = 0

    @property
    def of_no_size(self) -> bool:
        """Whether it is a limit of nothing that is sized: its sizes are as they are written, where 0 is none."""
        limit = LIMITS.get(kind_of(self.resource))
        return limit is not None and not limit.size

    @property
    def pressure_ppm(self) -> int:
        """Demand as a share of what the VM has."""
        return self.wanted.upper * PPM // max(1, self.size * demand_of(self.resource).per_unit)

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
    value: int  # of its fields: a limit to all that its VM will have is none, 0


def arrange(
    proposals: list[Proposal], ledger: Ledger, *, exact: bool = False
) -> tuple[list[Placed], dict[int, Against]]:
    """Give out the room. Returns the acts in order, and why some proposals (by ``decision``) get none.

    ``exact``: room for a part of a grow is no room.
    """
    arranger = _Arranger(proposals, ledger, exact=exact)
    for recommended in (False, True):
        arranger.arrange([index for index, one in enumerate(proposals) if (one.mode == MODE_RECOMMEND) == recommended])
    return arranger.placed, arranger.refused


class _Fit(NamedTuple):
    """What a grow gets; ``donors``: by index into the proposals, what must be done before."""

    size_after: int
    reason: str
    donors: frozenset[int] = frozenset()


class _Arranger:
    """Places proposals one after the other."""

    def __init__(self, proposals: list[Proposal], ledger: Ledger, *, exact: bool) -> None:
        self.placed: list[Placed] = []
        self.refused: dict[int, Against] = {}  # by decision
        self._proposals, self._ledger, self._exact = proposals, ledger, exact
        self._by_decision = {one.decision: index for index, one in enumerate(proposals)}
        self._positions: dict[int, int] = {}  # of those already placed, by index into proposals

    def arrange(self, part: list[int]) -> None:
        """Place some of the proposals."""
        proposals = self._proposals
        shrinks = [index for index in part if proposals[index].direction == SHRINK]
        for index in sorted(shrinks, key=lambda one: _donor_key(proposals[one])):
            one = proposals[index]
            self._ledger.donate(one.vm, one.resource, one.size - one.size_after, donor=index)
        for index in sorted((one for one in part if proposals[one].direction == GROW), key=self._grow_key):
            one = proposals[index]
            fit = self._fit(one) if one.resource in RESOURCES else self._fit_limit(one)
            if isinstance(fit, Against):
                self.refused[one.decision] = fit
            else:
                self._place(index, fit)
        for index in sorted(shrinks, key=lambda one: _shrink_key(proposals[one])):
            self._place_shrink(index)

    def _place(self, index: int, fit: _Fit) -> None:
        one = self._proposals[index]
        first = fit.donors | {self._by_decision[before] for before in one.after}
        for before in sorted(first, key=lambda other: _shrink_key(self._proposals[other])):
            self._place_shrink(before)
        after = tuple(sorted(self._positions[before] for before in first))
        none = one.whole > 0 and fit.size_after > self._whole(one) - one.granule
        self._positions[index] = len(self.placed)
        self.placed.append(Placed(one, fit.size_after, fit.reason, after, 0 if none else fit.size_after))

    def _place_shrink(self, index: int) -> None:
        """Unless it had to be done before another, or is a grow that has its place."""
        if index not in self._positions:
            one = self._proposals[index]
            self._place(index, _Fit(one.size_after, one.reason))

    def _fit(self, one: Proposal) -> Union[_Fit, Against]:
        """Take room for the grow, or for as much of it as there is and as is worth an act."""
        wanted, short = one.size_after - one.size, self._ledger.shortage(one.vm, one.resource)
        if short.available >= wanted:
            return _Fit(one.size_after, one.reason, frozenset(self._ledger.take(one.vm, one.resource, wanted)))
        part = (one.size + max(0, short.available)) // one.granule * one.granule
        sizing = one.settings.sizing[one.resource]
        reason = f"{one.reason}; {short.reason}"
        too_small = part <= one.size or part < one.capability.minimum
        if self._exact or too_small or against_small_change(one.size, part, sizing=sizing):
            return Against(short.code, reason, short.line)
        donors = self._ledger.take(one.vm, one.resource, part - one.size)
        return _Fit(part, f"{reason}, so it gets {part}", frozenset(donors))

    def _fit_limit(self, one: Proposal) -> Union[_Fit, Against]:
        """A limit takes no room; what lies above the size that there is waits for the size to grow."""
        if one.beside is None:
            return _Fit(one.size_after, one.reason)
        end = self._whole(one)
        size_after = min(one.size_after, end)
        if size_after <= one.size:
            why = self.refused[one.beside]
            return why._replace(reason=f"its {LIMITS[one.resource].size} do not grow: {why.reason}")
        reason = one.reason
        if size_after < one.size_after:
            small = against_small_change(one.size, size_after, sizing=one.settings.sizing[one.resource])
            if small is not None:
                return small
            reason = f"{reason}; its {LIMITS[one.resource].size} grow no further, so it gets {size_after}"
        size = frozenset({self._by_decision[one.beside]}) if one.whole < size_after < end else frozenset()
        return _Fit(size_after, reason, size)

    def _whole(self, one: Proposal) -> int:
        """All that this limit may end at: of the size that its VM has, or is given by now."""
        size = self._positions.get(self._by_decision[one.beside]) if one.beside is not None else None
        given = 0 if size is None else self.placed[size].size_after * LIMITS[one.resource].per_unit
        return max(one.whole, given)

    def _grow_key(self, index: int) -> tuple[int, int, str, str, bool]:
        """By priority, then by pressure; a limit comes right after the size that it grows with."""
        one = self._proposals[index]
        first = one if one.beside is None else self._proposals[self._by_decision[one.beside]]
        return -first.settings.priority, -first.pressure_ppm, first.vm.unique_id, first.resource, one is not first


def _donor_key(one: Proposal) -> tuple[int, int, str, str]:
    """What needs no approval first, then the largest: the fewest donors for each grow."""
    return -MODES.index(one.mode), one.size_after - one.size, one.vm.unique_id, one.resource


def _shrink_key(one: Proposal) -> tuple[int, int, str, str]:
    return -one.settings.priority, -one.saving, one.vm.unique_id, one.resource
