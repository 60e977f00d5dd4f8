# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the bench of sizing policies (tests/bench/sizing/bench.py), or with "tune" first its tuner (tune.py)."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def main() -> None:
    # One thread: CPU seconds are then the same on every machine, and another process is not slowed down.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path[0:0] = [str(CHECKOUT), scratch]
        if sys.argv[1:2] == ["tune"]:
            del sys.argv[1]
            from tests.bench.sizing import tune as program
        else:
            from tests.bench.sizing import bench as program
        program.main()


if __name__ == "__main__":
    main()
