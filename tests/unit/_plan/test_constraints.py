# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps an act from being planned, one rule at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import NumaCell
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    GROW,
    MEMORY_MIB,
    SHRINK,
    VCPUS,
    VM,
    Capability,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.wishes import Wishes
from tests.unit._plan.fleets import FREE, NOW, decision, forecast, host, plan, sizes, snapshot, vm

CPU, MEMORY = ("a", VCPUS), ("a", MEMORY_MIB)
MORE, LESS = forecast({CPU: 5000}), forecast({CPU: 100})  # a VM of four vCPUs grows to 8, shrinks to 1
FOUR = vm(vcpus=4)
MODES = ("ignore", "recommend", "approve", "auto")


def set_mode(text: str) -> str:
    return FREE.replace("mode: auto", f"mode: {text}")


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize("tag", [None, *MODES])
@pytest.mark.parametrize("mode", MODES)
def test_the_stricter_of_policy_and_tag_holds(mode: str, tag: str | None) -> None:
    expected = min((mode, tag or mode), key=MODES.index)
    made = plan(snapshot([replace(FOUR, mode=tag)]), MORE, set_mode(mode))
    if expected == "ignore":
        assert decision(made) == (STAY, "mode_ignore")
        assert made.actions == ()
    else:
        assert [one.mode for one in made.actions] == [expected]


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize("tag", ["False", "AUTO", "", "yes"])
def test_a_tag_that_is_no_mode_makes_the_vm_ignored_with_a_warning(tag: str) -> None:
    made = plan(snapshot([replace(FOUR, mode=tag)]), MORE)
    assert decision(made) == (STAY, "mode_invalid")
    assert made.actions == ()
    assert "left alone, for their tag is no mode: a" in made.warnings


@pytest.mark.safety(rule=9)
def test_each_direction_has_its_own_mode() -> None:
    rules = set_mode("{grow: auto, shrink: ignore}")
    assert decision(plan(snapshot([FOUR]), MORE, rules)) == (ACT, "grow")
    assert decision(plan(snapshot([FOUR]), LESS, rules)) == (STAY, "mode_ignore")


@pytest.mark.safety(rule=9)
def test_the_shipped_policy_plans_recommendations_only() -> None:
    made = plan(snapshot([FOUR]), MORE, "defaults: {}\n")
    assert [one.mode for one in made.actions] == ["recommend"]


@pytest.mark.safety(rule=5)
def test_a_vm_that_may_not_be_touched_is_refused_whole() -> None:
    made = plan(snapshot([replace(FOUR, refused="is owned by Nova", refused_code="vm.foreign")]), MORE)
    assert [(one.verdict, one.code, one.reason) for one in made.decisions] == [
        (REFUSED, "vm.foreign", "a is owned by Nova")
    ] * 2
    assert made.decisions[0].size_wanted == 8  # what it misses is still said


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (PlanState(holds={"e/a": "Ada: a release is running"}), "held"),
        (PlanState(reverted_twice=frozenset({"e/a"})), "reverted_twice"),
    ],
)
@pytest.mark.safety(rule=3)
def test_a_held_vm_is_refused(state: PlanState, code: str) -> None:
    made = plan(snapshot([FOUR, vm("b", vcpus=4)]), forecast({CPU: 5000, ("b", VCPUS): 5000}), state=state)
    assert decision(made) == (REFUSED, code)
    assert [one.vm_name for one in made.actions] == ["b"]


@pytest.mark.parametrize(
    ("made", "minutes", "expected"),
    [
        (MORE, 14, (STAY, "hold_time")),
        (MORE, 15, (ACT, "grow")),
        (LESS, 24 * 60 - 1, (STAY, "hold_time")),
        (LESS, 24 * 60, (ACT, "shrink")),
    ],
)
@pytest.mark.safety(rule=2)
def test_an_act_waits_for_the_time_since_the_last_one(made: object, minutes: int, expected: tuple[str, str]) -> None:
    last = ("grow", int(NOW.timestamp() * 1000) - minutes * 60_000)
    rules = "defaults: {mode: auto}\n"
    wishes = {("e/a", VCPUS): Wishes(0)}  # for long it wanted less
    state = PlanState(last_acts={("e/a", VCPUS): last}, wishes=wishes)
    assert decision(plan(snapshot([FOUR]), made, rules, state=state)) == expected
    other = PlanState(last_acts={("e/a", MEMORY_MIB): last, ("e/b", VCPUS): last}, wishes=wishes)
    assert decision(plan(snapshot([FOUR]), made, rules, state=other))[0] == ACT


@pytest.mark.parametrize(("vcpus", "upper", "expected"), [(20, 14_600, "small_change"), (20, 15_000, "grow")])
def test_a_change_below_the_minimum_is_left(vcpus: int, upper: int, expected: str) -> None:
    made = plan(snapshot([vm(vcpus=vcpus)]), forecast({CPU: upper}), "defaults: {mode: auto}\n")
    assert decision(made)[1] == expected


@pytest.mark.parametrize(
    ("size", "upper", "step", "expected"),
    [
        (8, 100, "{grow: none, shrink: 50 %}", 4),
        (8, 20_000, "{grow: none, shrink: 50 %}", 29),
        (8, 20_000, "25 %", 10),
        (1, 20_000, "25 %", 2),
        (3, 100, "10 %", 2),
    ],
)
def test_one_step_goes_only_so_far(size: int, upper: int, step: str, expected: int) -> None:
    rules = FREE.replace("step_limit: none", f"step_limit: {step}", 1)
    made = plan(snapshot([vm(vcpus=size)]), forecast({CPU: upper}), rules)
    assert sizes(made)[CPU] == (size, expected)


def test_a_step_of_memory_ends_on_a_granule() -> None:
    rules = FREE.replace("minimum_change_percent: 0, step_limit: none}\n  grow", "step_limit: 10 %}\n  grow")
    up = plan(snapshot([vm(memory_mib=2049)]), forecast({MEMORY: 9000}), rules)
    down = plan(snapshot([vm(memory_mib=2049)]), forecast({MEMORY: 10}), rules)
    assert (sizes(up)[MEMORY], sizes(down)[MEMORY]) == ((2049, 2304), (2049, 1792))


def way(operation: str, direction: str = GROW, **values: object) -> Capability:
    fields = ("guest.vcpus", "config.vcpus")
    given = {"allowed": True, "fields": fields, "minimum": 1, "maximum": 32, "inverse": "live", **values}
    return Capability(operation=operation, resource=VCPUS, direction=direction, **given)


def with_ways(*ways: Capability) -> VM:
    return replace(FOUR, capabilities=ways)


def test_the_first_way_that_holds_the_size_is_taken() -> None:
    ways = (way("agent", maximum=6), way("plug", maximum=8), way("other"))
    made = plan(snapshot([with_ways(*ways)]), MORE)
    assert [(one.operation, one.size_after) for one in made.actions] == [("plug", 8)]


def test_where_none_holds_it_the_one_that_reaches_furthest_is_taken_and_said() -> None:
    ways = (way("agent", maximum=6), way("plug", maximum=7), way("other", maximum=5))
    made = plan(snapshot([with_ways(*ways)]), MORE)
    assert [(one.operation, one.size_after) for one in made.actions] == [("plug", 7)]
    assert made.actions[0].reason.endswith("8 is wanted, plug reaches 7")


@pytest.mark.parametrize(
    ("ways", "made", "code"),
    [
        ((), MORE, "no_capability"),
        ((way("plug", SHRINK),), MORE, "no_capability"),
        ((way("plug", allowed=False, code="vm.no_hotplug", reason="has no hot-add"),), MORE, "vm.no_hotplug"),
        ((way("plug", maximum=4),), MORE, "capability_maximum"),
        ((way("plug", minimum=9),), MORE, "capability_maximum"),
        ((way("plug", SHRINK, minimum=4),), LESS, "capability_minimum"),
        ((way("plug", fields=("live.vcpus",)),), MORE, "field_absent"),
        ((way("plug", fields=()),), MORE, "no_field"),
    ],
)
@pytest.mark.safety(rule=5)
def test_what_the_platform_cannot_do_is_refused_when_planning(
    ways: tuple[Capability, ...], made: object, code: str
) -> None:
    assert decision(plan(snapshot([with_ways(*ways)]), made)) == (REFUSED, code)


def test_every_way_that_is_closed_says_why() -> None:
    ways = (way("agent", allowed=False, code="agent_silent", reason="it does not answer"), way("plug", restart=True))
    (found, _unused) = plan(snapshot([with_ways(*ways)]), MORE).decisions
    assert found.code == "agent_silent"
    assert found.reason.endswith("agent: it does not answer; plug: it needs a restart, and the policy allows none")


@pytest.mark.safety(rule=4)
def test_an_act_that_needs_a_restart_is_never_planned() -> None:
    cold, warm = way("cold", restart=True), way("warm", maximum=5)
    assert decision(plan(snapshot([with_ways(cold)]), MORE)) == (REFUSED, "needs_restart")
    made = plan(snapshot([with_ways(cold, warm)]), MORE)
    assert [(one.operation, one.restart, one.size_after) for one in made.actions] == [("warm", False, 5)]


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(
    ("inverse", "grow", "shrink"),
    [
        ("live", (ACT, "grow"), (ACT, "shrink")),
        ("at_next_restart", (ACT, "grow"), (REFUSED, "no_live_inverse")),
        ("restart", (REFUSED, "no_live_inverse"), (REFUSED, "no_live_inverse")),
        ("", (REFUSED, "no_live_inverse"), (REFUSED, "no_live_inverse")),
    ],
)
def test_a_shrink_needs_a_live_inverse(inverse: str, grow: tuple[str, str], shrink: tuple[str, str]) -> None:
    both = with_ways(way("plug", GROW, inverse=inverse), way("plug", SHRINK, inverse=inverse))
    assert decision(plan(snapshot([both]), MORE)) == grow
    assert decision(plan(snapshot([both]), LESS)) == shrink


@pytest.mark.safety(rule=6)
def test_an_action_carries_its_precondition_and_its_inverse() -> None:
    (action,) = plan(snapshot([FOUR]), MORE).actions
    assert action.generation == "generation of a"
    assert [(one.field, one.before, one.after) for one in action.changes] == [
        ("guest.vcpus", 4, 8),
        ("config.vcpus", 4, 8),
    ]
    assert (action.inverse.operation, action.inverse.when) == ("vcpus.agent", "live")


def test_sizes_fit_the_steps_of_both_directions() -> None:
    ways = (way("socket", GROW, step=4), way("agent", SHRINK))
    made = plan(snapshot([with_ways(*ways)]), forecast({CPU: 3500}))  # five would do
    assert sizes(made)[CPU] == (4, 8)
    eight = replace(with_ways(*ways), vcpus=8, fields={**FOUR.fields, "guest.vcpus": 8, "config.vcpus": 8})
    assert plan(snapshot([eight]), forecast({CPU: 3500})).actions == ()


@pytest.mark.safety(rule=12)
def test_a_vm_does_not_outgrow_its_numa_cell() -> None:
    cells = (NumaCell(0, 6, 32_768), NumaCell(1, 6, 32_768))
    numa = host(numa=cells)
    assert decision(plan(snapshot([FOUR], [numa]), MORE)) == (REFUSED, "numa")
    assert decision(plan(snapshot([vm(vcpus=7)], [numa]), forecast({CPU: 9000}))) == (ACT, "grow")  # it is wide already
    assert decision(plan(snapshot([FOUR], [host(numa=cells[:1])]), MORE)) == (ACT, "grow")


def window(begin: str, end: str) -> str:
    days = "[mon, tue, wed, thu, fri, sat, sun]"
    return FREE.replace("mode: auto", f"mode: auto\n  windows: [{{zone: UTC, days: {days}, from: {begin}, to: {end}}}]")


def test_an_act_carries_the_window_it_may_begin_in() -> None:
    (closed,) = plan(snapshot([FOUR]), MORE, window("22:00", "04:00")).actions
    assert (closed.not_before, closed.not_after) == ("2026-03-01T22:00:00Z", "2026-03-02T04:00:00Z")
    (opened,) = plan(snapshot([FOUR]), MORE, window("11:00", "13:00")).actions
    assert (opened.not_before, opened.not_after) == ("2026-03-01T11:00:00Z", "2026-03-01T13:00:00Z")
    (always,) = plan(snapshot([FOUR]), MORE).actions
    assert (always.not_before, always.not_after) == ("", "")


def test_without_a_window_before_the_plan_expires_nothing_is_planned() -> None:
    rules = window("10:00", "11:00") + "plan: {expires_hours: 12}\n"
    made = plan(snapshot([FOUR]), MORE, rules)
    assert decision(made) == (STAY, "window_closed")
    assert made.expires_at == "2026-03-02T00:00:00Z"


def test_a_vm_that_was_not_seen_is_said_to_be() -> None:
    gap = Gap("e", "e/b", "vm.unreadable", "its description broke off")
    made = plan(snapshot([FOUR], gaps=(gap,)), MORE, scope=["e/a", "e/b", "e/c"])
    assert [(one.code, one.reason) for one in made.decisions if one.unique_id != "e/a"] == [
        ("not_observed", "it could not be observed: its description broke off"),
        ("not_observed", "it could not be observed: its description broke off"),
        ("not_observed", "it is not in the snapshot"),
        ("not_observed", "it is not in the snapshot"),
    ]
    assert any("not observed" in warning for warning in made.warnings)
