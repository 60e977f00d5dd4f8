# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says, before any form: who changes and why, what that saves, what is known and what is not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Optional

from .._core.clock import parse_utc
from .._policy.settings import MODE_APPROVE
from .._records.plan import STAY
from .._records.receipt import DONE, FAILED, Outcome
from .._records.vm import DIRECTIONS, RESOURCES
from .facts import Facts
from .rows import Machine, Row, build_machines

ALL, PART, NOTHING_YET, SEEN = "applied", "stopped", "planned", "observed"
HEADLINES = {
    ALL: ("done", "Applied"),
    PART: ("waits", "Stopped early"),
    NOTHING_YET: ("stay", "Planned, not applied"),
    SEEN: ("stay", "Observed"),
}
NOT_APPROVED = "not_approved"  # code of an act that waits for a person


@dataclass(frozen=True)
class Moved:
    """What a number of acts come to."""

    amounts: dict[tuple[str, str], int]  # (resource, direction) -> in the resource's unit
    cost: float  # after less before, in the policy's unit


@dataclass(frozen=True)
class Reason:
    """A verdict that led to no act, and the rows that it stands in."""

    verdict: str
    code: str
    rows: tuple[Row, ...]  # in the order of the machines

    @property
    def vms(self) -> int:
        """How many VMs it holds for."""
        return len({row.unique_id for row in self.rows})


class Known(NamedTuple):
    """How much of one metric of one endpoint is known. Ages in seconds when it was forecast; None: nothing is."""

    endpoint: str
    metric: str
    vms: int
    without: int  # VMs that have no value at all
    coverage_ppm: int  # mean over the VMs
    newest_s: Optional[int]
    oldest_s: Optional[int]  # of the VMs that have one


@dataclass(frozen=True)
class View:
    """Everything the forms of the report show."""

    facts: Facts
    machines: tuple[Machine, ...]
    names: dict[str, str]  # of the VMs, by unique_id
    state: str  # one of HEADLINES
    planned: Moved
    done: Moved
    reasons: tuple[Reason, ...]  # the most frequent first
    known: tuple[Known, ...]
    results: tuple[tuple[str, str, int], ...]  # state, code, outcomes of the receipt
    waiting: int  # acts that a person must approve first
    ended_at: str  # of the run, which may have been long before the report was made
    duration_s: Optional[float]

    @property
    def acted(self) -> tuple[Machine, ...]:
        """The VMs that the plan acts on."""
        return tuple(machine for machine in self.machines if machine.acted)

    @property
    def acts(self) -> tuple[Row, ...]:
        """The rows that have an act, in the order of the machines."""
        return tuple(row for machine in self.machines for row in machine.rows if row.action)

    def count(self, verdict: str) -> int:
        """VMs of this verdict; one that grows and shrinks counts for both."""
        return sum(any(row.verdict == verdict for row in machine.rows) for machine in self.machines)

    @property
    def staying(self) -> int:
        """VMs that nothing is planned for and nothing was refused to."""
        return sum(machine.verdict == STAY for machine in self.machines)

    @property
    def moved(self) -> Moved:
        """What was done; without a receipt, what would be."""
        return self.done if self.facts.receipt else self.planned

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Acts of this run that could not be set back."""
        receipt = self.facts.receipt
        return tuple(outcome for outcome in (receipt.outcomes if receipt else ()) if outcome.state == FAILED)

    @property
    def succeeded(self) -> bool:
        """Whether the run came to its end and left nothing broken."""
        return self.state != PART and not self.failed

    @property
    def headline(self) -> tuple[str, str]:
        """Colour and word for the state of the run."""
        if self.failed:
            return "failed", "Failed"
        if self.facts.rehearsal:
            return "stay", "Rehearsal: nothing was changed"
        return HEADLINES[self.state]


def build_view(facts: Facts) -> View:
    """Put the records together."""
    machines = build_machines(facts)
    acts = [row for machine in machines for row in machine.rows if row.action]
    return View(
        facts=facts,
        machines=machines,
        names={machine.unique_id: machine.name for machine in machines},
        state=_state(facts),
        planned=_moved(acts),
        done=_moved(row for row in acts if row.outcome and row.outcome.state == DONE),
        reasons=_reasons(machines),
        known=_known(facts),
        results=_results(facts),
        waiting=sum(_waits(row, applied=facts.receipt is not None) for row in acts),
        ended_at=_ended_at(facts),
        duration_s=_duration_s(facts),
    )


def _state(facts: Facts) -> str:
    if facts.receipt:
        return PART if facts.receipt.stopped else ALL
    return NOTHING_YET if facts.plan else SEEN


def _moved(rows: Iterable[Row]) -> Moved:
    amounts = {(resource, direction): 0 for resource in RESOURCES for direction in DIRECTIONS}
    cost = 0.0
    for row in rows:
        key = (row.resource, row.verdict)
        amounts[key] = amounts.get(key, 0) + abs(row.size_after - row.size_now)
        cost += row.cost
    return Moved(amounts, cost)


def _waits(row: Row, *, applied: bool) -> bool:
    if applied:
        return row.outcome is not None and row.outcome.code == NOT_APPROVED
    return row.action is not None and row.action.mode == MODE_APPROVE


def _reasons(machines: Iterable[Machine]) -> tuple[Reason, ...]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for machine in machines:
        for row in machine.rows:
            if row.action is None:
                found[row.verdict, row.code].append(row)
    reasons = [Reason(*key, tuple(rows)) for key, rows in found.items()]
    return tuple(sorted(reasons, key=lambda one: (-one.vms, one.verdict, one.code)))


def _known(facts: Facts) -> tuple[Known, ...]:
    if facts.forecast is None:
        return ()
    made_at = parse_utc(facts.forecast.made_at)
    endpoint_of = {vm.unique_id: vm.endpoint for vm in facts.snapshot.vms}
    by_source = defaultdict(list)
    for choice in facts.forecast.choices:
        by_source[endpoint_of.get(choice.unique_id, ""), choice.metric].append(choice)
    found = []
    for (endpoint, metric), choices in sorted(by_source.items()):
        # Most series end at the same moment, so that there are few different texts to read.
        ends = {choice.observed_until for choice in choices if choice.observed_until}
        ages = [round((made_at - parse_utc(end)).total_seconds()) for end in ends]
        found.append(
            Known(
                endpoint=endpoint,
                metric=metric,
                vms=len(choices),
                without=sum(not choice.observed_until for choice in choices),
                coverage_ppm=sum(choice.coverage_ppm for choice in choices) // len(choices),
                newest_s=min(ages, default=None),
                oldest_s=max(ages, default=None),
            )
        )
    return tuple(found)


def _results(facts: Facts) -> tuple[tuple[str, str, int], ...]:
    outcomes = facts.receipt.outcomes if facts.receipt else ()
    counts = Counter((outcome.state, outcome.code) for outcome in outcomes)
    return tuple((state, code, number) for (state, code), number in sorted(counts.items()))


def _ended_at(facts: Facts) -> str:
    if facts.receipt:
        return facts.receipt.finished_at
    return facts.plan.made_at if facts.plan else facts.snapshot.taken_at


def _duration_s(facts: Facts) -> Optional[float]:
    if not facts.started_at:
        return None
    seconds = (parse_utc(_ended_at(facts)) - parse_utc(facts.started_at)).total_seconds()
    return None if seconds < 0 else seconds  # the plan is of a run before
