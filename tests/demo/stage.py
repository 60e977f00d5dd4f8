# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo lives, how it speaks, and how it runs the lab and the playbooks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = CHECKOUT / "tests/lab/lab.py"
INVENTORY = CHECKOUT / "inventories/lab/headroom.yml"
PLAYBOOKS = CHECKOUT / "tests/demo/playbooks"
DEFAULT_ROOT = "/var/tmp/headroom-demo"  # shown at the end; beside the lab, and not in it, for it outlives the lab
MARK = ".headroom-demo"  # only a folder with this file in it is ever emptied
STORES = ("artifacts", "state", "telemetry")
TASK = re.compile(r"TASK \[headroom\.fleet\.(\w+) : (?!Validating)(.+)\] \*+")  # a role's; the rest is glue
LINES_OF_A_FAILURE = 25

_STARTED = time.monotonic()


class DemoError(Exception):
    """Something the demo needs did not happen; ``code`` is the exit status (3: a prerequisite is missing)."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def say(text: str = "") -> None:
    """One line of progress, with the seconds since the start."""
    print(f"[demo {time.monotonic() - _STARTED:4.0f} s] {text}" if text else "", flush=True)


def elapsed_s() -> float:
    """Seconds since the start."""
    return time.monotonic() - _STARTED


@dataclass(frozen=True)
class Stage:
    """The demo's folder: stores, logs, report; nothing of it lies in the checkout."""

    root: Path

    @classmethod
    def from_environment(cls) -> Stage:
        """Read HEADROOM_DEMO."""
        return cls(Path(os.environ.get("HEADROOM_DEMO") or DEFAULT_ROOT).resolve())

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.root / "report"

    @property
    def urls(self) -> dict[str, str]:
        """Where the three stores are."""
        return {name: str(self.root / ("state.db" if name == "state" else name)) for name in STORES}

    def open(self, *, empty: bool) -> None:
        """Make the folder, or ``empty`` it; one that is not a demo's is left alone."""
        if self.root.exists() and any(self.root.iterdir()) and not (self.root / MARK).exists():
            raise DemoError(f"{self.root} is not empty and not a demo's: name another folder in HEADROOM_DEMO.", code=3)
        if empty:
            shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "log").mkdir(parents=True, exist_ok=True)
        (self.root / MARK).touch()

    def keep(self, name: str, value: Any) -> None:
        """Keep something for later, as JSON."""
        (self.root / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def kept(self, name: str) -> Any:
        """What was kept."""
        try:
            return json.loads((self.root / f"{name}.json").read_bytes())
        except FileNotFoundError as error:
            raise DemoError(f"{self.root} holds no {name}: run make run first.") from error

    def command(self, playbook: Path, *options: str, **variables: Any) -> list[str]:
        """Return the command that runs a playbook on the lab.

        It goes before the guests, one of which wants most of two cores. Without the right to, nice only warns.
        """
        extra = json.dumps({"report_dir": str(self.report), **variables})
        return ["nice", "-n", "-10", "ansible-playbook", "-i", str(INVENTORY), "-e", extra, *options, str(playbook)]

    def play(self, name: str, playbook: Path, *options: str, **variables: Any) -> Any:
        """Run a playbook; show its tasks, log the rest. Returns what it wrote to ``demo_file``, if it did."""
        answer, log = self.root / f"{name}.json", self.root / "log" / f"{name}.log"
        answer.unlink(missing_ok=True)
        command = self.command(playbook, "--diff", *options, demo_file=str(answer), **variables)
        with log.open("w", encoding="utf-8") as file:
            file.write(f"$ {subprocess.list2cmdline(command)}\n")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                text=True,
                encoding="utf-8",
            )
            lines = process.stdout or ()
            for line in lines:
                file.write(line)
                file.flush()
                if found := TASK.match(line):
                    say(f"  {found.group(1)}: {found.group(2)}")
        if process.wait():
            tail = log.read_text(encoding="utf-8").splitlines()[-LINES_OF_A_FAILURE:]
            raise DemoError("\n".join([f"{playbook.name} failed; its end, the whole is in {log}:", *tail]))
        return self.kept(name) if answer.exists() else None

    def environment(self) -> dict[str, str]:
        """The surroundings of Ansible: our stores, none of the user's settings."""
        if "HEADROOM_COLLECTIONS" not in os.environ:
            raise DemoError(
                "Run it as make run, or through tests/tooling/bootstrap: it sets up what this needs.", code=3
            )
        return {
            **os.environ,
            **{f"HEADROOM_{name.upper()}": url for name, url in self.urls.items()},
            "ANSIBLE_HOME": str(self.root / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
            "PYTHONUNBUFFERED": "1",
        }


def lab(*arguments: str) -> str:
    """Run a command of the lab; its progress goes to our standard error."""
    done = subprocess.run([sys.executable, str(LAB), *arguments], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode and arguments[0] != "status":
        raise DemoError(f"the lab could not do '{' '.join(arguments)}'; it says why above", code=done.returncode)
    return done.stdout
