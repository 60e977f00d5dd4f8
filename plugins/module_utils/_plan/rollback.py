# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inverse of what a run did, as a plan: the same fields set back, in the reverse order of the acts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Optional, Union

from .._core.clock import format_utc
from .._core.errors import HeadroomError
from .._policy.settings import MODE_APPROVE
from .._records.action import Action, Change, Inverse
from .._records.plan import ACT, PURPOSE_ROLLBACK, REFUSED, STAY, Budget, Decision, Plan
from .._records.receipt import DONE, Receipt
from .._records.snapshot import Snapshot
from .._records.vm import GROW, INVERSE_LIVE, LIMITS, RESOURCES, SET, SHRINK, VM, Capability, kind_of
from .capacity import Room
from .constraints import Against

EXPIRES = timedelta(hours=24)  # as other plans by default: PEERS' plan expiry
OPPOSITE = {GROW: SHRINK, SHRINK: GROW, SET: SET}


def make_rollback(
    plan: Plan,
    receipt: Receipt,
    snapshot: Snapshot,
    *,
    owed: Collection[tuple[str, str]] = (),
    now: datetime,
    snapshot_digest: str,
) -> Plan:
    """Plan the undoing of every act that the receipt calls done, on a fresh snapshot.

    An act that is undone already, or whose VM has changed since, gets a decision and no action. Undoing gives back
    what was there: windows, the HA reserve and rolling budgets do not stop it, room on the host does. So grows are
    undone first; a shrink whose room is taken even then is put on record as owed, unless it is among ``owed``
    (unique_id, resource) already. Raises ``rollback.mismatch`` when the receipt is not of this plan.
    """
    done = {outcome.action_id for outcome in receipt.outcomes if outcome.state == DONE}
    strange = done - {action.action_id for action in plan.actions}
    if strange:
        raise HeadroomError(
            "rollback.mismatch",
            f"The receipt tells of {', '.join(sorted(strange)[:3])}, which the plan does not have.",
            advice="Give the plan that the receipt names.",
        )
    vms = {vm.unique_id: vm for vm in snapshot.vms}
    rooms = _rooms(snapshot)
    decisions: list[Decision] = []
    actions: list[Action] = []
    chosen = [action for action in reversed(plan.actions) if action.action_id in done]
    width = max(4, len(str(len(chosen))))
    for original in sorted(chosen, key=lambda one: one.direction != GROW):
        vm = vms.get(original.unique_id)
        found = _invert(original, vm)
        waits: set[int] = set()
        if isinstance(found, Action) and not found.deferred and found.resource in RESOURCES:
            found, waits = _with_room(found, rooms.get((found.host_id, found.resource)), len(actions), owed)
        if isinstance(found, Against):
            verdict = REFUSED if found.refused else STAY
            decisions.append(_decision(original, vm, verdict=verdict, code=found.code, reason=found.reason))
            continue
        name = f"a{len(actions) + 1:0{width}}"
        actions.append(replace(found, action_id=name, after=tuple(actions[one].action_id for one in sorted(waits))))
        code = "undo" if found.changes else "no_room"
        decisions.append(_decision(original, vm, verdict=ACT, code=code, reason=found.reason, action_id=name))
    return Plan(
        made_at=format_utc(now),
        expires_at=format_utc(now + EXPIRES),
        scope=tuple(sorted({action.unique_id for action in chosen})),
        purpose=PURPOSE_ROLLBACK,
        policy=plan.policy,
        snapshot=snapshot_digest,
        forecast="",
        budget=Budget(at_once=plan.budget.at_once),
        actions=tuple(actions),
        decisions=tuple(decisions),
        undoes=receipt.run_id,
        policy_name=plan.policy_name,
    )


def _with_room(
    found: Action, room: Optional[Room], index: int, owed: Collection[tuple[str, str]]
) -> tuple[Union[Action, Against], set[int]]:
    """The act, and the acts whose room it takes; where there is too little, one that only puts it on record."""
    needs = found.size_after - found.size_before
    free = room.available if room else 0
    if room and needs <= 0:
        room.donate(-needs, donor=index)
    elif room and needs <= free:
        return found, room.take(needs)
    elif needs > 0:
        reason = f"it needs {needs} more, its host has room for {max(0, free)}"
        if (found.unique_id, found.resource) in owed:
            return Against("already_owed", f"it is owed already: {reason}", refused=False), set()
        return replace(found, changes=(), deferred=found.changes, reason=f"owed until there is room: {reason}"), set()
    return found, set()


def _invert(original: Action, vm: Optional[VM]) -> Union[Action, Against]:
    """The inverse act without its place in the plan, or why there is none."""
    if vm is None:
        return Against("not_observed", "it is not in the snapshot")
    direction = OPPOSITE[original.direction]
    live = original.inverse.when == INVERSE_LIVE
    way = _capability(vm, original.inverse.operation, original.resource, direction)
    # A field that a VM has only while it runs is gone once it is off: its definition is all there is to set back.
    present = [one for one in original.changes if one.field in vm.fields or one.persistent]
    against = _against_vm(original, vm, present, live=live) or _against_act(way, live=live)
    if against is not None:
        return against
    back = [Change(field=one.field, before=one.after, after=one.before) for one in _in_order(present, way)]
    # Fields of the definition can be set back at any time, so an act that sets only those has a live inverse itself.
    undone_when = (way.inverse if way is not None else original.inverse.when) if live else INVERSE_LIVE
    return replace(
        original,
        host_id=vm.host_id,
        host_set=vm.host_set,
        operation=original.inverse.operation,
        direction=direction,
        mode=MODE_APPROVE,
        size_before=original.size_after,
        size_after=original.size_before,
        changes=tuple(one for one in back if live or one.persistent),
        deferred=tuple(one for one in back if not live and not one.persistent),
        generation=vm.generation,
        inverse=Inverse(operation=original.operation, when=undone_when),
        restart=False,
        reason=f"undoes {original.action_id}: {original.reason}",
        wave=0,
        not_before="",
        not_after="",
    )


def _against_vm(original: Action, vm: VM, present: list[Change], *, live: bool) -> Optional[Against]:
    """The VM may not be touched, or is not as the act left it."""
    if vm.refused:
        return Against(vm.refused_code or "refused", f"{vm.name} {vm.refused}")
    if all(vm.fields.get(one.field) == one.before for one in present):
        return Against("already_undone", f"it has {original.size_before} again", refused=False)
    settable = [one for one in present if live or one.persistent]
    if not live and all(vm.fields.get(one.field) == one.before for one in settable):
        return Against("already_owed", "it is set back, and waits for the VM's next restart", refused=False)
    for one in present:
        found = vm.fields.get(one.field)
        if found != one.after:
            return Against("superseded", f"{one.field} is {found}, not {one.after} as the act left it")
    return None


def _against_act(way: Optional[Capability], *, live: bool) -> Optional[Against]:
    """The platform cannot do it now."""
    if live and way is not None and not way.allowed:
        return Against(way.code or "refused", f"it cannot be undone now: {way.reason}")
    return None


def _in_order(changes: list[Change], way: Optional[Capability]) -> list[Change]:
    """The order in which the platform's own way back writes the fields; where it names others, the reverse."""
    by_field = {one.field: one for one in changes}
    fields = way.fields if way is not None else ()
    return [by_field[name] for name in fields] if set(fields) == set(by_field) else changes[::-1]


def _capability(vm: VM, operation: str, resource: str, direction: str) -> Optional[Capability]:
    wanted = (operation, resource, SET if kind_of(resource) in LIMITS else direction)
    found = (one for one in vm.capabilities if (one.operation, one.resource, one.direction) == wanted)
    return next(found, None)


def _rooms(snapshot: Snapshot) -> dict[tuple[str, str], Room]:
    free = {(host.host_id, resource): host.promised(resource) for host in snapshot.hosts for resource in RESOURCES}
    for vm in snapshot.vms:
        for resource in RESOURCES:
            if (vm.host_id, resource) in free:
                free[vm.host_id, resource] -= getattr(vm, resource)
    return {place: Room(size) for place, size in free.items()}


def _decision(
    original: Action, vm: Optional[VM], *, verdict: str, code: str, reason: str, action_id: str = ""
) -> Decision:
    return Decision(
        unique_id=original.unique_id,
        vm_name=original.vm_name,
        resource=original.resource,
        verdict=verdict,
        code=code,
        reason=reason,
        policy_line=0,
        size_now=_size_now(original, vm) if vm else 0,
        size_wanted=original.size_before,
        action_id=action_id,
    )


def _size_now(original: Action, vm: VM) -> int:
    """As the act counted it: a limit that a plan set in what the guest may use, one that a person set as written."""
    limit = LIMITS.get(original.resource)
    planned = limit is not None and limit.size and original.direction != SET
    return vm.has(original.resource) if planned else vm.size(original.resource)
