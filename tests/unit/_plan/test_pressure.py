# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that was short of memory keeps what it has; only that, and only its memory."""

from __future__ import annotations

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, STAY
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS

from .fleets import FREE, decision, forecast, plan, sizes, snapshot, vm

IDLE = {("a", MEMORY_MIB): 300, ("a", VCPUS): 300}


@pytest.mark.safety(rule=2)
@pytest.mark.parametrize(
    ("largest", "shrinks"),
    [
        ({}, True),
        ({"memory_swap_bytes_per_s": 64 * 1024 - 1}, True),
        ({"memory_swap_bytes_per_s": 64 * 1024}, False),
        ({"memory_major_faults_per_s": 99.0}, True),
        ({"memory_major_faults_per_s": 100.0}, False),
        ({"memory_oom_kills_per_s": 0.0}, True),
        ({"memory_oom_kills_per_s": 0.001}, False),
    ],
)
def test_what_was_short_of_memory_does_not_shrink(largest: dict[str, float], *, shrinks: bool) -> None:
    seen = snapshot([vm(memory_mib=2048)])
    made = plan(seen, forecast(IDLE), state=PlanState(pressures={"e/a": largest}))
    assert decision(made, resource=MEMORY_MIB) == ((ACT, "shrink") if shrinks else (STAY, "memory_pressure"))
    assert decision(made, resource=VCPUS) == (ACT, "shrink")


def test_it_may_grow_and_the_policy_says_what_counts() -> None:
    swapped = PlanState(pressures={"e/a": {"memory_swap_bytes_per_s": 2.0**20}})
    busy = forecast({("a", MEMORY_MIB): 1000, ("a", VCPUS): 1000})
    assert sizes(plan(snapshot([vm()]), busy, state=swapped)) == {("a", MEMORY_MIB): (1024, 1152)}
    calm = FREE.replace("memory: {", "memory: {calm_swap_kib_per_s: 2000, ")
    made = plan(snapshot([vm(memory_mib=2048)]), forecast(IDLE), calm, state=swapped)
    assert decision(made, resource=MEMORY_MIB) == (ACT, "shrink")


def test_the_reason_has_the_number_and_the_line() -> None:
    state = PlanState(pressures={"e/a": {"memory_swap_bytes_per_s": 2.0**20}})
    calm = FREE.replace("memory: {", "memory: {calm_swap_kib_per_s: 1000, ")
    made = plan(snapshot([vm(memory_mib=2048)]), forecast(IDLE), calm, state=state)
    found = next(one for one in made.decisions if one.resource == MEMORY_MIB)
    assert found.reason == "it could shrink, but in the last day it swapped 1024 KiB a second"
    assert found.policy_line == 5


def test_where_nothing_is_known_of_it_no_memory_is_given_away() -> None:
    made = plan(snapshot([vm(memory_mib=2048)]), forecast(IDLE), state=PlanState(pressures=None))
    assert decision(made, resource=MEMORY_MIB) == (STAY, "memory_pressure")
    assert decision(made, resource=VCPUS) == (ACT, "shrink")
