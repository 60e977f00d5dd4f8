# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the bench: its policies and its rows. One more policy is one more line."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import Whole
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Policy

from . import ours, peers, vpa
from .oracle import oracle
from .policy import Careful, Context, Entry, Point, Span, Sparing

FACTOR = Span(1.0, 4.0, log=True)
GUARD = Span(1.0, 4.0, log=True)

ENTRIES = (
    Entry(ours.NAME, ours.outcome, ours.SPANS, start=ours.START, targets=("cpu",)),
    Entry(ours.NAME, ours.outcome, ours.MEMORY_SPANS, start=ours.MEMORY_START, targets=("memory",)),
    Entry("vpa (as published)", vpa.make, published=vpa.PUBLISHED),
    Entry(
        "vpa + guard",
        vpa.make,
        {
            "percentile": Span(0.7, 1.0),
            "margin": FACTOR,
            "half_life_h": Span(3, 48, log=True),
            "guard": GUARD,
        },
        start={**vpa.PUBLISHED, "guard": 1.5},
    ),
    *(
        Entry(
            f"autopilot {name} (as published)",
            peers.autopilot,
            published={"level": level, "margin": 1.15, "half_life_h": half_life_h, "window_h": 24.0},
            targets=(target,),
        )
        for target, half_life_h in (("cpu", 12.0), ("memory", 48.0))
        for name, level in (("max", 1.0), ("p98", 0.98), ("p95", 0.95))
    ),
    Entry(
        "autopilot + guard",
        peers.autopilot,
        {
            "level": Span(0.9, 1.02),
            "margin": FACTOR,
            "half_life_h": Span(3, 48, log=True),
            "window_h": Span(2, 96, log=True),
            "guard": GUARD,
        },
        start={"level": 0.98, "margin": 1.15, "half_life_h": 12, "window_h": 24, "guard": 1.5},
    ),
    Entry(
        "p98 of 24 h + guard", peers.p98_of_day, {"factor": FACTOR, "guard": GUARD}, start={"factor": 1.3, "guard": 1.5}
    ),
    Entry(
        "max of 24 h + guard", peers.max_of_day, {"factor": FACTOR, "guard": GUARD}, start={"factor": 1.1, "guard": 1.5}
    ),
    Entry("static peak", peers.static_peak, {"factor": FACTOR}, start={"factor": 1.2}),
    Entry(
        "last hour + guard",
        peers.last_hour,
        {"window": Span(3, 36, whole=True), "factor": FACTOR, "guard": GUARD},
        start={"window": 12, "factor": 1.5, "guard": 2.0},
    ),
    Entry(
        "adaptive headroom + strong guard",
        peers.adaptive,
        {
            "window": Span(3, 72, log=True, whole=True),
            "base": Span(1.0, 2.5, log=True),
            "up": Span(1.0, 2.5, log=True),
            "top": Span(1.0, 12.0, log=True),
            "half_life_h": Span(1, 120, log=True),
            "days": Span(0.5, 7, log=True),
            "level": Span(0.5, 1.0),
            "share": Span(0.0, 1.3),
            "guard": Span(1.3, 6.0, log=True),
            "peak": Span(0.0, 1.3),
            "again": Span(1, 12, whole=True),
        },
        start={
            "window": 13,
            "base": 1.1,
            "up": 1.09,
            "top": 6,
            "half_life_h": 14,
            "days": 4,
            "level": 0.97,
            "share": 0.44,
            "guard": 2.4,
            "peak": 1.0,
            "again": 3,
        },
    ),
    Entry("oracle", oracle, published={}, sees_future=True),
)


@dataclass(frozen=True)
class Row:
    """One condition under which every policy is replayed."""

    name: str
    target: str
    lead_s: int
    variant: str = ""  # of WRAPPERS
    most_resizes: float = float("inf")  # per VM and day: a limit beside the service level
    burst: bool = False  # all VMs of a pool peak together
    tuned_as: str = ""  # the row whose operating points are used; "": its own
    oracle: bool = True  # whether the oracle knows how to play by its rules
    quick: bool = False  # part of the quick form


ROWS = (
    Row("cpu, lead 0", "cpu", 0, quick=True),
    Row("cpu, lead 5 min", "cpu", 300),
    Row("cpu, lead 60 min", "cpu", 3600, quick=True),
    Row("memory, lead 0", "memory", 0, quick=True),
    Row("cpu, lead 0, at most 4 resizes", "cpu", 0, "sparing", most_resizes=4.0, oracle=False),
    Row("cpu, lead 0, at most 2.5 resizes", "cpu", 0, "sparing", most_resizes=2.5, oracle=False),
    Row("cpu, lead 0, careful", "cpu", 0, "careful", oracle=False),
    Row("cpu, lead 0, whole vCPUs", "cpu", 0, "whole"),
    Row("cpu, lead 5 min, bursts of whole pools", "cpu", 300, burst=True, tuned_as="cpu, lead 5 min"),
)


@dataclass(frozen=True)
class Variant:
    """How a row changes a policy, and what more there is to tune."""

    wrap: type | None = None
    spans: dict[str, Span] = field(default_factory=dict)


VARIANTS = {
    "": Variant(),
    "sparing": Variant(Sparing, {"band": Span(0.0, 0.4), "margin_up": Span(0.0, 0.6)}),
    "careful": Variant(Careful),
    "whole": Variant(Whole),
}


def spans(entry: Entry, row: Row) -> dict[str, Span]:
    """All there is to tune of a policy in a row; nothing for one that is taken as published."""
    return {**entry.spans, **VARIANTS[row.variant].spans} if entry.spans else {}


def make(entry: Entry, row: Row, point: Point, context: Context) -> Policy:
    """The policy as the row wants it."""
    variant = VARIANTS[row.variant]
    policy = entry.make(point, context)
    if variant.wrap is None or entry.sees_future:
        return policy
    return variant.wrap(policy, *(point.get(name, 0.0) for name in variant.spans))


def entries(row: Row) -> list[Entry]:
    """The policies of a row."""
    return [entry for entry in ENTRIES if row.target in entry.targets and (row.oracle or not entry.sees_future)]
