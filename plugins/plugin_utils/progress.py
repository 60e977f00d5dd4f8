# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of a module that acts, shown while it runs."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from ansible.utils.display import Display

from ..module_utils._core.clock import utc_now
from ..module_utils._core.errors import HeadroomError
from ..module_utils._jobs.context import STORES, Context
from ..module_utils._jobs.follow import follow
from .controller_action import ControllerAction

display = Display()

# Read when the strategy loads the plugin: the process that runs the task later has no terminal.
TERMINAL = sys.stdout.isatty()


class FollowedAction(ControllerAction):
    """Follows the journal of its run: on a terminal, else only with -v; never in check mode, nor detached."""

    def _run_module(self, arguments: dict[str, Any], variables: dict[str, Any], *, wrap_async: bool) -> dict[str, Any]:
        shown = display.verbosity > 0 or (TERMINAL and not os.environ.get("CI"))
        if not shown or wrap_async or self._task.check_mode or not arguments.get("plan"):
            return super()._run_module(arguments, variables, wrap_async=wrap_async)
        context = Context(
            now=utc_now(),
            who="",
            run_id=arguments.get("run_id") or "",
            urls={name: url for name in STORES if (url := arguments.get(f"{name}_url"))},
        )
        try:
            arguments["run_id"] = context.run
        except HeadroomError:  # the module says it better
            return super()._run_module(arguments, variables, wrap_async=wrap_async)
        ended = threading.Event()
        thread = threading.Thread(
            target=follow,
            args=(context,),
            kwargs={"plan": arguments["plan"], "ended": ended, "tell": self._tell},
            daemon=True,
        )
        thread.start()
        try:
            return super()._run_module(arguments, variables, wrap_async=wrap_async)
        finally:
            ended.set()
            thread.join()

    def _tell(self, line: str) -> None:
        display.display(f"  {self._task.action.rpartition('.')[2]}: {line}")
