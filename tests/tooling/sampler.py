# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of the role sampler as a module: it is a program of its own, in no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).parents[2] / "roles/sampler/files/headroom_sampler.py"


def load() -> ModuleType:
    """Import the program."""
    spec = importlib.util.spec_from_file_location("headroom_sampler", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module
