# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small fleets for the tests of the plan stage: hosts, VMs, forecasts, and what a plan's acts make of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._plan.plan import make_plan
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import SizingPolicy, load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action
from ansible_collections.headroom.fleet.plugins.module_utils._records.demand import DEMANDS
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import COLUMNS, Choice, Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import DONE, Outcome, Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    DIRECTIONS,
    GROW,
    MEMORY_MIB,
    RESOURCES,
    SET,
    VCPUS,
    VM,
    Capability,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
METRICS = {resource: demand.metric for resource, demand in DEMANDS.items()}
QUANTILES = {**dict.fromkeys(DEMANDS, "0.98"), VCPUS: "0.95"}
WAYS = {
    VCPUS: ("vcpus.agent", ("guest.vcpus", "config.vcpus")),
    MEMORY_MIB: ("memory.balloon", ("live.memory_mib", "config.memory_mib")),
}
# Nothing slows an act down: sizes follow from the forecast alone.
FREE = """\
schema: headroom.sizing-policy/1
defaults:
  mode: auto
  vcpus: {minimum_change_percent: 0, step_limit: none}
  memory: {minimum_change_percent: 0, step_limit: none}
  grow: {hold_minutes: 0}
  shrink: {hold_hours: 0}
"""


def policy(text: str = FREE) -> SizingPolicy:
    """A policy from its text; without the schema line it is one block of defaults."""
    if not text.startswith("schema:"):
        text = f"schema: headroom.sizing-policy/1\n{text}"
    return load_policy(text, name="test.yml")


def host(name: str = "h1", *, vcpus: int = 64, memory_mib: int = 65_536, host_set: str = "set", **values: Any) -> Host:
    """A host that promises its threads once."""
    ones = {"vcpus_allocation_ratio_ppm": 1_000_000, "memory_allocation_ratio_ppm": 1_000_000}
    values = {"vcpus_reserved": 0, "memory_reserved_mib": 0, **ones, **values}
    return Host(
        host_id=f"e/{name}", endpoint="e", name=name, host_set=host_set, vcpus=vcpus, memory_mib=memory_mib, **values
    )


def vm(
    name: str = "a",
    *,
    vcpus: int = 2,
    memory_mib: int = 1024,
    on: Host | None = None,
    most: tuple[int, int] = (32, 32_768),
    least: tuple[int, int] = (1, 128),
    step: tuple[int, int] = (1, 1),
    **values: Any,
) -> VM:
    """A running VM whose guest agent and balloon go from ``least`` to ``most`` in ``step``."""
    on = on or host()
    sizes = {VCPUS: vcpus, MEMORY_MIB: memory_mib}
    return VM(
        **{
            "unique_id": f"e/{name}",
            "endpoint": "e",
            "name": name,
            "host_id": on.host_id,
            "host_set": on.host_set,
            "power": "running",
            "generation": f"generation of {name}",
            "fields": {field: sizes[resource] for resource in RESOURCES for field in WAYS[resource][1]},
            "capabilities": capabilities(sizes, most=most, least=least, step=step),
            **sizes,
            **values,
        }
    )


def capabilities(
    sizes: dict[str, int], *, most: tuple[int, int], least: tuple[int, int], step: tuple[int, int]
) -> tuple[Capability, ...]:
    """As a platform reports them: a way that can lead no further is not allowed, and says so."""
    found = []
    for index, resource in enumerate(RESOURCES):
        operation, fields = WAYS[resource]
        for direction in DIRECTIONS:
            low, high = least[index], most[index]
            edge = f"{resource}.at_{'maximum' if direction == GROW else 'minimum'}"
            low, high = (
                (max(low, sizes[resource] + 1), high) if direction == GROW else (low, min(high, sizes[resource] - 1))
            )
            if low > high:
                found.append(Capability(operation, resource, direction, False, edge, "can go no further"))
            else:
                found.append(
                    Capability(operation, resource, direction, True, "", "", fields, low, high, step[index], "live")
                )
    return tuple(found)


def snapshot(vms: Iterable[VM], hosts: Iterable[Host] | None = None, **values: Any) -> Snapshot:
    """A snapshot of these VMs, on one large host unless hosts are given."""
    chosen = sorted(vms, key=lambda one: one.unique_id)
    return Snapshot(
        taken_at=format_utc(NOW),
        endpoints=("e",),
        hosts=tuple(hosts if hosts is not None else [host()]),
        vms=tuple(chosen),
        **values,
    )


def forecast(
    uppers: dict[tuple[str, str], float],
    *,
    recent: dict[tuple[str, str], int] | None = None,
    **values: Any,
) -> tuple[Forecast, pa.Table]:
    """A forecast whose bound for (VM name, resource) is as given, with a long, fresh and full history.

    ``recent``: largest recent use, where it is not half the bound. ``values`` replace those of every Choice.
    """
    moment = format_utc(NOW)
    rows = []
    for (name, resource), upper in uppers.items():
        for ds, share in ((moment, 1.0), ("2026-03-01T12:05:00Z", 0.5)):
            for quantile, part in (("0.5", 0.5), (QUANTILES[resource], 1.0)):
                rows.append(
                    (f"e/{name}", METRICS[resource], "maximum", moment, 0, ds, quantile, upper * share * part, "test")
                )
    types = (*[pa.string()] * 4, pa.int64(), pa.string(), pa.string(), pa.float64(), pa.string())
    columns = [pa.array([row[index] for row in rows], kind) for index, kind in enumerate(types)]
    table = pa.table(columns, names=COLUMNS)
    known = {key: max(0, int(upper)) // 2 if math.isfinite(upper) else 0 for key, upper in uppers.items()}
    known.update(recent or {})
    choices = []
    for (name, resource), most in known.items():
        choice = Choice(f"e/{name}", METRICS[resource], "test", "", 30 * 86_400, 1_000_000, moment, most)
        choices.append(replace(choice, **values))
    header = Forecast(
        series="sha256:5",
        made_at=moment,
        cutoff=moment,
        target="maximum",
        horizon_s=3600,
        interval_s=300,
        quantiles=("0.5", "0.95", "0.98"),
        engines=("test",),
        table="sha256:7",
        rows=len(rows),
        choices=tuple(choices),
    )
    return header, table


def plan(
    seen: Snapshot,
    made: tuple[Forecast, pa.Table] | None,
    rules: SizingPolicy | str = FREE,
    *,
    state: PlanState | None = None,
    scope: Collection[str] | None = None,
    now: datetime = NOW,
) -> Plan:
    """Make a plan for all VMs of the snapshot."""
    header, table = made or (None, None)
    return make_plan(
        seen,
        forecast=header,
        table=table,
        policy=rules if isinstance(rules, SizingPolicy) else policy(rules),
        state=state or PlanState(),
        scope=[one.unique_id for one in seen.vms] if scope is None else scope,
        now=now,
        snapshot_digest="sha256:1",
        forecast_digest="sha256:2",
        policy_digest="sha256:3",
    ).plan


def decision(made: Plan, name: str = "a", resource: str = VCPUS) -> tuple[str, str]:
    """Verdict and code of one decision."""
    return next((one.verdict, one.code) for one in made.decisions if one.vm_name == name and one.resource == resource)


def sizes(made: Plan) -> dict[tuple[str, str], tuple[int, int]]:
    """What each act changes."""
    return {(one.vm_name, one.resource): (one.size_before, one.size_after) for one in made.actions}


def applied(seen: Snapshot, actions: Iterable[Action], **shape: Any) -> Snapshot:
    """The snapshot after these acts; ``shape``: what ``vm`` takes to say how far its VMs can go."""
    by_vm: dict[str, list[Action]] = {}
    for action in actions:
        by_vm.setdefault(action.unique_id, []).append(action)
    return replace(seen, vms=tuple(_after(one, by_vm.get(one.unique_id, []), shape) for one in seen.vms))


def _after(one: VM, actions: list[Action], shape: dict[str, Any]) -> VM:
    for action in actions:
        fields = {**one.fields, **{change.field: change.after for change in action.changes}}
        size = {action.resource: action.size_after} if action.resource in RESOURCES else {}
        one = replace(one, fields=fields, **size)
    ways = {"most": (32, 32_768), "least": (1, 128), "step": (1, 1), **shape}
    settings = tuple(way for way in one.capabilities if way.direction == SET)
    sizes = capabilities({VCPUS: one.vcpus, MEMORY_MIB: one.memory_mib}, **ways)
    return replace(one, capabilities=(*sizes, *settings))


def receipt(made: Plan, *, state: str = DONE) -> Receipt:
    """What an apply that went well would leave."""
    moment = format_utc(NOW)
    return Receipt(
        run_id="run-1",
        plan="sha256:4",
        started_at=moment,
        finished_at=moment,
        outcomes=tuple(
            Outcome(one.action_id, one.unique_id, one.vm_name, one.operation, state, "", "", moment)
            for one in made.actions
        ),
    )
