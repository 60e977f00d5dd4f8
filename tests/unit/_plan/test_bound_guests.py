# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests bound to what they have: pinned, in huge pages, with passed-through devices, or by a licence."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._plan.resize import make_resize
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.capability import capabilities
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.fields import read_fields
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS, VM
from tests.unit._plan.fleets import FREE, NOW, decision, forecast, plan, policy, sizes, snapshot, vm
from tests.unit._platform.libvirt_domains import running

PIN = "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune>"
PCI = "<hostdev mode='subsystem' type='pci'><source><address bus='0x01'/></source></hostdev>"
# What it is bound by -> the resource, what its definition says, and the code of the refusal.
BOUND = {
    "pinned vCPUs": (VCPUS, {"more": PIN}, "vcpus.pinned"),
    "huge pages": (MEMORY_MIB, {"more": "<memoryBacking><hugepages/></memoryBacking>"}, "memory.hugepages"),
    "locked memory": (MEMORY_MIB, {"more": "<memoryBacking><locked/></memoryBacking>"}, "memory.locked"),
    "encrypted memory": (MEMORY_MIB, {"more": "<launchSecurity type='sev'/>"}, "memory.encrypted"),
    "a passed-through device": (MEMORY_MIB, {"devices": PCI}, "memory.passthrough"),
}
NEEDS = {VCPUS: (3500, 100), MEMORY_MIB: (450, 10)}  # more than it has, less than it has
GOALS = {VCPUS: (3, 1), MEMORY_MIB: (384, 128)}


def guest(what: dict[str, Any]) -> VM:
    """A VM as libvirt shows it, with 2 of 4 vCPUs and 256 of 512 MiB."""
    description = running(online=2, vcpus=2, current_memory=256 * 1024, **what)
    return vm(vcpus=2, memory_mib=256, fields=read_fields(description), capabilities=capabilities(description))


def resize(one: VM, **goal: int) -> Any:
    return make_resize(
        snapshot([one]),
        unique_id=one.unique_id,
        **{"vcpus": None, "memory_mib": None, **goal},
        policy=policy(),
        state=PlanState(),
        now=NOW,
        snapshot_digest="",
        policy_digest="",
    )


@pytest.mark.safety(rule=12)
@pytest.mark.parametrize("by", BOUND)
@pytest.mark.parametrize("more", [True, False])
def test_neither_a_plan_nor_a_person_changes_what_a_guest_is_bound_to(by: str, *, more: bool) -> None:
    resource, what, code = BOUND[by]
    upper = {("a", resource): NEEDS[resource][not more]}
    bound = guest(what)
    rules = FREE.replace("memory: {", "memory: {minimum_mib: 128, ")
    made = plan(snapshot([bound]), forecast(upper), rules)
    found = next(one for one in made.decisions if one.resource == resource)
    assert (found.verdict, found.code) == (REFUSED, code), found.reason
    assert made.actions == ()
    with pytest.raises(RefusedError):
        resize(bound, **{resource: GOALS[resource][not more]})


@pytest.mark.parametrize("resource", [VCPUS, MEMORY_MIB])
def test_the_same_guest_unbound_is_changed(resource: str) -> None:
    grown = plan(snapshot([guest({})]), forecast({("a", resource): NEEDS[resource][0]}))
    assert decision(grown, "a", resource) == (ACT, "grow")
    assert resize(guest({}), **{resource: GOALS[resource][0]}).actions


@pytest.mark.safety(rule=12)
def test_what_a_licence_covers_is_a_maximum_of_the_policy_for_a_person_too() -> None:
    rules = FREE + "rules: [{match: {tags: 'licence:*'}, set: {vcpus: {maximum: 4}}}]\n"
    licensed, full = vm(vcpus=2, tags=("licence:db",)), vm(vcpus=4, tags=("licence:db",))
    assert sizes(plan(snapshot([licensed]), forecast({("a", VCPUS): 9000}), rules)) == {("a", VCPUS): (2, 4)}
    assert decision(plan(snapshot([full]), forecast({("a", VCPUS): 9000}), rules)) == (STAY, "policy_maximum")
    with pytest.raises(RefusedError) as caught:
        make_resize(
            snapshot([licensed]),
            unique_id="e/a",
            vcpus=5,
            memory_mib=None,
            policy=policy(rules),
            state=PlanState(),
            now=NOW,
            snapshot_digest="",
            policy_digest="",
        )
    assert caught.value.code == "resize.policy_maximum"
