# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake fleet with its stores, for tests of the apply engine and of the jobs around it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._apply.run import Run, apply_plan, recover
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database

from .fleets import NOW, Fleet

STOP = threading.Event()  # never set
TERMS = LeaseTerms(ttl_s=5, wait_s=0)


class Bench:
    """One fleet and its stores."""

    def __init__(self, tmp_path: Path) -> None:
        self.fleet = Fleet(tmp_path / "fleet.json")
        self.artifacts = ArtifactStore(str(tmp_path / "artifacts"))
        self.database = Database(str(tmp_path / "state.db"))
        self.runs = 0

    def run(self, **values: Any) -> Run:
        """A new run with short leases."""
        self.runs += 1
        return Run(
            database=self.database,
            endpoints={self.fleet.endpoint.name: self.fleet.endpoint},
            load_plan=self.load_plan,
            run_id=f"run{self.runs}",
            who="tester",
            terms=TERMS,
            clock=lambda: NOW,
            **values,
        )

    def load_plan(self, digest: str) -> Plan:
        """A stored plan."""
        return self.artifacts.get(Plan, digest)

    def context(self, tmp_path: Path) -> Context:
        """Surroundings of a job on the same fleet and stores."""
        urls = {"artifacts": str(tmp_path / "artifacts"), "state": str(tmp_path / "state.db")}
        return Context(now=NOW, who="ann", endpoints=(self.fleet.endpoint,), urls=urls)

    def apply(self, made: Plan, **values: Any) -> Receipt:
        """Store the plan and apply it."""
        return apply_plan(self.run(**values), made, plan_digest=self.artifacts.put(made))

    def recover(self) -> Receipt:
        """Settle what earlier runs left open."""
        receipt, broken = recover(self.run())
        if broken:
            raise broken
        return receipt


def ends(receipt: Receipt) -> list[tuple[str, str]]:
    """(state, code) of each outcome."""
    return [(outcome.state, outcome.code) for outcome in receipt.outcomes]
