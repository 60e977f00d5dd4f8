# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan job on the fake platform: what it makes of what earlier runs left in the stores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan, plan_before
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS
from ansible_collections.headroom.fleet.plugins.module_utils._store import journal
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes
from tests.unit._plan.fleets import FREE, forecast

from .fleets import NOW, Fleet

POLICY = FREE.replace("mode: auto", "mode: approve")


class Planner:
    """A fleet of three VMs, e/u0 to e/u2, and its stores."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", name="e")

    def context(self) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "telemetry")}
        urls["state"] = str(self.root / "state.db")
        return Context(now=NOW, who="ann", endpoints=(self.fleet.endpoint,), urls=urls)

    def plan(self, uppers: dict[tuple[str, str], float], **values: Any) -> Result:
        """Plan by a forecast whose upper bounds are these."""
        context = self.context()
        header, table = forecast(uppers)
        header = dataclasses.replace(header, table=context.artifacts.put_bytes(table_bytes(table)))
        names = {
            "snapshot": context.artifacts.put(take_snapshot(context)),
            "forecast": context.artifacts.put(header),
        }
        return plan(context, **names, **{"policy_text": POLICY, "policy_name": "/etc/headroom/p.yml", **values})


@pytest.fixture
def planner(tmp_path: Path) -> Planner:
    return Planner(tmp_path)


@pytest.mark.safety(rule=7)
def test_a_plan_reports_approved_acts_whose_opposite_it_wants(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planner.plan({("u0", VCPUS): 2500, ("u1", VCPUS): 2500, ("u2", MEMORY_MIB): 1500})
    assert len(first.values["actions"]) == 3
    assert approve(planner.context(), plan=first.values["plan"], actions=["a0001", "a0003"]).changed
    approved = {one["vm"] for one in first.values["actions"] if one["action_id"] != "a0002"}
    again = planner.plan({("u0", VCPUS): 100, ("u1", VCPUS): 100, ("u2", MEMORY_MIB): 100})
    told = [warning for warning in again.warnings if "held back" in warning]
    assert len(told) == len(approved) == 2
    assert all(f"ann approved to grow its {name}" in " ".join(told) for name in ("vcpus", "memory_mib"))
    assert all(first.values["plan"] in warning for warning in told)
    reads: list[str] = []
    monkeypatch.setattr(journal, "of_plan", lambda _connection, plan: reads.append(plan) or ())
    same = planner.plan({("u0", VCPUS): 2600, ("u1", VCPUS): 2600, ("u2", MEMORY_MIB): 1600})
    assert not [warning for warning in same.warnings if "held back" in warning]
    assert reads == [first.values["plan"]]  # once for all its acts


def test_a_plan_is_made_where_the_one_before_is_lost(planner: Planner) -> None:
    first = planner.plan({("u0", VCPUS): 2500}).values["plan"]
    (planner.root / "artifacts" / first[7:9] / first[7:]).unlink()
    again = planner.plan({("u0", VCPUS): 2600})
    assert (again.changed, len(again.values["actions"])) == (True, 1)
    assert planner.plan({("u0", VCPUS): 2600}).changed is False


def test_of_plans_made_at_once_each_has_the_one_before_it(planner: Planner, monkeypatch: pytest.MonkeyPatch) -> None:
    planner.plan({("u0", VCPUS): 2500})
    meanwhile: list[str] = []
    put_bytes = ArtifactStore.put_bytes

    def put(store: ArtifactStore, data: bytes) -> str:
        if data == POLICY.encode() and not meanwhile:  # the last plan is read, and this one is not yet the last
            meanwhile.append("")
            meanwhile[0] = planner.plan({("u0", VCPUS): 5000}).values["plan"]
        return put_bytes(store, data)

    monkeypatch.setattr(ArtifactStore, "put_bytes", put)
    last = planner.plan({("u0", VCPUS): 3500}).values["plan"]
    context = planner.context()
    before = plan_before(context, context.artifacts.get(Plan, last), last)
    assert before == context.artifacts.get(Plan, *meanwhile)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([], "schema.missing"),
        ("a text", "schema.missing"),
        ({"schema": "headroom.plan/99", "decisions": [{"vm": "u0"}], "actions": 7}, "schema.newer"),
        ({"schema": "headroom.snapshot/1", "vms": []}, "schema.other"),
        ({"schema": f"headroom.plan/{Plan.VERSION}"}, "record.invalid"),
    ],
)
def test_a_decision_is_asked_of_a_plan_of_this_release_alone(planner: Planner, data: Any, code: str) -> None:
    context = planner.context()
    with pytest.raises(HeadroomError) as caught:
        decision(context, vm="u0", plan=context.artifacts.put_bytes(canonical_bytes(data)))
    assert caught.value.code == code


def test_nothing_is_stored_where_the_forecast_has_lost_its_table(planner: Planner) -> None:
    context = planner.context()
    header, _unused = forecast({("u0", VCPUS): 2500})
    lost = dataclasses.replace(header, table="sha256:" + "0" * 64)
    names = {"snapshot": context.artifacts.put(take_snapshot(context)), "forecast": context.artifacts.put(lost)}
    before = sorted(context.artifacts.objects())
    with pytest.raises(HeadroomError) as caught:
        plan(context, **names, policy_text=POLICY, policy_name="p.yml")
    assert caught.value.code == "artifact.missing"
    assert sorted(context.artifacts.objects()) == before


def test_an_empty_scope_is_refused(planner: Planner) -> None:
    for scope in ([], ["e/gone"]):
        with pytest.raises(HeadroomError) as caught:
            planner.plan({("u0", VCPUS): 2500}, scope=scope)
        assert caught.value.code == "scope.empty"


def test_a_typo_in_the_policy_is_one_error_with_its_line(planner: Planner) -> None:
    with pytest.raises(HeadroomError) as caught:
        planner.plan({("u0", VCPUS): 2500}, policy_text=POLICY.replace("step_limit", "step_limits"))
    assert caught.value.code == "policy.invalid"
    assert str(caught.value).startswith("/etc/headroom/p.yml:4:38: defaults.vcpus has no key 'step_limits'.")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_what_is_no_number_in_a_forecast_changes_nothing(planner: Planner, value: float) -> None:
    found = planner.plan({("u0", VCPUS): value, ("u0", MEMORY_MIB): 1500}).values
    assert [one["resource"] for one in found["actions"]] == ["memory_mib"]
    assert found["decisions"]["bad_forecast"] == 1
