# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's plan: each signal, how far a VM grows, and that it only ever grows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import LEARNT_WITH
from ansible_collections.headroom.fleet.plugins.module_utils._plan.explain import explain
from ansible_collections.headroom.fleet.plugins.module_utils._plan.signals import SIGNALS, Late, Reading, suspects
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._plan.urgent import make_guard
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import PURPOSE_GUARD, Plan, Signalled
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_LIMIT_MILLICORES,
    GROW,
    MEMORY_MIB,
    SET,
    SHRINK,
    VCPUS,
    VM,
    Capability,
)

from .fleets import FREE, NOW, applied, host, policy, sizes, snapshot, vm

GUARDED = FREE + (
    "  cpu_limit: {profile: elastic, minimum_change_percent: 0, step_limit: none}\n  guard: {vcpus: grow}\n"
)
NOW_MS = round(NOW.timestamp() * 1000)
LIMIT = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
LATE = 5 * 60_000  # milliseconds since the newest interval began


def limited(limit: int, **values: Any) -> VM:
    """A VM with a CPU limit; 0: with none."""
    plain = vm(**values)
    way = Capability("fake.limit", CPU_LIMIT_MILLICORES, SET, True, "", "", LIMIT, 0, 2**40, 1, "live")
    return replace(
        plain, fields={**plain.fields, **dict.fromkeys(LIMIT, limit)}, capabilities=(*plain.capabilities, way)
    )


def reading(mean: float, maximum: float = math.nan, *, age_ms: int = LATE) -> Reading:
    return Reading(mean, maximum, NOW_MS - age_ms)


def guard(
    *vms: VM,
    text: str = GUARDED,
    peaks: dict[str, float] | None = None,
    state: PlanState | None = None,
    on: Any = None,
    **readings: Reading,
) -> Plan:
    """What the guard makes of VMs that all say the same."""
    return make_guard(
        snapshot(vms, on),
        suspects=vms,
        readings={one.unique_id: readings for one in vms},
        peaks={(one.unique_id, metric): peak for one in vms for metric, peak in (peaks or {}).items()},
        interval_s=300,
        policy=policy(text),
        state=state or PlanState(),
        now=NOW,
        snapshot_digest="sha256:1",
        policy_digest="sha256:3",
    )


@pytest.mark.parametrize(
    ("limit", "readings", "after"),
    [
        (800, {"cpu_millicores": reading(700, 790)}, {("a", CPU_LIMIT_MILLICORES): (800, 1920)}),  # the maximum counts
        (800, {"cpu_millicores": reading(790)}, {("a", CPU_LIMIT_MILLICORES): (800, 1920)}),  # else the mean
        (1900, {"cpu_millicores": reading(1890)}, {("a", CPU_LIMIT_MILLICORES): (1900, 2000)}),  # up to all it has
        (800, {"cpu_millicores": reading(700, 780)}, {}),
        (800, {"cpu_delay_millicores": reading(41)}, {("a", CPU_LIMIT_MILLICORES): (800, 1920)}),
        (800, {"cpu_delay_millicores": reading(20, 400)}, {}),  # a moment's delay is none
        (0, {"cpu_delay_millicores": reading(900)}, {}),  # without a limit it is its neighbours'
        (0, {"cpu_millicores": reading(1980)}, {("a", VCPUS): (2, 5)}),
        (  # a limit of all it has would hold what it gets
            2000,
            {"cpu_millicores": reading(1980)},
            {("a", VCPUS): (2, 5), ("a", CPU_LIMIT_MILLICORES): (2000, 5000)},
        ),
        (800, {"cpu_millicores": reading(math.nan)}, {}),
        (0, {"memory_used_mib": reading(900, 950)}, {("a", MEMORY_MIB): (1024, 1280)}),
        (0, {"memory_used_mib": reading(900, 940)}, {}),
        (0, {"memory_swap_bytes_per_s": reading(1024 * 1024)}, {("a", MEMORY_MIB): (1024, 1280)}),
        (0, {"memory_swap_bytes_per_s": reading(1024 * 1023)}, {}),
        (0, {"memory_major_faults_per_s": reading(500)}, {("a", MEMORY_MIB): (1024, 1280)}),
        (0, {"memory_major_faults_per_s": reading(499)}, {}),
        (0, {"memory_oom_kills_per_s": reading(1 / 300)}, {("a", MEMORY_MIB): (1024, 1280)}),
        (0, {"memory_oom_kills_per_s": reading(0.0)}, {}),
    ],
)
def test_each_signal(limit: int, readings: dict[str, Reading], after: dict[tuple[str, str], tuple[int, int]]) -> None:
    made = guard(limited(limit), **readings)
    assert sizes(made) == after
    assert made.scope == (("e/a",) if after else ())
    assert made.purpose == PURPOSE_GUARD
    assert all(one.direction in (GROW, SET) for one in made.actions)


@pytest.mark.parametrize(
    ("memory_mib", "used", "after"), [(1024, 300, 1280), (256, 200, 384), (4096, 300, 4992), (1024, 1500, 1536)]
)
def test_after_an_oom_memory_grows_by_a_fifth_and_100_mib_and_to_the_peak(
    memory_mib: int, used: int, after: int
) -> None:
    made = guard(vm(memory_mib=memory_mib), peaks={"memory_used_mib": used}, memory_oom_kills_per_s=reading(0.01))
    assert sizes(made) == {("a", MEMORY_MIB): (memory_mib, after)}
    assert "killed processes" in made.actions[0].reason


def test_a_limit_grows_at_least_to_the_largest_use_of_the_day() -> None:
    made = guard(limited(200), peaks={"cpu_millicores": 1700.0}, cpu_millicores=reading(200))
    assert sizes(made) == {("a", CPU_LIMIT_MILLICORES): (200, 1700)}
    assert made.actions[0].reason == (
        "it used 100.0 % of its limit; it has 0.2 vCPU and used 1.70 vCPU at most in a day"
    )
    assert {one.code for one in made.decisions} == {GROW, "no_signal"}


@pytest.mark.parametrize(
    ("last", "age_min", "after"),
    [
        ((GROW, CPU_LIMIT_MILLICORES), 0, 1152),
        ((GROW, CPU_LIMIT_MILLICORES), 10, 1152),
        ((GROW, CPU_LIMIT_MILLICORES), 11, 480),
        ((SHRINK, CPU_LIMIT_MILLICORES), 0, 480),
        ((GROW, MEMORY_MIB), 0, 480),
    ],
)
def test_a_limit_that_grew_just_before_and_is_short_still_grows_by_two_jumps(
    last: tuple[str, str], age_min: int, after: int
) -> None:
    acts = {("e/a", last[1]): (last[0], NOW_MS - LATE - age_min * 60_000)}
    made = guard(limited(200), state=PlanState(last_acts=acts), cpu_millicores=reading(200))
    assert sizes(made) == {("a", CPU_LIMIT_MILLICORES): (200, after)}
    assert made.actions[0].reason.endswith("it grew just before, and that was too little") == (after == 1152)


def test_so_does_memory() -> None:
    grew = PlanState(last_acts={("e/a", MEMORY_MIB): (GROW, NOW_MS - LATE)})
    made = guard(vm(), state=grew, memory_used_mib=reading(900, 950, age_ms=LATE - 1))
    assert sizes(made) == {("a", MEMORY_MIB): (1024, 1536)}


@pytest.mark.safety(rule=13)
def test_a_decision_names_each_signal_and_its_interval() -> None:
    every = {"cpu_delay_millicores": reading(41, 90, age_ms=60_000), "cpu_millicores": reading(700, 790)}
    made = guard(limited(800), **every)
    told = {one.resource: one.signals for one in made.decisions if one.signals}
    assert told == {
        CPU_LIMIT_MILLICORES: (
            Signalled("saturated", "cpu_millicores", "790", "2026-03-01T11:55:00Z", 300),
            Signalled("delayed", "cpu_delay_millicores", "41", "2026-03-01T11:59:00Z", 300),
        )
    }
    text = explain(made, "a")
    assert "told by delayed: cpu_delay_millicores 41 in the 300 s from 2026-03-01T11:59:00Z" in text
    assert "largest use of the last day: 790 cpu_millicores" in text
    full = guard(vm(), on=[replace(host(), memory_mib=1024)], memory_oom_kills_per_s=reading(1 / 300))
    (refused,) = (one for one in full.decisions if one.code == "no_room")
    assert [(one.code, one.value) for one in refused.signals] == [("oom", "0.003333")]


def test_the_shipped_jump_is_that_of_the_sizers_that_models_learn_from() -> None:
    settings = default_policy().effective(vm())
    for resource, target in ((CPU_LIMIT_MILLICORES, "cpu"), (MEMORY_MIB, "memory")):
        assert settings.guard.jump_percent[resource] == LEARNT_WITH[target].jump * 100
        assert LEARNT_WITH[target].peak == 1


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("  guard: {cpu_limit: none}\n", {}),
        ("  cpu_limit: {profile: none}\n", {}),  # a limit that is nobody's to plan
        ("  cpu_limit: {profile: elastic, step_limit: {grow: 50 %}}\n", {("a", CPU_LIMIT_MILLICORES): (800, 1200)}),
        ("  cpu_limit: {profile: elastic}\n  guard: {cpu_jump_percent: 150}\n",
         {("a", CPU_LIMIT_MILLICORES): (800, 1200)}),
        ("  cpu_limit: {profile: elastic}\n  guard: {saturated_percent: 99.5}\n", {}),
        ("  cpu_limit: {profile: elastic}\n  guard: {freshness_minutes: 4}\n", {}),
        ("  cpu_limit: {profile: elastic}\n  mode: ignore\n", {}),
    ],
)  # fmt: skip
def test_the_policy_decides(text: str, verdict: dict[tuple[str, str], tuple[int, int]]) -> None:
    assert sizes(guard(limited(800), text="defaults:\n" + text, cpu_millicores=reading(792))) == verdict


def test_growth_ends_at_the_maximum_and_at_the_room() -> None:
    short = {"memory_oom_kills_per_s": reading(1)}
    text = GUARDED.replace("memory: {", "memory: {maximum_mib: 1152, ")
    assert sizes(guard(vm(), text=text, **short)) == {("a", MEMORY_MIB): (1024, 1152)}
    full = [replace(host(), memory_mib=1024)]
    made = guard(vm(), on=full, **short)
    assert made.actions == ()
    assert [one.code for one in made.decisions if one.resource == MEMORY_MIB] == ["no_room"]
    assert guard(vm(memory_mib=1152), text=text, **short).actions == ()


@pytest.mark.safety(rule=2)
def test_it_never_shrinks() -> None:
    metrics = sorted({signal.metric for signal in SIGNALS})
    idle = {metric: reading(0.0, 0.0) for metric in metrics}
    assert guard(limited(1800, vcpus=30, memory_mib=30_000), peaks={"cpu_millicores": 1.0}, **idle).actions == ()
    half_idle = {**idle, "memory_oom_kills_per_s": reading(1)}
    made = guard(limited(1800, vcpus=30, memory_mib=3000), **half_idle)
    assert {one.resource for one in made.actions} == {MEMORY_MIB}


def test_the_same_telemetry_is_not_answered_twice() -> None:
    """Not even where the signal does not hang on the size: the act is later than the interval that called for it."""
    every = {
        "cpu_delay_millicores": reading(400),
        "cpu_millicores": reading(799),
        "memory_swap_bytes_per_s": reading(2**30),
    }
    first = guard(limited(800), **every)
    assert set(sizes(first)) == {("a", CPU_LIMIT_MILLICORES), ("a", MEMORY_MIB)}
    after = applied(snapshot([limited(800)]), first.actions).vms
    done = {("e/a", one.resource): (GROW, NOW_MS) for one in first.actions}
    assert guard(*after, state=PlanState(last_acts=done), **every).actions == ()
    begun_since = {name: one._replace(start_ms=NOW_MS + 1) for name, one in every.items()}
    again = guard(*after, state=PlanState(last_acts=done), **begun_since)
    assert set(sizes(again)) == {("a", CPU_LIMIT_MILLICORES), ("a", MEMORY_MIB)}


@pytest.mark.safety(rule=13)
def test_only_what_was_killed_for_want_of_memory_does_not_wait_for_the_hold_time() -> None:
    text = GUARDED.replace("hold_minutes: 0", "hold_minutes: 15")
    shrunk = PlanState(last_acts={("e/a", MEMORY_MIB): (SHRINK, NOW_MS - LATE - 60_000)})
    waiting = guard(vm(), text=text, state=shrunk, memory_swap_bytes_per_s=reading(2**30))
    assert waiting.actions == ()
    assert "hold_time" in {one.code for one in waiting.decisions}
    killed = guard(vm(), text=text, state=shrunk, memory_oom_kills_per_s=reading(0.01))
    assert {one.resource for one in killed.actions} == {MEMORY_MIB}


def test_holds_and_modes_hold_and_a_bad_forecast_does_not_count() -> None:
    short = {"cpu_millicores": reading(800)}
    held = guard(limited(800), state=PlanState(holds={"e/a": "ann: wait"}), **short)
    assert held.actions == ()
    assert "held" in {one.code for one in held.decisions}
    demoted = PlanState(demoted={("e/a", VCPUS): "bad"})
    assert [one.mode for one in guard(limited(800), state=demoted, **short).actions] == ["auto"]
    text = GUARDED.replace("mode: auto", "mode: recommend")
    assert [one.mode for one in guard(limited(800), text=text, **short).actions] == ["recommend"]


def test_suspects_by_the_strictest_word_of_the_policy() -> None:
    rows, metrics = 4, sorted({signal.metric for signal in SIGNALS})
    nothing = {metric: np.full(rows, np.nan) for metric in metrics}
    late = Late(
        mean={**nothing, "cpu_millicores": np.array([500.0, 950.0, np.nan, 990.0])},
        maximum={**nothing, "cpu_millicores": np.array([900.0, np.nan, 2000.0, np.nan])},
        start_ms={metric: np.zeros(rows, dtype=np.int64) for metric in metrics},
    )
    has = {
        VCPUS: np.full(rows, 2000.0),
        CPU_LIMIT_MILLICORES: np.array([1000.0, 1000.0, 1000.0, 2000.0]),
        MEMORY_MIB: np.full(rows, 1024.0),
    }
    limits = "schema: headroom.sizing-policy/1\ndefaults: {cpu_limit: {profile: elastic}}\n"
    assert suspects(late, has, policy(limits)).tolist() == [2]
    rule = "rules: [{match: {name: x}, set: {guard: {saturated_percent: 90}}}]\n"
    assert suspects(late, has, policy(limits + rule)).tolist() == [0, 1, 2]
