# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's look at the room, just before a grow: as it is now, not as it was when the plan was made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.room import Room
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Observation
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host, NumaCell
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VCPUS, VM
from tests.unit._plan.fleets import FREE, forecast, host, plan, snapshot, vm

HOSTS = [host(f"h{n}", vcpus=10) for n in range(3)]
VMS = [vm(f"v{n}", vcpus=4, on=HOSTS[n]) for n in range(3)]
GROW = forecast({("v0", VCPUS): 5000, ("v1", VCPUS): 5000})  # each grows from 4 to 8; with a host lost 20 are left


class Endpoint:
    """What the observed endpoint has, which others may change at any time; and a clock that only tests move."""

    def __init__(self, hosts: list[Host], vms: list[VM]) -> None:
        self.hosts, self.vms, self.gaps = hosts, vms, ()
        self.looks = 0
        self.clock = 0.0

    def observe(self) -> Observation:
        self.looks += 1
        return Observation(tuple(self.hosts), tuple(self.vms), self.gaps)

    def room(self, made: Plan) -> Room:
        return Room(made, self.observe, monotonic=lambda: self.clock)

    def resize(self, name: str, vcpus: int) -> None:
        self.vms = [replace(one, vcpus=vcpus) if one.name == name else one for one in self.vms]


def made(hosts: list[Host] = HOSTS, vms: list[VM] = VMS, rules: str = FREE) -> Plan:
    return plan(snapshot(vms, hosts), GROW, rules)


def acts(of: Plan) -> dict[str, Action]:
    return {one.vm_name: one for one in of.actions}


def code(room: Room, action: Action) -> str:
    try:
        room.check(action)
    except RefusedError as refusal:
        return refusal.code
    return ""


@pytest.mark.safety(rule=12)
def test_the_reserve_of_the_plan_is_kept_at_the_gate() -> None:
    of, endpoint = made(), Endpoint(HOSTS, VMS)
    assert of.ha_reserve_hosts == {"set": 1}
    grow = acts(of)["v0"]
    assert code(endpoint.room(of), grow) == ""
    endpoint.resize("v2", 9)  # somebody else's VM
    assert code(endpoint.room(of), grow) == "ha_reserve"
    without = made(rules=FREE + "capacity: {ha_reserve_hosts: 0}\n")
    assert code(endpoint.room(without), grow) == ""
    assert code(endpoint.room(replace(of, purpose="rollback")), grow) == ""  # it gives back what was there


@pytest.mark.safety(rule=12)
def test_a_host_set_of_several_endpoints_is_looked_at_when_planning_alone() -> None:
    away = replace(HOSTS[2], endpoint="f", host_id="f/h2")
    assert made([*HOSTS[:2], away], VMS[:2]).ha_reserve_hosts == {}


@pytest.mark.safety(rule=12)
def test_a_vm_does_not_outgrow_its_numa_cell_at_the_gate() -> None:
    of = made()
    cells = tuple(NumaCell(n, 5, 32_768) for n in range(2))
    endpoint = Endpoint([replace(HOSTS[0], numa=cells), *HOSTS[1:]], VMS)
    assert code(endpoint.room(of), acts(of)["v0"]) == "numa"
    assert code(endpoint.room(of), acts(of)["v1"]) == ""
    assert code(endpoint.room(replace(of, purpose="rollback")), acts(of)["v0"]) == ""


@pytest.mark.safety(rule=7)
def test_what_others_place_there_meanwhile_is_seen_once_the_look_is_old() -> None:
    of, endpoint = made(rules=FREE + "capacity: {ha_reserve_hosts: 0}\n"), Endpoint(HOSTS, VMS)
    room, grow = endpoint.room(of), acts(of)["v0"]
    endpoint.vms = [*VMS, vm("new", vcpus=4, on=HOSTS[0])]
    endpoint.clock = 9.9
    assert (code(room, grow), endpoint.looks) == ("", 1)
    endpoint.clock = 10
    assert (code(room, grow), endpoint.looks) == ("no_room", 2)
    endpoint.vms = VMS
    endpoint.clock = 20
    assert code(room, grow) == ""


@pytest.mark.safety(rule=7)
def test_an_act_under_way_counts_with_its_larger_size_whatever_a_look_shows() -> None:
    hosts = [host(vcpus=12)]
    vms = [vm("v0", vcpus=4), vm("v1", vcpus=4)]
    of = plan(snapshot(vms, [host(vcpus=99)]), GROW)
    endpoint, grows = Endpoint(hosts, vms), acts(of)
    room = endpoint.room(of)
    room.reserve(grows["v0"])
    endpoint.clock = 60
    assert code(room, grows["v1"]) == "no_room"
    room.settle(grows["v0"], state="reverted")
    assert code(room, grows["v1"]) == ""
    room.reserve(grows["v0"])
    room.settle(grows["v0"], state="done")
    assert code(room, grows["v1"]) == "no_room"


@pytest.mark.parametrize(("state", "expected"), [("done", ""), ("reverted", "no_room"), ("owed", "no_room")])
def test_a_shrink_gives_its_room_once_it_is_done(state: str, expected: str) -> None:
    vms = [vm("v0", vcpus=4), vm("v1", vcpus=4)]
    of = plan(snapshot(vms, [host(vcpus=9)]), forecast({("v0", VCPUS): 100, ("v1", VCPUS): 5000}))
    endpoint = Endpoint([host(vcpus=9)], vms)
    room = endpoint.room(of)
    room.reserve(acts(of)["v0"])
    assert code(room, acts(of)["v1"]) == "no_room"
    room.settle(acts(of)["v0"], state=state)
    assert code(room, acts(of)["v1"]) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hosts": HOSTS[1:]}, "host_unknown"),
        ({"vms": VMS[1:]}, "host_unknown"),
        ({"gaps": (Gap("e", "h0", "host.broken", "it broke off"),)}, "capacity_unknown"),
    ],
)
def test_nothing_grows_where_the_host_was_not_wholly_seen(change: dict[str, Any], expected: str) -> None:
    of, endpoint = made(), Endpoint(HOSTS, VMS)
    vars(endpoint).update(change)
    assert code(endpoint.room(of), acts(of)["v0"]) == expected
