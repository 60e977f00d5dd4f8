# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says, whatever its form."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import ALREADY_DONE, DONE, SKIPPED
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, SHRINK
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import Sum, build_view
from ansible_collections.headroom.fleet.plugins.module_utils._report.words import demand, percent, size, span, step

from .samples import outcome, receipt, small


def test_those_acted_on_come_first() -> None:
    view = build_view(small())
    assert [machine.name for machine in view.machines] == ["web1", "batch1", "db1", "tmpl", "web2"]
    assert (view.count(GROW), view.count(SHRINK), view.count("refused"), view.staying) == (1, 1, 1, 2)


def test_only_what_was_done_counts_as_given_back() -> None:
    facts = small()
    grow, shrink_vcpus, shrink_memory = facts.plan.actions
    ends = (outcome(grow, SKIPPED, "superseded"), outcome(shrink_vcpus, DONE), outcome(shrink_memory, ALREADY_DONE))
    view = build_view(replace(facts, receipt=receipt(ends)))
    assert view.planned["vcpus", GROW] == Sum(1, 1)
    assert view.done["vcpus", GROW] == Sum(0, 0)
    assert view.done["vcpus", SHRINK] == Sum(1, 1)
    assert view.done["memory_mib", SHRINK] == Sum(0, 0)
    assert view.results == (("already_done", "", 1), ("done", "", 1), ("skipped", "superseded", 1))


def test_the_receipt_of_another_plan_says_nothing_of_this_one() -> None:
    facts = small()
    view = build_view(replace(facts, receipt=replace(facts.receipt, plan="sha256:" + "0" * 64)))
    assert all(row.outcome is None for machine in view.machines for row in machine.rows)
    assert view.done["vcpus", SHRINK] == Sum(0, 0)


def test_why_the_others_stay_is_counted_by_reason() -> None:
    reasons = {(one.resource, one.code): (one.vms, one.example) for one in build_view(small()).reasons}
    assert reasons["memory_mib", "fits"][0] == 2
    assert reasons["vcpus", "no_history"] == (1, "db1: 3 days of history are known, 7 are needed to shrink")
    assert ("vcpus", "grow") not in reasons


def test_coverage_and_age_are_of_the_whole_fleet() -> None:
    facts = small()
    silent = replace(facts.forecast.choices[0], observed_until="", coverage_ppm=0)
    late = replace(facts.forecast.choices[2], observed_until="2026-03-01T09:00:00Z")
    choices = (silent, facts.forecast.choices[1], late, *facts.forecast.choices[3:])
    view = build_view(replace(facts, forecast=replace(facts.forecast, choices=choices)))
    cpu = next(one for one in view.known if one.metric == "cpu_millicores")
    assert (cpu.vms, cpu.without, cpu.coverage_ppm, cpu.newest_s, cpu.oldest_s) == (4, 1, 748_500, 240, 3 * 3600 - 60)


def test_a_stopped_or_broken_run_did_not_succeed() -> None:
    facts = small()
    assert build_view(facts).succeeded
    assert not build_view(replace(facts, receipt=replace(facts.receipt, stopped="kill_switch.on"))).succeeded


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (size("vcpus", 2), "2 vCPU"),
        (step("memory_mib", 1024, 2048), "1,024 → 2,048 MiB"),
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
