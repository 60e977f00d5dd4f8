# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says, whatever its form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Change
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Decision
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import ALREADY_DONE, DONE, OWED, SKIPPED
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, SHRINK
from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown
from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import metrics
from ansible_collections.headroom.fleet.plugins.module_utils._report.notices import notices
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view
from ansible_collections.headroom.fleet.plugins.module_utils._report.words import (
    cost,
    demand,
    percent,
    size,
    span,
    step,
)

from .samples import action, outcome, plan, receipt, small


def test_those_acted_on_come_first() -> None:
    view = build_view(small())
    assert [machine.name for machine in view.machines] == ["web1", "batch1", "db1", "tmpl", "web2"]
    assert (view.count(GROW), view.count(SHRINK), view.count("refused"), view.staying) == (1, 1, 1, 2)


def test_only_what_was_done_counts_as_given_back() -> None:
    facts = small()
    grow, shrink_vcpus, shrink_memory = facts.plan.actions
    ends = (outcome(grow, SKIPPED, "superseded"), outcome(shrink_vcpus, DONE), outcome(shrink_memory, ALREADY_DONE))
    view = build_view(replace(facts, receipt=receipt(ends)))
    assert view.planned.amounts["vcpus", GROW] == 1
    assert view.done.amounts["vcpus", GROW] == 0
    assert view.done.amounts["vcpus", SHRINK] == 1
    assert view.done.amounts["memory_mib", SHRINK] == 0
    assert view.results == (("already_done", "", 1), ("done", "", 1), ("skipped", "superseded", 1))


def test_the_receipt_of_another_plan_says_nothing_of_this_one() -> None:
    facts = small()
    view = build_view(replace(facts, receipt=replace(facts.receipt, plan="sha256:" + "0" * 64)))
    assert all(row.outcome is None for machine in view.machines for row in machine.rows)
    assert view.done.amounts["vcpus", SHRINK] == 0


def test_why_the_others_stay_is_counted_by_reason() -> None:
    reasons = {(one.verdict, one.code): one for one in build_view(small()).reasons}
    assert reasons["stay", "fits"].vms == 3
    assert [(row.vm_name, row.reason) for row in reasons["refused", "no_history"].rows] == [
        ("db1", "3 days of history are known, 7 are needed to shrink")
    ]
    assert set(reasons) == {("stay", "fits"), ("stay", "minimum_change"), ("refused", "no_history")}


def test_an_act_ends_where_its_step_does_and_not_at_what_is_wanted() -> None:
    facts = small()
    decisions = tuple(replace(one, size_wanted=one.size_wanted + 40) for one in facts.plan.decisions)
    view = build_view(replace(facts, plan=replace(facts.plan, decisions=decisions)))
    assert [act.amount for act in view.acts] == ["1 → 2 vCPU", "2 → 1 vCPU", "384 → 256 MiB"]


def test_the_policy_says_what_an_act_costs_and_the_dearest_comes_first() -> None:
    policy = load_policy(
        "schema: headroom.sizing-policy/1\n"
        "defaults: {cost: {per_vcpu: 4, per_memory_gib: 16}}\n"
        "rules: [{match: {name: 'batch*'}, set: {cost: {per_vcpu: 100}}}]\n",
        name="test.yml",
    )
    view = build_view(small(policy=policy))
    assert {(act.vm_name, act.resource): act.cost for act in view.acts} == {
        ("web1", "vcpus"): 4,
        ("batch1", "vcpus"): -100,
        ("batch1", "memory_mib"): -2,
    }
    assert view.done.cost == -98
    assert build_view(small()).done.cost == 0


def test_what_went_wrong_comes_first() -> None:
    facts = small()
    grow, shrink_vcpus, shrink_memory = facts.plan.actions
    ends = (outcome(grow, DONE), outcome(shrink_vcpus, DONE), outcome(shrink_memory, OWED, "guest.refused", "no"))
    view = build_view(replace(facts, receipt=receipt(ends)))
    assert [machine.name for machine in view.machines][:2] == ["batch1", "web1"]


def test_what_a_person_must_know_is_told_from_the_loudest_on() -> None:
    facts = small(kill_switch="ada: storage is failing")
    silent = replace(facts.forecast.choices[0], observed_until="")
    late = replace(facts.forecast.choices[2], observed_until="2026-03-01T09:00:00Z")
    forecast = replace(facts.forecast, choices=(silent, facts.forecast.choices[1], late))
    actions = (replace(facts.plan.actions[0], mode="approve"), *facts.plan.actions[1:])
    plan = replace(facts.plan, actions=actions)
    told = notices(build_view(replace(facts, forecast=forecast, plan=plan, receipt=None)))
    assert [(one.loud, one.words.partition(" (")[0]) for one in told] == [
        (True, "The kill switch is on"),
        (True, "1 rollback owed: waits for a restart of its VM, or for a person."),
        (False, "1 act waits for approval"),
        (False, "Part of the fleet could not be read; nothing is planned there:"),
        (False, "Telemetry of 2 VMs is missing or more than 1 h old: no shrink there."),
    ]
    assert [item.words for item in told[-1].items] == [
        "web1: no CPU demand at all",
        "batch1: newest CPU demand 2 h 59 min old",
    ]


def test_a_setting_is_an_act_that_neither_grows_nor_shrinks() -> None:
    pins = (Change("config.cpu_pinning", "0-3", "0-7"),)
    limit = (Change("config.disk_iops", 0, 500),)
    asked = tuple(
        replace(
            action(number, "web1", "vcpus", 0, 0), operation="x", resource=resource, direction="set", changes=changes
        )
        for number, (resource, changes) in enumerate(
            (("cpu_pinning", pins), ("disk_iops/vda", limit), ("disk_iops/vdb", limit)), start=1
        )
    )
    view = build_view(small(plan=plan(asked, purpose="resize"), receipt=None))
    act, vda, _vdb = view.acts
    assert vda.amount == "limit of disk vda none → 500 IOPS"
    assert 'headroom_decisions{resource="disk_iops",verdict="set",reason="set"} 2' in metrics(view)
    assert (act.verdict, act.amount, view.count(GROW), view.count(SHRINK)) == (
        "set",
        "cpu pinning 0-3 → 0-7",
        0,
        0,
    )
    assert "cpu pinning 0-3 → 0-7" in page(view)
    assert "cpu pinning 0-3 → 0-7" in markdown(view)


def test_a_planned_limit_is_told_in_vcpus_with_exact_millicores() -> None:
    changes = (Change("live.cpu_limit_millicores", 0, 1500), Change("config.cpu_limit_millicores", 0, 1500))
    limit = replace(
        action(1, "web1", "vcpus", 2000, 1500),
        operation="cpu.limit",
        resource="cpu_limit_millicores",
        changes=changes,
    )
    stays = Decision("lab/db1", "db1", "cpu_limit_millicores", "stay", "fits", "it fits", 3, 1750, 1750)
    view = build_view(small(plan=plan((limit,), (stays,)), receipt=None))
    (act,) = view.acts
    assert (act.verdict, act.amount) == (SHRINK, "CPU limit 2 → 1.5 vCPU (1500 millicores)")
    for form in (page(view), markdown(view)):
        assert "CPU limit 2 → 1.5 vCPU (1500 millicores)" in form
        assert "0.5 vCPU (500 millicores) of CPU limit" in form
        assert "CPU limit CPU limit" not in form
    assert "CPU limit 1.75 vCPU (1750 millicores)" in page(view)


def test_coverage_and_age_are_of_the_whole_fleet() -> None:
    facts = small()
    silent = replace(facts.forecast.choices[0], observed_until="", coverage_ppm=0)
    late = replace(facts.forecast.choices[2], observed_until="2026-03-01T09:00:00Z")
    choices = (silent, facts.forecast.choices[1], late, *facts.forecast.choices[3:])
    view = build_view(replace(facts, forecast=replace(facts.forecast, choices=choices)))
    cpu = next(one for one in view.known if one.metric == "cpu_millicores")
    assert (cpu.endpoint, cpu.vms, cpu.without, cpu.coverage_ppm, cpu.newest_s, cpu.oldest_s) == (
        "lab",
        4,
        1,
        748_500,
        240,
        3 * 3600 - 60,
    )


def test_a_stopped_or_broken_run_did_not_succeed() -> None:
    facts = small()
    assert build_view(facts).succeeded
    assert not build_view(replace(facts, receipt=replace(facts.receipt, stopped="kill_switch.on"))).succeeded


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (size("vcpus", 2), "2 vCPU"),
        (size("memory_mib", 1792), "1.75 GiB"),
        (step("memory_mib", 1024, 2048), "1 → 2 GiB"),
        (step("memory_mib", 1024, 896), "1 GiB → 896 MiB"),
        (cost(-610.4), "\N{MINUS SIGN}610"),
        (cost(1200), "+1,200"),
        (demand("vcpus", 1384), "1.38 vCPU"),
        (demand("vcpus", 23400), "23 vCPU"),
        (demand("memory_mib", 200.4), "200 MiB"),
        (span(0), "0 s"),
        (span(152), "2 min 32 s"),
        (span(3600), "1 h"),
        (span(90061), "1 d 1 h"),
        (percent(1_000_000), "100 %"),
        (percent(999_999), "99 %"),
        (percent(1), "1 %"),
        (percent(0), "0 %"),
    ],
)
def test_numbers_are_told_with_their_unit(said: str, words: str) -> None:
    assert said == words
