# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leases of one run over several endpoints."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms, held
from ansible_collections.headroom.fleet.plugins.module_utils._store import leases
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database


def test_a_lease_is_renewed_while_the_run_waits_for_the_next_one(tmp_path: Path) -> None:
    with closing(Database(str(tmp_path / "state.db"))) as database:
        leases.acquire(database, "b", holder="a run that died", ttl_s=4.5)
        with held(database, ("a", "b"), run_id="r", terms=LeaseTerms(ttl_s=3, wait_s=30)) as tokens:
            for endpoint, token in tokens.items():
                with database.transaction() as connection:
                    leases.check(database, connection, endpoint, token=token)
    assert sorted(tokens) == ["a", "b"]
