# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of disks and interfaces, and CPU shares: by what all of a VM's disks or interfaces are forecast to do."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import acts_of
from ansible_collections.headroom.fleet.plugins.module_utils._plan.diff import after_text, plan_table
from ansible_collections.headroom.fleet.plugins.module_utils._plan.explain import explain
from ansible_collections.headroom.fleet.plugins.module_utils._plan.rollback import make_rollback
from ansible_collections.headroom.fleet.plugins.module_utils._plan.signals import Reading
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._plan.urgent import make_guard
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Change
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, REFUSED, STAY, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_SHARES,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    GROW,
    INTERFACE_INBOUND_BITS_PER_S,
    SET,
    SHRINK,
    VCPUS,
    VM,
    Capability,
)
from tests.unit._plan.fleets import FREE, NOW, applied, decision, forecast, plan, policy, receipt, sizes, snapshot, vm

QUICK = "{profile: elastic, minimum_change_percent: 0, step_limit: none}"
DISKS = FREE + f"  disk_limit: {QUICK}\n"
NETWORK = FREE + f"  network_limit: {QUICK}\n"
SHARES = FREE + f"  cpu_shares: {QUICK}\n"
VDA = f"{DISK_IOPS}/vda"
MAC = "52:54:00:00:00:01"
NOW_MS = round(NOW.timestamp() * 1000)


def having(*settings: str, value: int = 0, step: int = 1, **values: object) -> VM:
    """A VM with these settings, live and in its definition."""
    plain = vm()
    fields = {one: tuple(f"{kind}.{one}" for kind in ("live", "config")) for one in settings}
    ways = [Capability("fake.set", one, SET, True, "", "", fields[one], 0, 2**50, step, "live") for one in settings]
    mine = dict.fromkeys(itertools.chain.from_iterable(fields.values()), value)
    return replace(plain, fields={**plain.fields, **mine}, capabilities=(*plain.capabilities, *ways), **values)


def planned(one: VM, resource: str, upper: float, rules: str = DISKS, state: PlanState | None = None) -> Plan:
    return plan(snapshot([one]), forecast({("a", resource): upper}, recent={("a", resource): 0}), rules, state=state)


@pytest.mark.parametrize(
    ("limit", "upper", "written"),
    [
        (0, 4000, 11_429),  # 35 % of it
        (0, 10, 100),  # the policy's minimum
        (0, 7000, None),  # all that it is taken to have
        (5000, 4000, 10_000),  # 40 % of it
        (5000, 1900, None),  # between the two
        (5000, 7999, 19_998),
        (5000, 8000, 0),  # the maximum is no limit
        (5000, 80_000, 0),
        (20_000, 7000, None),  # at the maximum, or above it, up to twice as much
        (30_000, 8000, 22_858),
        (30_000, 12_001, 30_003),
        (30_000, 24_000, 0),
        (30_000, 400, 1143),
    ],
)
@pytest.mark.safety(rule=2)
def test_the_limit_of_a_disk_follows_the_upper_bound(limit: int, upper: int, written: int | None) -> None:
    made = planned(having(VDA, value=limit), DISK_IOPS, upper)
    changes = [one.changes for one in made.actions if one.resource == VDA]
    fields = (f"live.{VDA}", f"config.{VDA}")
    assert changes == ([] if written is None else [tuple(Change(field, limit, written) for field in fields)])
    after = applied(snapshot([having(VDA, value=limit)]), made.actions)
    again = plan(after, forecast({("a", DISK_IOPS): upper}, recent={("a", DISK_IOPS): 0}), DISKS)
    assert [one for one in again.actions if one.resource == VDA] == []


def test_nothing_of_it_is_planned_unless_the_policy_asks() -> None:
    made = planned(having(VDA, CPU_SHARES, value=500), DISK_IOPS, 4000, FREE)
    assert {one.resource for one in made.decisions} == {"vcpus", "memory_mib"}


def test_each_of_several_disks_may_use_as_much_as_all() -> None:
    both = having(VDA, f"{DISK_IOPS}/vdb", f"{DISK_BYTES_PER_S}/vda")
    made = planned(both, DISK_IOPS, 4000)
    assert sizes(made) == {("a", VDA): (0, 11_429), ("a", f"{DISK_IOPS}/vdb"): (0, 11_429)}
    assert decision(made, resource=f"{DISK_BYTES_PER_S}/vda") == (STAY, "no_forecast")


def test_a_limit_of_an_interface_is_a_multiple_of_its_step() -> None:
    inbound = f"{INTERFACE_INBOUND_BITS_PER_S}/{MAC}"
    made = planned(having(inbound, value=80_000_000, step=8000), INTERFACE_INBOUND_BITS_PER_S, 50_000_001, NETWORK)
    assert sizes(made) == {("a", inbound): (80_000_000, 125_200_000)}
    nearly_all = NETWORK.replace("profile: elastic", "profile: elastic, maximum_bits_per_s: 1000000001")
    made = planned(having(inbound, value=80_000_000, step=8000), INTERFACE_INBOUND_BITS_PER_S, 1e12, nearly_all)
    assert [change.after for change in made.actions[0].changes] == [0, 0]


@pytest.mark.safety(rule=5)
def test_what_cannot_be_set_is_refused() -> None:
    plain = having(VDA)
    why = Capability("fake.set", VDA, SET, False, "disk.group", "vda shares its limits with other disks")
    grouped = replace(plain, capabilities=(*plain.capabilities[:-1], why))
    assert decision(planned(grouped, DISK_IOPS, 4000), resource=VDA) == (REFUSED, "disk.group")
    foreign = replace(plain, refused="is managed by OpenStack Nova", refused_code="vm.foreign", capabilities=())
    assert decision(planned(foreign, DISK_IOPS, 4000), resource=VDA) == (REFUSED, "vm.foreign")


def test_a_careful_limit_waits_as_sizes_do() -> None:
    rules = DISKS.replace("elastic", "careful").replace("hold_hours: 0", "hold_hours: 24")
    assert decision(planned(having(VDA), DISK_IOPS, 4000, rules), resource=VDA) == (STAY, "hold_time")
    assert decision(planned(having(VDA, value=200), DISK_IOPS, 4000, rules), resource=VDA) == (ACT, GROW)


def test_an_elastic_limit_waits_for_the_last_act_on_the_same_device() -> None:
    for acted, verdict in ((VDA, (STAY, "hold_time")), (f"{DISK_IOPS}/vdb", (ACT, SHRINK))):
        state = PlanState(last_acts={("e/a", acted): (GROW, NOW_MS - 60_000)})
        assert decision(planned(having(VDA), DISK_IOPS, 4000, state=state), resource=VDA) == verdict


@pytest.mark.parametrize(
    ("shares", "upper", "after"),
    [
        (100, 2000, 200),  # two vCPUs
        (1024, 2000, 250),  # 80 % of it
        (220, 2000, None),
        (100, 10, 10),  # the policy's minimum
        (100, 10**6, 10_000),  # the most that a kernel takes
    ],
)
def test_shares_are_by_demand_and_never_taken_away(shares: int, upper: int, after: int | None) -> None:
    one = having(CPU_SHARES, value=shares)
    found = [one for one in planned(one, VCPUS, upper, SHARES).actions if one.resource == CPU_SHARES]
    assert [[change.after for change in one.changes] for one in found] == ([] if after is None else [[after] * 2])


@pytest.mark.safety(rule=6)
def test_a_vm_without_shares_gets_none() -> None:
    absent = having(CPU_SHARES)
    fields = {name: value for name, value in absent.fields.items() if CPU_SHARES not in name}
    assert decision(planned(replace(absent, fields=fields), VCPUS, 2000, SHARES), resource=CPU_SHARES) == (
        REFUSED,
        "field_absent",
    )


def test_only_those_are_demoted_that_go_by_the_forecasts_that_did_badly() -> None:
    demoted = PlanState(demoted={("e/a", VCPUS): "its forecasts did badly"})
    one = having(VDA, CPU_SHARES, value=1000)
    seen, rules = snapshot([one]), DISKS + f"  cpu_shares: {QUICK}\n"
    known = forecast({("a", DISK_IOPS): 4000, ("a", VCPUS): 1400}, recent={("a", VCPUS): 0, ("a", DISK_IOPS): 0})
    made = plan(seen, known, rules, state=demoted)
    assert {one.resource: one.mode for one in made.actions} == {VDA: "auto", CPU_SHARES: "recommend"}


@pytest.mark.safety(rule=6)
def test_undoing_takes_the_limit_away_again() -> None:
    before = snapshot([having(VDA)])
    made = planned(having(VDA), DISK_IOPS, 4000)
    after = applied(before, made.actions)
    back = make_rollback(made, receipt(made), after, now=NOW, snapshot_digest="sha256:9")
    assert [one.changes for one in back.actions] == [
        (Change(f"live.{VDA}", 11_429, 0), Change(f"config.{VDA}", 11_429, 0))
    ]
    assert applied(after, back.actions).vms[0].fields == before.vms[0].fields


def test_people_read_it_in_their_units() -> None:
    rate = f"{DISK_BYTES_PER_S}/vda"
    made = planned(having(VDA, rate, value=5000), DISK_IOPS, 4000)
    assert f"  {VDA}: 10000 IOPS\n" in after_text(made)
    assert "P98 of demand is at most 4000 IOPS: at 40 % use that takes 10000 IOPS, it has 5000" in explain(made, "a")
    made = planned(having(rate, value=20_000_000), DISK_BYTES_PER_S, 9_000_000)
    assert "  20 MB/s  22.5 MB/s  " in plan_table(made)
    made = planned(having(rate), DISK_BYTES_PER_S, 9_000_000)
    assert "  none  25.8 MB/s  " in plan_table(made)
    assert "it has 1000, for it has no limit" in explain(made, "a")
    assert "has none" in explain(made, "a")
    shares = planned(having(CPU_SHARES, value=1000), VCPUS, 2000, SHARES)
    assert "P95 of demand is at most 2.00 vCPU" in explain(shares, "a")
    assert "250 shares are enough, it has 1000" in explain(shares, "a")
    made = planned(having(rate, value=20_000_000), DISK_BYTES_PER_S, 900_000_000)
    assert f"  {rate}: none\n" in after_text(made)


def guard(one: VM, mean: float, *, metric: str = DISK_IOPS, rules: str = DISKS, age_s: int = 300) -> Plan:
    reading = Reading(mean, math.nan, NOW_MS - age_s * 1000)
    return make_guard(
        snapshot([one]),
        suspects=[one],
        readings={one.unique_id: {metric: reading}},
        peaks={},
        interval_s=300,
        policy=policy(rules),
        state=PlanState(),
        now=NOW,
        snapshot_digest="sha256:1",
        policy_digest="sha256:3",
    )


@pytest.mark.parametrize(
    ("limit", "use", "after"),
    [
        (1000, 984, None),
        (1000, 985, 2400),
        (19_000, 19_000, 0),
        (0, 10**6, None),
        (0, 20_000, None),
        (25_000, 25_000, 0),  # above the policy's maximum, and short all the same
        (25_000, 20_000, None),
    ],
)
def test_the_guard_lifts_a_limit_that_is_reached(limit: int, use: int, after: int | None) -> None:
    made = guard(having(VDA, value=limit), use)
    assert [[change.after for change in one.changes] for one in made.actions] == (
        [] if after is None else [[after] * 2]
    )
    if after:
        (action,) = made.actions
        assert action.reason.startswith("its disks used 98.5 % of the limit of one; it has 1000 IOPS and used 985 IOPS")


def test_the_guard_looks_at_nothing_old_and_at_no_shares() -> None:
    assert guard(having(VDA, value=1000), 1000, age_s=1000).actions == ()
    assert guard(having(VDA, value=1000), 1000, rules=DISKS + "  guard: {disk_limit: none}\n").actions == ()
    busy = guard(
        having(CPU_SHARES, value=100), 2000, metric="cpu_millicores", rules=SHARES + "  guard: {vcpus: grow}\n"
    )
    assert [one.resource for one in busy.actions] == [VCPUS]
    assert decision(busy, resource=CPU_SHARES) == (STAY, "guard_none")


def test_a_saturated_disk_among_several_lifts_those_that_bind() -> None:
    two = having(VDA, f"{DISK_IOPS}/vdb", value=1000)
    loose = replace(two, fields={**two.fields, f"live.{DISK_IOPS}/vdb": 5000, f"config.{DISK_IOPS}/vdb": 5000})
    assert {one.resource for one in guard(loose, 1200).actions} == {VDA}


def test_only_disks_that_the_running_vm_has_count() -> None:
    cold = having(VDA, f"{DISK_IOPS}/vdb", value=100)
    detached = {name: value for name, value in cold.fields.items() if name != f"live.{DISK_IOPS}/vdb"}
    running = replace(cold, fields={**detached, f"live.{VDA}": 0, f"config.{VDA}": 0})
    assert {one.resource for one in planned(running, DISK_IOPS, 90).decisions} == {"vcpus", "memory_mib", VDA}
    assert guard(running, 900).actions == ()
    ways = tuple(replace(one, fields=one.fields[1:]) for one in cold.capabilities if one.resource == VDA)
    off = replace(cold, power="off", capabilities=ways, fields={f"config.{VDA}": 0})
    (action,) = planned(off, DISK_IOPS, 4000).actions
    assert action.changes == (Change(f"config.{VDA}", 0, 11_429),)


def test_from_no_limit_it_comes_down_in_one_act_and_then_by_steps() -> None:
    slow = DISKS.replace("step_limit: none", "step_limit: {grow: none, shrink: 50 %}")
    for limit, after in ((0, 286), (20_000, 10_000)):
        (action,) = planned(having(VDA, value=limit), DISK_IOPS, 100, slow).actions
        assert (action.size_before, action.size_after) == (limit, after)


@pytest.mark.parametrize("upper", [366_000_000, 366_980_000, 1e12])
def test_a_maximum_that_is_no_multiple_of_a_step_is_no_limit_either(upper: float) -> None:
    rate = f"{DISK_BYTES_PER_S}/vda"
    rules = DISKS.replace("profile: elastic", "profile: elastic, maximum_bytes_per_s: 1048576000")
    for one in planned(having(rate), DISK_BYTES_PER_S, upper, rules).actions:
        assert one.changes[0].after not in (0, 1_048_500_000)
    for limit in (1_048_500_000, 1_048_550_000, 1_048_576_000):
        made = planned(having(rate, value=limit), DISK_BYTES_PER_S, 1e12, rules)
        assert [(one.direction, one.size_after) for one in made.actions] == [(GROW, 0)]


def test_acts_on_two_disks_are_told_apart() -> None:
    first, second = guard(having(VDA, value=1000), 1000), guard(having(f"{DISK_IOPS}/vdb", value=1000), 1000)
    assert acts_of(first.actions) != acts_of(second.actions)
