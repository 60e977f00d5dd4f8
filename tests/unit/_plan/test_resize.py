# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's own request: exact, at once, and under every rule but those that slow the automation down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError, RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._plan.resize import make_resize
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import NumaCell
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, MEMORY_MIB, VCPUS, Capability
from tests.unit._plan.fleets import NOW, host, policy, snapshot, vm

SEEN = snapshot([vm(vcpus=4, memory_mib=1024), vm("b", vcpus=4)], [host(vcpus=16)])
SHIPPED = "defaults: {}\n"


def resize(seen: Any = SEEN, rules: str = SHIPPED, *, state: PlanState | None = None, **sizes: int) -> Plan:
    return make_resize(
        seen,
        unique_id="e/a",
        vcpus=sizes.get("vcpus"),
        memory_mib=sizes.get("memory_mib"),
        policy=policy(rules),
        state=state or PlanState(),
        now=NOW,
        snapshot_digest="sha256:1",
        policy_digest="sha256:3",
    )


def code(*given: Any, **sizes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        resize(*given, **sizes)
    assert caught.value.message.startswith("a is left as it is: ")
    return caught.value.code


def test_both_sizes_at_once_and_only_what_differs() -> None:
    made = resize(vcpus=5, memory_mib=1000)
    assert sorted((one.resource, one.size_before, one.size_after, one.mode) for one in made.actions) == [
        (MEMORY_MIB, 1024, 1000, "approve"),
        (VCPUS, 4, 5, "approve"),
    ]
    assert (made.purpose, made.scope, made.forecast) == ("resize", ("e/a",), "")
    same = resize(vcpus=4, memory_mib=2048)
    assert [one.resource for one in same.actions] == [MEMORY_MIB]
    assert [one.code for one in same.decisions] == ["already_done", "grow"]
    assert [one.upper for one in same.decisions] == [None, None]  # no forecast was asked
    assert resize(vcpus=4).actions == ()


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize("mode", ["recommend", "approve", "auto"])
def test_it_is_allowed_in_every_mode_but_ignore(mode: str) -> None:
    assert len(resize(SEEN, f"defaults: {{mode: {mode}}}\n", vcpus=5).actions) == 1
    assert code(SEEN, "defaults: {mode: ignore}\n", vcpus=5) == "resize.mode_ignore"
    assert code(SEEN, f"defaults: {{mode: {{grow: ignore, shrink: {mode}}}}}\n", vcpus=5) == "resize.mode_ignore"
    tagged = snapshot([vm(vcpus=4, mode="ignore")])
    assert code(tagged, f"defaults: {{mode: {mode}}}\n", vcpus=5) == "resize.mode_ignore"


@pytest.mark.safety(rule=9)
def test_not_under_a_hold() -> None:
    assert code(state=PlanState(holds={"e/a": "Ada: no"}), vcpus=5) == "resize.held"
    assert code(state=PlanState(reverted_twice=frozenset({"e/a"})), vcpus=5) == "resize.reverted_twice"


def test_what_slows_the_automation_down_does_not_hold_a_person() -> None:
    last = PlanState(last_acts={("e/a", VCPUS): (GROW, int(NOW.timestamp() * 1000))})
    assert [one.size_after for one in resize(state=last, vcpus=1).actions] == [1]  # no hold time, no step limit
    assert [one.size_after for one in resize(memory_mib=1025).actions] == [1025]  # no minimum change, no granule


WINDOW = "defaults: {windows: [{zone: UTC, days: [mon], from: 01:00, to: 02:00}]}\nplan: {expires_hours: 2}\n"


@pytest.mark.parametrize(
    ("seen", "rules", "sizes", "expected"),
    [
        (snapshot([vm(refused="is a template", refused_code="vm.template")]), SHIPPED, {"vcpus": 5}, "vm.template"),
        (SEEN, SHIPPED, {"vcpus": 33}, "resize.inexact"),
        (SEEN, SHIPPED, {"memory_mib": 100}, "resize.policy_minimum"),
        (SEEN, "defaults: {vcpus: {minimum: 2}}\n", {"vcpus": 1}, "resize.policy_minimum"),
        (SEEN, "defaults: {vcpus: {maximum: 5}}\n", {"vcpus": 6}, "resize.policy_maximum"),
        (SEEN, SHIPPED, {"vcpus": 13}, "resize.no_room"),
        (snapshot([vm(vcpus=4, capabilities=())]), SHIPPED, {"vcpus": 5}, "resize.no_capability"),
        (
            snapshot([vm(vcpus=4)], [host(numa=(NumaCell(0, 4, 4096), NumaCell(1, 4, 4096)))]),
            SHIPPED,
            {"vcpus": 5},
            "resize.numa",
        ),
        (SEEN, WINDOW, {"vcpus": 5}, "resize.window_closed"),
        (
            snapshot([vm(vcpus=4, step=(2, 1))]),
            SHIPPED,
            {"vcpus": 7},
            "resize.inexact",
        ),
    ],
)
def test_every_other_rule_holds(seen: Any, rules: str, sizes: dict[str, int], expected: str) -> None:
    assert code(seen, rules, **sizes) == expected


@pytest.mark.safety(rule=12)
def test_the_reserve_of_the_host_set_holds() -> None:
    hosts = [host("h1", vcpus=8), host("h2", vcpus=8)]
    seen = snapshot([vm(vcpus=4, on=hosts[0]), vm("b", vcpus=3, on=hosts[1])], hosts)
    assert code(seen, vcpus=6) == "resize.ha_reserve"
    assert len(resize(seen, vcpus=5).actions) == 1


@pytest.mark.safety(rule=4)
def test_no_restart_for_a_person_either() -> None:
    cold = Capability("vcpus.config", VCPUS, GROW, True, "", "", ("config.vcpus",), 1, 32, 1, "live", True)
    assert code(snapshot([vm(vcpus=4, capabilities=(cold,))]), vcpus=5) == "resize.needs_restart"


def test_a_request_for_nothing_or_for_nobody_is_an_error() -> None:
    for seen, sizes, expected in ((SEEN, {}, "resize.nothing"), (snapshot([]), {"vcpus": 2}, "resize.vm_unknown")):
        with pytest.raises(HeadroomError) as caught:
            resize(seen, **sizes)
        assert caught.value.code == expected


def test_room_freed_by_others_is_not_counted_on() -> None:
    full = replace(SEEN, hosts=(host(vcpus=8),))
    assert code(full, vcpus=5) == "resize.no_room"
