# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: the actions, and for every VM in scope why it is acted on or left alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Optional

from .action import Action

# What a decision came to.
ACT = "act"
STAY = "stay"
REFUSED = "refused"

# What a plan is for.
PURPOSE_SIZE = "size"  # by forecast and policy
PURPOSE_GUARD = "guard"  # between plans by forecast: what is short grows at once
PURPOSE_RESIZE = "resize"  # a person's own request
PURPOSE_ROLLBACK = "rollback"


@dataclass(frozen=True)
class Service:
    """What a size chosen by price is expected to come to, and what service costs its VM by now.

    Shares of time are those in which the VM gets too little.
    """

    model: str  # digest of the outcome model that spoke
    lead_s: int  # from the decision to when its act holds, as that model takes it
    size: int  # the cheapest
    violated_ppm: int  # share of the time expected at that size, until the next decision holds
    spent_ppm: int  # share of the past
    budget_ppm: int  # share that the policy allows
    price_ppm: int  # times which service costs what it would for a VM at ease
    unit: int  # of the resource: what one more is
    # What one unit more costs beyond what it saves, in shares of that unit; below 0: it saves more. None: no room.
    more_ppm: Optional[int] = None


@dataclass(frozen=True)
class Signalled:
    """What told the guard that a VM is short of something."""

    code: str  # "saturated", "delayed", "oom", "swaps", "faults"
    metric: str
    value: (
        str  # decimal number in the metric's unit: the interval's maximum where that counts and is known, else its mean
    )
    start: str  # of the interval of telemetry
    interval_s: int


@dataclass(frozen=True)
class Decision:
    """Why, or why not: one VM and one resource."""

    unique_id: str
    vm_name: str
    resource: str
    verdict: str  # ACT, STAY or REFUSED
    code: str  # stable: "fits", "grow", "shrink", "no_history", "budget", "mode_ignore", ...
    reason: str  # for people, with the numbers
    policy_line: int  # line of the sizing policy that decided; 0: built in
    size_now: int
    size_wanted: int
    # Upper bound of the forecast that counted, in the metric's unit; of the guard the largest use of the last day.
    upper: Optional[int] = None
    action_id: str = ""
    service: Optional[Service] = None  # None: no outcome model spoke, the upper bound decided alone
    signals: tuple[Signalled, ...] = ()  # of the guard: all that told of a want


@dataclass(frozen=True)
class Limits:
    """How many acts may be under way at once, and begun per rolling window, in each kind of place; 1 means one."""

    per_host: int = 1
    per_host_set: int = 1
    per_tenant: int = 1
    per_platform: int = 1


@dataclass(frozen=True)
class Budget:
    """The blast radius, frozen into the plan. ``window`` None: no rolling limit was asked for, explicitly."""

    at_once: Limits
    window: Optional[Limits] = None
    window_s: int = 0


@dataclass(frozen=True)
class Plan:
    """A frozen value; its digest is what is approved and applied."""

    KIND: ClassVar[str] = "plan"
    VERSION: ClassVar[int] = 1

    made_at: str
    expires_at: str
    scope: tuple[str, ...]  # unique_ids the plan may act on, sorted
    purpose: str  # one of PURPOSE_*
    policy: str  # digest of the sizing policy
    snapshot: str  # digest
    forecast: str  # digest; "" for a person's own resize and for a rollback
    budget: Budget
    actions: tuple[Action, ...]
    decisions: tuple[Decision, ...] = ()
    warnings: tuple[str, ...] = ()
    undoes: str = ""  # run id that a rollback plan undoes
    # Host set -> how many lost hosts it keeps room for; of host sets whose hosts are all of one endpoint.
    ha_reserve_hosts: dict[str, int] = field(default_factory=dict)
    policy_name: str = ""  # of the policy's file, without its folder: decisions cite FILE:LINE
