# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says, before any form: who changes and why, what that saves, what is known and what is not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from .._core.clock import parse_utc
from .._records.action import Action
from .._records.plan import ACT, REFUSED, STAY, Decision
from .._records.receipt import DONE, FAILED, Outcome
from .._records.vm import DIRECTIONS, GROW, MEMORY_MIB, RESOURCES, SHRINK, VCPUS, VM
from .facts import METRIC_OF, Facts
from .words import PER_UNIT, RESOURCE_WORD, count

# What a row's verdict may be, in the order in which they are told.
VERDICTS = (GROW, SHRINK, REFUSED, STAY)
AT_LIMIT_PERCENT = 95  # of its size: from there on demand may be higher than what can be seen

ALL, PART, NOTHING_YET, SEEN = "applied", "stopped", "planned", "observed"


@dataclass(frozen=True)
class Row:
    """One resource of one VM."""

    unique_id: str
    vm_name: str
    resource: str
    verdict: str  # one of VERDICTS
    code: str
    reason: str
    policy_line: int
    size_now: int
    size_wanted: int
    upper: Optional[int]
    action: Optional[Action] = None
    outcome: Optional[Outcome] = None


@dataclass(frozen=True)
class Machine:
    """One VM and its rows, in the order of RESOURCES; without a plan, or outside its scope, there are none."""

    unique_id: str
    name: str
    vm: Optional[VM]  # None: it is not in the snapshot
    rows: tuple[Row, ...]

    @property
    def acted(self) -> bool:
        """Whether the plan acts on it."""
        return any(row.action for row in self.rows)

    @property
    def verdict(self) -> str:
        """The verdict that is told first; STAY where there is none."""
        return min((row.verdict for row in self.rows), key=VERDICTS.index, default=STAY)


@dataclass(frozen=True)
class Sum:
    """Capacity of one resource that moves, in its unit."""

    acts: int = 0
    amount: int = 0


@dataclass(frozen=True)
class Reason:
    """Why a number of VMs stay as they are, with the words said to one of them."""

    verdict: str
    resource: str
    code: str
    vms: int
    example: str


@dataclass(frozen=True)
class Known:
    """How much of one metric is known over the fleet. Ages in seconds when it was forecast; None: nothing is known."""

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
    machines: tuple[Machine, ...]  # those acted on first, then as VERDICTS has them, by name
    state: str  # ALL, PART, NOTHING_YET or SEEN
    planned: dict[tuple[str, str], Sum]  # (resource, direction)
    done: dict[tuple[str, str], Sum]
    reasons: tuple[Reason, ...]  # the most frequent first
    known: tuple[Known, ...]
    notices: tuple[tuple[bool, str, tuple[str, ...]], ...]  # (loud, sentence, items), the loudest first
    results: tuple[tuple[str, str, int], ...]  # state, code, outcomes of the receipt
    ended_at: str  # of the run, which may have been long before the report was made
    duration_s: Optional[float]

    @property
    def acted(self) -> tuple[Machine, ...]:
        """The VMs that the plan acts on."""
        return tuple(machine for machine in self.machines if machine.acted)

    def count(self, verdict: str) -> int:
        """VMs of this verdict; one that grows and shrinks counts for both."""
        return sum(any(row.verdict == verdict for row in machine.rows) for machine in self.machines)

    @property
    def staying(self) -> int:
        """VMs that nothing is planned for and nothing was refused to."""
        return sum(machine.verdict == STAY for machine in self.machines)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Acts of this run that could not be set back."""
        return _failed(self.facts)

    @property
    def names(self) -> dict[str, str]:
        """Names of the VMs by unique_id."""
        return {machine.unique_id: machine.name for machine in self.machines}

    @property
    def succeeded(self) -> bool:
        """Whether the run came to its end and left nothing broken."""
        return self.state != PART and not self.failed


def build_view(facts: Facts) -> View:
    """Put the records together."""
    rows = _rows(facts)
    machines = _machines(facts, rows)
    actions = facts.plan.actions if facts.plan else ()
    done = {row.action.action_id for row in rows if row.action and row.outcome and row.outcome.state == DONE}
    receipt = facts.receipt
    return View(
        facts=facts,
        machines=machines,
        state=_state(facts),
        planned=_sums(actions),
        done=_sums(tuple(action for action in actions if action.action_id in done)),
        reasons=_reasons(rows),
        known=_known(facts),
        notices=tuple(_notices(facts)),
        results=_results(receipt.outcomes if receipt else ()),
        ended_at=_ended_at(facts),
        duration_s=_duration_s(facts),
    )


def _state(facts: Facts) -> str:
    if facts.receipt:
        return PART if facts.receipt.stopped else ALL
    return NOTHING_YET if facts.plan else SEEN


def _rows(facts: Facts) -> list[Row]:
    plan, receipt = facts.plan, facts.receipt
    if plan is None:
        return []
    actions = {action.action_id: action for action in plan.actions}
    # A receipt of another plan says nothing about this one's actions: their ids are unique in a plan only.
    ours = receipt is not None and receipt.plan == facts.digests.get("plan", receipt.plan)
    outcomes = {outcome.action_id: outcome for outcome in receipt.outcomes} if receipt and ours else {}
    rows = [_decided(decision, actions, outcomes) for decision in plan.decisions]
    told = {row.action.action_id for row in rows if row.action}
    # A person's own request, or a rollback, has actions without decisions.
    rows += [_asked(action, outcomes) for action in plan.actions if action.action_id not in told]
    return rows


def _decided(decision: Decision, actions: dict[str, Action], outcomes: dict[str, Outcome]) -> Row:
    action = actions.get(decision.action_id)
    return Row(
        unique_id=decision.unique_id,
        vm_name=decision.vm_name,
        resource=decision.resource,
        verdict=action.direction if action and decision.verdict == ACT else decision.verdict,
        code=decision.code,
        reason=decision.reason,
        policy_line=decision.policy_line,
        size_now=decision.size_now,
        size_wanted=decision.size_wanted,
        upper=decision.upper,
        action=action,
        outcome=outcomes.get(decision.action_id),
    )


def _asked(action: Action, outcomes: dict[str, Outcome]) -> Row:
    return Row(
        unique_id=action.unique_id,
        vm_name=action.vm_name,
        resource=action.resource,
        verdict=action.direction,
        code=action.direction,
        reason=action.reason,
        policy_line=0,
        size_now=action.size_before,
        size_wanted=action.size_after,
        upper=None,
        action=action,
        outcome=outcomes.get(action.action_id),
    )


def _machines(facts: Facts, rows: list[Row]) -> tuple[Machine, ...]:
    vms = {vm.unique_id: vm for vm in facts.snapshot.vms}
    by_vm: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_vm[row.unique_id].append(row)
    names = {**{row.unique_id: row.vm_name for row in rows}, **{vm.unique_id: vm.name for vm in facts.snapshot.vms}}
    machines = [
        Machine(
            unique_id,
            name,
            vms.get(unique_id),
            tuple(sorted(by_vm[unique_id], key=lambda row: (_rank(row.resource, RESOURCES), row.resource))),
        )
        for unique_id, name in names.items()
    ]
    return tuple(
        sorted(
            machines,
            key=lambda one: (not one.acted, VERDICTS.index(one.verdict), one.name, one.unique_id),
        )
    )


def _rank(word: str, words: tuple[str, ...]) -> int:
    return words.index(word) if word in words else len(words)


def _sums(actions: tuple[Action, ...]) -> dict[tuple[str, str], Sum]:
    found = {(resource, direction): Sum() for resource in RESOURCES for direction in DIRECTIONS}
    for action in actions:
        key = (action.resource, action.direction)
        before = found.get(key, Sum())
        found[key] = Sum(before.acts + 1, before.amount + abs(action.size_after - action.size_before))
    return found


def _reasons(rows: list[Row]) -> tuple[Reason, ...]:
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], str] = {}
    for row in rows:
        if row.action is None:
            key = (row.verdict, row.resource, row.code)
            counts[key] += 1
            examples.setdefault(key, f"{row.vm_name}: {row.reason}")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Reason(*key, number, examples[key]) for key, number in ordered)


def _known(facts: Facts) -> tuple[Known, ...]:
    if facts.forecast is None:
        return ()
    made_at = parse_utc(facts.forecast.made_at)
    found = []
    for metric in sorted({choice.metric for choice in facts.forecast.choices}):
        choices = [choice for choice in facts.forecast.choices if choice.metric == metric]
        ages = [
            round((made_at - parse_utc(choice.observed_until)).total_seconds())
            for choice in choices
            if choice.observed_until
        ]
        found.append(
            Known(
                metric=metric,
                vms=len(choices),
                without=len(choices) - len(ages),
                coverage_ppm=sum(choice.coverage_ppm for choice in choices) // len(choices),
                newest_s=min(ages, default=None),
                oldest_s=max(ages, default=None),
            )
        )
    return tuple(found)


def _failed(facts: Facts) -> tuple[Outcome, ...]:
    return tuple(outcome for outcome in (facts.receipt.outcomes if facts.receipt else ()) if outcome.state == FAILED)


def _notices(facts: Facts) -> Iterator[tuple[bool, str, tuple[str, ...]]]:
    failed = _failed(facts)
    told = {outcome.unique_id for outcome in failed}
    broken = [f"{outcome.vm_name}, {outcome.operation}: {outcome.message}" for outcome in failed]
    broken += [f"{one.unique_id}: {one.message}" for one in facts.owed if one.failed and one.unique_id not in told]
    if broken:
        yield True, "Could not be set back. Nothing else begins there until a person has looked:", tuple(broken)
    if facts.kill_switch:
        yield True, f"The kill switch is on ({facts.kill_switch}): no act begins.", ()
    if facts.receipt and facts.receipt.stopped:
        yield False, f"The apply stopped early: {facts.receipt.stopped}.", ()
    waiting = sum(not one.failed for one in facts.owed)
    if waiting:
        yield False, f"{count(waiting, 'rollback')} owed: see the journal.", ()
    if facts.snapshot.gaps:
        gaps = tuple(f"{gap.endpoint}, {gap.subject}: {gap.message}" for gap in facts.snapshot.gaps)
        yield False, "Part of the fleet could not be read; nothing is planned there:", gaps
    full = tuple(_at_limit(facts))
    if full:
        yield False, "At their size in the last hour known; they may have wanted more than can be seen:", full
    if facts.plan and facts.plan.warnings:
        yield False, "The plan warns:", facts.plan.warnings


def _at_limit(facts: Facts) -> Iterator[str]:
    recent = {
        (choice.unique_id, choice.metric): choice.recent_maximum
        for choice in (facts.forecast.choices if facts.forecast else ())
    }
    for vm in facts.snapshot.vms:
        for resource, (metric, now) in {
            VCPUS: (METRIC_OF[VCPUS], vm.vcpus),
            MEMORY_MIB: (METRIC_OF[MEMORY_MIB], vm.memory_mib),
        }.items():
            limit = now * PER_UNIT[resource] * AT_LIMIT_PERCENT
            if recent.get((vm.unique_id, metric), -1) * 100 >= limit > 0:
                yield f"{vm.name} ({RESOURCE_WORD[resource]})"


def _results(outcomes: tuple[Outcome, ...]) -> tuple[tuple[str, str, int], ...]:
    counts = Counter((outcome.state, outcome.code) for outcome in outcomes)
    return tuple((state, code, number) for (state, code), number in sorted(counts.items()))


def _ended_at(facts: Facts) -> str:
    if facts.receipt:
        return facts.receipt.finished_at
    return facts.plan.made_at if facts.plan else facts.snapshot.taken_at


def _duration_s(facts: Facts) -> Optional[float]:
    if not facts.started_at:
        return None
    return max(0.0, (parse_utc(_ended_at(facts)) - parse_utc(facts.started_at)).total_seconds())
