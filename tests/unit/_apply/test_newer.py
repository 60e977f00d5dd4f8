# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What newer plans mean for an act at the gate, asked by several workers."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.newer import NewerPlans
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._store import approvals, references
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from tests.functional.fleets import NOW, Fleet, action, plan


def test_a_newer_plan_and_an_approval_are_read_once_for_all_acts_and_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path / "fleet.json")
    acts = [action(fleet, f"u{n}", "vcpus.agent", 4, number=n) for n in range(3)]
    read: list[str] = []
    parsed: list[str] = []

    def load_plan(digest: str) -> Plan:
        read.append(digest)
        threading.Event().wait(0.2)  # a large plan: the other worker asks meanwhile
        return plan(*acts[:2], now=NOW + timedelta(minutes=1))

    def loads(text: str) -> list[str]:
        parsed.append(text)
        return list(json.JSONDecoder().decode(text))

    monkeypatch.setattr(json, "loads", loads)
    with closing(Database(str(tmp_path / "state.db"))) as database:
        with database.transaction() as connection:
            references.put(database, connection, "plan/lab", "sha256:newer")
            approvals.grant(database, connection, "sha256:p", who="ann", ttl_s=60, actions=["a0000"])
        newer = NewerPlans(plan(*acts), approvals.Approved("sha256:p"), load_plan)

        def check(number: int) -> str:
            try:
                newer.check(acts[number], database)
            except RefusedError as refusal:
                return refusal.code
            return ""

        with ThreadPoolExecutor(max_workers=2) as pool:
            assert list(pool.map(check, (0, 1, 2))) == ["", "superseded", ""]
    assert read == ["sha256:newer"]
    assert parsed == ['["a0000"]']
