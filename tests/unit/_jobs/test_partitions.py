# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in partitions: the same bytes here and through a real cluster of two workers, however it is cut."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import recurrent
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.features import VERSION
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome_model import examples
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome_model import train as learn_outcomes
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import Clock
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.tree_text import essential
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import partitions, telemetry
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.models import decimals, libraries
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.outcomes import OutcomeRows
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.partitions import Workers, gather
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import moment_of
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import CPU_POINT
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import CURRENT, OUTCOME, Key, Model, Version
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._store import models
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes

pytestmark = pytest.mark.arithmetic

NOW = datetime(2026, 3, 2, tzinfo=UTC)
STEP_S, DAY, WEEK, EVERY = 300, 288, 2016, 12
VMS = 40
NAMES = [f"fake/u{number:02}" for number in range(VMS)]


def demand() -> np.ndarray:
    """Use [V, T] in vCPU of eight days: a level, noise and bursts of an hour."""
    rng = np.random.default_rng(5)
    bursts = np.repeat(rng.random((VMS, (WEEK + DAY) // 12)) < 0.05, 12, axis=1)
    return np.clip(rng.uniform(0.1, 1, (VMS, 1)) * rng.gamma(20, 1 / 20, bursts.shape) + bursts, 0, 4).round(3)


def vm(unique_id: str) -> VM:
    return VM(
        unique_id=unique_id, endpoint="fake", name=unique_id, host_id="fake/h", host_set="fake", power="running",
        vcpus=4, memory_mib=4096, generation="g", fields={},
    )  # fmt: skip


def model(context: Context) -> Model:
    """Learnt from the hours of the day before the last."""
    use, rng = demand(), np.random.default_rng(0)
    capacity, floor = np.full(VMS, 4.0), np.full(VMS, 0.05)
    parts = []
    for tick in range(WEEK, WEEK + DAY - EVERY - 1, EVERY):
        past = use[:, tick - WEEK : tick]
        of = moment_of(past, past > 9, capacity, step_s=STEP_S, lead=1, now=NOW)
        parts.append(examples(of, use[:, tick + 1 : tick + 1 + EVERY], floor, jump=2.4, rng=rng))
    found = learn_outcomes(parts, step_s=STEP_S, lead=1, seed=0)
    return Model(
        purpose=OUTCOME, metric=CPU_MILLICORES, target="maximum", interval_s=STEP_S, lead_s=STEP_S,
        every_s=EVERY * STEP_S, start=format_utc(NOW - timedelta(days=8)), end=format_utc(NOW), rows_digest="",
        vms=VMS, rows=found.rows, features=found.features, feature_version=VERSION, libraries=libraries(), seed=0,
        parameters={}, point=decimals(asdict(CPU_POINT)),
        trees=tuple(context.artifacts.put_bytes(essential(text).encode()) if text else "" for text in found.trees),
        expected=(),
    )  # fmt: skip


class Site:
    """Stores in a folder, with a model in use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        context = self.context()
        use = demand() * 1000
        ds = int((NOW - timedelta(days=8)).timestamp()) * 10**6 + np.arange(use.shape[1]) * STEP_S * 10**6
        flat = use.ravel()
        known = flat.size
        columns = [
            np.repeat(NAMES, use.shape[1]), np.full(known, CPU_MILLICORES),
            pa.array(np.tile(ds, VMS), pa.timestamp("us", "UTC")), np.full(known, STEP_S, dtype=np.int32), flat, flat,
            flat, np.full(known, 10, dtype=np.int32), np.full(known, 10**6, dtype=np.int32),
        ]  # fmt: skip
        context.series.merge(pa.table([pa.array(column) for column in columns], schema=interval_schema()))
        names = [*NAMES, "fake/silent"]
        self.snapshot = context.artifacts.put(
            Snapshot(format_utc(NOW), ("fake",), (), tuple(vm(name) for name in sorted(names)))
        )
        at_ms = round(NOW.timestamp() * 1000)
        key = Key(OUTCOME, CPU_MILLICORES, STEP_S)
        version = Version(
            key, context.artifacts.put(model(context)), CURRENT, 0, made_ms=at_ms, since_ms=at_ms, reason="a test"
        )
        with context.database.transaction() as connection:
            models.put(context.database, connection, version, run_id="test", who="ann")
        context.close()

    def context(self) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "state", "telemetry")}
        return Context(now=NOW, who="ann", run_id="test", urls=urls)

    def forecast(self, *, workers: str = "", series: str | None = None) -> tuple[Forecast, tuple[str, ...]]:
        context = self.context()
        try:
            done = forecast_demand(
                context, snapshot=self.snapshot, series=series, horizon_s=3600, interval_s=3600, lead_s=0,
                history_s=7 * 86400, series_interval_s=STEP_S, quantiles=["0.5", "0.9"], target="maximum",
                engines=["naive"], trained=False, workers=workers,
            )  # fmt: skip
            return context.artifacts.get(Forecast, done.values["forecast"]), done.warnings
        finally:
            context.close()

    def rows(self, workers: Workers) -> bytes:
        """The outcomes of all VMs as they would be stored."""
        context = self.context()
        try:
            seen = context.artifacts.get(Snapshot, self.snapshot)
            span = {"start": NOW - timedelta(days=8), "end": NOW, "interval_s": STEP_S}
            header = context.series.header(NAMES, metrics=[CPU_MILLICORES], **span)
            rows = OutcomeRows(context, seen, Request(now=NOW, metrics=(CPU_MILLICORES,)), default_policy())
            gather(rows, context.series, header, workers)
            table = rows.table()
            assert table is not None
            assert table.num_rows == VMS
            return table_bytes(table)
        finally:
            context.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers, processes that know the collection by their path."""
    import distributed

    path = str(Path(partitions.__file__).parents[6])  # the folder of ansible_collections
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path)  # which a process that is spawned takes over
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as found:
            yield found.scheduler_address


@pytest.fixture(scope="module")
def whole(site):
    return site.rows(Workers(vms=VMS))


@pytest.mark.parametrize("parts", [2, 7])
def test_partitions_in_any_order_are_the_same_bytes(site, whole, parts, monkeypatch):
    cut = partitions.partitions

    def shuffled(header, vms):
        found = cut(header, vms)
        assert len(found) == parts
        return [found[place] for place in np.random.default_rng(parts).permutation(parts)]

    monkeypatch.setattr(partitions, "partitions", shuffled)
    assert site.rows(Workers(vms=-(-VMS // parts))) == whole


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_cluster_of_two_workers_makes_the_same_bytes(site, whole, cluster, parts):
    assert site.rows(Workers(address=cluster, vms=-(-VMS // parts))) == whole


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_the_forecast_is_the_same_artifact_whoever_asks_the_models(site, cluster, parts, monkeypatch):
    here, told = site.forecast()
    monkeypatch.setattr(telemetry, "Workers", lambda address: Workers(address, -(-VMS // parts)))
    assert here.outcomes
    assert "no telemetry (1)" in told[-1]
    assert site.forecast(workers=cluster) == (here, told)
    assert site.forecast(workers=cluster, series=here.series) == (here, told)


def test_what_a_worker_cannot_do_is_raised_as_it_was_there(site, cluster):
    context = site.context()
    seen = context.artifacts.get(Snapshot, site.snapshot)
    span = {"start": NOW - timedelta(days=8), "end": NOW, "interval_s": STEP_S}
    header = replace(context.series.header(NAMES, metrics=[CPU_MILLICORES], **span), table_version=99)
    rows = OutcomeRows(context, seen, Request(now=NOW, metrics=(CPU_MILLICORES,)), default_policy())
    with pytest.raises(HeadroomError) as caught:
        gather(rows, context.series, header, Workers(address=cluster))
    context.close()
    assert caught.value.code == "store.version_gone"


def test_a_scheduler_that_does_not_answer_is_told(site, monkeypatch):
    monkeypatch.setattr(partitions, "CONNECT_S", 1)
    with pytest.raises(HeadroomError) as caught:
        site.forecast(workers="tcp://127.0.0.1:9")
    assert caught.value.code == "workers.unreachable"


@pytest.fixture(scope="module")
def network():
    """A network of any weights: what it says is what counts here, not whether it is right."""
    levels, beside = ("0.5", "0.9"), len(recurrent.names(Clock(STEP_S), 12)) - 72
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0, 0.1, shape) for name, shape in recurrent.shapes(beside, 24).items()}
    return recurrent.Network(STEP_S, 12, levels, "1", recurrent.packed(weights), 0, 1, VMS, "jax 0")


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_recurrent_network_says_the_same_in_partitions_here_and_on_a_cluster(network, cluster, parts):
    past = (demand() * 1000).astype(np.float32)
    said = recurrent.predict(network, past, end=past.shape[1])
    cut = [past[rows] for rows in np.array_split(np.arange(VMS), parts)]
    step = partial(recurrent.predict, end=past.shape[1])
    for address in ("", cluster):
        found = np.concatenate(list(partitions.mapped(step, network, cut, address=address)))
        order, wanted = (np.argsort(of.sum(axis=(1, 2))) for of in (found, said))  # parts come as they are done
        np.testing.assert_allclose(found[order], said[wanted], rtol=1e-5)
