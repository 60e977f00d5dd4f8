# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report is made from. Whatever is None or empty was not there, and the report says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .._policy.sizing import SizingPolicy
from .._records.backtest import Backtest
from .._records.demand import DEMANDS
from .._records.forecast import Forecast
from .._records.plan import Plan
from .._records.receipt import Receipt
from .._records.snapshot import Snapshot
from .._records.vm import RESOURCES
from .curves import Curve
from .trust import Measured, Scorecard, Speaking
from .violations import Violations

METRIC_OF = {resource: DEMANDS[resource].metric for resource in RESOURCES}  # the demand that sizes each resource


@dataclass(frozen=True)
class Owed:
    """A rollback that waits for its VM's restart, or an act that could not be set back."""

    unique_id: str
    resource: str
    run_id: str
    action_id: str
    since: str  # RFC 3339
    message: str
    failed: bool  # could not be set back: a person is needed


@dataclass(frozen=True)
class Held:
    """A VM that nobody may touch; ``until`` "": until released."""

    unique_id: str
    who: str
    reason: str
    until: str


@dataclass(frozen=True)
class BudgetUse:
    """How many acts one place began within the rolling window of the plan's budget."""

    scope: str  # "per_host", ...
    place: str
    used: int
    most: int

    @property
    def left(self) -> int:
        """How many more may begin."""
        return max(0, self.most - self.used)


@dataclass(frozen=True)
class Facts:
    """One run. Times are RFC 3339."""

    run_id: str
    made_at: str
    snapshot: Snapshot
    started_at: str = ""  # of the whole run, by a clock that nobody pinned; "": not known
    plan: Optional[Plan] = None
    policy: Optional[SizingPolicy] = None  # of the plan
    forecast: Optional[Forecast] = None
    receipt: Optional[Receipt] = None
    owed: tuple[Owed, ...] = ()
    held: tuple[Held, ...] = ()
    budget_used: tuple[BudgetUse, ...] = ()  # of places that began any act
    kill_switch: str = ""  # who turned it on and why; "": off
    rehearsal: bool = False
    digests: dict[str, str] = field(default_factory=dict)  # name of an artifact -> digest
    curves: dict[tuple[str, str], Curve] = field(default_factory=dict)  # (unique_id, metric)
    violations: Optional[Violations] = None  # None: nobody looked
    scorecard: Optional[Scorecard] = None
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)  # (unique_id, metric), where known
    backtest: Optional[Backtest] = None
    models: tuple[Speaking, ...] = ()
