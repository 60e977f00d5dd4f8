# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command, wait for a predicate, say what happens: the verbs that everything in the lab is made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from settings import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


AGENT_TIMEOUT_S = 20
_STARTED = time.monotonic()


def say(text: str) -> None:
    """Print one line of progress with the seconds since the start; on stderr, for stdout belongs to the answer."""
    print(f"[lab {time.monotonic() - _STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def run(*argv: object, timeout_s: float = 60, cwd: object = None) -> str:
    """Return what the command prints; raise LabError with its own words when it fails, is missing or takes too long."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            cwd=None if cwd is None else str(cwd),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{words[0]} is not installed (tests/lab/packages.txt lists what the lab needs)", code=3
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no answer within {timeout_s:g} s: {' '.join(words)[:200]}") from error
    if done.returncode:
        raise LabError(f"{' '.join(words)[:200]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_until(predicate: Callable[[], bool], *, what: str, timeout_s: float, step_s: float = 0.1) -> None:
    """Return once the predicate holds; raise LabError naming what was waited for after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout_s:g} s")
        time.sleep(step_s)


class Virsh:
    """virsh on one connection."""

    def __init__(self, uri: str) -> None:
        """Remember the URI; nothing is opened before the first call."""
        self.uri = uri

    def __call__(self, *argv: object, timeout_s: float = 60) -> str:
        """Run one virsh command and return its output, stripped."""
        return run("virsh", "-q", "-c", self.uri, *argv, timeout_s=timeout_s).strip()

    def answers(self, *argv: object, timeout_s: float = 10) -> bool:
        """Whether the command succeeds; why not is of no interest: it is asked again."""
        try:
            self(*argv, timeout_s=timeout_s)
        except LabError as error:
            if error.code != 1:
                raise
            return False
        return True

    def agent(self, guest: str, command: str, **arguments: Any) -> Any:
        """Call the guest agent and return the ``return`` of its answer."""
        request = {"execute": command, "arguments": arguments}
        answer = self("qemu-agent-command", guest, json.dumps(request), "--timeout", AGENT_TIMEOUT_S)
        return json.loads(answer)["return"]

    def names(self, *options: str) -> Sequence[str]:
        """Names of the domains that ``virsh list`` shows with these options."""
        return self("list", "--name", *options).split()
