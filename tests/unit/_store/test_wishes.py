# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of what plans wanted. ``state_url`` is SQLite here; tests/integration runs the same on PostgreSQL."""

from __future__ import annotations

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.wishes import Wish, Wishes
from ansible_collections.headroom.fleet.plugins.module_utils._store import pruning, wishes
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal

CPU, MEMORY = ("e/a", "vcpus"), ("e/a", "memory_mib")
ONE = Wishes(1_700_000_000_000, (Wish(1_700_000_000_000, 8), Wish(1_700_003_600_000, 4)))


@pytest.fixture
def asked(state_url):
    opened = Database(state_url)
    yield opened
    opened.close()


def put(database, *, now_ms=1_700_003_600_000, **values):
    with database.transaction() as connection:
        wishes.put(connection, {("e/a", resource): one for resource, one in values.items()}, now_ms=now_ms)


def known(database):
    with database.transaction() as connection:
        return wishes.known(connection)


def test_of_each_resource_the_newest_is_kept(asked):
    assert known(asked) == {}
    put(asked)
    put(asked, vcpus=ONE, memory_mib=Wishes(5))
    assert known(asked) == {CPU: ONE, MEMORY: Wishes(5)}
    newer = Wishes(5, (Wish(6, 1024),))
    put(asked, memory_mib=newer)
    assert known(asked) == {CPU: ONE, MEMORY: newer}


@pytest.mark.safety(rule=1)
def test_a_rehearsal_wishes_on_a_copy(asked, state_url, tmp_path):
    put(asked, vcpus=ONE)
    copy = open_rehearsal(state_url, path=tmp_path / "overlay.db")
    assert known(copy) == {CPU: ONE}
    put(copy, vcpus=Wishes(7))
    copy.close()
    assert known(asked) == {CPU: ONE}


def test_pruning_forgets_whom_no_plan_asked_since(asked):
    put(asked, vcpus=ONE, now_ms=99)
    put(asked, memory_mib=Wishes(5), now_ms=100)
    removed = pruning.prune(asked, before_ms=100, run_id="run", who="ann")
    assert removed["wish"] == 1
    assert set(known(asked)) == {MEMORY}
