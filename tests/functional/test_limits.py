# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CPU limit by forecast, on the fake platform: planned, approved, applied, at rest, and undone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.inventory import fleet as inventory
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan, read_state
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VCPUS
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes
from tests.unit._plan.fleets import FREE, forecast

from .bench import STOP, TERMS
from .fleets import NOW, Fleet

POLICY = FREE.replace("mode: auto", "mode: approve") + (
    "  cpu_limit: {profile: elastic, minimum_change_percent: 0, step_limit: none}\n"
    "budgets: {at_once: {per_host: 4, per_host_set: 4, per_tenant: 4, per_platform: 4}, window: none}\n"
)
FIELDS = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")


class Cycle:
    """VMs e/u0 to e/u2 of two vCPUs, and their stores."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", name="e")

    def context(self) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "telemetry")}
        urls["state"] = str(self.root / "state.db")
        return Context(now=NOW, who="ann", endpoints=(self.fleet.endpoint,), urls=urls)

    def plan(self, upper: int, policy: str = POLICY) -> dict[str, Any]:
        """The plan where no more than this is expected of u0's CPU."""
        context = self.context()
        header, table = forecast({("u0", VCPUS): upper})
        header = dataclasses.replace(header, table=context.artifacts.put_bytes(table_bytes(table)))
        names = {
            "snapshot": context.artifacts.put(take_snapshot(context)),
            "forecast": context.artifacts.put(header),
        }
        return plan(context, **names, policy_text=policy, policy_name="p.yml").values

    def limit(self, millicores: int, uuid: str = "u0") -> None:
        """Somebody else set a limit."""
        self.fleet.change(uuid, fields={**self.fleet.fields(uuid), **dict.fromkeys(FIELDS, millicores)})


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


@pytest.mark.safety(rule=6)
@pytest.mark.parametrize(
    ("before", "upper", "after"),
    [
        (0, 800, {"a0001": ("cpu_limit_millicores", 1231)}),
        (1500, 800, {"a0001": ("cpu_limit_millicores", 1231)}),
        (1500, 1050, {}),
        (700, 1400, {"a0001": ("cpu_limit_millicores", 0)}),
        (1500, 500, {"a0001": ("cpu_limit_millicores", 770), "a0002": ("vcpus", 1)}),  # the limit before its size
        (1500, 1900, {"a0001": ("vcpus", 3), "a0002": ("cpu_limit_millicores", 2715)}),  # the size before its limit
        (2000, 1900, {"a0001": ("vcpus", 3), "a0002": ("cpu_limit_millicores", 2715)}),
    ],
)
def test_a_limit_is_planned_applied_at_rest_and_undone(
    cycle: Cycle, before: int, upper: int, after: dict[str, tuple[str, int]]
) -> None:
    cycle.limit(before)
    fields = cycle.fleet.fields("u0")
    made = cycle.plan(upper)
    acts = {one["action_id"]: one["resource"] for one in made["actions"]}
    assert acts == {name: resource for name, (resource, _value) in after.items()}
    if not acts:
        return
    assert apply(cycle.context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True).changed is False
    approve(cycle.context(), plan=made["plan"], actions=list(acts))
    done = apply(cycle.context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True).values
    assert done["states"] == {"done": len(acts)}
    now = cycle.fleet.fields("u0")
    for resource, value in after.values():
        kinds = ("live", "config") if resource == "cpu_limit_millicores" else ("guest", "config")
        assert [now[f"{kind}.{resource}"] for kind in kinds] == [value, value]
    again = cycle.plan(upper)
    assert again["actions"] == []
    undone = rollback(cycle.context(), receipt=done["receipt"], stop=STOP, terms=TERMS).values
    assert undone["states"] == {"done": len(acts)}
    assert cycle.fleet.fields("u0") == fields


def test_decision_and_inventory_show_the_limit(cycle: Cycle) -> None:
    cycle.limit(1500)
    made = cycle.plan(800)
    told = decision(cycle.context(), vm="e/u0", plan=made["plan"]).values
    assert "has 1.5 vCPU (1500 millicores), wanted 1.231 vCPU (1231 millicores)" in told["text"]
    variables = inventory(cycle.context(), figures=True)["vms"]["vm0"]
    assert variables["headroom_cpu_limit_millicores"] == 1500
    assert variables["headroom_cpu_limit_millicores_wanted"] == 1231


def test_a_vm_without_telemetry_gets_what_a_rule_declares(cycle: Cycle) -> None:
    rules = f"{POLICY}rules:\n  - match: {{name: vm1}}\n    set: {{vcpus: {{declared: 3}}}}\n"
    cycle.limit(1000, "u1")
    made = cycle.plan(1400, rules)
    acts = {one["action_id"]: (one["vm"], one["resource"], one["after"]) for one in made["actions"]}
    assert acts == {"a0001": ("vm1", "vcpus", 3), "a0002": ("vm1", "cpu_limit_millicores", 3000)}
    told = decision(cycle.context(), vm="e/u1", plan=made["plan"]).values["text"]
    line = len(rules.splitlines())
    assert f"vcpus: act (grow; p.yml:{line}: set: {{vcpus: {{declared: 3}}}})" in told
    assert "because declared to need 3 vCPU, known for 0.0 of 7 days, it has 2" in told
    approve(cycle.context(), plan=made["plan"], actions=list(acts))
    apply(cycle.context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True)
    now = cycle.fleet.fields("u1")
    assert (now["guest.vcpus"], now[FIELDS[0]]) == (3, 0)
    assert cycle.plan(1400, rules)["actions"] == []


def test_acts_take_along_how_long_those_before_them_took(cycle: Cycle) -> None:
    cycle.limit(500)
    for upper in (700, 800, 900, 1000, 1100):
        made = cycle.plan(upper)
        approve(cycle.context(), plan=made["plan"], actions=["a0001"])
        apply(cycle.context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True)
    context = cycle.context()
    with context.database.transaction() as connection:
        known = read_state(context, connection).leads_ms
    assert list(known) == [("e", "fake.cpu_limit_millicores")]
    act = context.artifacts.get(Plan, cycle.plan(1300)["plan"]).actions[0]
    assert act.lead_ms == known["e", "fake.cpu_limit_millicores"]
