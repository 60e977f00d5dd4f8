# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report knows of the scorecard: who is only recommended for, and how forecasts did in the whole fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Demoted:
    """One metric of one VM. Dates are of UTC days."""

    unique_id: str
    metric: str
    since: str
    may_return: str  # the first day on which it may, if its forecasts do well from now on
    reason: str


@dataclass(frozen=True)
class Trust:
    """How the forecasts of one metric did, over all VMs of the snapshot's endpoints."""

    metric: str
    vms: int
    scored: int  # intervals
    violated: int
    missed: int  # intervals that were forecast and could not be scored
    loss: float  # summed over the intervals, as shares of the size
    naive_loss: float
    covered: float
    banded: int

    @property
    def violation_ratio(self) -> Optional[float]:
        """Share of the intervals in which use was at the size; None: nothing was scored."""
        return self.violated / self.scored if self.scored else None

    @property
    def coverage_ratio(self) -> Optional[float]:
        """Share of the intervals that the interval of 90 % covered; None: nothing forecasts one."""
        return self.covered / self.banded if self.banded else None

    @property
    def loss_ratio(self) -> Optional[float]:
        """Pinball loss as a share of naive's; None: naive made no error."""
        return self.loss / self.naive_loss if self.naive_loss else None


@dataclass(frozen=True)
class Measured:
    """How often the interval of 90 % held what came, of one metric of one VM."""

    days: int  # over which
    banded: int  # intervals of time
    covered: float  # of these

    @property
    def ratio(self) -> float:
        """Share of the intervals."""
        return self.covered / self.banded


@dataclass(frozen=True)
class Speaking:
    """A version of a model that speaks for some VMs. Times are RFC 3339; "" where its record cannot be read."""

    model: str  # digest
    purpose: str
    metric: str
    lead_s: int
    status: str
    share_percent: str  # of the VMs
    vms_now: int  # of the snapshot
    since: str
    start: str = ""  # of the telemetry that it learnt from
    end: str = ""
    vms: int = 0
    rows: int = 0
    refused: str = ""


@dataclass(frozen=True)
class Scorecard:
    """Over the last ``days``."""

    days: int
    demoted: tuple[Demoted, ...]
    totals: tuple[Trust, ...]
