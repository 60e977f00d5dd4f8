# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Headroom's own policy in the bench: trained on the days before the window, on every VM of the trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import OperatingPoint, Sizer
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import (
    LEARNT_WITH,
    Trained,
    careful,
    train_sizer,
)
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Policy
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo

from .policy import Context, Point, Span

NAME = "headroom"
# A tuner varies the point of the sizer that uses the model, not of those that the model learns from.
SPANS = {
    "violation": Span(0.05, 20.0, log=True),
    "unserved": Span(1.0, 200.0, log=True),
    "resize": Span(0.001, 0.5, log=True),
    "ledger": Span(0.0, 8.0),
    "at_ease": Span(0.0, 1.5),
    "whole_from": Span(0.7, 1.0),
    "jump": Span(1.1, 6.0, log=True),
    "peak": Span(0.2, 1.2),
    "step": Span(0.005, 0.4, log=True),
    "most": Span(0.01, 2.0, log=True),
    "half_life_h": Span(4, 200, log=True),
    "beyond": Span(1.0, 2.5),
}
MEMORY = LEARNT_WITH["memory"]
# Plans grow memory as the shipped policy's guard does, of which no point decides.
MEMORY_SPANS = {**SPANS, "jump": Span(MEMORY.jump, MEMORY.jump), "peak": Span(MEMORY.peak, MEMORY.peak)}
START, MEMORY_START = ({**asdict(LEARNT_WITH[target]), "unserved": 40.0, "step": 0.05} for target in ("cpu", "memory"))

_trained: dict[tuple[str, int, int, str], Trained] = {}
_careful: dict[tuple[str, OperatingPoint, Slo], OperatingPoint] = {}


def trained(context: Context) -> Trained:
    """Trained once for each past, target and lead of a process."""
    past = context.everyone
    content = hashlib.sha256(past.demand.tobytes() + past.capacity.tobytes()).hexdigest()
    key = (context.target, context.lead, context.every, content)
    if key not in _trained:
        _trained[key] = train_sizer(past, LEARNT_WITH[context.target], lead=context.lead, every=context.every)
    return _trained[key]


def played_at(point: OperatingPoint, context: Context, known: Trained) -> OperatingPoint:
    """The point as it is used here; made careful once, however often a policy is replayed at it."""
    if not context.foreign:
        return point
    key = (known.model.digest, point, context.slo)
    if key not in _careful:
        _careful[key] = careful(known, point, slo=context.slo)[0]
    return _careful[key]


def outcome(point: Point, context: Context, *, trained: Callable[[Context], Trained] = trained) -> Policy:
    known = trained(context)
    return Sizer(
        played_at(OperatingPoint.of(point), context, known),
        model=known.model,
        standing=known.standing_of(context.history.unique_ids),
        start=context.history.start,
        first=context.first,
        granule=1.0 if context.whole else 0.0,
    )
