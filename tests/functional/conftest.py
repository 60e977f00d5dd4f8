# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the fake platform share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh fleet of three VMs on one host."""
    from .bench import Bench  # the collection can be imported only once pytest is configured

    return Bench(tmp_path)
