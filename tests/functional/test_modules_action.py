# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugins: what a module is given by the host and the play it is called for, and where it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .controller import HERE, Controller
from .fleets import Fleet

MODULE = "headroom.fleet."
# A host that cannot be reached, by a user nobody is, with a Python that is not there.
ELSEWHERE = {
    "ansible_connection": "ssh",
    "ansible_host": "192.0.2.1",
    "ansible_user": "nobody-at-all",
    "ansible_python_interpreter": "/nonexistent/python",
    "ansible_become": True,
    "ansible_become_user": "nobody-at-all",
}


def task(module: str, register: str, arguments: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {MODULE + module: arguments or {}, "register": register, **rest}


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    root = tmp_path_factory.mktemp("action")
    fleets = Fleet(root / "one.json", vms=2, name="one"), Fleet(root / "two.json", vms=1, name="two")
    fleets[1].change("u0", name="other")
    controller = Controller(root, *fleets)
    controller.write("group_vars/headroom_vms.yml", ELSEWHERE)
    return controller


@pytest.fixture(scope="module")
def results(controller: Controller) -> dict[str, Any]:
    """One play on hosts that are elsewhere. In the middle of it the second endpoint goes down."""
    two = controller.fleets[1].path
    kept = controller.fleets[1].load()
    found = controller.results(
        {
            "hosts": "headroom_vms",
            "module_defaults": {"group/headroom.fleet.headroom": {"who": "by-default"}},
            "tasks": [
                task("vm_info", "info"),
                task("vm_resize", "resized", {"memory_mib": 2048}, when="inventory_hostname == 'vm0'"),
                task("vm_resize", "again", {"memory_mib": 2048}, when="inventory_hostname == 'vm0'"),
                task("vm_hold", "held", {"reason": "a test"}, when="inventory_hostname == 'vm1'"),
                task("vm_info", "info_held", when="inventory_hostname == 'vm1'"),
                task("fleet_snapshot", "seen", run_once=True),
                task("fleet_snapshot", "bypassed"),
                {
                    "ansible.builtin.copy": {"content": "{{ down | to_json }}", "dest": str(two), "mode": "0600"},
                    "vars": {"down": {**kept, "down": True}, **HERE},
                    "delegate_to": "localhost",
                    "run_once": True,
                    "register": "copied",
                },
                task("vm_info", "info_other_down", when="inventory_hostname == 'vm0'"),
                task("fleet_snapshot", "seen_other_down", run_once=True),
                task("vm_info", "detached", **{"async": 30, "poll": 0}),
                task(
                    "vm_info", "delegated", {"vm": "vm0"}, delegate_to="localhost", when="inventory_hostname == 'other'"
                ),
                task(
                    "vm_info",
                    "polled",
                    {"vm": "vm0"},
                    delegate_to="localhost",
                    when="inventory_hostname == 'vm1'",
                    **{"async": 90, "poll": 1},
                ),
            ],
        }
    )
    controller.fleets[1].save(kept)
    return found


def test_a_module_runs_on_the_controller_whatever_the_host_is(results: dict[str, Any]) -> None:
    assert results["vm0"]["info"]["vm"]["unique_id"] == "one/u0"
    assert results["vm1"]["info"]["vm"]["unique_id"] == "one/u1"
    assert results["other"]["info"]["vm"]["unique_id"] == "two/u0"


def test_only_the_endpoint_of_the_vm_is_asked(results: dict[str, Any]) -> None:
    assert results["vm0"]["info_other_down"]["vm"]["unique_id"] == "one/u0"
    assert not results["vm0"]["info_other_down"].get("warnings")
    assert "two, endpoint" in str(results["vm0"]["seen_other_down"]["warnings"])


def test_a_resize_acts_on_the_vm_of_its_host_once(controller: Controller, results: dict[str, Any]) -> None:
    assert results["vm0"]["resized"]["changed"]
    assert results["vm0"]["resized"]["receipt"].startswith("sha256:")
    assert not results["vm0"]["again"]["changed"]
    assert controller.fleets[0].fields("u0")["live.memory_mib"] == 2048
    assert controller.fleets[0].fields("u1")["live.memory_mib"] == 1024


def test_module_defaults_of_the_group_reach_every_module(results: dict[str, Any]) -> None:
    assert results["vm1"]["held"]["held"] == ["one/u1"]
    assert results["vm1"]["info_held"]["hold"] == {"who": "by-default", "reason": "a test"}


def test_a_module_about_the_fleet_runs_once_for_all_hosts(results: dict[str, Any]) -> None:
    ran = [host for host in ("vm0", "vm1", "other") if "vms" in results[host].get("bypassed", {})]
    assert len(ran) == 1
    assert {results[host]["seen"]["vms"] for host in ("vm0", "vm1", "other")} == {3}


def test_a_detached_task_must_be_delegated(results: dict[str, Any]) -> None:
    assert results["vm0"]["detached"]["failed"]
    assert "delegate_to: localhost" in results["vm0"]["detached"]["msg"]
    assert results["other"]["delegated"]["vm"]["unique_id"] == "one/u0"
    assert results["vm1"]["polled"]["vm"]["unique_id"] == "one/u0"


def test_host_info_says_what_room_a_hypervisor_has(controller: Controller) -> None:
    endpoints = [{"name": fleet.endpoint.name, "uri": fleet.endpoint.uri} for fleet in controller.fleets]
    ask = task("host_info", "seen")
    unknown = task("host_info", "unknown", {"host": "h9"})
    ambiguous = task("host_info", "ambiguous", {"host": "h0"})
    found = controller.results(
        {"hosts": "headroom_hosts:vm1", "tasks": [ask, task("host_info", "everyone", {"host": ""})]},
        {"hosts": "localhost", "vars": {"headroom_endpoints": endpoints}, "tasks": [ask, unknown, ambiguous]},
    )
    of_one, of_two = found["h0@one"]["seen"]["hosts"], found["h0@two"]["seen"]["hosts"]
    assert [host["host_id"] for host in of_one + of_two] == ["one/h0", "two/h0"]
    assert of_one == found["vm1"]["seen"]["hosts"]
    assert found["localhost"]["seen"]["hosts"] == found["vm1"]["everyone"]["hosts"] == of_one + of_two
    assert of_two[0]["vcpus"] == {
        "capacity": 16,
        "reserved": 0,
        "allocation_ratio_ppm": 4_000_000,
        "allocatable": 64,
        "allocated": 2,
        "left": 62,
    }
    assert of_two[0]["memory_mib"]["left"] == 8192 - 1024
    assert [vm["name"] for vm in of_one[0]["vms"]] == ["vm0", "vm1"]
    assert found["localhost"]["unknown"]["code"] == "host.unknown"
    assert found["localhost"]["ambiguous"]["code"] == "host.ambiguous"


@pytest.mark.safety(rule=1)
def test_an_endpoint_for_reading_is_never_written_to(controller: Controller) -> None:
    fleet = controller.fleets[1]
    endpoints = [{"name": "two", "uri": fleet.endpoint.uri, "read_only": True}]
    resize = task("vm_resize", "resized", {"vm": "other", "memory_mib": 2048})
    found = controller.results({"hosts": "localhost", "vars": {"headroom_endpoints": endpoints}, "tasks": [resize]})
    assert "endpoint.read_only" in str(found["localhost"]["resized"])
    assert not found["localhost"]["resized"]["changed"]
    assert fleet.writes == 0


def plan_play(**play: Any) -> dict[str, Any]:
    return {
        "hosts": "headroom_vms",
        "run_once": True,
        "tasks": [
            task("fleet_snapshot", "seen"),
            task("demand_forecast", "forecast", {"snapshot": "{{ seen.snapshot }}"}),
            task(
                "allocation_plan",
                "planned",
                {"snapshot": "{{ seen.snapshot }}", "forecast": "{{ forecast.forecast }}"},
            ),
            task(
                "allocation_plan_info",
                "asked",
                {"plan": "{{ planned.plan }}", "vm": "{{ ask | default(omit) }}"},
            ),
        ],
        **play,
    }


def decided(result: dict[str, Any]) -> int:
    """How many VMs the plan decided about; each has two resources."""
    return sum(result["planned"]["decisions"].values()) // 2


def test_the_scope_is_the_play(controller: Controller) -> None:
    everyone = controller.results(plan_play())
    assert {decided(of_host) for of_host in everyone.values()} == {3}
    limited = controller.results(plan_play(vars={"ask": "other"}), arguments=("--limit", "other"))
    assert decided(limited["other"]) == 1
    assert "two/u0" in limited["other"]["asked"]["explanation"]


def test_the_controller_itself_plans_for_everyone_and_a_hypervisor_for_no_one(controller: Controller) -> None:
    endpoints = [{"name": fleet.endpoint.name, "uri": fleet.endpoint.uri} for fleet in controller.fleets]
    found = controller.results(
        plan_play(hosts="localhost", vars={"headroom_endpoints": endpoints}), plan_play(hosts="headroom_hosts")
    )
    assert decided(found["localhost"]) == 3
    refused = next(of_host["planned"] for host, of_host in found.items() if host != "localhost")
    assert "No host of this play is a VM" in refused["msg"]


def test_a_play_in_batches_is_refused(controller: Controller) -> None:
    found = controller.results(plan_play(serial=1))
    assert all("serial" in of_host["seen"]["msg"] for of_host in found.values())


@pytest.mark.parametrize("limit", ["", ",", " , "])
def test_a_limit_that_is_empty_is_refused(controller: Controller, limit: str) -> None:
    done = controller.run("ansible", "headroom_vms", "-m", "headroom.fleet.vm_info", "--limit", limit)
    assert done.returncode != 0
    assert "given and empty" in done.stdout + done.stderr


def test_a_limit_that_matches_nothing_runs_nothing(controller: Controller) -> None:
    before = sorted(controller.root.rglob("stores/*"))
    done = controller.run("ansible-playbook", "headroom.fleet.observe", "--limit", "nobody")
    assert done.returncode != 0
    assert "no hosts" in done.stdout + done.stderr
    assert sorted(controller.root.rglob("stores/*")) == before


def test_a_limit_from_an_empty_file_is_refused(controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "retry").write_text("\n\n")
    done = controller.run(
        "ansible", "headroom_vms", "-m", "headroom.fleet.kill_switch", "--limit", f"@{tmp_path}/retry"
    )
    assert "given and empty" in done.stdout + done.stderr
    (tmp_path / "retry").write_text("vm0\n")
    done = controller.run(
        "ansible", "headroom_vms", "-m", "headroom.fleet.kill_switch", "--limit", f"@{tmp_path}/retry"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_error_is_one_message_with_a_code_and_advice(controller: Controller) -> None:
    done = controller.run("ansible", "vm0", "-m", "headroom.fleet.vm_resize", "-a", "vcpus=400")
    assert done.returncode == 2
    assert '"code": "resize.' in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "option", "rest"),
    [
        ("allocation_apply", "workers=0", "recover=only"),
        ("vm_resize", "lease_s=0", "vcpus=3"),
        ("vm_resize", "lease_wait_s=-1", "vcpus=3"),
    ],
)
def test_a_number_with_which_nothing_could_begin_is_refused(
    controller: Controller, module: str, option: str, rest: str
) -> None:
    done = controller.run("ansible", "vm0", "-m", f"headroom.fleet.{module}", "-a", f"{option} {rest}")
    assert done.returncode == 2
    assert '"code": "acts.option"' in done.stdout
    assert option.partition("=")[0] in done.stdout


def test_a_sampling_tells_how_long_it_takes_with_v_and_not_without(controller: Controller) -> None:
    sample = ("ansible", "vm1", "-m", "headroom.fleet.telemetry_collect", "-a", "duration_s=7 step_s=1")
    for level, shown in (("-v", True), ("--one-line", False)):
        done = controller.run(*sample, level)
        assert done.returncode == 0, done.stdout
        lines = re.findall(r"^  telemetry_collect: (.*)$", done.stdout, re.MULTILINE)
        assert lines[:1] == (["takes 7 s"] if shown else [])
        assert all(re.fullmatch(r"\d+ of 7 s", line) for line in lines[1:])


def test_progress_is_shown_with_v_and_not_without(controller: Controller) -> None:
    controller.run("ansible", "vm1", "-m", "headroom.fleet.vm_hold", "-a", "state=absent")
    plan = controller.results(
        {
            "hosts": "vm1",
            "vars": {"resize": {"memory_mib": 1536}},
            "tasks": [task("vm_resize", "resized", {"memory_mib": 1536}, check_mode=False)],
        }
    )["vm1"]["resized"]["plan"]
    for level, shown in (("-v", True), ("--one-line", False)):
        controller.fleets[0].change("u1", fields={**controller.fleets[0].fields("u1"), "live.memory_mib": 1024,
                                                  "config.memory_mib": 1024})  # fmt: skip
        done = controller.run("ansible", "vm1", level, "-m", "headroom.fleet.allocation_apply", "-a", f"plan={plan}")
        assert done.returncode == 0, done.stdout
        assert ("vm1: memory_mib 1024 -> 1536: done [1 of 1]" in done.stdout) is shown
