# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and limits by price: what is chosen, that it comes to rest at once, and that nobody's row touches another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._plan.plan import make_plan
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import COUNT, Curves, ladder
from ansible_collections.headroom.fleet.plugins.module_utils._records.outcomes import (
    NUMBERS,
    PRICES,
    Outcomes,
    joined,
    read_outcomes,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_LIMIT_MILLICORES,
    LIMITS,
    MEMORY_MIB,
    RESOURCES,
    SET,
    VCPUS,
    VM,
    Capability,
)
from tests.unit._plan.fleets import METRICS, NOW, applied, forecast, host, policy, snapshot, vm

PRICED = dict(zip(PRICES, (1.0, 45.0, 0.01, 1.0, 0.5, 0.95), strict=True))
FIELDS = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
LIMITED = """\
schema: headroom.sizing-policy/1
defaults:
  mode: auto
  vcpus: {minimum_change_percent: 0, step_limit: none}
  memory: {minimum_change_percent: 0, step_limit: none}
  cpu_limit: {profile: elastic, minimum_change_percent: 0, step_limit: none}
  grow: {hold_minutes: 0}
  shrink: {hold_hours: 0}
"""


def row(
    name: str, resource: str, *, peak: float, capacity: float, chance: float = 0.3, fall: float = 0.6,
    spent: float = 0.0, headroom: float = 0.0, lead_s: int = 300,
) -> Outcomes:  # fmt: skip
    """One VM's outcomes: the chance of too little falls with the size from rung to rung."""
    rungs = ladder(np.array([capacity]), np.array([0.05 * capacity]), np.array([peak]))
    falling = chance * np.exp(-np.arange(COUNT) * fall)[None, :]
    numbers = (lead_s, capacity, spent, headroom)
    return Outcomes(
        texts={"unique_id": [f"e/{name}"], "metric": [METRICS[resource]], "model": [f"sha256:{lead_s}"]},
        numbers={name: np.array([float(one)]) for name, one in zip(NUMBERS, numbers, strict=True)},
        prices=np.array([list(PRICED.values())]),
        curves=Curves(rungs, falling, falling / 20, falling / 50),
    )


def limited(one: VM, limit: int) -> VM:
    """The same VM with this limit, 0 for none, and a way to set it."""
    way = Capability("cpu.limit", CPU_LIMIT_MILLICORES, SET, True, "", "", FIELDS, 0, 2**40, 1, "live")
    fields = {**one.fields, **dict.fromkeys(FIELDS, limit)}
    return replace(one, fields=fields, capabilities=(*one.capabilities, way))


def planned(
    seen: Snapshot, made: Any, said: Outcomes | None, rules: str = LIMITED, *, leads: dict[Any, int] | None = None
) -> Plan:
    header, table = made
    return make_plan(
        seen, forecast=header, table=table, policy=policy(rules), state=PlanState(leads_ms=leads or {}),
        scope=[one.unique_id for one in seen.vms], now=NOW, snapshot_digest="sha256:1", forecast_digest="sha256:2",
        policy_digest="sha256:3", outcomes=said,
    ).plan  # fmt: skip


def of(made: Plan, resource: str, name: str = "a") -> Any:
    return next(one for one in made.decisions if (one.vm_name, one.resource) == (name, resource))


@st.composite
def cases(draw: Any) -> Any:
    """VMs of any size and limit, with outcomes of any kind, as their forecasts are."""
    vms, uppers, recent, rows = [], {}, {}, []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        vcpus, memory = draw(st.integers(1, 16)), draw(st.integers(1, 64)) * 256
        one = vm(name, vcpus=vcpus, memory_mib=memory)
        vms.append(limited(one, draw(st.sampled_from((0, vcpus * 400, vcpus * 900)))))
        for resource, size, unit, most in ((VCPUS, vcpus, 1000, 16.0), (MEMORY_MIB, memory, 1, 16384.0)):
            share = draw(st.floats(0.01, 1.5))
            uppers[name, resource] = share * size * unit
            recent[name, resource] = int(share * draw(st.floats(0, 1)) * size * unit)
            if draw(st.integers(0, 4)):
                rows.append(
                    row(
                        name, resource, peak=share * size, capacity=most, chance=draw(st.floats(0, 1)),
                        fall=draw(st.floats(0, 2)), spent=draw(st.sampled_from((0.0, 0.003, 0.01, 0.5))),
                        headroom=draw(st.sampled_from((0.0, 0.1, 0.6))),
                    )
                )  # fmt: skip
    return snapshot(vms, [host(vcpus=512, memory_mib=2**20)]), forecast(uppers, recent=recent), rows


@settings(max_examples=100, deadline=None)
@given(cases())
@pytest.mark.safety(rule=8)
def test_planning_again_after_the_acts_plans_nothing(case: Any) -> None:
    """But for a limit where none was, and vCPUs grew: one comes in the plan after."""
    seen, made, rows = case
    said = read_outcomes(joined(rows).table()) if rows else None
    first = planned(seen, made, said)
    after = applied(seen, first.actions)
    again = planned(after, made, said)
    free = {one.unique_id for one in seen.vms if not one.size(CPU_LIMIT_MILLICORES)}
    grown = {one.unique_id for one in first.actions if one.resource == VCPUS and one.direction == "grow"}
    assert [one for one in again.actions if not (one.resource in LIMITS and one.unique_id in free & grown)] == []
    assert planned(applied(after, again.actions), made, said).actions == ()


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(0, 2**32))
def test_no_vm_touches_another(case: Any, seed: int) -> None:
    seen, made, rows = case
    if not rows:
        return
    rng = np.random.default_rng(seed)
    ruined = [replace(rows[0], curves=replace(rows[0].curves, violated=rng.uniform(size=(1, COUNT)))), *rows[1:]]
    (bad,) = rows[0].texts["unique_id"]
    others = [
        [replace(one, action_id="") for one in planned(seen, made, joined(some)).decisions if one.unique_id != bad]
        for some in (rows, ruined)
    ]
    assert others[0] == others[1]


def test_a_limit_goes_to_the_cheapest_size_and_a_vcpu_no_lower_than_its_bound() -> None:
    seen = snapshot([limited(vm(vcpus=8), 0)])
    made = forecast({("a", VCPUS): 4000, ("a", MEMORY_MIB): 700}, recent={("a", VCPUS): 100})
    plan = planned(seen, made, row("a", VCPUS, peak=2.0, capacity=8.0))
    limit, size = of(plan, CPU_LIMIT_MILLICORES), of(plan, VCPUS)
    assert (limit.code, limit.size_wanted) == ("shrink", limit.service.size)
    assert 400 < limit.size_wanted < 3400
    assert size.service.size < 6
    assert (size.code, size.size_wanted) == ("shrink", 7)  # 4 vCPU at 65 %
    assert "P95 at 70 % use takes 6 vCPU and it lately used 0.10 vCPU: 7 vCPU are enough, it has 8" in size.reason
    assert of(plan, MEMORY_MIB).service is None


def test_a_size_grows_to_the_cheapest_where_that_is_larger() -> None:
    made = forecast({("a", VCPUS): 1000, ("a", MEMORY_MIB): 700})
    said = row("a", VCPUS, peak=7.5, capacity=16.0, chance=0.9, fall=0.3)
    size = of(planned(snapshot([vm(vcpus=2)]), made, said), VCPUS)
    assert (size.code, size.size_wanted) == ("grow", size.service.size)
    assert size.service.size > 2
    without = of(planned(snapshot([vm(vcpus=2)]), made, None), VCPUS)
    assert (without.code, without.service) == ("fits", None)


def test_who_has_spent_more_of_a_smaller_budget_is_given_more() -> None:
    made = forecast({("a", VCPUS): 1000, ("a", MEMORY_MIB): 700})
    seen = snapshot([limited(vm(vcpus=8), 0)])

    def limit(spent: float, budget: str) -> Any:
        rules = LIMITED.replace("  grow:", f"  service: {{error_budget_percent: {budget}}}\n  grow:")
        said = row("a", VCPUS, peak=4.0, capacity=8.0, spent=spent)
        return of(planned(seen, made, said, rules), CPU_LIMIT_MILLICORES).service

    assert limit(0.0, "1").size < limit(0.01, "1").size < limit(0.01, "0.5").size
    told = limit(0.008, "1")
    assert (told.spent_ppm, told.budget_ppm, told.lead_s) == (8000, 10_000, 300)
    assert told.price_ppm == pytest.approx(1e6 * np.exp(0.8 - 0.5), rel=1e-4)
    assert limit(0.003, "1").price_ppm == 1_000_000


def test_memory_spends_a_budget_of_its_own() -> None:
    made = forecast({("a", VCPUS): 1000, ("a", MEMORY_MIB): 700}, recent={("a", MEMORY_MIB): 100})
    said = joined([row("a", one, peak=peak, capacity=cap, chance=0.9, fall=0.3, spent=0.002) for one, peak, cap in (
        (VCPUS, 7.5, 16.0), (MEMORY_MIB, 3000.0, 8192.0)
    )])  # fmt: skip
    seen = snapshot([vm(vcpus=2, memory_mib=1024)])

    def of_both(rules: str) -> Any:
        plan = planned(seen, made, said, rules)
        return of(plan, VCPUS), of(plan, MEMORY_MIB)

    cpu, memory = of_both(LIMITED)
    assert (cpu.service.budget_ppm, memory.service.budget_ppm) == (10_000, 2_500)
    assert cpu.reason.startswith("0.2 of 1 % spent; ")
    assert memory.reason.startswith("0.2 of 0.25 % spent; ")
    assert memory.policy_line == 0  # the shipped policy's
    assert (cpu.service.price_ppm, memory.service.price_ppm) == (1e6, pytest.approx(1e6 * np.exp(0.8 - 0.5), rel=1e-4))
    loose_cpu, loose = of_both(LIMITED.replace("memory: {", "memory: {error_budget_percent: 1, "))
    assert (loose.service.budget_ppm, loose.service.price_ppm, loose.policy_line) == (10_000, 1_000_000, 5)
    assert memory.service.size > loose.service.size > 1024
    assert loose_cpu.service == cpu.service


def test_what_one_more_costs_is_what_the_prices_say() -> None:
    made = forecast({("a", VCPUS): 1000, ("a", MEMORY_MIB): 700})
    seen = snapshot([limited(vm(vcpus=8), 0)])
    service = of(planned(seen, made, row("a", VCPUS, peak=2.0, capacity=8.0)), CPU_LIMIT_MILLICORES).service
    said = row("a", VCPUS, peak=2.0, capacity=8.0)
    sizes = np.array([[service.size, service.size + 100]]) / 1000
    violated, unserved, added = (one[0] for one in said.curves.at(sizes))
    cost = sizes[0] + 8 * added + np.sqrt(8) * violated + 45 * 8 * unserved
    assert service.more_ppm == pytest.approx(1e6 * (cost[1] - cost[0]) / 0.1, abs=2)
    assert service.violated_ppm == pytest.approx(1e6 * violated[0], abs=1)
    held_back = row("a", VCPUS, peak=8.0, capacity=8.0, fall=0.2, spent=0.5)
    full = of(planned(snapshot([vm(vcpus=8)]), made, held_back), VCPUS).service
    assert (full.size, full.more_ppm, full.violated_ppm) == (8, None, 0)


@pytest.mark.parametrize(
    ("measured_ms", "lead_s", "warned"), [(None, 300, 0), (2_000, 300, 0), (301_000, 900, 0), (901_000, 900, 1)]
)
def test_the_model_of_the_smallest_lead_that_acts_keep_speaks(measured_ms: Any, lead_s: int, warned: int) -> None:
    made = forecast({("a", VCPUS): 1000, ("a", MEMORY_MIB): 700})
    said = joined([row("a", VCPUS, peak=2.0, capacity=8.0, lead_s=lead) for lead in (900, 300)])
    leads = {} if measured_ms is None else {("e", "vcpus.agent"): measured_ms}
    plan = planned(snapshot([vm(vcpus=4)]), made, said, leads=leads)
    assert (of(plan, VCPUS).service.lead_s, of(plan, VCPUS).service.model) == (lead_s, f"sha256:{lead_s}")
    assert len([one for one in plan.warnings if "no outcome model is for more than 900 s" in one]) == warned


@pytest.mark.safety(rule=2)
@pytest.mark.parametrize(
    ("values", "code"),
    [({"observed_until": "2026-03-01T11:00:00Z"}, "stale_telemetry"), ({"history_s": 3600}, "short_history")],
)
def test_what_is_cheapest_shrinks_nothing_that_may_not_shrink(values: dict[str, Any], code: str) -> None:
    made = forecast({("a", VCPUS): 100, ("a", MEMORY_MIB): 700}, **values)
    plan = planned(snapshot([vm(vcpus=8)]), made, row("a", VCPUS, peak=0.2, capacity=8.0))
    assert (of(plan, VCPUS).verdict, of(plan, VCPUS).code) == ("stay", code)


def test_rows_come_back_as_they_were_written() -> None:
    said = joined([row(name, resource, peak=1.0, capacity=4.0) for name in "ba" for resource in RESOURCES])
    found = read_outcomes(said.table())
    assert found.texts["unique_id"] == ["e/a", "e/a", "e/b", "e/b"]
    order = np.array([2, 3, 0, 1])
    assert all((found.numbers[name] == said.numbers[name][order]).all() for name in NUMBERS)
    assert np.allclose(found.curves.violated, said.curves.violated[order])
    assert (found.prices == said.prices).all()
