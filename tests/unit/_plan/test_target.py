# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grow at once on the upper bound; shrink only when everything that must be known is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._plan.target import Clock, wanted_size
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY, Service
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import CPU_LIMIT_MILLICORES, MEMORY_MIB, VCPUS
from tests.unit._plan.fleets import FREE, NOW, applied, decision, forecast, host, plan, policy, sizes, snapshot, vm

CPU, MEMORY = ("a", VCPUS), ("a", MEMORY_MIB)


def moved(upper: int, *, vcpus: int = 4, recent: int = 0, **values: object) -> int:
    """The vCPUs that a VM with four ends at."""
    made = forecast({CPU: upper}, recent={CPU: recent}, **values)
    return sizes(plan(snapshot([vm(vcpus=vcpus)]), made)).get(CPU, (vcpus, vcpus))[1]


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        (2800, 4),  # 70 % of four: exactly full
        (2801, 5),
        (7000, 10),
        (7001, 11),
        (1951, 4),  # 65 % of three are 1950: four stay
        (1950, 3),
        (0, 1),
    ],
)
@pytest.mark.safety(rule=2)
def test_the_size_follows_the_upper_bound(upper: int, expected: int) -> None:
    assert moved(upper) == expected


@pytest.mark.parametrize(("recent", "expected"), [(650, 1), (651, 2), (1950, 3), (1951, 4), (4000, 4)])
@pytest.mark.safety(rule=2)
def test_recent_use_holds_a_shrink_back(recent: int, expected: int) -> None:
    assert moved(100, recent=recent) == expected
    made = plan(snapshot([vm(vcpus=4)]), forecast({CPU: 100}, recent={CPU: recent}))
    assert decision(made) == ((STAY, "recent_use") if expected == 4 else (ACT, "shrink"))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"recent_maximum": -1}, "no_fresh_metric"),
        ({"observed_until": ""}, "no_fresh_metric"),
        ({"observed_until": format_utc(NOW - timedelta(minutes=16))}, "stale_telemetry"),
        ({"observed_until": format_utc(NOW + timedelta(minutes=16))}, "stale_telemetry"),
        ({"history_s": 7 * 86_400 - 1}, "short_history"),
        ({"coverage_ppm": 799_999}, "low_coverage"),
    ],
)
@pytest.mark.safety(rule=2)
def test_what_is_not_known_is_not_given_away(values: dict[str, object], code: str) -> None:
    shrinks = plan(snapshot([vm(vcpus=4)]), forecast({CPU: 100}, **values))
    assert decision(shrinks) == (STAY, code)
    assert shrinks.actions == ()
    grows = plan(snapshot([vm(vcpus=4)]), forecast({CPU: 4000}, **values))
    assert decision(grows) == (ACT, "grow")


def test_the_edges_of_what_must_be_known_are_enough() -> None:
    edge = format_utc(NOW - timedelta(minutes=15))
    assert moved(100, observed_until=edge, history_s=7 * 86_400, coverage_ppm=800_000) == 1


@pytest.mark.safety(rule=2)
def test_a_series_without_a_history_shrinks_nothing() -> None:
    header, table = forecast({CPU: 100})
    made = plan(snapshot([vm(vcpus=4)]), (replace(header, choices=()), table))
    assert decision(made) == (STAY, "no_history")


@pytest.mark.safety(rule=2)
def test_memory_without_the_guests_own_word_is_left_alone() -> None:
    made = plan(snapshot([vm(memory_mib=8192)]), forecast({CPU: 1000}))
    assert decision(made, resource=MEMORY_MIB) == (STAY, "no_forecast")


@pytest.mark.parametrize(
    ("upper", "recent", "expected"),
    [
        (1000, 0, 1280),  # 1000 / 0.85 in granules of 128
        (100, 2000, 2432),  # 2000 / 0.85 is more than 2000 x 1.15
        (8192, 0, 9216),  # grows: 8192 / 0.9
    ],
)
def test_memory_goes_by_granules_and_keeps_the_guests_floor(upper: int, recent: int, expected: int) -> None:
    made = forecast({MEMORY: upper}, recent={MEMORY: recent})
    assert sizes(plan(snapshot([vm(memory_mib=8192)]), made))[MEMORY] == (8192, expected)


def test_the_guests_floor_counts_where_it_is_above_the_target() -> None:
    rules = FREE.replace("memory: {", "memory: {guest_floor_percent: 100, ")
    made = forecast({MEMORY: 100}, recent={MEMORY: 2000})
    assert sizes(plan(snapshot([vm(memory_mib=8192)]), made, rules))[MEMORY] == (8192, 4096)


def test_minimum_and_maximum_bound_the_size() -> None:
    rules = FREE.replace("vcpus: {", "vcpus: {minimum: 3, maximum: 6, ")
    seen = snapshot([vm(vcpus=4)])
    assert sizes(plan(seen, forecast({CPU: 0}), rules))[CPU] == (4, 3)
    assert sizes(plan(seen, forecast({CPU: 9000}), rules))[CPU] == (4, 6)
    assert sizes(plan(snapshot([vm(vcpus=1)]), forecast({CPU: 0}), rules))[CPU] == (1, 3)
    full = plan(snapshot([vm(vcpus=6)]), forecast({CPU: 9000}), rules)
    assert decision(full) == (STAY, "policy_maximum")
    above = plan(snapshot([vm(vcpus=9)]), forecast({CPU: 6000}), rules)
    assert decision(above) == (STAY, "fits")  # what is needed is not taken away


@pytest.mark.parametrize(("upper", "code"), [(float("nan"), "bad_forecast"), (-5.0, "bad_forecast")])
def test_a_forecast_that_is_no_number_moves_nothing(upper: float, code: str) -> None:
    assert decision(plan(snapshot([vm()]), forecast({CPU: upper}))) == (STAY, code)


def test_a_forecast_whose_horizon_has_passed_moves_nothing() -> None:
    seen, made = snapshot([vm()]), forecast({CPU: 9000})
    assert decision(plan(seen, made, now=NOW + timedelta(minutes=59))) == (ACT, "grow")
    assert decision(plan(seen, made, now=NOW + timedelta(minutes=60))) == (STAY, "forecast_over")


def test_without_a_forecast_nothing_is_wanted() -> None:
    made = plan(snapshot([vm()]), None)
    assert {decision(made, resource=one) for one in (VCPUS, MEMORY_MIB)} == {(STAY, "no_forecast")}
    assert made.forecast == ""


def test_each_decision_has_its_numbers_and_its_line() -> None:
    rules = FREE.replace("vcpus: {", "vcpus: {target_use_percent: 80, ")
    made = plan(snapshot([vm(vcpus=2)], [host()]), forecast({CPU: 3000}), rules)
    found = next(one for one in made.decisions if one.resource == VCPUS)
    assert found.reason == "P95 of demand is at most 3.00 vCPU: at 80 % use that takes 4 vCPU, it has 2"
    assert (found.size_now, found.size_wanted, found.upper, found.policy_line) == (2, 4, 3000, 4)
    assert made.actions[0].reason == found.reason
    assert found.action_id == made.actions[0].action_id


@pytest.mark.parametrize(
    ("resource", "sizes", "demand", "more_ppm", "reason"),
    [
        (VCPUS, (6, 4), (2000, 0), 800_000, "one more vCPU costs 0.8 of itself; cheapest 6 vCPU, it has 4"),
        (VCPUS, (4, 4), (2000, 0), -20_000, "one more vCPU saves 0.02 of itself; cheapest 4 vCPU, it has 4"),
        (VCPUS, (4, 4), (4000, 0), None, "no more would fit; P95 at 70 % use takes 6 vCPU, it has 4"),
        (
            VCPUS, (2, 8), (4000, 100), 800_000,
            (
                "one more vCPU costs 0.8 of itself; "
                "P95 at 70 % use takes 6 vCPU and it lately used 0.10 vCPU: 7 vCPU are enough, it has 8"
            ),
        ),
        (
            MEMORY_MIB, (262_144, 524_288), (90_000, 230_000), 800_000,
            (
                "1024 MiB more costs 0.8 of itself; "
                "cheapest 262144 MiB and it lately used 230000 MiB: 270592 MiB are enough, it has 524288"
            ),
        ),
        (
            CPU_LIMIT_MILLICORES, (1231, 4000), (9000, 1000), 12_000_000,
            (
                "0.1 vCPU more costs 12 of itself; "
                "cheapest 1.231 vCPU and it lately used 1.00 vCPU, it has 4"
            ),
        ),
        (
            CPU_LIMIT_MILLICORES, (50, 4000), (90, 40), 800_000,
            (
                "0.1 vCPU more costs 0.8 of itself; "
                "cheapest 0.05 vCPU, at least 0.1 vCPU and it lately used 0.04 vCPU, it has 4"
            ),
        ),
        (
            CPU_LIMIT_MILLICORES, (1231, 1500), (9000, 1500), 800_000,
            "0.1 vCPU more costs 0.8 of itself; cheapest 1.231 vCPU, but it lately used 1.50 vCPU: that takes 1.5 vCPU",
        ),
    ],
)  # fmt: skip
@pytest.mark.safety(rule=13)
def test_a_reason_by_price_is_one_line(
    resource: str, sizes: tuple[int, int], demand: tuple[int, int], more_ppm: int | None, reason: str
) -> None:
    """``sizes``: the cheapest, and what it has; ``demand``: the upper bound, and what was used lately."""
    units = {VCPUS: 1, MEMORY_MIB: 1024, CPU_LIMIT_MILLICORES: 100}
    header, _unused = forecast({}, recent={("a", MEMORY_MIB if resource == MEMORY_MIB else VCPUS): demand[1]})
    settings = policy(FREE + "  cpu_limit: {profile: elastic}\n").effective(vm())
    found = wanted_size(
        resource,
        size=sizes[1],
        granule=settings.sizing[resource].granule,
        upper=demand[0],
        choice=header.choices[0],
        sizing=settings.sizing[resource],
        settings=settings,
        clock=Clock(NOW),
        service=Service("sha256:0", 300, sizes[0], 500, 3000, 10_000, 1_000_000, units[resource], more_ppm),
    )
    assert found.reason == f"0.3 of 1 % spent; {reason}"
    assert len(found.reason) <= 160


def test_a_careful_limit_keeps_to_its_upper_bound_as_sizes_do() -> None:
    """By price an elastic one goes to the cheapest size, be the bound what it may."""
    found = {}
    for profile in ("careful", "elastic"):
        settings = policy(FREE + f"  cpu_limit: {{profile: {profile}}}\n").effective(vm())
        header, _unused = forecast({}, recent={("a", VCPUS): 400})
        found[profile] = wanted_size(
            CPU_LIMIT_MILLICORES,
            size=5000,
            granule=1,
            upper=2100,
            choice=header.choices[0],
            sizing=settings.sizing[CPU_LIMIT_MILLICORES],
            settings=settings,
            clock=Clock(NOW),
            service=Service("sha256:0", 300, 500, 500, 3000, 10_000, 1_000_000, 100, 800_000),
        )
    assert (found["careful"].direction, found["careful"].size) == ("shrink", 3231)  # 2100 at 65 %
    assert (found["elastic"].direction, found["elastic"].size) == ("shrink", 500)


DECLARED = FREE.replace("vcpus: {", "vcpus: {declared: 6, ").replace("memory: {", "memory: {declared_mib: 2000, ")
YOUNG = {"history_s": 7 * 86_400 - 1}
REJECTED = {"engine": "", "reason": "a value is negative or no number", "history_s": 0}


@pytest.mark.parametrize(
    ("upper", "values", "expected", "reason"),
    [
        (1000, YOUNG, (4, 6), "declared to need 6 vCPU, known for 6.9 of 7 days, it has 4"),
        (1000, {"history_s": 0}, (4, 6), "declared to need 6 vCPU, known for 0.0 of 7 days, it has 4"),
        (4900, YOUNG, (4, 7), "P95 of demand is at most 4.90 vCPU: at 70 % use that takes 7 vCPU, it has 4"),
        (float("nan"), YOUNG, (4, 6), "declared to need 6 vCPU, known for 6.9 of 7 days, it has 4"),
        (2800, {}, None, "P95 of demand is at most 2.80 vCPU: 4 to 5 vCPU fit, it has 4"),
        (9, {}, (4, 1), "P95 of demand is at most 0.01 vCPU and it lately used 0.00 vCPU: 1 vCPU are enough, it has 4"),
        (float("nan"), {}, None, "there is no usable number in the forecast of cpu_millicores"),
        (float("nan"), REJECTED, None, "there is no usable number in the forecast of cpu_millicores"),
    ],
)
def test_what_is_declared_is_given_until_the_vm_is_known(
    upper: float, values: dict[str, Any], expected: tuple[int, int] | None, reason: str
) -> None:
    made = plan(snapshot([vm(vcpus=4, memory_mib=4096)]), forecast({CPU: upper}, **values), DECLARED)
    assert sizes(made).get(CPU) == expected
    (found,) = (one for one in made.decisions if one.resource == VCPUS)
    assert found.reason == reason
    if expected == (4, 6):
        assert DECLARED.splitlines()[found.policy_line - 1].startswith("  vcpus: {declared: 6")


def test_what_is_declared_needs_no_telemetry_at_all() -> None:
    seen = snapshot([vm(vcpus=4, memory_mib=1024)])
    for made in (None, forecast({})):
        first = plan(seen, made, DECLARED)
        assert sizes(first) == {CPU: (4, 6), MEMORY: (1024, 2048)}
        again = plan(applied(seen, first.actions), made, DECLARED)
        assert [one.code for one in again.decisions] == ["no_forecast", "no_forecast"]
        assert sizes(plan(seen, made)) == {}


@pytest.mark.safety(rule=2)
def test_a_declaration_lets_nothing_shrink_and_asks_for_no_more_than_the_policy_gives() -> None:
    made = plan(snapshot([vm(vcpus=8, memory_mib=4096)]), forecast({CPU: 100}, **YOUNG), DECLARED)
    assert decision(made) == (STAY, "short_history")
    capped = DECLARED.replace("declared: 6", "declared: 6, maximum: 5")
    assert sizes(plan(snapshot([vm(vcpus=4, memory_mib=4096)]), None, capped)) == {CPU: (4, 5)}
    full = plan(snapshot([vm(vcpus=4, memory_mib=4096)], [host(vcpus=4)]), None, DECLARED)
    assert decision(full) == (REFUSED, "no_room")
    ignored = plan(snapshot([vm(vcpus=4, memory_mib=4096)]), None, DECLARED.replace("mode: auto", "mode: ignore"))
    assert ignored.actions == ()
