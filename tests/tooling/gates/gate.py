# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gate: a named check of the whole project, the commands it runs and what came of them."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_TIMEOUT_S = 40 * 60  # the whole of `make test` has 25 minutes; what hangs ends before the patience of CI


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
    def copy_root(self) -> Path:
        """A folder for ANSIBLE_COLLECTIONS_PATH with a copy of the checkout: ansible-test refuses a symlink."""
        return self.scratch / "copy"

    @property
    def copy(self) -> Path:
        return self.copy_root / "ansible_collections/headroom/fleet"

    @property
    def tools(self) -> Path:
        return self.checkout / "tests/tooling"


@dataclass
class Outcome:
    """What came of one gate; the functions of gates fill it in."""

    place: Place
    lines: list[str] = field(default_factory=list)  # output of the commands
    problems: list[str] = field(default_factory=list)
    on: str = ""  # Python and ansible-core, for the matrix
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    counted: bool = False  # by a test runner; else the gate itself counts as one
    seconds: float = 0.0

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
        try:
            done = subprocess.run(
                words,
                cwd=cwd or self.place.checkout,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                timeout=COMMAND_TIMEOUT_S,
            )
        except FileNotFoundError:
            done = subprocess.CompletedProcess(words, 127, f"{words[0]}: not found\n")
        except subprocess.TimeoutExpired:
            done = subprocess.CompletedProcess(words, 124, f"ended after {COMMAND_TIMEOUT_S} s\n")
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
    alone: bool = False  # wants the machine to itself

    def run(self, place: Place) -> Outcome:
        outcome = Outcome(place)
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
