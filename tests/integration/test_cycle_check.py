# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal on real guests: it changes nothing, and shows what the run with the same snapshot and clock then does.

Once as ``make cycle`` runs it, once through the installed tarball; then the run itself, and its rollback.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import observe
from ansible_collections.headroom.fleet.plugins.module_utils._platform.registry import open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand
from tests.functional.controller import CHECKOUT, diff_of, install
from tests.integration import guests

pytestmark = [pytest.mark.lab, pytest.mark.slow]

# Acts that any lab can undo at once: the balloon, and a vCPU that the guest's agent takes off-line.
DEMANDS = {"idle1": Demand("busy", 900, 300), "batch1": Demand("idle", 60, 260)}
STORES = {"artifacts": "artifacts", "state": "state.db", "telemetry": "telemetry"}
INVENTORY = CHECKOUT / "inventories/lab/headroom.yml"


def fingerprint(lab: Any) -> dict[str, tuple[str, dict[str, int]]]:
    """Of every guest of the lab the digest of its persistent XML, and every field that could be written."""
    writer = open_writer(guests.ENDPOINT)
    try:
        domains = [lab.lookupByName(name) for name in sorted(guests.GUESTS)]
        return {
            domain.name(): (
                hashlib.sha256(guests.Spare(domain).inactive.encode()).hexdigest(),
                writer.current(f"{guests.ENDPOINT.name}/{domain.UUIDString()}").fields,
            )
            for domain in domains
        }
    finally:
        writer.close()


class Stage:
    """Stores with a past of two guests, a snapshot, and the ways to run a cycle on them."""

    def __init__(self, root: Path, lab: Any) -> None:
        self.root = root
        self.urls = {name: str(root / "demo" / file) for name, file in STORES.items()}
        now = datetime.now(UTC).replace(microsecond=0)
        context = Context(now=now, who="tester", endpoints=(guests.ENDPOINT,), urls=self.urls)
        ids = {name: f"{guests.ENDPOINT.name}/{lab.lookupByName(name).UUIDString()}" for name in DEMANDS}
        demands = {ids[name]: demand for name, demand in DEMANDS.items()}
        backfill(demands, series=context.series, now=now + timedelta(minutes=5), weeks=2)
        self.pins = {
            "headroom_snapshot": observe(context).values["snapshot"],
            "headroom_now": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "observe_duration_s": 0,  # nothing is added to the past
            "report_dir": str(root / "report"),
        }
        context.close()

    def run(self, *command: object, **environment: str) -> str:
        """Run a command; returns what it printed."""
        done = subprocess.run(
            [*map(str, command), "--diff", "-v", "-e", json.dumps(self.pins)],
            cwd=self.root,
            env={
                **os.environ,
                "HEADROOM_DEMO": str(self.root / "demo"),
                "HEADROOM_COLLECTIONS": os.environ["ANSIBLE_COLLECTIONS_PATH"],
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "ANSIBLE_NOCOLOR": "1",
                **{f"HEADROOM_{name.upper()}": url for name, url in self.urls.items()},
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, lab: Any) -> dict[str, Any]:
    """In order: two rehearsals, the run, its rollback; around each the fingerprint of the lab."""
    root = tmp_path_factory.mktemp("cycle")
    (root / "demo").mkdir()
    (root / "demo/.headroom-demo").touch()
    stage = Stage(root, lab)
    collections = str(install(root))
    cycle = (sys.executable, CHECKOUT / "tests/demo/cycle")  # what `make cycle` runs
    playbook = ("ansible-playbook", "-i", INVENTORY)
    found: dict[str, Any] = {"before": fingerprint(lab)}
    found["rehearsal"] = stage.run(*cycle, "--check")
    found["after rehearsal"] = fingerprint(lab)
    found["installed"] = stage.run(*playbook, "headroom.fleet.cycle", "--check", ANSIBLE_COLLECTIONS_PATH=collections)
    found["after installed"] = fingerprint(lab)
    found["run"] = stage.run(*cycle)
    found["after run"] = fingerprint(lab)
    receipt = re.findall(r'"headroom_receipt": "(sha256:[0-9a-f]+)"', found["run"])[-1]
    stage.run(*playbook, "headroom.fleet.rollback", "-e", f"headroom_receipt={receipt}")
    found["after rollback"] = fingerprint(lab)
    return found


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("way", ["rehearsal", "installed"])
def test_a_rehearsal_changes_no_definition_and_no_live_field(told: dict[str, Any], way: str) -> None:
    assert told[f"after {way}"] == told["before"]
    assert set(told["before"]) == guests.GUESTS


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("way", ["rehearsal", "installed"])
@pytest.mark.parametrize("role", ["plan", "apply"])
def test_a_rehearsal_shows_what_the_run_then_does(told: dict[str, Any], way: str, role: str) -> None:
    assert "+  memory_mib:" in diff_of(role, told["run"])
    assert diff_of(role, told[way]) == diff_of(role, told["run"])


def test_the_run_changes_those_guests_and_the_rollback_undoes_it(told: dict[str, Any]) -> None:
    before, after = told["before"], told["after run"]
    assert {name for name in before if after[name] != before[name]} == set(DEMANDS)
    assert after["idle1"][1]["live.memory_mib"] > before["idle1"][1]["live.memory_mib"]
    assert after["batch1"][1]["guest.vcpus"] < before["batch1"][1]["guest.vcpus"]
    assert told["after rollback"] == before
