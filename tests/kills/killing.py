# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-playbook, stop it at a step, kill what is to be killed, and wait until nothing of it runs any more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DEADLINE_S = 60


def run_playbook(tmp: Path, variables: dict[str, Any], *, step: str = "") -> subprocess.Popen[bytes]:
    """Start tests/kills/apply.yml with these variables, in a process group of its own."""
    given = tmp / "variables.json"
    given.write_text(json.dumps(variables))
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if step:
        environment |= {
            "PYTHONPATH": str(HERE / "hook"),
            "HEADROOM_KILL_STEP": step,
            "HEADROOM_KILL_MARK": str(tmp / "mark"),
        }
    command = ["ansible-playbook", "-i", "localhost,", str(HERE / "apply.yml"), "-e", f"@{given}"]
    with (tmp / "output").open("ab") as output:
        return subprocess.Popen(
            [f"{Path(sys.executable).parent}/{command[0]}", *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )


def kill_at(tmp: Path, variables: dict[str, Any], *, step: str, killer: str) -> None:
    """Apply, kill at the step, and return when no process of that run is left."""
    mark = tmp / "mark"
    playbook = run_playbook(tmp, variables, step=step)
    wait(mark.exists, f"the step {step}", tmp)
    module = int(mark.read_text())
    if killer in ("module", "both"):
        os.kill(module, signal.SIGKILL)
    if killer == "playbook":
        playbook.kill()
    if killer == "both":
        os.killpg(playbook.pid, signal.SIGKILL)
    mark.unlink()  # whoever is still alive goes on
    playbook.wait(DEADLINE_S)
    wait(lambda: not alive(module), "the module's end", tmp)


def wait(predicate: Any, what: str, tmp: Path) -> None:
    """Poll; fails with the run's output when the deadline passes."""
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"never came: {what}\n" + (tmp / "output").read_text())
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
