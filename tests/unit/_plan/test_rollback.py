# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Undoing a run: the inverse acts, in reverse, on what is there now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._plan.rollback import make_rollback
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Change
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import REVERTED, SKIPPED
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    GROW,
    INVERSE_AT_NEXT_RESTART,
    INVERSE_LIVE,
    VCPUS,
    Capability,
)
from tests.unit._plan.fleets import NOW, applied, forecast, host, plan, receipt, snapshot, vm

HOST = host(vcpus=9)
SEEN = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [HOST])
MADE = plan(SEEN, forecast({("a", VCPUS): 100, ("b", VCPUS): 5000}))  # a shrinks to 1, then b grows to 8
AFTER = applied(SEEN, MADE.actions)


def undo(seen: Any = AFTER, made: Plan = MADE, **values: Any) -> Plan:
    return make_rollback(made, values.get("of", receipt(made)), seen, now=NOW, snapshot_digest="sha256:9")


def change_vm(seen: Any, name: str, **values: Any) -> Any:
    return replace(seen, vms=tuple(replace(one, **values) if one.name == name else one for one in seen.vms))


@pytest.mark.safety(rule=6)
def test_the_acts_are_inverted_in_reverse() -> None:
    made = undo()
    assert [(one.action_id, one.vm_name, one.size_before, one.size_after, one.after) for one in made.actions] == [
        ("a0001", "b", 8, 4, ()),
        ("a0002", "a", 1, 4, ("a0001",)),
    ]
    assert [one.changes for one in made.actions] == [
        (Change("guest.vcpus", 8, 4), Change("config.vcpus", 8, 4)),
        (Change("guest.vcpus", 1, 4), Change("config.vcpus", 1, 4)),
    ]
    assert {(one.mode, one.restart, one.deferred, one.not_before) for one in made.actions} == {
        ("approve", False, (), "")
    }
    assert (made.purpose, made.undoes, made.snapshot, made.policy) == ("rollback", "run-1", "sha256:9", MADE.policy)
    assert (made.budget.at_once, made.budget.window) == (MADE.budget.at_once, None)
    assert made.scope == ("e/a", "e/b")


def test_the_precondition_is_the_fresh_one() -> None:
    made = undo(change_vm(AFTER, "a", generation="newer"))
    assert [one.generation for one in made.actions] == ["generation of b", "newer"]


@pytest.mark.parametrize("state", [SKIPPED, REVERTED])
def test_what_was_not_done_is_not_undone(state: str) -> None:
    made = undo(of=receipt(MADE, state=state))
    assert (made.actions, made.decisions, made.scope) == ((), (), ())


def test_what_is_undone_already_stays() -> None:
    made = undo(SEEN)
    assert made.actions == ()
    assert [(one.verdict, one.code) for one in made.decisions] == [(STAY, "already_undone")] * 2


def test_an_undo_that_is_left_out_keeps_no_other_waiting() -> None:
    made = undo(change_vm(AFTER, "b", fields={**AFTER.vms[1].fields, "guest.vcpus": 7}))
    assert [(one.vm_name, one.verdict, one.code) for one in made.decisions] == [
        ("b", REFUSED, "superseded"),
        ("a", ACT, "no_room"),  # b keeps what a gave: the rest is owed
    ]
    roomy = replace(AFTER, hosts=(host(vcpus=99),))
    made = undo(change_vm(roomy, "b", fields={**AFTER.vms[1].fields, "guest.vcpus": 7}))
    assert [(one.action_id, one.vm_name, one.after) for one in made.actions] == [("a0001", "a", ())]


@pytest.mark.safety(rule=6)
def test_a_shrink_whose_room_somebody_took_is_owed_until_there_is_room() -> None:
    fuller = replace(AFTER, vms=(*AFTER.vms, vm("c", vcpus=3)))
    (owed,) = [one for one in undo(fuller).actions if one.vm_name == "a"]
    assert (owed.changes, owed.after) == ((), ())
    assert owed.deferred == (Change("guest.vcpus", 1, 4), Change("config.vcpus", 1, 4))
    assert owed.reason == "owed until there is room: it needs 3 more, its host has room for 1"
    again = make_rollback(
        MADE, receipt(MADE), fuller, owed={("e/a", VCPUS)}, now=NOW, snapshot_digest="sha256:9"
    ).decisions
    assert [(one.vm_name, one.verdict, one.code) for one in again] == [
        ("b", ACT, "undo"),
        ("a", STAY, "already_owed"),
    ]
    roomy = make_rollback(MADE, receipt(MADE), AFTER, owed={("e/a", VCPUS)}, now=NOW, snapshot_digest="sha256:9")
    assert [one.code for one in roomy.decisions] == ["undo", "undo"]


def test_grows_are_undone_first_for_the_room_they_give_back() -> None:
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [host(vcpus=12)])
    first = plan(seen, forecast({("a", VCPUS): 100, ("b", VCPUS): 5000}))  # b grows to 8 of its own; a shrinks to 1
    assert [(one.vm_name, one.after) for one in first.actions] == [("b", ()), ("a", ())]
    after = applied(seen, first.actions)
    taken = replace(after, vms=(*after.vms, vm("c", vcpus=3)))  # somebody else took what a gave
    made = undo(taken, first)
    assert [(one.vm_name, one.after, bool(one.changes)) for one in made.actions] == [
        ("b", (), True),
        ("a", ("a0001",), True),
    ]


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (replace(AFTER, vms=AFTER.vms[:1]), "not_observed"),
        (change_vm(AFTER, "b", refused="is being migrated", refused_code="vm.job"), "vm.job"),
    ],
)
def test_a_vm_that_may_not_be_touched_is_refused(seen: Any, code: str) -> None:
    found = next(one for one in undo(seen).decisions if one.vm_name == "b")
    assert (found.verdict, found.code) == (REFUSED, code)


def test_a_way_back_that_is_closed_now_is_refused_with_its_reason() -> None:
    closed = tuple(
        replace(one, allowed=False, code="agent_silent", reason="the guest agent does not answer")
        for one in AFTER.vms[1].capabilities
    )
    found = undo(change_vm(AFTER, "b", capabilities=closed)).decisions[0]
    assert (found.code, found.reason) == ("agent_silent", "it cannot be undone now: the guest agent does not answer")


def plugged() -> tuple[Any, Plan, Any]:
    """A VM that grew by hot-plug, which only a restart takes back."""
    fields = ("live.vcpus", "config.vcpus")
    way = Capability("vcpus.hotplug", VCPUS, GROW, True, "", "", fields, 1, 32, 1, INVERSE_AT_NEXT_RESTART)
    one = vm(vcpus=4, fields={"live.vcpus": 4, "config.vcpus": 4}, capabilities=(way,))
    seen = snapshot([one])
    made = plan(seen, forecast({("a", VCPUS): 5000}))
    after = change_vm(seen, "a", vcpus=8, fields={"live.vcpus": 8, "config.vcpus": 8})
    return seen, made, after


@pytest.mark.safety(rule=6)
def test_what_only_a_restart_undoes_is_set_back_in_the_definition_and_owed() -> None:
    _unused, first, after = plugged()
    (action,) = undo(after, first).actions
    assert action.changes == (Change("config.vcpus", 8, 4),)
    assert action.deferred == (Change("live.vcpus", 8, 4),)
    assert (action.inverse.when, action.restart) == (INVERSE_LIVE, False)
    owed = change_vm(after, "a", fields={"live.vcpus": 8, "config.vcpus": 4})
    assert [(one.verdict, one.code) for one in undo(owed, first).decisions] == [(STAY, "already_owed")]


def test_a_vm_that_is_off_now_has_only_its_definition_to_set_back() -> None:
    _unused, first, after = plugged()
    off = change_vm(after, "a", power="off", fields={"config.vcpus": 8})
    (action,) = undo(off, first).actions
    assert (action.changes, action.deferred) == ((Change("config.vcpus", 8, 4),), ())


def test_a_rollback_can_be_rolled_back() -> None:
    back = undo()
    restored = applied(AFTER, back.actions)
    again = undo(restored, back)
    assert [(one.vm_name, one.size_after) for one in again.actions] == [("a", 1), ("b", 8)]
    assert again.actions[1].after == ("a0001",)
    assert [one.verdict for one in again.decisions] == [ACT, ACT]


def test_a_receipt_of_another_plan_is_an_error() -> None:
    other = replace(MADE, actions=MADE.actions[:1])
    with pytest.raises(HeadroomError) as caught:
        make_rollback(other, receipt(MADE), AFTER, now=NOW, snapshot_digest="sha256:9")
    assert caught.value.code == "rollback.mismatch"
