# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits beside sizes: they follow demand within minutes, and never lie above the size they limit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._plan.diff import after_text, plan_table, summary_line
from ansible_collections.headroom.fleet.plugins.module_utils._plan.explain import explain
from ansible_collections.headroom.fleet.plugins.module_utils._plan.rollback import make_rollback
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Change
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_LIMIT_MILLICORES,
    GROW,
    SET,
    SHRINK,
    VCPUS,
    VM,
    Capability,
)
from tests.unit._plan.fleets import (
    FREE,
    NOW,
    applied,
    decision,
    forecast,
    host,
    plan,
    receipt,
    sizes,
    snapshot,
    vm,
)

CPU, LIMIT = ("a", VCPUS), ("a", CPU_LIMIT_MILLICORES)
FIELDS = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
WAY = Capability("cpu.limit", CPU_LIMIT_MILLICORES, SET, True, "", "", FIELDS, 0, 1_024_000, 10, "live")
ELASTIC = FREE + "  cpu_limit: {profile: elastic, minimum_change_percent: 0, step_limit: none}\n"
CAREFUL = ELASTIC.replace("elastic", "careful")
FIXED = ELASTIC.replace("vcpus: {", "vcpus: {minimum: 4, ")  # the size stays, the limit alone moves


def limited(limit: int = 0, *, vcpus: int = 4, way: Capability = WAY, name: str = "a") -> VM:
    """A VM with this limit; 0: none."""
    bare = vm(name, vcpus=vcpus)
    fields = {**bare.fields, **dict.fromkeys(FIELDS, limit)}
    return replace(bare, fields=fields, capabilities=(*bare.capabilities, way))


def planned(one: VM, upper: int, rules: str = FIXED, *, recent: int = 0, state: PlanState | None = None) -> Plan:
    return plan(snapshot([one]), forecast({CPU: upper}, recent={CPU: recent}), rules, state=state)


def test_no_limit_is_planned_unless_the_policy_asks_for_one() -> None:
    made = planned(limited(500), 3000, FREE)
    assert {one.resource for one in made.decisions} == {"vcpus", "memory_mib"}


@pytest.mark.parametrize(
    ("limit", "upper", "recent", "expected"),
    [
        (0, 650, 0, (4000, 1000)),  # 65 % of 1000
        (0, 651, 0, (4000, 1010)),
        (0, 651, 1300, (4000, 2000)),  # what it lately used
        (0, 0, 0, (4000, 400)),  # a tenth of all
        (1000, 700, 0, None),  # 70 % of 1000: between the two
        (1000, 701, 0, (1000, 1010)),
        (1000, 2800, 0, (1000, 4000)),
        (1000, 9000, 0, (1000, 12_860)),  # its vCPUs grow to 13
        (0, 9000, 0, None),  # none is all of it
        (4000, 9000, 0, (4000, 12_860)),
        (6000, 9000, 0, (4000, 12_860)),  # of six it could use four
        (4000, 2800, 0, None),
    ],
)
@pytest.mark.safety(rule=2)
def test_the_limit_follows_the_upper_bound(
    limit: int, upper: int, recent: int, expected: tuple[int, int] | None
) -> None:
    made = planned(limited(limit), upper, recent=recent)
    assert sizes(made).get(LIMIT) == expected


def test_a_limit_of_all_vcpus_is_none() -> None:
    (action,) = planned(limited(1000), 2800).actions
    assert action.changes == tuple(Change(field, 1000, 0) for field in FIELDS)
    assert (action.direction, action.operation, action.inverse.when) == (GROW, "cpu.limit", "live")


@pytest.mark.parametrize("profile", ["elastic", "careful"])
@pytest.mark.safety(rule=2)
def test_an_elastic_limit_needs_a_fresh_metric_and_no_history(profile: str) -> None:
    rules, seen = FIXED.replace("elastic", profile), snapshot([limited()])
    for values, code, careful in (
        ({"history_s": 3600}, "short_history", True),
        ({"coverage_ppm": 1000}, "low_coverage", True),
        ({"observed_until": format_utc(NOW - timedelta(minutes=16))}, "stale_telemetry", False),
        ({"recent_maximum": -1}, "no_fresh_metric", False),
    ):
        found = decision(plan(seen, forecast({CPU: 650}, **values), rules), resource=CPU_LIMIT_MILLICORES)
        assert found == ((ACT, SHRINK) if careful and profile == "elastic" else (STAY, code))


@pytest.mark.safety(rule=2)
def test_recent_use_holds_a_limit_up() -> None:
    made = planned(limited(1000), 100, recent=700)
    assert decision(made, resource=CPU_LIMIT_MILLICORES) == (STAY, "recent_use")


@pytest.mark.parametrize(
    ("rules", "direction", "minutes", "held"),
    [
        (FIXED, GROW, 0, False),
        (FIXED, SHRINK, 14, True),
        (FIXED, SHRINK, 15, False),
        (FIXED.replace("elastic", "careful").replace("hold_hours: 0", "hold_hours: 24"), SHRINK, 15, True),
    ],
)
def test_an_elastic_limit_grows_at_once_and_shrinks_after_minutes(
    rules: str, direction: str, minutes: int, held: bool
) -> None:
    then_ms = int((NOW - timedelta(minutes=minutes)).timestamp() * 1000)
    state = PlanState(last_acts={("e/a", CPU_LIMIT_MILLICORES): (SHRINK, then_ms)})
    made = planned(limited(1000), 900 if direction == GROW else 400, rules, state=state)
    assert decision(made, resource=CPU_LIMIT_MILLICORES) == ((STAY, "hold_time") if held else (ACT, direction))


@pytest.mark.parametrize(
    ("way", "code"),
    [
        (replace(WAY, allowed=False, code="cpu.no_bandwidth", reason="no"), "cpu.no_bandwidth"),
        (replace(WAY, inverse="at_next_restart"), "no_live_inverse"),
        (replace(WAY, fields=("live.unknown",)), "field_absent"),
    ],
)
@pytest.mark.safety(rule=6)
def test_a_limit_that_cannot_be_set_and_set_back_is_refused(way: Capability, code: str) -> None:
    assert decision(planned(limited(way=way), 650), resource=CPU_LIMIT_MILLICORES) == (REFUSED, code)


def test_a_limit_takes_no_room_and_gives_none() -> None:
    full = host(vcpus=5)
    seen = snapshot([limited(500), vm("b", vcpus=1)], [full])
    made = plan(seen, forecast({CPU: 1400, ("b", VCPUS): 1300}), FIXED)
    assert sizes(made)[LIMIT] == (500, 2000)
    assert decision(made, "b") == (REFUSED, "no_room")


@pytest.mark.safety(rule=7)
def test_a_limit_above_a_shrinking_size_comes_down_first() -> None:
    made = planned(limited(3000), 1200, ELASTIC)
    assert sizes(made) == {LIMIT: (3000, 1850), CPU: (4, 2)}
    first, second = made.actions
    assert (first.resource, second.resource) == (CPU_LIMIT_MILLICORES, VCPUS)
    assert second.after == (first.action_id,)


@pytest.mark.safety(rule=7)
def test_a_limit_comes_down_with_its_size_even_where_it_would_stay() -> None:
    rules = ELASTIC.replace("{profile: elastic, minimum_change_percent: 0,", "{profile: elastic,")
    rules = rules.replace("elastic,", "elastic, target_use_percent: 40, shrink_target_use_percent: 40,")
    made = planned(limited(2100), 1200, rules, recent=1300)
    assert sizes(made) == {LIMIT: (2100, 2000), CPU: (4, 2)}
    assert made.actions[1].after == (made.actions[0].action_id,)
    assert "a limit of 2.1 vCPU would lie above them" in made.actions[0].reason


@pytest.mark.safety(rule=7)
def test_a_size_stays_while_its_limit_cannot_come_down() -> None:
    state = PlanState(last_acts={("e/a", CPU_LIMIT_MILLICORES): (GROW, int(NOW.timestamp() * 1000))})
    made = planned(limited(3000), 1200, ELASTIC, state=state)
    assert (made.actions, decision(made)) == ((), (STAY, "limit_first"))


def test_a_limit_below_a_shrinking_size_and_no_limit_need_no_order() -> None:
    for limit in (0, 1850):
        made = planned(limited(limit), 1200, ELASTIC)
        assert all(one.after == () for one in made.actions)
        assert sizes(made)[CPU] == (4, 2)


def test_a_size_grows_without_its_limit() -> None:
    made = planned(limited(0, vcpus=1), 1900, ELASTIC)
    assert sizes(made) == {CPU: (1, 3)}


@pytest.mark.safety(rule=7)
@pytest.mark.parametrize("limit", [500, 990, 1000])
def test_a_limit_in_force_grows_after_its_size_in_the_same_plan(limit: int) -> None:
    made = planned(limited(limit, vcpus=1), 1900, ELASTIC)
    assert sizes(made) == {CPU: (1, 3), LIMIT: (limit, 2720)}
    size, own = made.actions
    assert (size.after, own.after) == ((), (size.action_id,))
    assert own.changes == tuple(Change(field, limit, 2720) for field in FIELDS)
    undo = make_rollback(
        made, receipt(made), applied(snapshot([limited(limit, vcpus=1)]), made.actions), now=NOW, snapshot_digest="d"
    )
    assert [one.resource for one in undo.actions] == [CPU_LIMIT_MILLICORES, VCPUS]


def test_a_limit_of_all_that_its_size_grows_to_is_none_and_waits_for_nothing() -> None:
    made = planned(limited(500, vcpus=1), 2100, ELASTIC)
    assert sizes(made) == {CPU: (1, 3), LIMIT: (500, 3000)}
    assert [one.after for one in made.actions] == [(), ()]
    assert made.actions[1].changes == tuple(Change(field, 500, 0) for field in FIELDS)


@pytest.mark.parametrize(
    ("room", "limit", "expected"),
    [
        (1, 500, {LIMIT: (500, 1000)}),
        (1, 1000, {}),
        (2, 500, {CPU: (1, 2), LIMIT: (500, 2000)}),
        (2, 1000, {CPU: (1, 2), LIMIT: (1000, 2000)}),
    ],
)
@pytest.mark.safety(rule=7)
def test_where_its_size_gets_less_a_limit_ends_there(
    room: int, limit: int, expected: dict[tuple[str, str], tuple[int, int]]
) -> None:
    seen = snapshot([limited(limit, vcpus=1)], [host(vcpus=room)])
    made = plan(seen, forecast({CPU: 1900}), ELASTIC)
    assert sizes(made) == expected
    assert all(one.after == () for one in made.actions)
    assert all(one.changes[0].after == 0 for one in made.actions if one.resource == CPU_LIMIT_MILLICORES)
    if not expected:
        assert decision(made, resource=CPU_LIMIT_MILLICORES) == (REFUSED, "no_room")


def test_a_limit_that_ends_with_its_size_says_so_and_is_worth_an_act() -> None:
    seen = snapshot([limited(500, vcpus=1)], [host(vcpus=2)])
    (grown,) = (one for one in plan(seen, forecast({CPU: 1900}), ELASTIC).actions if one.resource != VCPUS)
    assert grown.reason.endswith("its vcpus grow no further, so it gets 2000")
    rules = ELASTIC.replace("minimum_change_percent: 0", "minimum_change_percent: 10")
    made = plan(snapshot([limited(990, vcpus=1)], [host(vcpus=1)]), forecast({CPU: 1900}), rules)
    assert made.actions == ()
    assert decision(made, resource=CPU_LIMIT_MILLICORES) == (REFUSED, "small_change")


def test_a_limit_comes_right_after_its_size_whoever_is_pressed() -> None:
    seen = snapshot([limited(500, vcpus=1), limited(3900, vcpus=4, name="b"), vm("c", vcpus=1)])
    made = plan(seen, forecast({CPU: 1900, ("b", VCPUS): 4000, ("c", VCPUS): 1500}), ELASTIC)
    assert [(one.vm_name, one.resource) for one in made.actions] == [
        ("a", VCPUS), LIMIT, ("c", VCPUS), ("b", VCPUS), ("b", CPU_LIMIT_MILLICORES),
    ]  # fmt: skip


@pytest.mark.parametrize("limit", [0, 500, 1900, 2500, 4000])
@pytest.mark.parametrize("upper", [100, 500, 1200, 1800, 2600, 9000])
@pytest.mark.safety(rule=7)
def test_in_no_order_that_heeds_after_a_limit_lies_above_its_size(limit: int, upper: int) -> None:
    seen = snapshot([limited(limit)])
    acts = plan(seen, forecast({CPU: upper}), ELASTIC).actions
    for order in itertools.permutations(acts):
        done: list[str] = []
        for count, one in enumerate(order, start=1):
            if not set(one.after) <= set(done):
                break
            done.append(one.action_id)
            (now,) = applied(seen, order[:count]).vms
            assert now.size(CPU_LIMIT_MILLICORES) <= now.vcpus * 1000


@pytest.mark.parametrize("limit", [0, 500, 2500, 4000])
@pytest.mark.parametrize("upper", [100, 1200, 1800, 2600, 9000])
def test_a_plan_comes_to_rest(limit: int, upper: int) -> None:
    """At once; but where no limit was in force and the size grew, one comes in the plan after."""
    seen, made = snapshot([limited(limit)]), forecast({CPU: upper})
    for _round in range(1 if limit else 2):
        acts = plan(seen, made, ELASTIC).actions
        seen = applied(seen, acts)
    assert plan(seen, made, ELASTIC).actions == ()
    (one,) = seen.vms
    assert one.size(CPU_LIMIT_MILLICORES) <= one.vcpus * 1000


def test_a_limit_is_only_recommended_where_the_forecasts_of_its_size_did_badly() -> None:
    state = PlanState(demoted={("e/a", VCPUS): "scorecard: bad"})
    (action,) = planned(limited(), 650, state=state).actions
    assert (action.resource, action.mode) == (CPU_LIMIT_MILLICORES, "recommend")


@pytest.mark.safety(rule=13)
def test_the_words_give_vcpus_and_exact_millicores() -> None:
    made = planned(limited(), 1300)
    assert explain(made, "a").count("has 4 vCPU (4000 millicores), wanted 2 vCPU (2000 millicores)") == 1
    assert "P95 of demand is at most 1.30 vCPU and it lately used 0.00 vCPU: 2 vCPU are enough" in (after_text(made))
    assert "cpu_limit_millicores: 2 vCPU (2000 millicores)" in after_text(made)
    assert "2 vCPU (2000 millicores)" in plan_table(made)
    assert "-2000 millicores of limit" in summary_line(made)


def test_an_act_knows_how_long_such_acts_take() -> None:
    state = PlanState(leads_ms={("e", "cpu.limit"): 1250, ("f", "cpu.limit"): 9})
    made = planned(limited(), 650, state=state)
    assert [one.lead_ms for one in made.actions] == [1250]
    assert "done within 1.2 s (95 % of such acts)" in explain(made, "a")
    assert "95 % of such" not in explain(planned(limited(), 650), "a")


@pytest.mark.parametrize("limit", [0, 3000])
@pytest.mark.safety(rule=6)
def test_undoing_gives_back_the_limit_that_was(limit: int) -> None:
    before = snapshot([limited(limit)])
    made = plan(before, forecast({CPU: 1200}), ELASTIC)
    after = applied(before, made.actions)
    undo = make_rollback(made, receipt(made), after, now=NOW, snapshot_digest="sha256:9")
    assert [one.resource for one in undo.actions] == [VCPUS, CPU_LIMIT_MILLICORES] if limit else len(undo.actions) == 2
    assert applied(after, undo.actions).vms[0].fields == before.vms[0].fields


@pytest.mark.parametrize(
    ("limit", "vcpus", "expected"),
    [
        (1000, 4, {LIMIT: (1000, 3000)}),
        (0, 4, {LIMIT: (4000, 3000)}),
        (3000, 4, {}),
        (1000, 2, {CPU: (2, 3), LIMIT: (1000, 3000)}),
    ],
)
def test_a_limit_gives_a_vm_that_is_not_known_yet_what_is_declared(
    limit: int, vcpus: int, expected: dict[tuple[str, str], tuple[int, int]]
) -> None:
    rules = ELASTIC.replace("vcpus: {", "vcpus: {declared: 3, ")
    made = plan(snapshot([limited(limit, vcpus=vcpus)]), forecast({CPU: 500}, history_s=3600), rules)
    assert sizes(made) == expected
    assert all("declared to need 3 vCPU, known for 0.0 of 7 days" in one.reason for one in made.actions)
    assert LIMIT in sizes(plan(snapshot([limited(3000)]), forecast({CPU: 500}), rules))
