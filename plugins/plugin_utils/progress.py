# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a module, shown while it runs."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.display import Display

from ..module_utils._core.clock import utc_now
from ..module_utils._core.errors import HeadroomError
from ..module_utils._jobs.context import STORES, Context
from ..module_utils._jobs.follow import follow
from .controller_action import ControllerAction

display = Display()

# Read when the strategy loads the plugin: the process that runs the task later has no terminal.
TERMINAL = sys.stdout.isatty()

LEAST_PAUSE_S = 5.0
MOST_LINES = 10
LOOK_S = 0.5


class ShownAction(ControllerAction):
    """Shows progress beside its module: on a terminal, else only with -v; never of a module that is detached."""

    def _run_module(self, arguments: dict[str, Any], variables: dict[str, Any], *, wrap_async: bool) -> dict[str, Any]:
        shown = display.verbosity > 0 or (TERMINAL and not os.environ.get("CI"))
        watch = self._watcher(arguments) if shown and not wrap_async else None
        if watch is None:
            return super()._run_module(arguments, variables, wrap_async=wrap_async)
        ended = threading.Event()
        thread = threading.Thread(target=watch, args=(ended,), daemon=True)
        thread.start()
        try:
            return super()._run_module(arguments, variables, wrap_async=wrap_async)
        finally:
            ended.set()
            thread.join()

    @abstractmethod
    def _watcher(self, arguments: dict[str, Any]) -> Callable[[threading.Event], None] | None:
        """What tells of the progress until the event; None: nothing is to be told."""

    def _tell(self, line: str) -> None:
        display.display(f"  {self._task.action.rpartition('.')[2]}: {line}")


class FollowedAction(ShownAction):
    """Follows the journal of its run; not in check mode, which writes none."""

    def _watcher(self, arguments: dict[str, Any]) -> Callable[[threading.Event], None] | None:
        if self._task.check_mode or not arguments.get("plan"):
            return None
        context = Context(
            now=utc_now(),
            who="",
            run_id=arguments.get("run_id") or "",
            urls={name: url for name in STORES if (url := arguments.get(f"{name}_url"))},
        )
        try:
            arguments["run_id"] = context.run
        except HeadroomError:  # the module says it better
            return None
        return lambda ended: follow(context, plan=arguments["plan"], ended=ended, tell=self._tell)


class NotedAction(ShownAction):
    """Tells what its module writes, a line at each step, into the file that the option ``progress_file`` names."""

    def _watcher(self, arguments: dict[str, Any]) -> Callable[[threading.Event], None] | None:
        if arguments.get("progress_file"):
            return None
        with tempfile.NamedTemporaryFile(prefix="headroom-progress-", delete=False) as made:
            arguments["progress_file"] = made.name
        return lambda ended: self._read(Path(made.name), ended)

    def _read(self, path: Path, ended: threading.Event) -> None:
        over = False
        with path.open(encoding="utf-8") as lines:
            while not over:
                over = ended.wait(LOOK_S)  # what was written last is told too
                for line in lines:
                    self._tell(line.rstrip())
        path.unlink()


class TimedAction(ShownAction):
    """Tells how much of the time is over that its module takes by intention; nothing is asked for it."""

    # The option that is this time in seconds, and what it is by default.
    DURATION: ClassVar[tuple[str, float]]
    # With one of these options it is another task, of unknown length.
    NOT_WITH: ClassVar[tuple[str, ...]] = ()

    def _watcher(self, arguments: dict[str, Any]) -> Callable[[threading.Event], None] | None:
        option, default = self.DURATION
        try:
            duration_s = float(arguments.get(option) or default)
        except (TypeError, ValueError):  # the module says it better
            return None
        if any(arguments.get(name) for name in self.NOT_WITH):
            return None
        return lambda ended: self._count(duration_s, ended)

    def _count(self, duration_s: float, ended: threading.Event) -> None:
        begin = time.monotonic()
        every_s = max(LEAST_PAUSE_S, duration_s / MOST_LINES)
        self._tell(f"takes {duration_s:g} s")
        while not ended.wait(every_s) and (passed_s := time.monotonic() - begin) < duration_s:
            self._tell(f"{passed_s:.0f} of {duration_s:g} s")
