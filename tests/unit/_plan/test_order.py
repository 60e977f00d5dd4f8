# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets the room, in which order, and what waits for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.capacity import Room
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS
from tests.unit._plan.fleets import FREE, decision, forecast, host, plan, sizes, snapshot, vm


def grow(*names: str, upper: int = 5000) -> dict[tuple[str, str], float]:
    """VMs that need eight vCPUs."""
    return {(name, VCPUS): upper for name in names}


def shrink(*names: str) -> dict[tuple[str, str], float]:
    """VMs that need one vCPU."""
    return {(name, VCPUS): 100 for name in names}


def acts(made: Plan) -> list[tuple[str, int, list[str]]]:
    """Name, size and what must be done before, in the order of the plan."""
    names = {one.action_id: one.vm_name for one in made.actions}
    return [(one.vm_name, one.size_after, [names[name] for name in one.after]) for one in made.actions]


def rules(extra: str = "") -> str:
    return FREE + extra


def test_what_a_host_promises_is_capacity_less_reserved_times_ratio() -> None:
    one = host(vcpus=10, vcpus_reserved=3, vcpus_allocation_ratio_ppm=2_500_000, memory_mib=1000, memory_reserved_mib=1)
    assert (one.promised(VCPUS), one.promised(MEMORY_MIB)) == (17, 999)
    assert host(vcpus=2, vcpus_reserved=3).promised(VCPUS) == 0


@pytest.mark.safety(rule=7)
def test_a_grow_waits_for_the_shrink_whose_room_it_needs() -> None:
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [host(vcpus=9)])
    assert acts(plan(seen, forecast(grow("b") | shrink("a")))) == [("a", 1, []), ("b", 8, ["a"])]


def test_a_grow_that_has_room_waits_for_nothing_and_comes_first() -> None:
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [host(vcpus=12)])
    assert acts(plan(seen, forecast(grow("b") | shrink("a")))) == [("b", 8, []), ("a", 1, [])]


def test_each_grow_waits_only_for_its_own_donors() -> None:
    vms = [vm(name, vcpus=4) for name in "abcd"]
    made = plan(snapshot(vms, [host(vcpus=16)]), forecast(grow("c", "d", upper=3500) | shrink("a", "b")))
    # Each needs one more; the first donor frees three.
    assert acts(made) == [("a", 1, []), ("c", 5, ["a"]), ("d", 5, ["a"]), ("b", 1, [])]


def test_a_shrink_elsewhere_is_of_no_use() -> None:
    one, two = host("h1", vcpus=4), host("h2", vcpus=4, host_set="other")
    seen = snapshot([vm("a", vcpus=4, on=two), vm("b", vcpus=4, on=one)], [one, two])
    made = plan(seen, forecast(grow("b") | shrink("a")))
    assert decision(made, "b") == (REFUSED, "no_room")
    assert acts(made) == [("a", 1, [])]


def test_scarce_room_goes_by_priority_then_by_pressure() -> None:
    vms = [replace(vm("a", vcpus=4), tenant="low"), vm("b", vcpus=4), vm("c", vcpus=4)]
    priorities = "rules: [{match: {tenant: low}, set: {priority: 1}}]\n"
    uppers = grow("a", upper=6000) | grow("b", upper=5000) | grow("c", upper=5200)
    made = plan(snapshot(vms, [host(vcpus=20)]), forecast(uppers), rules(priorities))
    assert acts(made) == [("c", 8, []), ("b", 8, [])]
    assert decision(made, "a") == (REFUSED, "no_room")


def test_part_of_the_room_is_better_than_none_and_is_said() -> None:
    made = plan(snapshot([vm(vcpus=4)], [host(vcpus=6)]), forecast(grow("a")))
    assert sizes(made) == {("a", VCPUS): (4, 6)}
    assert made.actions[0].reason.endswith("h1 has room for 2 more, so it gets 6")
    assert made.decisions[0].size_wanted == 8


def test_a_part_below_the_minimum_change_is_not_worth_an_act() -> None:
    text = rules().replace("vcpus: {minimum_change_percent: 0", "vcpus: {minimum_change_percent: 60")
    made = plan(snapshot([vm(vcpus=4)], [host(vcpus=6)]), forecast(grow("a")), text)
    assert decision(made) == (REFUSED, "no_room")


def test_memory_grows_by_granules_only() -> None:
    seen = snapshot([vm(memory_mib=1024)], [host(memory_mib=1400)])
    made = plan(seen, forecast({("a", MEMORY_MIB): 4000}))
    assert sizes(made) == {("a", MEMORY_MIB): (1024, 1280)}


def test_the_largest_savings_come_first() -> None:
    vms = [vm("a", vcpus=3, memory_mib=512), vm("b", vcpus=9), vm("c", vcpus=2, memory_mib=20_480)]
    made = plan(snapshot(vms), forecast(shrink("a", "b") | {("c", MEMORY_MIB): 100.0}))
    assert [one.vm_name for one in made.actions] == ["b", "c", "a"]
    dear = rules().replace("mode: auto", "mode: auto\n  cost: {per_vcpu: 1, per_memory_gib: 10}")
    assert [
        one.vm_name
        for one in plan(snapshot(vms), forecast(shrink("a", "b") | {("c", MEMORY_MIB): 100.0}), dear).actions
    ] == [
        "c",
        "b",
        "a",
    ]


@pytest.mark.safety(rule=9)
def test_nothing_real_counts_on_what_is_only_recommended() -> None:
    text = rules("rules: [{match: {name: a}, set: {mode: recommend}}]\n")
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [host(vcpus=8)])
    made = plan(seen, forecast(grow("b") | shrink("a")), text)
    assert decision(made, "b") == (REFUSED, "no_room")
    assert [(one.vm_name, one.mode) for one in made.actions] == [("a", "recommend")]


@pytest.mark.safety(rule=9)
def test_what_is_only_recommended_gets_the_room_that_is_left() -> None:
    text = rules("rules: [{match: {name: a}, set: {mode: recommend, priority: 1000}}]\n")
    made = plan(snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], [host(vcpus=14)]), forecast(grow("a", "b")), text)
    assert [(one.vm_name, one.mode, one.size_after) for one in made.actions] == [
        ("b", "auto", 8),
        ("a", "recommend", 6),
    ]


def test_a_donor_that_needs_no_approval_is_preferred() -> None:
    text = rules("rules: [{match: {name: a}, set: {mode: approve}}]\n")
    vms = [vm("a", vcpus=9), vm("b", vcpus=5), vm("c", vcpus=4)]
    made = plan(snapshot(vms, [host(vcpus=18)]), forecast(grow("c") | shrink("a", "b")), text)
    assert acts(made)[:2] == [("b", 1, []), ("c", 8, ["b"])]


def test_every_vm_of_the_fleet_uses_room_and_only_the_scope_is_acted_on() -> None:
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4), replace(vm("c", vcpus=4), power="off")], [host(vcpus=12)])
    made = plan(seen, forecast(grow("a") | shrink("b")), scope=["e/a"])
    assert decision(made) == (REFUSED, "no_room")
    assert made.scope == ("e/a",)
    assert {one.unique_id for one in made.decisions} == {"e/a"}


@pytest.mark.safety(rule=12)
def test_a_host_set_keeps_room_for_lost_hosts() -> None:
    hosts = [host(f"h{n}", vcpus=size) for n, size in enumerate((20, 10, 16))]
    seen = snapshot([vm("a", vcpus=4, on=hosts[0]), vm("b", vcpus=20, on=hosts[2])], hosts)
    # With the largest host lost 26 are left, of which 24 are in use.
    made = plan(seen, forecast(grow("a")))
    assert sizes(made) == {("a", VCPUS): (4, 6)}
    assert "host set set keeps room for 1 lost hosts, which leaves 2" in made.actions[0].reason
    free = plan(seen, forecast(grow("a")), rules("capacity: {ha_reserve_hosts: 0}\n"))
    assert sizes(free) == {("a", VCPUS): (4, 8)}
    none = plan(seen, forecast(grow("a")), rules("capacity: {ha_reserve_hosts: 2}\n"))
    assert decision(none) == (REFUSED, "ha_reserve")
    assert none.decisions[0].policy_line == 8


@pytest.mark.safety(rule=12)
def test_a_host_set_of_one_host_keeps_none_and_the_plan_says_so() -> None:
    made = plan(snapshot([vm(vcpus=4)], [host(vcpus=8)]), forecast(grow("a")))
    assert sizes(made) == {("a", VCPUS): (4, 8)}
    assert made.warnings == ("host set set has 1 host(s): room is kept for 0 lost hosts, not 1",)


def test_an_overfull_host_is_relieved_before_anything_grows_on_it() -> None:
    vms = [vm("a", vcpus=9), vm("b", vcpus=6), vm("c", vcpus=4)]
    made = plan(snapshot(vms, [host(vcpus=12)]), forecast(grow("c", upper=3500) | shrink("a", "b")))
    assert acts(made)[:2] == [("a", 1, []), ("c", 5, ["a"])]
    short = plan(snapshot(vms, [host(vcpus=10)]), forecast(grow("c", upper=3500) | shrink("b")))
    assert decision(short, "c") == (REFUSED, "no_room")


@pytest.mark.parametrize("subject", ["h1", "e/h1", "e/some-vm"])
def test_nothing_grows_on_a_host_that_answered_only_in_part(subject: str) -> None:
    seen = snapshot([vm("a", vcpus=4), vm("b", vcpus=4)], gaps=(Gap("e", subject, "host.broken", "it broke off"),))
    made = plan(seen, forecast(grow("a") | shrink("b")))
    assert decision(made) == (REFUSED, "capacity_unknown")
    assert decision(made, "b") == (ACT, "shrink")


def test_a_vm_that_was_not_read_casts_doubt_on_its_host_alone() -> None:
    gap = (Gap("e", "e/some-vm", "vm.unreadable", "it broke off"),)  # on which of two, nobody knows: the plan warns
    made = plan(snapshot([vm("a", vcpus=4)], [host(), host("h2")], gaps=gap), forecast(grow("a")))
    assert decision(made) == (ACT, "grow")
    assert any("not observed" in warning for warning in made.warnings)
    elsewhere = (replace(gap[0], endpoint="f"),)
    assert decision(plan(snapshot([vm("a", vcpus=4)], gaps=elsewhere), forecast(grow("a")))) == (ACT, "grow")


def test_nothing_grows_on_a_host_that_is_not_there() -> None:
    made = plan(snapshot([vm(vcpus=4, on=host("gone"))]), forecast(grow("a")))
    assert decision(made) == (REFUSED, "host_unknown")


def test_room_is_given_out_once() -> None:
    room = Room(2)
    room.donate(3, donor=7)
    room.donate(5, donor=8)
    assert room.available == 10
    assert [room.take(amount) for amount in (1, 3, 1, 5)] == [set(), {7}, {7}, {8}]
    assert room.available == 0


def test_who_lifts_a_place_out_of_overload_comes_before_all() -> None:
    room = Room(-4)
    room.donate(3, donor=1)
    room.donate(3, donor=2)
    room.donate(3, donor=3)
    assert room.available == 5
    assert [room.take(2), room.take(3)] == [{1, 2}, {1, 2, 3}]
