# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate: a named check of the whole project, the commands it runs and what came of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

COMMAND_TIMEOUT_S = 55 * 60  # what hangs ends before the patience of CI, which is 90 minutes
RUNNING: set[subprocess.Popen[bytes]] = set()  # commands under way, of all gates


def stop_commands() -> None:
    """Ask every command under way to end; its gate then ends as well."""
    for process in tuple(RUNNING):
        process.terminate()


@dataclass(frozen=True)
class Place:
    """Where things are."""

    checkout: Path
    cache: Path
    scratch: Path  # of this run; removed at its end
    environment: Path  # the development environment: ansible-core 2.19
    in_ci: bool

    @property
    def bin(self) -> Path:
        return self.environment / "bin"

    @property
    def tools(self) -> Path:
        return self.checkout / "tests/tooling"

    def tracked(self) -> list[str]:
        """All files that git knows or would add."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.checkout, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [name for name in listed.stdout.split("\0") if name and (self.checkout / name).is_file()]


@dataclass
class Outcome:
    """What came of one gate; the functions of gates fill it in."""

    place: Place
    name: str
    lines: list[str] = field(default_factory=list)  # output of the commands
    problems: list[str] = field(default_factory=list)
    on: str = ""  # Python and ansible-core, for the matrix
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    counted: bool = False  # by a test runner; else the gate itself counts as one
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def folder(self) -> Path:
        """A folder of this gate alone."""
        folder = self.place.scratch / self.name
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def copy_root(self) -> Path:
        """A folder for ANSIBLE_COLLECTIONS_PATH with a copy of the checkout.

        ansible-test refuses a symlink, and the tools of the ecosystem write beside what they read.
        """
        for name in self.place.tracked():
            target = self.folder / "ansible_collections/headroom/fleet" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.place.checkout / name, target)
        return self.folder

    @property
    def copy(self) -> Path:
        return self.copy_root / "ansible_collections/headroom/fleet"

    @property
    def ok(self) -> bool:
        return not self.problems

    def command(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        may_fail: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, keep its output; a non-zero end is a problem, unless it may fail."""
        words = [str(argument) for argument in arguments]
        self.lines.append(f"$ {shlex.join(words)}")
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd or self.place.checkout,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except FileNotFoundError:
                self.problem(f"{words[0]} is not installed")
                return subprocess.CompletedProcess(words, 127, "")
            timer = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
            timer.start()
            RUNNING.add(process)
            status, usage = os.wait4(process.pid, 0)[1:]
            RUNNING.discard(process)
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode(errors="replace")
        self.cpu_seconds += usage.ru_utime + usage.ru_stime
        done = subprocess.CompletedProcess(words, process.returncode, text)
        self.lines.extend(done.stdout.splitlines())
        if done.returncode and not may_fail:
            self.problem(f"{Path(words[0]).name} ended with {done.returncode}")
        return done

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def count(self, *, passed: int, failed: int, skipped: int) -> None:
        self.counted = True
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


@dataclass(frozen=True)
class Gate:
    name: str
    groups: tuple[str, ...]  # other names to choose it by
    title: str
    function: Callable[[Outcome], None]
    waits: bool = False  # most of its time

    def run(self, place: Place) -> Outcome:
        outcome = Outcome(place, self.name)
        started = time.monotonic()
        try:
            self.function(outcome)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            outcome.problem(f"{type(error).__name__}: {error}")
        outcome.seconds = time.monotonic() - started
        if not outcome.counted:
            outcome.passed, outcome.failed = (1, 0) if outcome.ok else (0, 1)
        elif not outcome.ok and not outcome.failed:
            outcome.failed = 1  # the run itself failed, though no test did
        return outcome
