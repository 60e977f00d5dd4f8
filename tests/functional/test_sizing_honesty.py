# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""No policy of the sizing bench sees what it could not have known: through the bench's own entry point.

Policies come from the bench's table, so that one more policy is tested by being there. Only the oracle is left out.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import OperatingPoint
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import LEARNT_WITH, train_sizer
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import decisions_table
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import ReplayProtocol
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace
from tests.bench.sizing import ours
from tests.bench.sizing.run import decisions, fleet, operating_points, point_of, run
from tests.bench.sizing.table import ROWS, entries

pytestmark = pytest.mark.arithmetic

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, STEP_S, PER_DAY = 4, 300, 288
FIRST = 5 * PER_DAY // 2  # the careful profile shrinks nothing on its first day: a day and a half are scored
NAMES = [f"vm-{number:02}" for number in range(6)]
NEWCOMER = "vm-99"
PROTOCOL = ReplayProtocol(
    scored_from=START + timedelta(days=2.5), scored_to=START + timedelta(days=DAYS), report_ids=(*NAMES, NEWCOMER)
)
BASE_ROWS = [row for row in ROWS if not row.burst]
POINTS = operating_points()
# Every target and lead at five moments; the same policies within wrappers at one.
MOMENTS = [(row, FIRST + ticks) for row in BASE_ROWS for ticks in ((350,) if row.variant else (0, 1, 12, 137, 350))]


def samples(days=DAYS):
    """Demand of a floor, rhythm and bursts, [V, T], percent of capacity; capacity [V, T]."""
    rng = np.random.default_rng(7)
    steps = np.arange(days * PER_DAY)
    level = rng.uniform(3, 25, (len(NAMES), 1))
    rhythm = 1 + 0.8 * np.sin(steps / PER_DAY * 2 * np.pi + rng.uniform(0, 6, (len(NAMES), 1)))
    burst = rng.random((len(NAMES), len(steps))) < 0.02
    percent = np.clip(level * rhythm * rng.gamma(8, 1 / 8, rhythm.shape) + 60 * burst, 0, 110)
    capacity = np.repeat([1, 2, 4, 8, 2, 4], len(steps)).reshape(percent.shape)
    return percent, capacity


def table(percent, capacity, extra=()):
    """Samples as a table of the trace's schema; NaN percent: no row. extra: rows of (VM, column, percent, vcpus)."""
    row, column = np.nonzero(~np.isnan(percent))
    names = [NAMES[vm] for vm in row] + [name for name, *_unused in extra]
    column = np.concatenate([column, np.array([at for _unused, at, *_rest in extra], dtype=int)])
    use = np.concatenate([percent[~np.isnan(percent)], [float(value) for *_unused, value, _vcpus in extra]])
    vcpus = np.concatenate([capacity[~np.isnan(percent)], np.array([had for *_unused, had in extra], dtype=int)])
    start_us = int(START.timestamp()) * 1_000_000
    return pa.table(
        {
            "unique_id": pa.array(names, pa.string()),
            "ds": pa.array(start_us + column * STEP_S * 1_000_000, pa.timestamp("us", "UTC")),
            "vcpus": pa.array(vcpus, pa.int16()),
            "cpu_pct": pa.array(use, pa.float32()),
            "mem_capacity_kb": pa.array(vcpus * 2.0**20, pa.float32()),
            "mem_used_kb": pa.array(use / 100 * vcpus * 2.0**20, pa.float32()),
        }
    )


@cache
def learnt(target, lead, every):
    """What a sizer has learnt on another fleet, where a model of outcomes is given to it."""
    rng = np.random.default_rng(3)
    shape = (40, 10 * PER_DAY)
    level = rng.uniform(0.03, 0.3, (shape[0], 1)) * (1 + 0.5 * np.sin(np.arange(shape[1]) / PER_DAY * 2 * np.pi))
    use = np.clip(level * rng.gamma(4, 1 / 4, shape) + 0.5 * (rng.random(shape) < 0.01), 0, 1)
    capacity = np.full(shape, 4.0 if target == "cpu" else 4096.0)
    names = tuple(f"other-{number:02}" for number in range(shape[0]))
    past = Trace(names, START - timedelta(days=30), use * capacity, capacity, 0.05 * capacity)
    return train_sizer(past, LEARNT_WITH[target], lead=lead, every=every)


def policies(row):
    """Each policy that sees no future, with a point to play at."""
    given = partial(ours.outcome, trained=lambda context: learnt(context.target, context.lead, context.every))
    for entry in entries(row):
        if not entry.sees_future:
            point = point_of(entry, row, POINTS) or entry.start
            yield (replace(entry, make=given) if entry.name == ours.NAME else entry), point


def issued(rows, *, until=None, of=None):
    """Decisions as bytes of the columns, those issued at or before a moment, of some VMs."""
    if until is not None:
        rows = rows.filter(pc.less_equal(rows["issued_at"], pa.scalar(until, pa.timestamp("us", "UTC"))))
    if of is not None:
        rows = rows.filter(pc.is_in(rows["unique_id"], value_set=pa.array(of)))
    return [tuple(rows["unique_id"].to_pylist()), *(rows[name].to_numpy().tobytes() for name in rows.column_names[1:])]


@pytest.fixture(scope="module")
def honest():
    """The decisions of every row and policy on the samples as they are."""
    rows = table(*samples())
    return {
        (row.name, entry.name): decisions(rows, PROTOCOL, row, entry, point)
        for row in BASE_ROWS
        for entry, point in policies(row)
    }


@pytest.mark.parametrize("row", BASE_ROWS, ids=lambda row: row.name)
def test_there_are_decisions_to_compare(honest, row):
    """Each VM is ordered what it has at first: what counts comes after that, and is less."""
    had = dict(zip(NAMES, samples()[1][:, 0] * (1 if row.target == "cpu" else 1024), strict=True))
    begin = PROTOCOL.scored_from.timestamp()
    moves = {}
    for entry, _unused in policies(row):
        rows = [one for one in honest[row.name, entry.name].to_pylist() if one["unique_id"] in had]
        assert len(rows) >= len(NAMES), entry.name
        later = [one for one in rows if one["issued_at"].timestamp() > begin]
        moves[entry.name] = any(one["allocation"] < 0.99 * had[one["unique_id"]] for one in later)
    assert moves[ours.NAME]
    assert sum(moves.values()) > len(moves) // 2


@pytest.mark.parametrize(("row", "column"), MOMENTS, ids=lambda one: getattr(one, "name", str(one)))
def test_nothing_later_is_known(honest, row, column):
    """Values, capacity, presence and VMs at and after a tick are others: no decision issued until then is."""
    rng = np.random.default_rng(column)
    percent, capacity = samples()
    after = slice(column, None)
    percent[:, after] = rng.uniform(0, 110, percent[:, after].shape)
    percent[:, after][rng.random(percent[:, after].shape) < 0.2] = np.nan
    percent[0, after] = np.nan
    capacity[:, after] = rng.integers(1, 16, capacity[:, after].shape)
    extra = [(NEWCOMER, at, 50, 2) for at in range(column, DAYS * PER_DAY)]
    extra += [(NAMES[1], at, 3, 1) for at in range(DAYS * PER_DAY, DAYS * PER_DAY + 50)]
    rewritten = table(percent, capacity, extra)
    until = START + timedelta(seconds=column * STEP_S)
    for entry, point in policies(row):
        now = decisions(rewritten, PROTOCOL, row, entry, point)
        assert issued(now, until=until) == issued(honest[row.name, entry.name], until=until), entry.name


def test_neither_does_training_know_anything_later():
    """Headroom as it is run on a foreign fleet: a model and a point from the days before the window, and no more."""
    row, first = BASE_ROWS[0], 10 * PER_DAY
    entry = next(entry for entry in entries(row) if entry.name == ours.NAME)
    begin = START + timedelta(days=10)
    protocol = ReplayProtocol(scored_from=begin, scored_to=begin + timedelta(hours=6), report_ids=(*NAMES, NEWCOMER))

    def done(percent, capacity, extra=()):
        of = fleet(table(percent, capacity, extra), protocol, row.target, "report", foreign=True)
        context = of.context(row, future=False)
        outcome = run(entry, row, ours.START, of)
        known = ours.trained(context)
        point = ours.played_at(OperatingPoint.of(ours.START), context, known)
        return decisions_table(outcome.trace, outcome.replayed, lead=0), known.model.digest, point

    percent, capacity = samples(11)
    before, *learnt_before = done(percent, capacity)
    after = slice(first, None)
    percent[:, after] = np.random.default_rng(1).uniform(0, 110, percent[:, after].shape)
    capacity[:, after] = 16
    now, *learnt_now = done(percent, capacity, [(NEWCOMER, at, 50, 2) for at in range(first, 11 * PER_DAY)])
    assert learnt_now == learnt_before
    assert issued(now, until=begin) == issued(before, until=begin)
    assert (np.array(before["allocation"]) < 0.99 * 8).any()


@pytest.mark.parametrize("row", BASE_ROWS, ids=lambda row: row.name)
def test_demand_above_the_own_size_is_not_seen(honest, row):
    """Where demand lies above the effective size it is raised to capacity: no decision changes."""
    percent, capacity = samples()
    raised = {}
    for entry, point in policies(row):
        of = fleet(table(percent, capacity), PROTOCOL, row.target, "report")
        outcome = run(entry, row, point, of)
        allocation = outcome.replayed.allocation
        above = (outcome.trace.demand > allocation) & (allocation < outcome.trace.capacity * (1 - 1e-6))
        above[:, :FIRST] = False
        raised[entry.name] = bool(above.any())
        now = decisions(table(np.where(above, 110, percent), capacity), PROTOCOL, row, entry, point)
        assert issued(now) == issued(honest[row.name, entry.name]), entry.name
    assert raised[ours.NAME]
    assert sum(raised.values()) > 2


@pytest.mark.parametrize("row", BASE_ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("bad", ["negative", "full", "absent", "capacity", "infinite"])
def test_one_vm_does_not_touch_another(honest, row, bad):
    percent, capacity = samples()
    ruin = {
        "negative": (-50.0, None),
        "full": (100.0, None),
        "absent": (np.nan, None),
        "capacity": (None, 4000),
        "infinite": (np.inf, None),
    }
    use, had = ruin[bad]
    percent[2] = percent[2] if use is None else use
    capacity[2] = capacity[2] if had is None else had
    others = [name for name in NAMES if name != NAMES[2]]
    for entry, point in policies(row):
        now = decisions(table(percent, capacity), PROTOCOL, row, entry, point)
        assert issued(now, of=others) == issued(honest[row.name, entry.name], of=others), entry.name


def test_a_burst_hits_a_whole_pool_at_once():
    row = next(row for row in ROWS if row.burst)
    protocol = replace(PROTOCOL, pools=(tuple(NAMES[:3]),))
    of = fleet(table(*samples()), protocol, row.target, "report")
    entry, point = next(policies(row))
    burst = run(entry, row, point, of).trace
    more = burst.demand > of.chosen.demand
    assert more[:3, FIRST:].any(axis=1).all()
    assert not more[3:].any()
    assert not more[:, :FIRST].any()
    both = more[:3].sum(axis=0)
    assert (both[both > 0] >= 2).mean() > 0.9
