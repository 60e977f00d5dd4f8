# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vm_resize with settings, through real ansible: check, diff, idempotence, one target, rollback of its receipt."""

from __future__ import annotations

from typing import Any

import pytest

from .controller import Controller
from .fleets import MAC, Fleet

FLEET = "headroom.fleet."
ASKED = {
    "vm": "vm0",
    "vcpus": 3,
    "maximum_vcpus": 16,
    "cpu_limit_millicores": 1500,
    "cpu_pinning": "3,1",
    "disk": "vda",
    "disk_iops": 300,
    "interface": MAC,
    "interface_outbound_bits_per_s": 8_000_000,
    "memory_stats_period_s": 5,
}
AFTER = {
    **{f"{kind}.vcpus": 3 for kind in ("guest", "config")},
    "config.maximum_vcpus": 16,
    **{f"{kind}.cpu_limit_millicores": 1500 for kind in ("live", "config")},
    **{f"{kind}.cpu_pinning": "1,3" for kind in ("live", "config")},
    **{f"{kind}.disk_iops/vda": 300 for kind in ("live", "config")},
    **{f"{kind}.interface_outbound_bits_per_s/{MAC}": 8_000_000 for kind in ("live", "config")},
    **{f"{kind}.memory_stats_period_s": 5 for kind in ("live", "config")},
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("settings") / "fleet.json", vms=1)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, fleet: Fleet) -> dict[str, Any]:
    """One play; what the fleet looked like in between is read back by vm_info."""
    controller = Controller(tmp_path_factory.mktemp("controller"), fleet)
    tasks: list[dict[str, Any]] = [
        {FLEET + "vm_info": {"vm": "vm0"}, "register": "before"},
        {FLEET + "vm_resize": ASKED, "check_mode": True, "diff": True, "register": "checked"},
        {FLEET + "vm_info": {"vm": "vm0"}, "register": "still"},
        {FLEET + "vm_resize": ASKED, "register": "resized"},
        {FLEET + "vm_info": {"vm": "vm0"}, "register": "after"},
        {FLEET + "decision_info": {"vm": "vm0", "plan": "{{ resized.plan }}"}, "register": "explained"},
        {FLEET + "vm_resize": ASKED, "register": "again"},
        {FLEET + "allocation_plan_info": {"vm": "vm0", "plan": "{{ again.plan }}"}, "register": "stays"},
        {FLEET + "vm_resize": {"vm": "vm0", "disk": "vdz", "disk_iops": 1}, "register": "no_disk"},
        {FLEET + "vm_resize": {"vm": "vm0", "disk": "vda"}, "register": "nothing"},
        {FLEET + "allocation_rollback": {"receipt": "{{ resized.receipt }}"}, "register": "undone"},
        {FLEET + "vm_info": {"vm": "vm0"}, "register": "back"},
    ]
    found: dict[str, Any] = controller.results({"hosts": "vm0", "tasks": tasks})["vm0"]
    return found


def fields(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result["vm"]["fields"]
    return found


def test_check_mode_shows_what_the_run_does_and_does_nothing(results: dict[str, Any]) -> None:
    checked, resized = results["checked"], results["resized"]
    assert checked["changed"] is True
    assert fields(results["still"]) == fields(results["before"])
    assert checked["states"] == resized["states"] == {"done": 7}
    shown = checked["diff"][0] if isinstance(checked["diff"], list) else checked["diff"]
    assert "  live.cpu_pinning: 0-3\n" in shown["before"]
    assert "  live.cpu_pinning: 1,3\n" in shown["after"]


def test_every_setting_is_set_and_a_second_run_changes_nothing(results: dict[str, Any]) -> None:
    assert fields(results["after"]) == {**fields(results["before"]), **AFTER}
    assert (results["resized"]["changed"], results["again"]["changed"]) == (True, False)


def test_a_setting_that_is_no_number_is_told_in_its_words(results: dict[str, Any]) -> None:
    explained = results["explained"]
    pins = next(one["action"] for one in explained["resources"] if one["resource"] == "cpu_pinning")
    assert (pins["before"], pins["after"]) == ("0-3", "1,3")
    text = explained["text"].partition("  cpu_pinning: act")[2].partition("not begun")[0]
    assert "because a person asked for 1,3, it has 0-3" in text
    assert "to 1,3, mode approve" in text
    assert "has 0, wanted 0" not in explained["text"] + results["stays"]["explanation"]
    assert "  cpu_pinning: stay (already_done" in results["stays"]["explanation"]


@pytest.mark.safety(rule=6)
def test_the_receipt_undoes_it_all(results: dict[str, Any], fleet: Fleet) -> None:
    assert results["undone"]["states"] == {"done": 7}
    assert fields(results["back"]) == fields(results["before"]) == fleet.fields("u0")


def test_what_is_not_there_and_what_is_not_asked_are_errors(results: dict[str, Any]) -> None:
    assert results["no_disk"]["failed"]
    assert "no disk vdz" in results["no_disk"]["msg"]
    assert results["nothing"]["failed"]
    assert "one of the following is required" in results["nothing"]["msg"]
