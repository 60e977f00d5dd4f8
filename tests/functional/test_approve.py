# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approving again what is approved already."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve
from ansible_collections.headroom.fleet.plugins.module_utils._store import approvals

from .bench import Bench
from .fleets import action, plan


@pytest.mark.safety(rule=9)
@pytest.mark.parametrize(
    ("who", "ttl_s", "age_s", "changed"),
    [
        ("ann", 3600, 0, False),
        ("ann", 3600, 1800, False),  # the same again, some time later
        ("ann", 60, 0, False),
        ("ann", 7200, 0, True),
        ("ann", 1900, 1800, True),  # a shorter one that ends later
        ("ann", 3600, 3601, True),  # the first has run out
        ("bob", 60, 0, True),
    ],
)
def test_only_a_longer_approval_is_added(
    bench: Bench, tmp_path: Path, *, who: str, ttl_s: int, age_s: int, changed: bool
) -> None:
    digest = bench.artifacts.put(plan(action(bench.fleet, "u0", "memory.balloon", 512, mode="approve")))
    context = bench.context(tmp_path)
    assert approve(context, plan=digest, ttl_s=3600).changed
    with bench.database.transaction() as connection:
        aged = "UPDATE approval SET at_ms = at_ms - :age_ms, expires_at_ms = expires_at_ms - :age_ms"
        connection.execute(sqlalchemy.text(aged), {"age_ms": age_s * 1000})
    again = dataclasses.replace(context, who=who)
    assert approve(again, plan=digest, ttl_s=ttl_s).changed == changed
    with bench.database.transaction() as connection:
        found = approvals.of_plan(connection, digest)
    assert len(found) == 1 + changed
    assert (found[-1].expires_at_ms - found[-1].at_ms, found[-1].who) == (
        (ttl_s if changed else 3600) * 1000,
        who if changed else "ann",
    )
    assert not approve(again, plan=digest, ttl_s=ttl_s).changed
