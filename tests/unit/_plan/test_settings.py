# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that a person asks for: exact, for one target or all, and nothing where it is so already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._plan.diff import (
    after_text,
    before_text,
    plan_table,
    summary_line,
)
from ansible_collections.headroom.fleet.plugins.module_utils._plan.resize import make_resize
from ansible_collections.headroom.fleet.plugins.module_utils._plan.settings import Asked
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Change
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import decode_artifact, encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import SET, VM, Capability
from tests.unit._plan.fleets import NOW, host, policy, snapshot, vm

SHIPPED = "defaults: {}\n"
FIELDS = {
    "live.cpu_limit_millicores": 0,
    "config.cpu_limit_millicores": 500,
    "live.disk_iops/vda": 0,
    "config.disk_iops/vda": 0,
    "live.disk_iops/vdb": 300,
    "config.disk_iops/vdb": 300,
    "config.maximum_vcpus": 8,
    "live.cpu_pinning/0": "0-3",
    "config.cpu_pinning/0": "0-1",
}


def way(resource: str, *names: str, **values: Any) -> Capability:
    fields = names or (f"live.{resource}", f"config.{resource}")
    given = {"minimum": 0, "maximum": 1000, "inverse": "live", "allowed": True, "fields": fields, **values}
    return Capability(f"test.{resource}", resource, SET, **given)


WAYS = (
    way("cpu_limit_millicores", step=10),
    way("disk_iops/vda"),
    way("disk_iops/vdb"),
    way("maximum_vcpus", "config.maximum_vcpus", minimum=4),
    way("cpu_shares", allowed=False, code="field_absent", reason="it has none"),
    way("cpu_pinning", "live.cpu_pinning/0", "config.cpu_pinning/0", maximum=3),
)


def machine() -> VM:
    one = vm(vcpus=4, memory_mib=1024)
    return replace(one, fields={**one.fields, **FIELDS}, capabilities=(*one.capabilities, *WAYS))


def ask(goals: dict[str, Any], *, rules: str = SHIPPED, vcpus: int | None = None, **targets: str) -> Plan:
    return make_resize(
        snapshot([machine()], [host(vcpus=16)]),
        unique_id="e/a",
        vcpus=vcpus,
        memory_mib=None,
        asked=Asked(goals, targets),
        policy=policy(rules),
        state=PlanState(),
        now=NOW,
        snapshot_digest="sha256:1",
        policy_digest="sha256:3",
    )


def code(goals: dict[str, Any], **more: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        ask(goals, **more)
    return caught.value.code


def test_each_field_goes_from_what_it_holds_to_what_is_asked_for() -> None:
    (action,) = ask({"cpu_limit_millicores": 500}).actions
    assert action.changes == (
        Change("live.cpu_limit_millicores", 0, 500),
        Change("config.cpu_limit_millicores", 500, 500),
    )
    assert (action.direction, action.size_before, action.size_after, action.restart) == ("set", 0, 500, False)
    assert (action.inverse.operation, action.inverse.when) == (action.operation, "live")


def test_what_is_so_already_is_no_act() -> None:
    made = ask({"disk_iops": 300})
    assert [action.resource for action in made.actions] == ["disk_iops/vda"]
    assert [(one.resource, one.verdict, one.code) for one in made.decisions] == [
        ("disk_iops/vda", "act", "set"),
        ("disk_iops/vdb", "stay", "already_done"),
    ]
    assert ask({"disk_iops": 300}, disk="vdb").actions == ()


def test_one_target_is_chosen_by_its_name() -> None:
    (action,) = ask({"disk_iops": 0}, disk="vdb").actions
    assert action.resource == "disk_iops/vdb"
    assert code({"disk_iops": 0}, disk="vdz") == "resize.no_target"


def test_sizes_and_settings_are_one_plan() -> None:
    made = ask({"maximum_vcpus": 16, "cpu_limit_millicores": 100}, vcpus=5)
    assert [(one.action_id, one.resource) for one in made.actions] == [
        ("a0001", "vcpus"),
        ("a0002", "maximum_vcpus"),
        ("a0003", "cpu_limit_millicores"),
    ]
    assert [one.action_id for one in made.decisions] == ["a0001", "a0002", "a0003"]
    assert made.actions[1].reason.endswith("in force from its next start")
    assert "next start" not in made.actions[2].reason
    assert summary_line(made).startswith("3 acts (1 grow, 0 shrink, 2 set): +1 vCPU")


def test_the_diff_shows_every_field() -> None:
    made = ask({"cpu_pinning": "3,2"})
    assert before_text(made) == "a (e/a)\n  live.cpu_pinning/0: 0-3\n  config.cpu_pinning/0: 0-1\n"
    assert "  live.cpu_pinning/0: 2-3\n  config.cpu_pinning/0: 2-3\n" in after_text(made)
    assert plan_table(made).splitlines()[1].split()[:5] == ["a0001", "a", "cpu_pinning", "0-3", "2-3"]


def test_a_plan_with_words_for_values_survives_the_store() -> None:
    made = ask({"cpu_pinning": "2", "cpu_limit_millicores": 0})
    assert decode_artifact(Plan, encode_artifact(made)) == made


@pytest.mark.safety(rule=5)
@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ({"cpu_shares": 512}, "resize.field_absent"),
        ({"cpu_limit_millicores": 505}, "resize.out_of_range"),
        ({"cpu_limit_millicores": 2000}, "resize.out_of_range"),
        ({"disk_iops": -1}, "resize.out_of_range"),
        ({"maximum_vcpus": 3}, "resize.out_of_range"),
        ({"cpu_pinning": "0-4"}, "resize.out_of_range"),
        ({"cpu_pinning": ""}, "resize.no_cpus"),
        ({"cpu_pinning": "first"}, "resize.no_cpus"),
        ({"memory_stats_period_s": 5}, "resize.no_capability"),
        ({"cpu_limit_millicores": 100, "cpu_shares": 512}, "resize.field_absent"),
    ],
)
def test_what_cannot_be_done_exactly_is_refused_whole(goals: dict[str, Any], expected: str) -> None:
    assert code(goals) == expected


@pytest.mark.safety(rule=9)
def test_a_vm_that_is_ignored_is_left_alone() -> None:
    assert code({"cpu_limit_millicores": 100}, rules="defaults: {mode: ignore}\n") == "resize.mode_ignore"
