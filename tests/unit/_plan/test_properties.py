# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every fleet, forecast and policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._plan.rollback import make_rollback
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import decode_artifact, encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import GROW, RESOURCES, SHRINK
from ansible_collections.headroom.fleet.plugins.module_utils._records.wishes import Wishes
from tests.unit._plan import fleets
from tests.unit._plan.fleets import NOW, applied, forecast, host, plan, receipt, snapshot, vm

NAMES = "abcdef"
ROUNDS = 40
EXAMPLES = 100


@st.composite
def cases(draw: Any, *, steps: bool = False, modes: tuple[str, ...] = ("auto",)) -> Any:
    """A fleet on crowded hosts, its forecast, a policy, and how far its VMs can go."""
    hosts = [
        host(f"h{n}", vcpus=draw(st.integers(4, 40)), memory_mib=draw(st.integers(2048, 20_000)), host_set=f"s{n % 2}")
        for n in range(draw(st.integers(1, 4)))
    ]
    shape = {
        "step": (draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 2, 256)))),
        "most": (draw(st.integers(4, 20)), draw(st.integers(2048, 16_384))),
        "least": (draw(st.integers(1, 3)), draw(st.integers(64, 700))),
    }
    vms, uppers, recent = [], {}, {}
    for name in NAMES[: draw(st.integers(1, 6))]:
        vcpus, memory = (draw(st.integers(low, high)) for low, high in zip(shape["least"], shape["most"], strict=True))
        vms.append(vm(name, vcpus=vcpus, memory_mib=memory, on=draw(st.sampled_from(hosts)), **shape))
        for resource, size in zip(RESOURCES, (vcpus * 1000, memory), strict=True):
            if draw(st.integers(0, 9)):
                uppers[name, resource] = draw(st.integers(0, size * 3))
                recent[name, resource] = draw(st.integers(-1, size))
    percent = st.integers(20, 100)
    change = draw(st.integers(0, 40))
    lines = ["schema: headroom.sizing-policy/1", "defaults:"]
    lines += [f"  mode: {{grow: {draw(st.sampled_from(modes))}, shrink: {draw(st.sampled_from(modes))}}}"]
    for section, unit, granule in (
        ("vcpus", "", ""),
        ("memory", "_mib", f"granule_mib: {draw(st.integers(1, 300))}, "),
    ):
        low, high = sorted((draw(percent), draw(percent)))
        bottom = draw(st.integers(1, 3)) * (200 if unit else 1)
        top = bottom + draw(st.integers(300, 9000)) if unit else bottom + draw(st.integers(0, 20))
        step = f"{draw(st.integers(max(change, 20), 100))} %" if steps else "none"
        lines.append(
            f"  {section}: {{minimum{unit}: {bottom}, maximum{unit}: {top}, {granule}target_use_percent: {high}, "
            f"shrink_target_use_percent: {low}, minimum_change_percent: {change}, step_limit: {step}}}"
        )
    hold = draw(st.sampled_from((0, 1))) if steps else 0
    lines += [f"  grow: {{hold_minutes: {hold}}}", f"  shrink: {{hold_hours: {hold}}}"]
    lines += [f"capacity: {{ha_reserve_hosts: {draw(st.integers(0, 2))}}}"]
    rules = fleets.policy("\n".join(lines))
    return snapshot(vms, hosts), forecast(uppers, recent=recent), rules, shape


def real(made: Plan) -> list[Any]:
    return [one for one in made.actions if one.mode != "recommend"]


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(modes=("auto", "approve", "recommend", "ignore")))
@pytest.mark.safety(rule=8)
def test_planning_again_after_the_acts_plans_nothing(case: Any) -> None:
    seen, made, rules, shape = case
    acts = real(plan(seen, made, rules))
    assert real(plan(applied(seen, acts, **shape), made, rules)) == []


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(steps=True))
def test_hold_times_and_steps_keep_still_or_come_to_rest(case: Any) -> None:
    seen, made, rules, shape = case
    directions: dict[tuple[str, str], set[str]] = {}
    last: dict[tuple[str, str], tuple[str, int]] = {}
    wishes = {(one.unique_id, resource): Wishes(0) for one in seen.vms for resource in RESOURCES}
    for _unused in range(ROUNDS):
        acts = plan(seen, made, rules, state=PlanState(last_acts=last, wishes=wishes)).actions
        if not acts:
            break
        for one in acts:
            directions.setdefault((one.unique_id, one.resource), set()).add(one.direction)
            if rules.defaults["grow.hold_minutes"].value:
                last[one.unique_id, one.resource] = (one.direction, int(NOW.timestamp() * 1000))
        seen = applied(seen, acts, **shape)
    else:
        pytest.fail("it never came to rest")
    assert all(len(ways) == 1 for ways in directions.values()), directions


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(modes=("auto", "approve", "recommend")), st.randoms(use_true_random=False))
@pytest.mark.safety(rule=12)
def test_in_any_order_that_heeds_after_no_place_is_overfilled(case: Any, random: Any) -> None:
    seen, made, rules, _unused = case
    acts = real(plan(seen, made, rules))
    hosts = {one.host_id: one for one in seen.hosts}
    free = _free(seen)
    kept = {
        (name, resource): _kept(seen, rules, name, resource)
        for name in {one.host_set for one in seen.hosts}
        for resource in RESOURCES
    }
    done: set[str] = set()
    waiting = list(acts)
    while waiting:
        one = random.choice([act for act in waiting if set(act.after) <= done])
        change = one.size_after - one.size_before
        place, group = (one.host_id, one.resource), (hosts[one.host_id].host_set, one.resource)
        free[place] -= change
        kept[group] -= change
        assert one.direction == SHRINK or (free[place] >= 0 and kept[group] >= 0)
        waiting.remove(one)
        done.add(one.action_id)


def _free(seen: Any) -> dict[tuple[str, str], int]:
    free = {(one.host_id, resource): one.promised(resource) for one in seen.hosts for resource in RESOURCES}
    for one in seen.vms:
        for resource in RESOURCES:
            free[one.host_id, resource] -= getattr(one, resource)
    return free


def _kept(seen: Any, rules: Any, name: str, resource: str) -> int:
    sizes = sorted(one.promised(resource) for one in seen.hosts if one.host_set == name)
    lost = min(rules.reserve_of(name).hosts, len(sizes) - 1)
    members = {one.host_id for one in seen.hosts if one.host_set == name}
    return sum(sizes[: len(sizes) - lost]) - sum(getattr(one, resource) for one in seen.vms if one.host_id in members)


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_bytes(case: Any, random: Any) -> None:
    seen, (header, table), rules, _unused = case
    order = list(range(table.num_rows))
    random.shuffle(order)
    scope = [one.unique_id for one in seen.vms]
    random.shuffle(scope)
    first = plan(seen, (header, table), rules)
    second = plan(seen, (header, table.take(pa.array(order, pa.int64()))), rules, scope=scope)
    data = canonical_bytes(encode_artifact(first))
    assert data == canonical_bytes(encode_artifact(second))
    assert decode_artifact(Plan, encode_artifact(first)) == first


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
@pytest.mark.safety(rule=2)
def test_no_size_is_below_what_the_forecast_and_recent_use_need(case: Any) -> None:
    seen, (header, table), rules, _unused = case
    uppers = {(row["unique_id"], row["metric"]): 0.0 for row in table.to_pylist()}
    for row in table.to_pylist():
        if row["quantile"] != "0.5":
            key = (row["unique_id"], row["metric"])
            uppers[key] = max(uppers[key], row["value"])
    recent = {(one.unique_id, one.metric): one.recent_maximum for one in header.choices}
    for one in plan(seen, (header, table), rules).actions:
        key = (one.unique_id, fleets.METRICS[one.resource])
        unit = 1000 if one.resource == "vcpus" else 1
        if one.direction == SHRINK:
            percent = rules.defaults[f"{one.resource.removesuffix('_mib')}.shrink_target_use_percent"].value
            assert uppers[key] * 100 <= one.size_after * unit * percent
            assert 0 <= recent[key] * 100 <= one.size_after * unit * percent
        else:
            section = one.resource.removesuffix("_mib")
            unit_name = "_mib" if section == "memory" else ""
            assert one.size_after <= rules.defaults[f"{section}.maximum{unit_name}"].value
            assert one.direction == GROW


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
@pytest.mark.safety(rule=6)
def test_a_rollback_restores_every_size_and_field(case: Any) -> None:
    seen, made, rules, shape = case
    assume(min(_free(seen).values()) >= 0)  # an overfull host takes no VM's old size back
    first = plan(seen, made, rules)
    after = applied(seen, first.actions, **shape)
    back = make_rollback(first, receipt(first), after, now=NOW, snapshot_digest="sha256:9")
    assert [one.after for one in back.actions if one.action_id in one.after] == []
    restored = applied(after, back.actions, **shape)
    assert restored == replace(applied(seen, [], **shape))
    again = make_rollback(first, receipt(first), restored, now=NOW, snapshot_digest="sha256:9")
    assert again.actions == ()
