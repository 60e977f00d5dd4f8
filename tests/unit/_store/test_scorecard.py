# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scorecard keeps. ``state_url`` is SQLite here; tests/integration runs the same on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, issued, pruning, scores, standings
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.issued import Issued
from ansible_collections.headroom.fleet.plugins.module_utils._store.overlay import open_rehearsal
from ansible_collections.headroom.fleet.plugins.module_utils._store.scores import Score
from ansible_collections.headroom.fleet.plugins.module_utils._store.standings import Standing

DAY_MS = 86_400_000
CPU, MEMORY = "cpu_millicores", "memory_used_mib"
SCORE = Score("e/a", CPU, 20_500, 12, 1, 2, 0.25, 0.5, 10.5, 12, 20_500 * DAY_MS + 3_600_000)
BAD = Standing("e/a", CPU, True, 20_500, "violations", "violated 2 % of 7 days, more than 1 %")
ISSUED = Issued("sha256:f1", "sha256:s1", "e", 1000, 2000, 5000, 300)


@pytest.fixture
def kept(state_url):
    opened = Database(state_url)
    yield opened
    opened.close()


def told(database, question, *arguments, **options):
    with database.transaction() as connection:
        return question(connection, *arguments, **options)


def stand(database, *changed):
    with database.transaction() as connection:
        standings.change(database, connection, changed, run_id="run", who="ann")


def all_days(database, *ids):
    return told(database, scores.days, ids, metrics=[CPU, MEMORY], first_day=0, last_day=10**6)


def test_figures_of_a_day_add_up(kept):
    later = replace(SCORE, scored=3, loss=0.5, until_ms=SCORE.until_ms + 3_600_000)
    told(kept, scores.add, [SCORE, replace(SCORE, metric=MEMORY)])
    told(kept, scores.add, [later])
    told(kept, scores.add, [])
    assert all_days(kept, "e/a", "e/none") == (
        replace(
            SCORE,
            scored=15,
            violated=2,
            missed=4,
            loss=0.75,
            naive_loss=1.0,
            covered=21.0,
            banded=24,
            until_ms=later.until_ms,
        ),
        replace(SCORE, metric=MEMORY),
    )


def test_days_and_vms_that_were_not_asked_for_stay_out(kept):
    rows = [replace(SCORE, day=SCORE.day + number) for number in range(4)]
    told(kept, scores.add, [*rows, replace(SCORE, unique_id="e/b")])
    span = {"first_day": SCORE.day + 1, "last_day": SCORE.day + 2}
    assert told(kept, scores.days, ["e/a"], metrics=[CPU], **span) == tuple(rows[1:3])
    assert told(kept, scores.days, ["e/a"], metrics=[MEMORY], **span) == ()


def test_how_far_each_was_looked_at(kept):
    newer = replace(SCORE, day=SCORE.day + 1, until_ms=SCORE.until_ms + DAY_MS)
    told(kept, scores.add, [SCORE, newer, replace(SCORE, unique_id="E/B", metric=MEMORY)])
    both = {("e/a", CPU): newer.until_ms, ("E/B", MEMORY): SCORE.until_ms}
    assert told(kept, scores.looked_until, since_day=0) == both
    assert told(kept, scores.looked_until, ["E/B", "e/c"], since_day=0) == {("E/B", MEMORY): SCORE.until_ms}
    assert told(kept, scores.looked_until, since_day=SCORE.day + 1) == {("e/a", CPU): newer.until_ms}


def test_totals_are_of_the_endpoints_asked_for(kept):
    others = [replace(SCORE, unique_id=name) for name in ("e/b", "e2/a", "f/a")]
    told(kept, scores.add, [SCORE, *others, replace(SCORE, day=SCORE.day - 30), replace(SCORE, metric=MEMORY)])
    cpu, memory = told(kept, scores.totals, endpoints=["e", "f", "none"], since_day=SCORE.day)
    assert (cpu.metric, cpu.series, cpu.scored, cpu.violated, cpu.missed, cpu.loss) == (CPU, 3, 36, 3, 6, 0.75)
    assert (type(cpu.scored), type(cpu.loss)) == (int, float)  # also where the database sums into decimals
    assert (memory.metric, memory.series, memory.covered, memory.banded) == (MEMORY, 1, 10.5, 12)
    assert told(kept, scores.totals, endpoints=["none"], since_day=0) == ()


def test_a_standing_and_its_audit_row_are_one_transaction(kept):
    other = replace(BAD, unique_id="e/b", metric=MEMORY)
    stand(kept, BAD, other)
    assert told(kept, standings.standings) == {("e/a", CPU): BAD, ("e/b", MEMORY): other}
    back = replace(BAD, demoted=False, since_day=20_508, code="returned", reason="7 days above all three")
    stand(kept, back)
    assert told(kept, standings.standings, ["e/a"]) == {("e/a", CPU): back}
    assert audit.verify(kept)[0] == 3
    with pytest.raises(HeadroomError):  # a row that the table refuses takes the others back with it
        stand(kept, BAD, replace(BAD, reason=None))
    assert told(kept, standings.standings, ["e/a"]) == {("e/a", CPU): back}
    assert audit.verify(kept)[0] == 3


def test_a_forecast_is_issued_once_and_the_newest_comes_first(kept):
    newer = replace(ISSUED, forecast="sha256:f0", first_ms=3000, until_ms=6000)
    for one in (ISSUED, newer, replace(ISSUED, snapshot="sha256:other")):
        told(kept, issued.note, one)
    assert told(kept, issued.reaching, since_ms=4999) == (newer, ISSUED)
    assert told(kept, issued.reaching, since_ms=5000) == (newer,)


def test_a_rehearsal_begins_with_all_of_it_and_gives_nothing_back(kept, state_url, tmp_path):
    told(kept, scores.add, [SCORE])
    told(kept, issued.note, ISSUED)
    stand(kept, BAD)
    copy = open_rehearsal(state_url, path=tmp_path / "overlay.db")
    assert all_days(copy, "e/a") == (SCORE,)
    assert told(copy, issued.reaching, since_ms=0) == (ISSUED,)
    stand(copy, replace(BAD, demoted=False))
    told(copy, scores.add, [SCORE])
    copy.close()
    assert (all_days(kept, "e/a"), told(kept, standings.standings)) == ((SCORE,), {("e/a", CPU): BAD})


def test_pruning_drops_old_days_and_standings_of_vms_that_are_gone(kept):
    before_ms = (SCORE.day + 5) * DAY_MS + 1
    young = replace(SCORE, day=SCORE.day + 5)
    told(kept, scores.add, [SCORE, replace(SCORE, day=SCORE.day + 4), young, replace(SCORE, unique_id="e/gone")])
    stand(kept, BAD, replace(BAD, unique_id="e/gone"), replace(BAD, unique_id="e/new", since_day=SCORE.day + 5))
    for one in (ISSUED, replace(ISSUED, forecast="sha256:f2", until_ms=before_ms)):
        told(kept, issued.note, one)
    removed = pruning.prune(kept, before_ms=before_ms, run_id="run", who="ann")
    assert (removed["score"], removed["standing"], removed["issued"]) == (3, 1, 1)
    assert all_days(kept, "e/a", "e/gone") == (young,)
    assert set(told(kept, standings.standings)) == {("e/a", CPU), ("e/new", CPU)}
