# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Python's collector of cycles, kept away from what has none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def many_records() -> Iterator[None]:
    """For making records by the hundred thousand: they are not looked through for cycles, neither now nor later.

    All that there is at the end still goes when nobody refers to it; only cycles among it stay.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
