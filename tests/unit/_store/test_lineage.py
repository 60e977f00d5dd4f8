# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What artifacts refer to, as their bytes say it."""

from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes, digest_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._store import lineage
from ansible_collections.headroom.fleet.plugins.module_utils._store.lineage import Lineage

ONE, TWO, THREE = (digest_bytes(data) for data in (b"1", b"2", b"3"))


def test_every_digest_counts_but_generations_of_vms() -> None:
    actions = [{"generation": TWO, "inverse": {"operation": ONE}}, {"generation": "7", "made_from": [THREE]}]
    data = canonical_bytes({"schema": "headroom.plan/9", "actions": actions, "text": f"as {ONE} has it"})
    assert lineage.read(data) == Lineage(frozenset({ONE, THREE}))
    assert lineage.read(b"schema: a policy, not JSON") == Lineage()


def test_a_series_header_names_its_telemetry_in_every_release() -> None:
    header = {"schema": "headroom.series/9", "table": "s3://b/t", "table_version": 7, "rows_digest": ONE, "later": [1]}
    assert lineage.read(canonical_bytes(header)) == Lineage(frozenset({ONE}), "s3://b/t", 7)
