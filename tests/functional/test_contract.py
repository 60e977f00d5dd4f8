# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module, from the installed tarball: check mode changes nothing and foresees the run, a second run is idle.

All modules run in one playbook, in the order of a cycle, each as AnsiballZ ships it: a process of its own with an empty
home and working directory. Around each check-mode task the fleet, and everything in the stores, is compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .controller import CHECKOUT, install
from .fleets import Fleet

FLEET = "headroom.fleet."
NOW = "2026-03-01T12:00:00Z"  # the clock of every stage is pinned: a rehearsal then plans what the run does
POLICY = {
    "schema": "headroom.sizing-policy/1",
    "defaults": {"mode": "approve"},
}

# Module, its options, and whether its first run changes anything; {{ }} are results of modules before.
TASKS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("telemetry_collect", {"duration_s": 2, "step_s": 1}, False),
    ("fleet_snapshot", {}, False),
    ("demand_forecast", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
    ("forecast_backtest", {"origins": 2}, False),
    (
        "allocation_plan",
        {"snapshot": "{{ fleet_snapshot.snapshot }}", "forecast": "{{ demand_forecast.forecast }}"},
        True,
    ),
    ("allocation_plan_info", {"plan": "{{ allocation_plan.plan }}"}, False),
    ("decision_info", {"vm": "vm0"}, False),
    ("vm_resize", {"vm": "vm0", "memory_mib": 2048}, True),
    ("vm_info", {"vm": "vm0"}, False),
    ("host_info", {}, False),
    ("plan_approve", {"plan": "{{ vm_resize.plan }}", "ttl_s": 60}, False),
    ("allocation_apply", {"plan": "{{ vm_resize.plan }}"}, False),
    ("allocation_verify", {"receipt": "{{ vm_resize.receipt }}"}, False),
    ("capacity_report", {"plan": "{{ allocation_plan.plan }}", "markdown": "{{ scratch }}/report.md"}, False),
    ("allocation_rollback", {"receipt": "{{ vm_resize.receipt }}"}, True),
    ("vm_hold", {"unique_ids": ["fake/u1"], "reason": "a test"}, True),
    ("kill_switch", {"state": "on", "reason": "a test"}, True),
    ("audit_verify", {}, False),
    ("state_prune", {}, False),
    ("rehearsal_drop", {}, False),
)
WITHOUT_ENDPOINTS = {
    "demand_forecast",
    "forecast_backtest",
    "allocation_plan",
    "allocation_plan_info",
    "decision_info",
    "plan_approve",
    "vm_hold",
    "kill_switch",
    "audit_verify",
    "rehearsal_drop",
    "state_prune",
    "capacity_report",
}
# What differs between a rehearsal and a run by its nature: names and times of the run, and what only a run has.
VOLATILE = {"run_id", "receipt", "outcomes", "invocation", "warnings", "diff", "changed", "deprecations", "stopped"}
# A forecast names the table it was read from, a rehearsal's overlay with it.
VOLATILE |= {"forecast", "series", "backtest", "table_url"}


def task(name: str, register: str, **rest: Any) -> dict[str, Any]:
    """One task of the playbook, named after what it registers."""
    return {"name": register, name: rest.pop("arguments"), "register": register, **rest}


def playbook(common: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    """Each module three times - in check mode, for real, again - and a listing of everything around the first."""
    tasks: list[dict[str, Any]] = []
    listing = f"find {scratch}/fleet.json {scratch}/stores -type f -exec sha256sum {{}} + 2>/dev/null | sort"
    look = "{{ lookup('ansible.builtin.pipe', listing) }}"
    for name, options, _changes in TASKS:
        arguments = {**common, **options}
        if name in WITHOUT_ENDPOINTS:
            arguments.pop("endpoints")
        module = FLEET + name
        tasks += [
            {"name": "Look", "ansible.builtin.set_fact": {f"{name}_before": look}},
            task(module, f"{name}_check", arguments=arguments, check_mode=True, diff=True),
            {"name": "Look", "ansible.builtin.set_fact": {f"{name}_after": look}},
            task(module, name, arguments=arguments, diff=True),
            task(module, f"{name}_again", arguments=arguments),
        ]
    names = [
        name + suffix for name, _unused, _unused in TASKS for suffix in ("_before", "_check", "_after", "", "_again")
    ]
    results = "{{ dict(names | zip(names | map('extract', vars))) | to_json }}"
    write = {"content": results, "dest": f"{scratch}/results.json", "mode": "0600"}
    tasks.append({"name": "results", "ansible.builtin.copy": write, "vars": {"names": names}})
    return [{"name": "All", "hosts": "localhost", "gather_facts": False, "vars": {"listing": listing}, "tasks": tasks}]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each task of the playbook returned."""
    scratch = tmp_path_factory.mktemp("contract")
    collections = install(scratch)
    fleet = Fleet(scratch / "fleet.json")
    (scratch / "policy.yml").write_text(yaml.safe_dump(POLICY))
    common = {
        "endpoints": [{"name": "fake", "uri": fleet.endpoint.uri}],
        "artifacts_url": str(scratch / "stores/artifacts"),
        "state_url": str(scratch / "stores/state.db"),
        "telemetry_url": str(scratch / "stores/telemetry"),
        "now": NOW,
        "who": "tester",
    }
    (scratch / "all.yml").write_text(yaml.safe_dump(playbook(common, scratch), sort_keys=False))
    home = scratch / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    command = [
        Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", scratch / "all.yml",
        "-e", json.dumps({"scratch": str(scratch), "ansible_python_interpreter": sys.executable}),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads((scratch / "results.json").read_text())
    return found


def test_every_module_is_here() -> None:
    assert {name for name, _unused, _unused in TASKS} == {
        path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")
    }


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_check_mode_changes_nothing(results: dict[str, Any], name: str) -> None:
    assert results[f"{name}_before"] == results[f"{name}_after"] != ""


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_check_mode_reports_what_the_run_does(results: dict[str, Any], name: str) -> None:
    checked, ran = results[f"{name}_check"], results[name]
    assert checked["changed"] == ran["changed"]
    assert checked.get("diff") == ran.get("diff")
    if name == "telemetry_collect":  # two looks at a moving clock
        return
    assert {key: checked[key] for key in checked if key not in VOLATILE} == {
        key: ran[key] for key in ran if key not in VOLATILE
    }


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, _unused, changes in TASKS])
def test_the_first_run_changes_what_it_says_and_the_second_nothing(
    results: dict[str, Any], name: str, *, changes: bool
) -> None:
    assert results[name]["changed"] is changes
    assert results[f"{name}_again"]["changed"] is False
