# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops a process at one step of the apply engine, so that a test can kill it just there.

Python imports this file by itself when its folder is on PYTHONPATH. It watches the calls of the engine from outside:
the product has no switch for it. HEADROOM_KILL_STEP is FILE:FUNCTION:EVENT:COUNT ("_apply/engine.py:begin:return:1");
at that step the process writes its id to HEADROOM_KILL_MARK and waits until the mark is gone.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

STEP = os.environ.get("HEADROOM_KILL_STEP", "")


def _install(step: str, mark: Path) -> None:
    ending, function, event, count = step.split(":")
    seen = [0]

    def watch(frame: object, happened: str, _argument: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if happened != event or code.co_name != function or not code.co_filename.endswith(ending):
            return
        seen[0] += 1
        if seen[0] == int(count):
            part = mark.with_suffix(".part")
            part.write_text(str(os.getpid()))
            part.rename(mark)
            while mark.exists():
                time.sleep(0.01)

    threading.setprofile(watch)
    sys.setprofile(watch)


# Only the module's own process writes.
if STEP and any("AnsiballZ_" in argument for argument in sys.orig_argv):
    _install(STEP, Path(os.environ["HEADROOM_KILL_MARK"]))
