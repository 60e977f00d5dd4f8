# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks: a rehearsal, the same for real, the same again, and back."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .controller import POLICY, Controller, diff_of
from .fleets import Fleet


class Told(NamedTuple):
    """What a run of a playbook said."""

    returncode: int
    output: str
    fields: dict[str, Any]  # the fleet's VMs after it

    def diff_of(self, role: str) -> str:
        """The diff that the task of a role showed."""
        return diff_of(role, self.output)

    def fact(self, name: str) -> str:
        """A digest that a stage handed on; with -v."""
        return re.findall(rf'"{name}": "(sha256:[0-9a-f]+)"', self.output)[-1]


class Cycles:
    """One fleet, and what became of it."""

    def __init__(self, root: Path, *, mode: str = "auto") -> None:
        self.fleet = Fleet(root / "fleet.json", vms=3)
        policy = {**POLICY, "defaults": {**POLICY["defaults"], "mode": mode}}
        self.controller = Controller(root, self.fleet, policy=policy)
        self.controller.fill({"fake/u0": (1300, 300), "fake/u1": (100, 900), "fake/u2": (1000, 500)})

    def play(self, name: str, *arguments: object) -> Told:
        done = self.controller.run("ansible-playbook", f"headroom.fleet.{name}", "--diff", "-v", *arguments)
        fields = {uuid: vm["fields"] for uuid, vm in self.fleet.load()["vms"].items()}
        return Told(done.returncode, done.stdout + done.stderr, fields)

    def stores(self) -> dict[str, bytes]:
        """Everything that is stored."""
        files = sorted((self.controller.root / "stores").rglob("*"))
        return {str(path): hashlib.sha256(path.read_bytes()).digest() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def cycles(tmp_path_factory: pytest.TempPathFactory) -> Cycles:
    return Cycles(tmp_path_factory.mktemp("cycle"))


@pytest.fixture(scope="module")
def told(cycles: Cycles) -> dict[str, Any]:
    """In order: a look, the rehearsal, the run on the same records, the run again, a rollback, a rollback again."""
    found: dict[str, Any] = {"look": cycles.play("observe"), "forecast": cycles.play("forecast")}
    snapshot = found["look"].fact("headroom_snapshot")
    first = cycles.controller.results(
        {
            "hosts": "headroom_vms",
            "run_once": True,
            "tasks": [
                {
                    "headroom.fleet.demand_forecast": {"snapshot": snapshot},
                    "register": "forecast",
                }
            ],
        }
    )["vm0"]["forecast"]
    pins = json.dumps({"headroom_series": first["series"], "headroom_now": now_of(cycles, snapshot)})
    same = json.dumps({"headroom_snapshot": snapshot})
    before = cycles.stores()
    found["rehearsal"] = cycles.play("cycle", "-e", pins, "-e", same, "--check")
    found["stores before"], found["stores after"] = before, cycles.stores()
    found["run"] = cycles.play("cycle", "-e", pins, "-e", same)
    found["again"] = cycles.play("cycle", "-e", pins)
    receipt = found["run"].fact("headroom_receipt")
    found["plan again"] = cycles.play("apply", "-e", f"headroom_plan={found['run'].fact('headroom_plan')}")
    plan = found["run"].fact("headroom_plan")
    found["rollback"] = cycles.play("rollback", "-e", f"headroom_receipt={receipt} headroom_plan=counts-for-nothing")
    found["rollback again"] = cycles.play("rollback", "-e", f"headroom_plan={plan}")
    return found


def now_of(cycles: Cycles, snapshot: str) -> str:
    hexadecimal = snapshot.partition(":")[2]
    path = cycles.controller.root / "stores/artifacts" / hexadecimal[:2] / hexadecimal
    taken_at: str = json.loads(path.read_bytes())["taken_at"]
    return taken_at


def test_a_stage_without_what_it_needs_says_so(told: dict[str, Any]) -> None:
    assert told["forecast"].returncode == 2
    assert "headroom_snapshot" in told["forecast"].output


@pytest.mark.parametrize("name", ["look", "rehearsal", "run", "again", "plan again", "rollback", "rollback again"])
def test_every_run_ends_well(told: dict[str, Any], name: str) -> None:
    assert told[name].returncode == 0, told[name].output


@pytest.mark.safety(rule=1)
def test_a_rehearsal_changes_nothing_and_leaves_nothing(told: dict[str, Any]) -> None:
    assert told["rehearsal"].fields == told["look"].fields
    assert told["stores after"] == told["stores before"]
    run_id = re.search(r'"headroom_run_id": "([^"]+)"', told["rehearsal"].output)[1]
    assert not list(Path(tempfile.gettempdir()).glob(f"headroom-rehearsal-*-{run_id}"))


@pytest.mark.safety(rule=1)
def test_a_rehearsal_shows_what_the_run_then_does(told: dict[str, Any]) -> None:
    assert "+  vcpus:" in told["run"].diff_of("plan")
    assert told["rehearsal"].diff_of("plan") == told["run"].diff_of("plan")
    assert told["rehearsal"].diff_of("apply") == told["run"].diff_of("apply")


def test_the_run_grows_one_and_shrinks_another(told: dict[str, Any]) -> None:
    before, after = told["look"].fields, told["run"].fields
    assert after["u0"]["guest.vcpus"] > before["u0"]["guest.vcpus"]
    assert after["u1"]["guest.vcpus"] < before["u1"]["guest.vcpus"]


@pytest.mark.safety(rule=8)
def test_a_second_cycle_on_the_same_telemetry_and_clock_does_nothing(told: dict[str, Any]) -> None:
    assert told["again"].fields == told["run"].fields
    assert "0 actions" in told["again"].output


@pytest.mark.safety(rule=8)
def test_the_first_plan_applied_again_is_done_already(told: dict[str, Any]) -> None:
    states = json.loads(re.search(r'"states": (\{[^}]*\})', told["plan again"].output)[1])
    assert set(states) == {"already_done"}
    assert "changed=0" in told["plan again"].output


@pytest.mark.safety(rule=6)
def test_a_rollback_restores_what_was_and_does_it_once(told: dict[str, Any]) -> None:
    assert told["rollback"].fields == told["look"].fields
    assert "changed=0" in told["rollback again"].output


def test_the_run_has_one_name(told: dict[str, Any]) -> None:
    names = set(re.findall(r'"(?:headroom_)?run_id": "([^"]+)"', told["run"].output))
    assert len(names) == 1


def test_a_plan_is_read_then_approved_then_applied(tmp_path: Path) -> None:
    """As the tutorial has it; and the report of a cycle whose clock is not pinned says how long it took."""
    cycles = Cycles(tmp_path, mode="approve")
    before = cycles.fleet.fields("u0")["guest.vcpus"]
    planned = cycles.play("cycle", "--limit", "vm0", "-e", f"report_dir={tmp_path}/report")
    plan = planned.fact("headroom_plan")
    assert f"Plan: {plan}" in planned.output
    assert re.search(r"run `[^`]+`, took \d+ ", (tmp_path / "report/report.md").read_text())
    for stage, grown in (("apply", False), ("approve", False), ("apply", True)):
        told = cycles.play(stage, "-e", f"headroom_plan={plan}")
        assert told.returncode == 0, told.output
        assert (told.fields["u0"]["guest.vcpus"] > before) is grown
    assert told.fields["u1"] == planned.fields["u1"]


def test_an_inventory_without_vms_is_an_error(cycles: Cycles) -> None:
    fleet = cycles.fleet.load()
    cycles.fleet.save({**fleet, "vms": {}})
    done = cycles.controller.run("ansible-playbook", "headroom.fleet.cycle")
    cycles.fleet.save(fleet)
    assert done.returncode == 2
    assert "The inventory has no VM" in done.stdout


def test_a_resize_needs_a_limit(cycles: Cycles) -> None:
    done = cycles.controller.run("ansible-playbook", "headroom.fleet.resize", "-e", "headroom_new_vcpus=3")
    assert done.returncode == 2
    assert "--limit" in done.stdout
    done = cycles.controller.run(
        "ansible-playbook", "headroom.fleet.resize", "--limit", "vm2", "-e", "headroom_new_vcpus=3"
    )
    assert done.returncode == 0, done.stdout
    assert cycles.fleet.fields("u2")["guest.vcpus"] == 3
    assert "headroom.fleet.rollback -e headroom_receipt=sha256:" in done.stdout
