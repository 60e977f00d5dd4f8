# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller of one's own: an inventory of fake endpoints, stores, a policy, and ansible's commands on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand

from .fleets import Fleet

AT_ONCE = {"per_host": 9, "per_host_set": 9, "per_tenant": 9, "per_platform": 9}
POLICY: dict[str, Any] = {
    "schema": "headroom.sizing-policy/1",
    "defaults": {
        "mode": "auto",
        "vcpus": {"minimum_change_percent": 0, "step_limit": "none"},
        "memory": {"minimum_change_percent": 0, "step_limit": "none"},
        "grow": {"hold_minutes": 0},
        "shrink": {"hold_hours": 0},
    },
    "budgets": {"at_once": AT_ONCE, "window": "none"},
}


# Variables of a task that is to run here, wherever its host is.
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}


CHECKOUT = Path(__file__).parents[2]


def install(scratch: Path) -> Path:
    """Build the tarball and install it, as a user would; returns the folder of collections."""
    galaxy = Path(sys.executable).with_name("ansible-galaxy")
    built = scratch / "built"
    build = [galaxy, "collection", "build", CHECKOUT, "--output-path", built]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (tarball,) = built.glob("*.tar.gz")
    target = scratch / "collections"
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(target)}
    unpack = [galaxy, "collection", "install", tarball, "-p", target, "--offline"]
    subprocess.run(unpack, env=environment, check=True, stdout=subprocess.DEVNULL)
    return target


def diff_of(role: str, output: str) -> str:
    """The diff that the task of a role showed in a playbook's output."""
    found = re.search(rf"^TASK \[headroom\.fleet\.{role} : (?!Valid).*?(?=^TASK |\Z)", output, re.DOTALL | re.MULTILINE)
    shown = re.search(r"^--- before.*?(?=^\s*$)", found[0], re.DOTALL | re.MULTILINE) if found else None
    return shown[0] if shown else ""


class Controller:
    """Everything lies below ``root``; nothing of the user's is read."""

    def __init__(self, root: Path, *fleets: Fleet, policy: dict[str, Any] | None = None) -> None:
        self.root = root
        self.fleets = fleets
        (root / "group_vars").mkdir()
        (root / "home").mkdir()
        self.write("policy.yml", policy or POLICY)
        self.variables = {
            "headroom_artifacts": str(root / "stores/artifacts"),
            "headroom_state": str(root / "stores/state.db"),
            "headroom_telemetry": str(root / "stores/telemetry"),
            "headroom_policy": str(root / "policy.yml"),
            "observe_duration_s": 0,
            "report_dir": str(root / "report"),
        }
        self.write("group_vars/all.yml", self.variables)
        self.inventory()

    def write(self, name: str, data: Any) -> Path:
        """Write a YAML file."""
        path = self.root / name
        path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
        return path

    def inventory(self, **options: Any) -> None:
        """Write the inventory source."""
        endpoints = [{"name": fleet.endpoint.name, "uri": fleet.endpoint.uri} for fleet in self.fleets]
        self.write("headroom.yml", {"plugin": "headroom.fleet.fleet", "endpoints": endpoints, **options})

    def run(self, command: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of ansible's commands on the inventory."""
        program = Path(sys.executable).with_name(command)
        return subprocess.run(
            [program, "-i", self.root / "headroom.yml", *map(str, arguments)],
            cwd=self.root,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.root / "home"),
                "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
                "ANSIBLE_LOCALHOST_WARNING": "false",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_ASYNC_DIR": str(self.root / "async"),  # else in the user database's home
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def results(self, *plays: dict[str, Any], arguments: tuple[str, ...] = ()) -> dict[str, Any]:
        """Run plays and return what each task that registers something returned on the host ``localhost`` asks for.

        Every task is named after what it registers; a failure is a result like others.
        """
        names = [task["register"] for play in plays for task in play["tasks"]]
        for task in (task for play in plays for task in play["tasks"]):
            task.setdefault("ignore_errors", True)
        for play in plays:
            play.setdefault("gather_facts", False)
            play["tasks"].append(
                {
                    "ansible.builtin.copy": {
                        "content": "{{ dict(names | zip(query('ansible.builtin.vars', *names, default={}))) "
                        "| to_json }}",
                        "dest": f"{self.root}/results-{{{{ inventory_hostname }}}}-{plays.index(play)}.json",
                        "mode": "0600",
                    },
                    "vars": {
                        "names": [task["register"] for task in play["tasks"]],
                        **HERE,
                    },
                    "check_mode": False,
                    "diff": False,
                }
            )
        done = self.run("ansible-playbook", self.write("plays.yml", list(plays)), *arguments)
        found: dict[str, Any] = {}
        for path in self.root.glob("results-*.json"):
            host = path.name.split("-", 1)[1].rpartition("-")[0]
            found.setdefault(host, {}).update(json.loads(path.read_text()))
            path.unlink()
        assert found, f"{names}: {done.stdout[-4000:]}{done.stderr[-2000:]}"
        return found

    def fill(self, levels: dict[str, tuple[int, int]], *, weeks: int = 2) -> None:
        """Back-fill demand: unique_id -> CPU in millicores, memory in MiB."""
        backfill(
            {unique_id: Demand("busy", *level) for unique_id, level in levels.items()},
            series=SeriesStore(self.variables["headroom_telemetry"]),
            now=utc_now() + timedelta(minutes=5),
            weeks=weeks,
        )
