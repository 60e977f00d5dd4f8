# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The careful profile: no shrink below what was wanted at any time within the hold time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.explain import explain
from ansible_collections.headroom.fleet.plugins.module_utils._plan.plan import Made, make_plan
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, STAY
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_LIMIT_MILLICORES,
    MEMORY_MIB,
    SET,
    SHRINK,
    VCPUS,
    VM,
    Capability,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.wishes import Wish, Wishes
from tests.unit._plan.fleets import FREE, NOW, applied, decision, forecast, plan, policy, sizes, snapshot, vm

CPU = ("a", VCPUS)
KEY = ("e/a", VCPUS)
HOLD = FREE.replace("hold_hours: 0", "hold_hours: 24")
HOUR_MS = 3_600_000
NOW_MS = int(NOW.timestamp() * 1000)
LONG_AGO = NOW_MS - 1000 * HOUR_MS
FIELDS = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
WAY = Capability("cpu.limit", CPU_LIMIT_MILLICORES, SET, True, "", "", FIELDS, 0, 1_024_000, 10, "live")


def wished(*steps: tuple[float, int], resource: str = VCPUS, since: int = LONG_AGO) -> PlanState:
    """``steps``: hours ago, and the size."""
    known = Wishes(since, tuple(Wish(NOW_MS - round(hours * HOUR_MS), size) for hours, size in steps))
    return PlanState(wishes={("e/a", resource): known})


def made(upper: float, *, vcpus: int = 4, rules: str = HOLD, state: PlanState | None = None, **values: int) -> Made:
    """A plan where no more than this is expected of the CPU, and what the next one has to know."""
    header, table = forecast({CPU: upper}, recent={CPU: 0}, **values)
    return make_plan(
        snapshot([vm(vcpus=vcpus)]), forecast=header, table=table, policy=policy(rules), state=state or PlanState(),
        scope=["e/a"], now=NOW, snapshot_digest="sha256:1", forecast_digest="sha256:2", policy_digest="sha256:3",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(3, 4)], None),
        ([(23.99, 5)], None),
        ([(24, 4)], 1),
        ([], 1),
        ([(30, 8), (26, 4), (13, 3), (1, 2)], 3),  # not to the trough's size
        ([(23, 2)], 2),
    ],
)
@pytest.mark.safety(rule=2)
def test_a_size_shrinks_to_the_largest_that_was_wanted_within_the_hold_time(
    steps: list[tuple[float, int]], expected: int | None
) -> None:
    found = made(100, state=wished(*steps)).plan
    assert decision(found) == ((STAY, "hold_time") if expected is None else (ACT, SHRINK))
    assert sizes(found) == ({} if expected is None else {CPU: (4, expected)})
    assert [one.size_wanted for one in found.decisions if one.resource == VCPUS] == [1]


@pytest.mark.parametrize(("hours", "held"), [(None, True), (0, True), (23.99, True), (24, False)])
@pytest.mark.safety(rule=2)
def test_a_vm_that_no_plan_knows_keeps_its_size_for_the_hold_time(hours: float | None, held: bool) -> None:
    state = PlanState() if hours is None else wished(since=NOW_MS - round(hours * HOUR_MS))
    assert decision(made(100, state=state).plan) == ((STAY, "hold_time") if held else (ACT, SHRINK))
    assert decision(made(100, state=state, rules=FREE).plan) == (ACT, SHRINK)
    assert decision(made(9000, state=state).plan)[0] == ACT  # a grow waits for none of it


@pytest.mark.safety(rule=13)
def test_a_plan_says_why_nothing_shrinks_or_no_further() -> None:
    rule = "it shrinks when it wanted less for 24 h"
    assert f"because it wanted 4 vCPU 3 h ago: {rule}" in explain(made(100, state=wished((3.5, 4))).plan, "a")
    assert f"because what it wants is known for 0 minutes: {rule}" in explain(made(100).plan, "a")
    text = explain(made(100, state=wished((0.5, 3))).plan, "a")
    assert "1 vCPU are enough, it has 4; it wanted 3 vCPU 30 minutes ago, and keeps so much for it" in text


@pytest.mark.parametrize(
    ("upper", "values", "wish"),
    [
        (100, {}, 1),
        (100, {"history_s": 3600}, 1),  # what speaks against the act says nothing against the wish
        (100, {"recent_maximum": -1}, 1),
        (100, {"recent_maximum": 3500}, 6),
        (2600, {}, 4),
        (9000, {}, 13),
        (float("nan"), {}, None),
    ],
)
def test_what_is_wanted_is_kept_for_the_next_plan(upper: float, values: dict[str, int], wish: int | None) -> None:
    steps = () if wish is None else (Wish(NOW_MS, wish),)
    assert made(upper, **values).wishes[KEY] == Wishes(NOW_MS, steps)
    before = wished((25, 40), (5, 20))
    kept = made(upper, state=before, **values).wishes[KEY]
    assert kept == Wishes(LONG_AGO, (Wish(NOW_MS - 5 * HOUR_MS, 20), *steps))
    assert made(upper, rules=FREE, **values).wishes == {}


def test_what_a_shrink_was_spared_is_no_wish() -> None:
    kept = made(100, state=wished((13, 3))).wishes[KEY]
    assert kept.steps == (Wish(NOW_MS - 13 * HOUR_MS, 3), Wish(NOW_MS, 1))


def test_a_day_and_night_that_differ_move_no_size() -> None:
    """The sizes of two weeks, hour by hour, of a VM that needs much by day and next to nothing by night."""
    state, seen, changes = PlanState(), snapshot([vm(vcpus=8)]), []
    for hour in range(14 * 24):
        now = NOW + timedelta(hours=hour)
        by_day = 8 <= (hour + 1) % 24 < 20
        header, table = forecast({CPU: 2600 if by_day else 400}, recent={CPU: 2600 if 8 <= hour % 24 < 20 else 400})
        later = [replace(one, observed_until=now.strftime("%Y-%m-%dT%H:%M:%SZ")) for one in header.choices]
        header = replace(header, horizon_s=15 * 86_400, choices=tuple(later))
        found = make_plan(
            seen, forecast=header, table=table, policy=policy("defaults: {mode: auto}\n"), state=state, scope=["e/a"],
            now=now, snapshot_digest="sha256:1", forecast_digest="sha256:2", policy_digest="sha256:3",
        )  # fmt: skip
        acts = [one for one in found.plan.actions if one.resource == VCPUS]
        changes += [(hour, one.size_before, one.size_after) for one in acts]
        seen = applied(seen, acts)
        now_ms = NOW_MS + hour * HOUR_MS
        last = {**state.last_acts, **{(one.unique_id, VCPUS): (one.direction, now_ms) for one in acts}}
        state = PlanState(last_acts=last, wishes=found.wishes)
    assert changes == [(24, 8, 4)]


def limited(limit: int) -> VM:
    bare = vm(vcpus=4)
    return replace(bare, fields={**bare.fields, **dict.fromkeys(FIELDS, limit)}, capabilities=(*bare.capabilities, WAY))


@pytest.mark.parametrize(("profile", "wanted"), [("elastic", 1540), ("careful", 3000)])
def test_an_elastic_limit_follows_demand_and_a_careful_one_waits(profile: str, wanted: int) -> None:
    rules = f"{HOLD}  cpu_limit: {{profile: {profile}, minimum_change_percent: 0, step_limit: none}}\n"
    rules = rules.replace("vcpus: {", "vcpus: {minimum: 4, ")
    state = wished((3, 3000), resource=CPU_LIMIT_MILLICORES)
    found = plan(snapshot([limited(3500)]), forecast({CPU: 1000}), rules, state=state)
    assert sizes(found) == {("a", CPU_LIMIT_MILLICORES): (3500, wanted)}


@pytest.mark.safety(rule=7)
def test_a_careful_limit_comes_down_with_its_size_whatever_was_wanted_of_it() -> None:
    rules = f"{HOLD}  cpu_limit: {{profile: careful, minimum_change_percent: 0, step_limit: none}}\n"
    limit = Wishes(LONG_AGO, (Wish(NOW_MS - HOUR_MS, 3000),))
    state = PlanState(wishes={KEY: Wishes(LONG_AGO), ("e/a", CPU_LIMIT_MILLICORES): limit})
    found = plan(snapshot([limited(3000)]), forecast({CPU: 1000}), rules, state=state)
    assert sizes(found) == {("a", CPU_LIMIT_MILLICORES): (3000, 2000), CPU: (4, 2)}


def test_each_resource_of_each_vm_has_its_own() -> None:
    seen = snapshot([vm(vcpus=4, memory_mib=4096), vm("b", vcpus=4)])
    uppers = forecast({CPU: 100, ("a", MEMORY_MIB): 100, ("b", VCPUS): 100})
    found = plan(seen, uppers, HOLD, state=wished())
    assert list(sizes(found)) == [CPU]
