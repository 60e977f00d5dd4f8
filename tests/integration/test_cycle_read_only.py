# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first run on one's own fleet, as the tutorial has it: read-only credentials, no store named, nothing set up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.functional.controller import install
from tests.integration import guests
from tests.integration.test_cycle_check import fingerprint

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, lab: Any) -> dict[str, Any]:
    """What the first run says and leaves, through the installed tarball."""
    root = tmp_path_factory.mktemp("first")
    source = root / "headroom.yml"
    endpoint = {"name": "lab", "uri": f"{guests.URI}-ro", "read_only": True}
    source.write_text(yaml.safe_dump({"plugin": "headroom.fleet.fleet", "endpoints": [endpoint]}))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(install(root)),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "false",
    }
    (root / "home").mkdir()
    state = root / "home/.local/state/headroom"

    def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name(command)
        return subprocess.run(
            [program, "-i", source, *arguments], env=environment, cwd=root, capture_output=True, text=True, check=False
        )

    found: dict[str, Any] = {"before": fingerprint(lab)}
    found["graph"] = run("ansible-inventory", "--graph")
    found["cycle"] = run("ansible-playbook", "headroom.fleet.cycle", "--check", "--diff", "-e", "observe_duration_s=6")
    found["left"] = {path.name for path in state.iterdir()}
    found["page"] = state / "report/rehearsal.html"
    found["resize"] = run("ansible", "web2", "-m", "headroom.fleet.vm_resize", "-a", "memory_mib=320")
    found["after"] = fingerprint(lab)
    return found


def test_it_ends_with_the_report(told: dict[str, Any]) -> None:
    done = told["cycle"]
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The report: {told['page']}" in done.stdout
    text = told["page"].read_text(encoding="utf-8")
    assert all(name in text for name in guests.GUESTS)


def test_it_sees_every_guest(told: dict[str, Any]) -> None:
    assert set(told["graph"].stdout.replace("|", " ").replace("--", " ").split()) >= guests.GUESTS


@pytest.mark.safety(rule=1)
def test_it_changes_nothing_and_makes_no_store(told: dict[str, Any]) -> None:
    assert told["after"] == told["before"]
    assert told["left"] == {"report"}


@pytest.mark.safety(rule=1)
def test_an_act_fails_with_read_only_credentials(told: dict[str, Any]) -> None:
    assert "endpoint.read_only" in told["resize"].stdout
    assert told["after"] == told["before"]
