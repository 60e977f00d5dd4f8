# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No module writes in check mode, counted at libvirt itself: by the calls of its API that libvirtd logs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.contract import play, tasks_on
from tests.integration import guests

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ADMIN = f"libvirtd:///system?socket={guests.LAB}/run/libvirt-admin-sock"
# Calls of the API that change something, as libvirtd's log names them.
VERBS = "Set|Pin|Define|Undefine|Create|Destroy|Attach|Detach|Update|Suspend|Resume|Shutdown|Reboot|Save|Migrate|Agent"
WRITES = rf"vir[A-Z][a-z]+(Qemu)?({VERBS})[A-Za-z]*:[0-9]+"
GUEST = "idle1"
TASKS = tasks_on(GUEST, "", memory_mib=320)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The log of every call that the lab's libvirtd gets; afterwards it logs as it did."""
    log = tmp_path_factory.mktemp("calls") / "log"

    def admin(setting: str, value: str | None = None) -> str:
        command = ["virt-admin", "-c", ADMIN, setting, *([] if value is None else [value])]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.partition(":")[2].strip()

    before = {setting: admin(setting) for setting in ("daemon-log-outputs", "daemon-log-filters")}
    admin("daemon-log-outputs", f"1:file:{log}")
    admin("daemon-log-filters", "1:libvirt 4:object 4:util 4:rpc 4:qemu")
    yield log
    for setting, value in before.items():
        admin(setting, value)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, lab: Any, calls: Path) -> dict[str, Any]:
    """What each task of the contract's playbook returned, with the count of writes around each check-mode task."""
    unique_id = f"lab/{lab.lookupByName(GUEST).UUIDString()}"
    tasks = tasks_on(GUEST, unique_id, memory_mib=320)
    endpoint = {"name": "lab", "uri": guests.URI, "vcpus_allocation_ratio": 16}
    return play(tasks, endpoint, tmp_path_factory.mktemp("contract"), look_by=f"grep -cE '{WRITES}' {calls}; true")


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_check_mode_calls_nothing_that_writes(results: dict[str, Any], name: str) -> None:
    assert results[f"{name}_after"] == results[f"{name}_before"]


def test_the_writes_of_the_runs_are_counted(results: dict[str, Any]) -> None:
    resized = int(results["vm_info_before"]) - int(results["vm_resize_after"])
    undone = int(results["vm_hold_before"]) - int(results["allocation_rollback_after"])
    assert resized >= 1
    assert undone >= 1


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, _unused, changes in TASKS])
def test_check_mode_foresees_whether_the_run_changes_anything(
    results: dict[str, Any], name: str, *, changes: bool
) -> None:
    assert results[f"{name}_check"]["changed"] is results[name]["changed"] is changes
