# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo with the load of two guests exchanged: ``make run`` itself shows the other way round."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[1] / "demo/run"

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What SWAP=1 prints, and the folder of its stores."""
    root = tmp_path_factory.mktemp("demo")
    environment = {
        **os.environ,
        "SWAP": "1",
        "HEADROOM_DEMO": str(root / "stage"),
        "HEADROOM_COLLECTIONS": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run([sys.executable, RUN], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, root / "stage"


def changes(text: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Rows of the table: (VM, unit) -> what libvirt said before and after."""
    rows = re.findall(r"^  (\w+) +(vCPU|MiB|millicores) +(\w+) -> (\w+) +(\w+) -> (\w+)$", text, re.MULTILINE)
    assert all(row[2:4] == row[4:6] for row in rows)
    return {(name, unit): (before, after) for name, unit, before, after, *_unused in rows}


def test_the_guest_that_is_busy_now_grows_and_the_other_shrinks(shown: tuple[str, Path]) -> None:
    found = changes(shown[0])
    assert found["batch1", "vCPU"] == ("2", "3")
    assert found["db1", "vCPU"] == ("2", "1")


def test_limits_are_set_where_demand_leaves_room(shown: tuple[str, Path]) -> None:
    limits = {
        name: (before, int(after)) for (name, unit), (before, after) in changes(shown[0]).items() if "milli" in unit
    }
    assert all(before == "none" and after >= 250 for before, after in limits.values())
    assert all(limits[name][1] < 1000 for name in ("db1", "web1", "web2", "idle1"))
    used = re.findall(r"(\w+) +(\d+) millicores in \d+ s; its limit is (\d+)", shown[0])
    assert {name: int(limit) for name, _unused, limit in used} == {
        name: after for name, (_none, after) in limits.items()
    }


def test_it_ends_with_its_proofs_and_a_report(shown: tuple[str, Path]) -> None:
    text, root = shown
    for words in (
        "it plans zero actions",
        "actions are already_done",
        "batch1: the interval of",
        "db1: the interval of",
    ):
        assert words in text
    page = (root / "report/index.html").read_text(encoding="utf-8")
    assert "2 → 3 vCPU" in page
    assert 'class="line-past" d="M' in page
