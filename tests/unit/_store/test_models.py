# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How versions of models stand: kept with their reason, audited, copied into a rehearsal, pruned once they are over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.model import Key, Version
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, models, pruning
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal

from .test_controllers import at_once, events

KEY = Key("outcome", "cpu_millicores", 300)
CANDIDATE = Version(KEY, "sha256:a", "candidate", 0, made_ms=1000, since_ms=1000, reason="trained")


@pytest.fixture
def database(state_url):
    opened = Database(state_url)
    yield opened
    opened.close()


def put(database, version):
    with database.transaction() as connection:
        models.put(database, connection, version, run_id="run", who="ann")


def of(database, key=KEY):
    with database.transaction() as connection:
        return models.of(connection, key)


def test_a_version_stands_as_it_was_put_last_and_the_log_tells_each_step(database):
    put(database, CANDIDATE)
    canary = replace(CANDIDATE, status="canary", share_ppm=100_000, since_ms=2000, reason="on trial")
    put(database, canary)
    assert of(database) == [canary]
    with database.transaction() as connection:
        assert models.every(connection) == [canary]
    assert audit.verify(database)[0] == 2


def test_the_newest_comes_first_and_keys_are_apart(database):
    newer = replace(CANDIDATE, model="sha256:b", made_ms=2000)
    elsewhere = replace(CANDIDATE, key=replace(KEY, lead_s=3600))
    for version in (CANDIDATE, newer, elsewhere):
        put(database, version)
    assert of(database) == [newer, CANDIDATE]
    assert of(database, elsewhere.key) == [elsewhere]


def test_a_rehearsal_has_them_too(database, state_url, tmp_path):
    put(database, CANDIDATE)
    copy = open_rehearsal(state_url, path=tmp_path / "copy.db")
    assert of(copy) == [CANDIDATE]
    copy.close()


def test_what_is_over_is_pruned_by_its_age_and_all_others_keep_their_artifacts(database):
    for number, status in enumerate(("candidate", "canary", "current", "retired", "rolled_back")):
        put(database, replace(CANDIDATE, model=f"sha256:{number}", status=status))
    put(database, replace(CANDIDATE, model="sha256:young", status="retired", since_ms=5000))
    assert pruning.prune(database, before_ms=4000, run_id="r", who="ann")["model"] == 2
    left = {version.model for version in of(database)}
    assert left == {"sha256:0", "sha256:1", "sha256:2", "sha256:young"}
    with database.transaction() as connection:
        assert left <= pruning.needed(connection, since_ms=9000)


def claim(url, name):
    """Become the canary, unless somebody is."""
    database = Database(url)
    with database.transaction() as connection:
        free = not any(version.status == "canary" for version in models.of(connection, KEY))
        if free:
            version = replace(CANDIDATE, model=name, status="canary")
            models.put(database, connection, version, run_id=name, who="ann")
    database.close()
    return free


def test_of_several_controllers_one_starts_the_trial(state_url):
    won = at_once(claim, *((state_url, f"sha256:{number}") for number in range(4)))
    assert sorted(won) == [False, False, False, True]
    assert [event for event, _unused in events(state_url)] == ["model.canary"]
