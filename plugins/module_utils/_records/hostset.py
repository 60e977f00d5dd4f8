# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the VMs of one host, or of one host set, will ask for together, and how long their room will last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from .._core.units import MILLICORES_PER_VCPU, PPM
from .host import Host
from .vm import VCPUS

HOST = "host"
HOST_SET = "host_set"

MILLI = 1000  # slopes are in thousandths of the metric's unit per day

# Whether the room will last.
UNKNOWN = "unknown"  # too little is known of past days
NEVER = "never"  # demand does not grow, or not enough within LONGEST_DAYS
GROWING = "growing"
FULL = "full"  # the newest days' peaks do not fit any more
LONGEST_DAYS = 365  # no trend of a few weeks says anything about later


@dataclass(frozen=True)
class Growth:
    """How the daily peaks change: each of three for the low, the middle and the high slope of a 90 % interval."""

    days: int  # whose peak is known
    slopes: tuple[int, ...]  # in thousandths of the metric's unit per day
    levels: tuple[int, ...]  # what the newest day's peak stays below nine times in ten, in the metric's unit
    compound: bool = False  # whether the middle one is of each day's level, not of the newest's alone

    @property
    def bent(self) -> tuple[bool, ...]:
        """Which of the three grow by a share of what is there, beginning with this slope."""
        return (False, self.compound, True)

    def after(self, days: float) -> tuple[float, ...]:
        """The levels so many days later."""
        return tuple(
            max(level * (1 + slope / MILLI / level) ** days if bent and level else level + slope * days / MILLI, 0)
            for level, slope, bent in zip(self.levels, self.slopes, self.bent)
        )


@dataclass(frozen=True)
class Joint:
    """The joint demand of one metric in one place, in the metric's unit, rounded up."""

    kind: str  # HOST or HOST_SET
    place: str  # host_id, or the host set's name
    metric: str
    vms: int
    assumed: int  # size of the VMs without a forecast: they may use all of it, and it is part of all figures here
    quantiles: tuple[int, ...]  # of the sum, at the forecast's quantiles: the highest of its intervals
    apart: tuple[int, ...]  # sums of the VMs' own quantiles, as if all peaked at the same time
    points: int  # past forecasts of the sum that the quantiles rest on; 0: none, and they stand apart
    peaks: tuple[int, ...]  # of the past days, oldest first; -1: unknown
    growth: Optional[Growth] = None  # None: too few days


@dataclass(frozen=True)
class Outlook:
    """When a place is full: days from the end of what was known; -1: not within LONGEST_DAYS."""

    state: str  # UNKNOWN, NEVER, GROWING or FULL
    days: int = -1
    earliest: int = -1  # of a 90 % interval
    latest: int = -1


def usable(hosts: Sequence[Host], resource: str, *, lost: int = 0) -> int:
    """What these hosts can really serve of a resource, in its metric's unit, with the ``lost`` largest gone.

    An allocation ratio above 1 promises more than there is, which no demand can use; one below 1 is kept to.
    """
    unit = MILLICORES_PER_VCPU if resource == VCPUS else 1
    rooms = sorted(_usable(host, resource) for host in hosts)
    return sum(rooms[: max(len(rooms) - lost, 0)]) * unit


def outlook(growth: Optional[Growth], room: int) -> Outlook:
    """When the daily peaks reach ``room`` on one day in ten."""
    if growth is None:
        return Outlook(UNKNOWN)
    low, middle, high = (
        _days(level, slope, room, bent=bent) for level, slope, bent in zip(growth.levels, growth.slopes, growth.bent)
    )
    if middle == 0:
        return Outlook(FULL, 0, 0, 0)
    # Growth that may as well be chance is none; what it could come to at the worst is still told.
    grows = growth.slopes[0] > 0 and middle > 0
    return Outlook(GROWING if grows else NEVER, middle if grows else -1, high, low if grows else -1)


def _days(level: int, slope: int, room: int, *, bent: bool) -> int:
    if level >= room:
        return 0
    if slope <= 0:
        return -1
    daily = slope / MILLI
    days = math.ceil(math.log(room / level) / math.log1p(daily / level) if bent and level else (room - level) / daily)
    return days if days <= LONGEST_DAYS else -1


def _usable(host: Host, resource: str) -> int:
    total, reserved, ratio = (
        (host.vcpus, host.vcpus_reserved, host.vcpus_allocation_ratio_ppm)
        if resource == VCPUS
        else (host.memory_mib, host.memory_reserved_mib, host.memory_allocation_ratio_ppm)
    )
    return max(0, total - reserved) * min(ratio, PPM) // PPM
