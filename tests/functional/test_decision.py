# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why, or why not: one VM that grew, one that stays, one that is held."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .controller import POLICY, Controller
from .fleets import Fleet

MODULE = "headroom.fleet."
RULES = [{"name": "the first comes first", "match": {"name": "vm0"}, "set": {"vcpus": {"target_use_percent": 80}}}]


def task(module: str, register: str, arguments: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {MODULE + module: arguments or {}, "register": register, **rest}


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """vm0 needs more vCPUs, vm1 fewer, vm2 has what it needs."""
    root = tmp_path_factory.mktemp("decision")
    policy = {**POLICY, "defaults": {**POLICY["defaults"], "mode": "approve"}, "rules": RULES}
    controller = Controller(root, Fleet(root / "fleet.json", vms=3), policy=policy)
    controller.fill({"fake/u0": (2900, 600), "fake/u1": (100, 600), "fake/u2": (850, 800)})
    return controller


@pytest.fixture(scope="module")
def asked(controller: Controller) -> dict[str, Any]:
    """What is said of each VM, after vm0's act was approved and applied and vm1 was held."""
    plan = "{{ planned.plan }}"
    grow = "{{ planned.actions | selectattr('vm', 'eq', 'vm0') | map(attribute='action_id') | list }}"
    return controller.results(
        {
            "hosts": "headroom_vms",
            "tasks": [
                task("fleet_snapshot", "seen", run_once=True),
                task("demand_forecast", "forecast", {"snapshot": "{{ seen.snapshot }}"}, run_once=True),
                task(
                    "allocation_plan",
                    "planned",
                    {"snapshot": "{{ seen.snapshot }}", "forecast": "{{ forecast.forecast }}"},
                    run_once=True,
                ),
                task("decision_info", "before"),
                task("plan_approve", "approved", {"plan": plan, "actions": grow, "who": "ann"}, run_once=True),
                task("allocation_apply", "applied", {"plan": plan}, run_once=True),
                task("vm_hold", "held", {"reason": "an audit", "who": "bob"}, when="inventory_hostname == 'vm1'"),
                task("decision_info", "after"),
                task("decision_info", "named", {"plan": plan, "vm": "vm0"}, run_once=True),
                task("decision_info", "strange", {"vm": "nobody"}, run_once=True),
            ],
        }
    )


def vcpus(result: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in result["resources"] if one["resource"] == "vcpus")


@pytest.mark.safety(rule=13)
def test_an_act_is_explained_with_its_numbers_and_its_line(controller: Controller, asked: dict[str, Any]) -> None:
    found = asked["vm0"]["before"]
    one = vcpus(found)
    assert (one["verdict"], one["code"], one["size_now"]) == ("act", "grow", 2)
    line = one["policy"]["line"]
    text = (controller.root / "policy.yml").read_text().splitlines()[line - 1].strip()
    assert one["policy"] == {"line": line, "place": f"policy.yml:{line}", "text": text}
    assert text == "target_use_percent: 80"
    demand = one["demand"]
    assert (demand["metric"], demand["quantile"]) == ("cpu_millicores", "0.95")
    assert demand["upper"] > 2000
    assert demand["engine"]
    assert demand["engine_reason"]
    assert demand["recent_maximum"] > 1000
    assert demand["history_s"] > 13 * 86_400
    assert one["size_wanted"] == -(-demand["upper"] * 100 // (80 * 1000))
    assert "rule 'the first comes first' fits" in found["settings"]
    assert f"policy.yml:{line}: target_use_percent: 80" in found["text"]
    assert "approved by nobody" in found["text"]
    assert "not begun" in found["text"]


@pytest.mark.safety(rule=13)
def test_what_came_of_it_is_told(asked: dict[str, Any]) -> None:
    one = vcpus(asked["vm0"]["after"])
    assert [(given["who"], given["expired"]) for given in one["approvals"]] == [("ann", False)]
    assert [(act["state"], act["code"]) for act in one["journal"]] == [("done", "")]
    assert {act["plan"] for act in asked["vm0"]["after"]["acts"]} == {asked["vm0"]["after"]["plan"]["digest"]}
    assert re.search(r"grow vcpus done \(a\d+ of run ", asked["vm0"]["after"]["text"])
    assert asked["vm0"]["named"]["resources"] == asked["vm0"]["after"]["resources"]


@pytest.mark.safety(rule=13)
def test_why_not_is_told_as_well(asked: dict[str, Any]) -> None:
    stays, held = asked["vm2"]["after"], asked["vm1"]["after"]
    assert (vcpus(stays)["verdict"], vcpus(stays)["code"], vcpus(stays)["action"]) == ("stay", "fits", {})
    assert (stays["hold"], stays["acts"], stays["owed"]) == ({}, [], [])
    assert vcpus(held)["code"] == "shrink"
    assert held["hold"] == {"who": "bob", "reason": "an audit", "until": ""}
    assert "held by bob: an audit" in held["text"]


def test_a_vm_that_no_plan_knows_is_an_error(asked: dict[str, Any]) -> None:
    assert asked["vm0"]["strange"]["code"] == "plan.vm_unknown"


def test_ad_hoc_it_is_about_the_host(controller: Controller, asked: dict[str, Any]) -> None:
    del asked
    done = controller.run("ansible", "vm1", "-m", "headroom.fleet.decision_info")
    assert done.returncode == 0, done.stdout
    assert "vm1 (fake/u1), plan of" in done.stdout
    (controller.root / "elsewhere").mkdir()
    none = controller.run(
        "ansible", "vm1", "-m", "headroom.fleet.decision_info", "-e", f"headroom_state={controller.root}/elsewhere/s.db"
    )
    assert '"code": "decision.none"' in none.stdout
