# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One playbook with every module in the order of a cycle: each in check mode, for real, and again.

Each runs as AnsiballZ ships it from the installed tarball: a process of its own with an empty home and working
directory. Around each check-mode task something is looked at, which may then not differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from .controller import install

FLEET = "headroom.fleet."
NOW = "2026-03-01T12:00:00Z"  # the clock of every stage is pinned: a rehearsal then plans what the run does
Tasks = tuple[tuple[str, dict[str, Any], bool], ...]


def tasks_on(vm: str, unique_id: str, *, memory_mib: int) -> Tasks:
    """Module, its options, and whether its first run changes anything; {{ }} are results of modules before."""
    return (
        ("telemetry_collect", {"duration_s": 2, "step_s": 1}, False),
        ("sampler_fetch", {"endpoint": "fake", "folder": "{{ scratch }}", "dest": "{{ scratch }}/samples"}, False),
        ("fleet_snapshot", {}, False),
        ("demand_forecast", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("forecast_backtest", {"origins": 2}, False),
        # Of some seconds of telemetry there is nothing to learn: it says so, and is no failure.
        ("model_train", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("model_review", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("model_info", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("sizing_backtest", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("sizing_shadow", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        (
            "allocation_plan",
            {"snapshot": "{{ fleet_snapshot.snapshot }}", "forecast": "{{ demand_forecast.forecast }}"},
            True,
        ),
        ("allocation_guard", {"snapshot": "{{ fleet_snapshot.snapshot }}"}, False),
        ("allocation_plan_info", {"plan": "{{ allocation_plan.plan }}"}, False),
        ("decision_info", {"vm": vm}, False),
        ("vm_resize", {"vm": vm, "memory_mib": memory_mib}, True),
        ("vm_info", {"vm": vm}, False),
        ("host_info", {}, False),
        ("plan_approve", {"plan": "{{ vm_resize.plan }}", "ttl_s": 60}, False),
        ("allocation_apply", {"plan": "{{ vm_resize.plan }}"}, False),
        ("allocation_verify", {"receipt": "{{ vm_resize.receipt }}"}, False),
        ("capacity_report", {"plan": "{{ allocation_plan.plan }}", "markdown": "{{ scratch }}/report.md"}, False),
        ("allocation_rollback", {"receipt": "{{ vm_resize.receipt }}"}, True),
        ("vm_hold", {"unique_ids": [unique_id], "reason": "a test"}, True),
        ("kill_switch", {"state": "on", "reason": "a test"}, True),
        ("audit_verify", {}, False),
        ("state_prune", {}, False),
        ("rehearsal_drop", {}, False),
    )


HOST_SIDE = {"sampler_fetch"}  # they know no endpoints and no stores
# Of a fleet known for seconds these have nothing to say, and fail with this code.
TOO_YOUNG = {"sizing_backtest": "backtest.young", "sizing_shadow": "shadow.no_model"}
WITHOUT_ENDPOINTS = {
    "demand_forecast",
    "forecast_backtest",
    "model_train",
    "model_review",
    "model_info",
    "sizing_backtest",
    "sizing_shadow",
    "allocation_plan",
    "allocation_guard",
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


def task(name: str, register: str, **rest: Any) -> dict[str, Any]:
    """One task of the playbook, named after what it registers."""
    may_fail = {"ignore_errors": True} if name.removeprefix(FLEET) in TOO_YOUNG else {}
    return {"name": register, name: rest.pop("arguments"), "register": register, **may_fail, **rest}


def playbook(steps: Tasks, common: dict[str, Any], scratch: Path, *, look_by: str) -> list[dict[str, Any]]:
    """Each module three times, in check mode, for real, again, and what ``look_by`` prints around the first."""
    tasks: list[dict[str, Any]] = []
    look = "{{ lookup('ansible.builtin.pipe', look_by) }}"
    for name, options, _changes in steps:
        arguments = dict(options) if name in HOST_SIDE else {**common, **options}
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
        name + suffix for name, _unused, _unused in steps for suffix in ("_before", "_check", "_after", "", "_again")
    ]
    results = "{{ dict(names | zip(names | map('extract', vars))) | to_json }}"
    write = {"content": results, "dest": f"{scratch}/results.json", "mode": "0600"}
    tasks.append({"name": "results", "ansible.builtin.copy": write, "vars": {"names": names}})
    return [{"name": "All", "hosts": "localhost", "gather_facts": False, "vars": {"look_by": look_by}, "tasks": tasks}]


def play(steps: Tasks, endpoint: dict[str, Any], scratch: Path, *, look_by: str) -> dict[str, Any]:
    """Run the playbook on an endpoint; returns what each task of it returned."""
    collections = install(scratch)
    common = {
        "endpoints": [endpoint],
        "artifacts_url": str(scratch / "stores/artifacts"),
        "state_url": str(scratch / "stores/state.db"),
        "telemetry_url": str(scratch / "stores/telemetry"),
        "now": NOW,
        "who": "tester",
    }
    (scratch / "all.yml").write_text(yaml.safe_dump(playbook(steps, common, scratch, look_by=look_by), sort_keys=False))
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
