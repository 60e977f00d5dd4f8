# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory by price: a guest that was short of it has spent of its budget, whatever share of it was in use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.outcomes import OutcomeRows
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.partitions import Workers, gather
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.train import Course, train
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import TARGET_MAXIMUM, Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.outcomes import (
    HEADROOM,
    SPENT,
    UNIQUE_ID,
    read_outcomes,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan, Service
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import (
    MEMORY_MAJOR_FAULTS_PER_S,
    MEMORY_OOM_KILLS_PER_S,
    MEMORY_SWAP_BYTES_PER_S,
    MEMORY_USED_MIB,
    Series,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes

from .fleets import Fleet
from .test_models import NAMES, PER_DAY, VMS, demand, rows

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS, STEP = 10, timedelta(minutes=5)
CALM, AT_SIZE, SWAPS, KILLED, FAULTS, AT_EASE, UNSEEN = NAMES[:7]
KIB = 1024


def of_metric(table: pa.Table, metric: str) -> pa.Table:
    return table.set_column(1, "metric", pa.repeat(pa.scalar(metric), table.num_rows))


class Site:
    """A fleet whose guests have 1 of 4 GiB, ten days of which are known, and a model of memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", vms=VMS)
        use = np.clip(demand(DAYS, seed=1) / 4, 100, 700)
        for name in (CALM, SWAPS, KILLED, FAULTS, AT_EASE, UNSEEN):
            use[NAMES.index(name)] = 600.0
        use[NAMES.index(AT_SIZE)] = 600.0
        use[NAMES.index(AT_SIZE), -40:-20] = 963.0  # 94 % of 1024
        begin = NOW - DAYS * PER_DAY * STEP
        context = self.context()
        context.series.merge(of_metric(rows(use, NAMES, begin), MEMORY_USED_MIB))
        self.tell(MEMORY_SWAP_BYTES_PER_S, {SWAPS: 100 * KIB, AT_SIZE: 100 * KIB, CALM: 10 * KIB}, first=-40, last=-20)
        self.tell(MEMORY_OOM_KILLS_PER_S, {KILLED: 1 / 300}, first=-9, last=-8)
        self.tell(MEMORY_MAJOR_FAULTS_PER_S, {FAULTS: 150.0, CALM: 50.0}, first=-40, last=-20)
        # At all that it could ever have a want is nobody's fault, and an interval to come tells nothing yet.
        fields = {**self.fleet.fields("u13"), "live.memory_mib": 4096, "config.memory_mib": 4096}
        assert NAMES[5] == AT_EASE == "fake/u13"
        self.fleet.change("u13", fields=fields)
        self.tell(MEMORY_SWAP_BYTES_PER_S, {AT_EASE: 900 * KIB}, first=-40, last=-20)
        self.tell(MEMORY_SWAP_BYTES_PER_S, {UNSEEN: 900 * KIB}, first=0, last=5)
        self.snapshot = context.artifacts.put(take_snapshot(context))
        train(context, Course(share_percent=100), snapshot=self.snapshot, metrics=[MEMORY_USED_MIB])
        context.close()

    def context(self) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "state", "telemetry")}
        return Context(now=NOW, who="ann", run_id="test", endpoints=(self.fleet.endpoint,), urls=urls)

    def tell(self, metric: str, values: dict[str, float], *, first: int, last: int) -> None:
        """Store a sign of the same rate in some intervals, counted from now."""
        grid = np.repeat(np.array([list(values.values())]).T, last - first, axis=1)
        self.context().series.merge(of_metric(rows(grid, list(values), NOW + first * STEP), metric))

    def forecast(self, **options: Any) -> Forecast:
        context = self.context()
        usual = {
            "horizon_s": 3600, "interval_s": 300, "lead_s": 0, "history_s": 28 * 86400, "series_interval_s": 300,
            "quantiles": ("0.5", "0.9", "0.95", "0.98"), "target": TARGET_MAXIMUM, "series": None,
        }  # fmt: skip
        done = forecast_demand(context, snapshot=self.snapshot, **{**usual, **options})
        found = context.artifacts.get(Forecast, done.values["forecast"])
        self.digest = done.values["forecast"]
        context.close()
        return found

    def outcomes(self, made: Forecast) -> dict[str, tuple[float, float]]:
        """By VM: spent, and headroom."""
        found = read_outcomes(table_from_bytes(self.context().artifacts.get_bytes(made.outcomes)))
        both = zip(found.numbers[SPENT].tolist(), found.numbers[HEADROOM].tolist(), strict=True)
        return dict(zip(found.texts[UNIQUE_ID], both, strict=True))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def made(site: Site) -> Forecast:
    return site.forecast()


def services(site: Site, made: Forecast) -> dict[str, Service]:
    context = site.context()
    context.artifacts.put(made)
    done = plan(context, snapshot=site.snapshot, forecast=site.digest)
    decided = context.artifacts.get(Plan, done.values["plan"]).decisions
    context.close()
    return {one.unique_id: one.service for one in decided if one.resource == MEMORY_MIB and one.service}


def test_who_was_short_of_memory_has_spent_of_its_budget(site: Site, made: Forecast) -> None:
    found = services(site, made)
    settled = 7 * PER_DAY - 1 + PER_DAY  # an act could not have landed on the newest one yet; a day beside them
    spent = {name: found[name].spent_ppm for name in NAMES}
    assert {name for name, share in spent.items() if share} == {AT_SIZE, SWAPS, KILLED, FAULTS}
    assert spent[AT_SIZE] == spent[SWAPS] == spent[FAULTS] == pytest.approx(20e6 / settled, abs=1)
    assert spent[KILLED] == pytest.approx(1e6 / settled, abs=1)


def test_who_was_short_of_memory_gets_headroom(site: Site, made: Forecast) -> None:
    found = site.outcomes(made)
    assert {name for name, (_spent, headroom) in found.items() if headroom} == {AT_SIZE, SWAPS, KILLED, FAULTS}


def test_the_policy_says_what_counts(site: Site) -> None:
    text = "schema: headroom.sizing-policy/1\ndefaults: {memory: {calm_swap_kib_per_s: 101}}\n"
    kinder = text + "rules: [{name: own, match: {name: vm1}, set: {guard: {memory_used_percent: 95}}}]\n"
    found = site.outcomes(site.forecast(policy_text=kinder, policy_name="p.yml"))
    assert {name for name, (spent, _headroom) in found.items() if spent} == {KILLED, FAULTS}


def test_a_pinned_forecast_hears_what_it_heard(site: Site, made: Forecast) -> None:
    site.tell(MEMORY_SWAP_BYTES_PER_S, {NAMES[9]: 900 * KIB}, first=-40, last=-20)
    assert site.forecast(series=made.series).outcomes == made.outcomes
    before, after = site.outcomes(made), site.outcomes(site.forecast())
    assert after[NAMES[9]] > before[NAMES[9]] == (0.0, 0.0)
    assert {name: row for name, row in after.items() if name != NAMES[9]} == {
        name: row for name, row in before.items() if name != NAMES[9]
    }


def test_what_was_heard_is_the_same_in_partitions(site: Site, made: Forecast) -> None:
    context = site.context()
    header, seen = context.artifacts.get(Series, made.series), context.artifacts.get(Snapshot, site.snapshot)
    rows_of = OutcomeRows(context, seen, Request(now=NOW, metrics=(MEMORY_USED_MIB,)), default_policy())
    rows_of.hear(context.series.pinned(header))
    gather(rows_of, context.series, header, Workers(vms=5))
    assert rows_of.table() == table_from_bytes(context.artifacts.get_bytes(made.outcomes))
