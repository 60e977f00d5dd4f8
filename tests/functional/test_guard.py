# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's playbook on the fake platform: what is short grows, once, and a rehearsal changes nothing."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.newer import NewerPlans
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError, RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.guard import guard
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import kill_switch
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import pressures
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import PURPOSE_GUARD, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store.approvals import Approved
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

from .bench import STOP, TERMS
from .controller import POLICY, Controller, diff_of
from .fleets import Fleet, action, plan

ELASTIC = {
    **POLICY,
    "defaults": {
        **POLICY["defaults"],
        "cpu_limit": {"profile": "elastic", "minimum_change_percent": 0, "step_limit": "none"},
    },
}
FIELDS = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
SAMPLED = ("-e", "headroom_guard_duration_s=2", "-e", "observe_step_s=1")


def limit(fleet: Fleet, uuid: str, millicores: int, **load: int) -> None:
    """A VM with this limit and load."""
    fields = {**fleet.fields(uuid), **dict.fromkeys(FIELDS, millicores)}
    fleet.change(uuid, fields=fields, load={"cpu_millicores": 100, "memory_used_mib": 300, **load})


def limits(fleet: Fleet) -> list[int]:
    return [fleet.fields(uuid)[FIELDS[0]] for uuid in ("u0", "u1", "u2")]


def stores(root: Path) -> dict[str, str]:
    files = sorted((root / "stores").rglob("*"))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A rehearsal, a run, the run again, and what each left."""
    root = tmp_path_factory.mktemp("guard")
    fleet = Fleet(root / "fleet.json")
    controller = Controller(root, fleet, policy=ELASTIC)
    limit(fleet, "u0", 700, cpu_millicores=699)
    limit(fleet, "u1", 700, cpu_millicores=400, cpu_delay_millicores=300)
    limit(fleet, "u2", 700)
    found: dict[str, Any] = {"fleet": fleet, "before": stores(root)}
    for name, arguments in (("rehearsal", ("--check",)), ("run", ()), ("again", ())):
        done = controller.run("ansible-playbook", "headroom.fleet.guard", "--diff", *SAMPLED, *arguments)
        found[name] = done.returncode, done.stdout + done.stderr
        found[f"{name} limits"], found[f"{name} stores"] = limits(fleet), stores(root)
        if name == "run":  # it is held back no more, whenever the next interval begins
            fleet.change("u1", load={"cpu_millicores": 700, "memory_used_mib": 300})
    return found


@pytest.mark.safety(rule=1)
def test_a_rehearsal_shows_the_plan_and_changes_nothing(told: dict[str, Any]) -> None:
    code, output = told["rehearsal"]
    assert code == 0, output[-4000:]
    assert told["rehearsal limits"] == [700, 700, 700]
    assert told["rehearsal stores"] == told["before"]
    shown = diff_of("guard", output)
    assert "+  cpu_limit_millicores: 1.68 vCPU (1680 millicores)" in shown
    assert "of its limit" in shown


def test_what_is_short_grows(told: dict[str, Any]) -> None:
    code, output = told["run"]
    assert code == 0, output[-4000:]
    assert told["run limits"] == [1680, 1680, 700]
    assert diff_of("guard", output) == diff_of("guard", told["rehearsal"][1])


@pytest.mark.safety(rule=8)
def test_a_second_run_changes_nothing(told: dict[str, Any]) -> None:
    code, output = told["again"]
    assert code == 0, output[-4000:]
    assert told["again limits"] == [1680, 1680, 700]
    assert "changed=0" in output, output[-1500:]


class Passes:
    """The guard's job on a fake fleet whose telemetry is written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", name="e")
        self.policy = json.dumps(ELASTIC)

    def context(self) -> Context:
        urls = {"artifacts": str(self.root / "artifacts"), "telemetry": str(self.root / "telemetry")}
        urls["state"] = str(self.root / "state.db")
        return Context(now=utc_now(), who="ann", endpoints=(self.fleet.endpoint,), urls=urls)

    def write(self, unique_id: str, metric: str, mean: float, *, ago_s: int = 0) -> None:
        """An interval of 300 s that began in the one of so long ago."""
        ds = (utc_now().timestamp() - ago_s) // 300 * 300
        row = {"unique_id": unique_id, "metric": metric, "ds": round(ds * 1e6), "interval_s": 300, "mean": mean}
        row |= {"p95": mean, "maximum": mean, "samples": 5, "coverage_ppm": 500_000}
        SeriesStore(str(self.root / "telemetry")).merge(pa.Table.from_pylist([row], interval_schema()))

    def guard(self, **values: Any) -> Any:
        context = self.context()
        digest = context.artifacts.put(take_snapshot(context))
        return guard(context, snapshot=digest, policy_text=self.policy, policy_name="p.yml", **values)


@pytest.fixture
def passes(tmp_path: Path) -> Passes:
    return Passes(tmp_path)


def test_an_oom_is_answered_once_and_can_be_undone(passes: Passes) -> None:
    passes.write("e/u1", "memory_oom_kills_per_s", 0.01)
    passes.write("e/u1", "memory_used_mib", 1400.0, ago_s=20 * 3600)  # the peak of the day
    first = passes.guard()
    assert first.changed
    assert [(one["resource"], one["before"], one["after"]) for one in first.values["actions"]] == [
        ("memory_mib", 1024, 1408)
    ]
    made = passes.context().artifacts.get(Plan, first.values["plan"])
    assert (made.purpose, made.scope) == (PURPOSE_GUARD, ("e/u1",))
    told = decision(passes.context(), vm="e/u1").values
    (memory,) = (one for one in told["resources"] if one["resource"] == "memory_mib")
    (oom,) = memory["signals"]
    assert (oom["code"], oom["metric"], oom["value"], oom["interval_s"]) == (
        "oom",
        "memory_oom_kills_per_s",
        "0.01",
        300,
    )
    assert f"told by oom: memory_oom_kills_per_s 0.01 in the 300 s from {oom['start']}" in told["text"]
    assert "use of memory_used_mib in the last day: at most 1400\n" in told["text"]
    second = passes.guard()  # it waits: the same acts
    assert second.changed is False
    done = apply(passes.context(), plan=second.values["plan"], stop=STOP, terms=TERMS).values
    assert done["states"] == {"done": 1}
    assert passes.fleet.fields("u1")["live.memory_mib"] == 1408
    after = passes.guard()
    assert (after.values["actions"], after.values["short"]) == ([], [])
    assert [one.state for one in passes.context().artifacts.get(Receipt, done["receipt"]).outcomes] == ["done"]
    assert rollback(passes.context(), receipt=done["receipt"], stop=STOP, terms=TERMS).values["states"] == {"done": 1}
    assert passes.fleet.fields("u1")["live.memory_mib"] == 1024


@pytest.mark.safety(rule=13)
def test_the_kill_switch_holds_its_acts_back(passes: Passes) -> None:
    passes.write("e/u1", "memory_oom_kills_per_s", 0.01)
    kill_switch(passes.context(), on=True, reason="a test")
    with pytest.raises(HeadroomError) as caught:
        apply(passes.context(), plan=passes.guard().values["plan"], stop=STOP, terms=TERMS)
    assert caught.value.code == "kill_switch.on"
    assert passes.fleet.writes == 0


def test_old_telemetry_says_nothing_and_silence_is_told(passes: Passes) -> None:
    passes.write("e/u1", "memory_used_mib", 1024.0, ago_s=3600)
    found = passes.guard()
    assert found.values["actions"] == []
    since = "began in the last 15 minutes (guard.freshness_minutes)"
    silence = f"No VM has telemetry of an interval that {since}: nobody knows what is short."
    assert found.warnings == (silence,)
    passes.write("e/u1", "memory_used_mib", 1024.0, ago_s=900)  # it is read, but began too long ago
    assert passes.guard().warnings == (silence,)
    passes.write("e/u1", "memory_used_mib", 300.0)
    assert passes.guard().warnings == ()


def test_the_newest_interval_counts_and_only_the_scope_is_acted_on(passes: Passes) -> None:
    passes.write("e/u0", "memory_used_mib", 1020.0, ago_s=600)
    passes.write("e/u0", "memory_used_mib", 300.0)
    passes.write("e/u1", "memory_used_mib", 1020.0)
    passes.write("e/u2", "memory_used_mib", 1020.0)
    passes.write("e/gone", "memory_used_mib", 1020.0)
    assert passes.guard().values["short"] == ["e/u1", "e/u2"]
    assert passes.guard(scope=["vm1"]).values["short"] == ["e/u1"]


def test_its_plan_supersedes_only_what_it_acts_on(passes: Passes) -> None:
    """A guard's plan says nothing about the rest of its VMs: older acts on them go on."""
    passes.write("e/u1", "memory_used_mib", 1020.0)
    made = passes.guard()
    context = passes.context()
    older = plan(
        action(passes.fleet, "u1", "vcpus.agent", 3, number=1),
        action(passes.fleet, "u1", "memory.balloon", 768, number=2),
        now=context.now - timedelta(minutes=5),
    )
    digest = context.artifacts.put(older)
    newer = NewerPlans(older, Approved(digest), lambda one: context.artifacts.get(Plan, one))
    newer.check(older.actions[0], context.database)
    with pytest.raises(RefusedError) as caught:
        newer.check(older.actions[1], context.database)
    assert caught.value.code == "superseded"
    assert made.values["plan"] in caught.value.message


@pytest.mark.safety(rule=2)
def test_a_plan_knows_what_was_short_of_memory(passes: Passes) -> None:
    """By the telemetry of the last day, whatever the length of its intervals."""
    passes.write("e/u1", "memory_swap_bytes_per_s", 2.0**20, ago_s=20 * 3600)
    passes.write("e/u2", "memory_swap_bytes_per_s", 2.0**20, ago_s=30 * 3600)
    context = passes.context()
    found = pressures(context, default_policy())
    assert found == {"e/u1": {"memory_swap_bytes_per_s": 2.0**20}}
