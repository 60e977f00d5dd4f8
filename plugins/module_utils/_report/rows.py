# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every VM of the report with its rows: what was decided about each resource, the act, and how it ended."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Optional

from .._policy.sizing import SizingPolicy
from .._records.action import Action
from .._records.plan import ACT, REFUSED, STAY, Decision, Service
from .._records.receipt import FAILED, OWED, REVERTED, Outcome
from .._records.vm import GROW, LIMITS, MEMORY_MIB, RESOURCES, SET, SHRINK, VCPUS, VM, kind_of
from .facts import Facts
from .words import MIB_PER_GIB, change, resource_word, size

# What a row's verdict may be, in the order in which they are told.
VERDICTS = (GROW, SHRINK, SET, REFUSED, STAY)
# Ends of acts that a person should see before the others.
_TROUBLE = (FAILED, OWED, REVERTED)


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
    size_after: int  # where its act ends; without one, the size it has
    upper: Optional[int]
    action: Optional[Action] = None
    outcome: Optional[Outcome] = None
    cost: float = 0.0  # of the size after, less that of the size now, in the policy's unit
    service: Optional[Service] = None  # where it was chosen by price

    @property
    def amount(self) -> str:
        """The size it has, or what the act changes; of a setting that is no number the reason tells."""
        if self.action:
            return change(self.action)
        word = f"{resource_word(self.resource)} " if kind_of(self.resource) in LIMITS else ""
        return word + size(self.resource, self.size_now) if self.size_now else ""

    @property
    def trouble(self) -> int:
        """The smaller, the sooner a person should look at it."""
        state = self.outcome.state if self.outcome else ""
        return _TROUBLE.index(state) if state in _TROUBLE else len(_TROUBLE)


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


def build_machines(facts: Facts) -> tuple[Machine, ...]:
    """Every VM of snapshot and plan: those acted on first, then as VERDICTS has them.

    Among those acted on the troubled come first, then those whose cost moves most.
    """
    vms = {vm.unique_id: vm for vm in facts.snapshot.vms}
    rows = _rows(facts, vms)
    by_vm: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_vm[row.unique_id].append(row)
    names = {**{row.unique_id: row.vm_name for row in rows}, **{vm.unique_id: vm.name for vm in facts.snapshot.vms}}
    machines = [
        Machine(unique_id, name, vms.get(unique_id), tuple(sorted(by_vm[unique_id], key=_place)))
        for unique_id, name in names.items()
    ]
    return tuple(sorted(machines, key=_order))


def _order(machine: Machine) -> tuple[bool, int, int, float, str, str]:
    return (
        not machine.acted,
        min((row.trouble for row in machine.rows), default=len(_TROUBLE)),
        VERDICTS.index(machine.verdict),
        -sum(abs(row.cost) for row in machine.rows),
        machine.name,
        machine.unique_id,
    )


def _place(row: Row) -> tuple[int, str]:
    return RESOURCES.index(row.resource) if row.resource in RESOURCES else len(RESOURCES), row.resource


def _rows(facts: Facts, vms: dict[str, VM]) -> list[Row]:
    plan, receipt = facts.plan, facts.receipt
    if plan is None:
        return []
    actions = {action.action_id: action for action in plan.actions}
    # A receipt of another plan says nothing about this one's actions: their ids are unique in a plan only.
    ours = receipt is not None and receipt.plan == facts.digests.get("plan", receipt.plan)
    outcomes = {outcome.action_id: outcome for outcome in receipt.outcomes} if receipt and ours else {}
    costs = {action.action_id: _cost(action, facts.policy, vms.get(action.unique_id)) for action in plan.actions}
    rows = [_decided(decision, actions, outcomes, costs) for decision in plan.decisions]
    told = {row.action.action_id for row in rows if row.action}
    # A person's own request, or a rollback, has actions without decisions.
    rows += [_asked(action, outcomes, costs) for action in plan.actions if action.action_id not in told]
    return rows


def _decided(
    decision: Decision, actions: dict[str, Action], outcomes: dict[str, Outcome], costs: dict[str, float]
) -> Row:
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
        size_after=action.size_after if action else decision.size_now,
        upper=decision.upper,
        action=action,
        outcome=outcomes.get(decision.action_id),
        cost=costs.get(decision.action_id, 0.0),
        service=decision.service,
    )


def _asked(action: Action, outcomes: dict[str, Outcome], costs: dict[str, float]) -> Row:
    return Row(
        unique_id=action.unique_id,
        vm_name=action.vm_name,
        resource=action.resource,
        verdict=action.direction,
        code=action.direction,
        reason=action.reason,
        policy_line=0,
        size_now=action.size_before,
        size_after=action.size_after,
        upper=None,
        action=action,
        outcome=outcomes.get(action.action_id),
        cost=costs[action.action_id],
    )


def _cost(action: Action, policy: Optional[SizingPolicy], vm: Optional[VM]) -> float:
    """What the act adds to the cost of the VM; 0 where no policy says what a unit costs."""
    if policy is None or vm is None:
        return 0.0
    settings = policy.effective(vm)
    per_unit = {VCPUS: settings.cost_per_vcpu, MEMORY_MIB: settings.cost_per_memory_gib / MIB_PER_GIB}
    return (action.size_after - action.size_before) * per_unit.get(action.resource, 0)
