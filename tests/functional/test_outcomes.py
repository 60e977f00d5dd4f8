# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits by price through the playbooks: trained, planned with the reason, applied, at rest; no model, as before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc, parse_utc, utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.outcomes import OutcomeRows
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.points import shipped
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizes import Had, SeenAtCap
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import read_model
from ansible_collections.headroom.fleet.plugins.module_utils._records.outcomes import COLUMNS, UNIQUE_ID, read_outcomes
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Decision, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import (
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    MEMORY_USED_MIB,
    Series,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import CPU_LIMIT_MILLICORES, VCPUS
from ansible_collections.headroom.fleet.plugins.module_utils._store import models
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes

from .controller import POLICY, Controller
from .fleets import Fleet
from .test_models import NAMES, PER_DAY, VMS, demand, rows

DAYS = 10
WIDE = {"per_host": 99, "per_host_set": 99, "per_tenant": 99, "per_platform": 99}
LIMITED = {
    **POLICY["defaults"],
    "vcpus": {**POLICY["defaults"]["vcpus"], "minimum": 2, "maximum": 2},
    "cpu_limit": {"profile": "elastic", "minimum_change_percent": 0, "step_limit": "none"},
}


@dataclass
class Told:
    """A run of a playbook, and the plan it made."""

    output: str
    plan: Plan | None = None
    forecast: Forecast | None = None

    @property
    def made(self) -> Forecast:
        """The forecast of that plan."""
        assert self.forecast
        return self.forecast

    def limits(self) -> dict[str, Decision]:
        """The decisions about limits, by VM."""
        assert self.plan
        return {one.unique_id: one for one in self.plan.decisions if one.resource == CPU_LIMIT_MILLICORES}


class Site:
    """A fleet of which ten days are known, and its controller."""

    def __init__(self, root: Path) -> None:
        self.fleet = Fleet(root / "fleet.json", vms=VMS)
        budgets = {"at_once": WIDE, "window": "none"}
        self.controller = Controller(root, self.fleet, policy={**POLICY, "defaults": LIMITED, "budgets": budgets})
        step = timedelta(minutes=5)
        begin = datetime.fromtimestamp(utc_now().timestamp() // 300 * 300, UTC) - DAYS * PER_DAY * step
        # An hour more than is known: a reader stops at its own clock.
        values = np.minimum(demand(DAYS + 1, seed=1)[:, : DAYS * PER_DAY + 12], 2000)
        SeriesStore(self.controller.variables["headroom_telemetry"]).merge(rows(values, NAMES, begin))

    def play(self, name: str, **variables: Any) -> Told:
        done = self.controller.run("ansible-playbook", f"headroom.fleet.{name}", "-v", "-e", json.dumps(variables))
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        found = re.findall(r'"headroom_plan": "(sha256:[0-9a-f]+)"', output)
        if not found:
            return Told(output)
        with self.context() as context:
            plan = context.artifacts.get(Plan, found[-1])
            return Told(output, plan, context.artifacts.get(Forecast, plan.forecast))

    @contextmanager
    def context(self) -> Iterator[Context]:
        names = ("artifacts", "state", "telemetry")
        urls = {name: str(self.controller.variables[f"headroom_{name}"]) for name in names}
        context = Context(now=utc_now(), who="ann", urls=urls)
        try:
            yield context
        finally:
            context.close()

    def make_stale(self) -> None:
        """Put a model in the place of the one in use that has learnt nothing for long."""
        with self.context() as context, context.database.transaction() as connection:
            (version,) = models.every(connection)
            header = read_model(context.artifacts.get_bytes(version.model))
            old = context.artifacts.put(replace(header, end=format_utc(context.now - timedelta(days=36))))
            for one in (replace(version, status="retired"), replace(version, model=old, status="current")):
                models.put(context.database, connection, one, run_id="test", who="ann")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("outcomes"))


@pytest.fixture(scope="module")
def told(site: Site) -> dict[str, Told]:
    """In order: a training, a cycle, and a cycle on the same telemetry and clock."""
    options = {"train_metrics": [CPU_MILLICORES], "train_quantiles": []}
    found = {"train": site.play("train", **options)}
    now = format_utc(utc_now())
    found["run"] = site.play("cycle", headroom_now=now)
    found["again"] = site.play("cycle", headroom_now=now, headroom_series=found["run"].made.series)
    return found


class Asked:
    """What the models say of the VMs in the run's telemetry, or in other rows, by VM."""

    def __init__(self, site: Site, told: dict[str, Told]) -> None:
        run = told["run"]
        assert run.plan
        with site.context() as context:
            self.snapshot = context.artifacts.get(Snapshot, run.plan.snapshot)
            self.now = parse_utc(run.plan.made_at)
            pinned = context.artifacts.get(Series, run.made.series)
            self.table = pa.concat_tables(context.series.pinned(pinned).tables())
        self.site = site

    def say(
        self, *, snapshot: Snapshot | None = None, table: pa.Table | None = None
    ) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
        request = Request(now=self.now, metrics=(CPU_MILLICORES, MEMORY_USED_MIB))
        with self.site.context() as context:
            rows = OutcomeRows(replace(context, now=self.now), snapshot or self.snapshot, request, default_policy())
            list(rows.watched([self.table if table is None else table]))
        said = rows.table()
        assert said is not None
        return {one["unique_id"]: list(one.values()) for one in said.to_pylist()}, rows.warnings()

    def with_use(self, unique_id: str, use: np.ndarray) -> pa.Table:
        """The rows with other ones of a VM's newest intervals."""
        ids = np.array(self.table["unique_id"].cast(pa.string()).to_pylist())
        ds = self.table["ds"].cast(pa.int64()).to_numpy()
        before = int(self.now.timestamp()) // 300 * 300 * 10**6
        mine = np.flatnonzero((ids == unique_id) & (ds < before))[-len(use) :]
        found = self.table
        for name in ("mean", "maximum"):
            values = found[name].to_numpy().copy()
            values[mine] = use
            found = found.set_column(found.schema.get_field_index(name), found.schema.field(name), pa.array(values))
        return found


@pytest.fixture(scope="module")
def asked(site: Site, told: dict[str, Told]) -> Asked:
    return Asked(site, told)


def test_every_vm_with_telemetry_has_its_outcomes(site: Site, told: dict[str, Told]) -> None:
    header = told["run"].made
    with site.context() as context:
        found = read_outcomes(table_from_bytes(context.artifacts.get_bytes(header.outcomes)))
    assert found.texts[UNIQUE_ID] == NAMES
    assert (found.curves.violated[:, 0] > found.curves.violated[:, -1]).all()
    assert set(found.numbers["capacity"]) == {8.0}


def test_limits_are_set_by_price_and_say_so(site: Site, told: dict[str, Told]) -> None:
    plan = told["run"].plan
    assert plan
    limits = told["run"].limits()
    acts = [one for one in plan.actions if one.resource == CPU_LIMIT_MILLICORES]
    assert len(acts) >= VMS // 2
    for act in acts:
        one = limits[act.unique_id]
        assert one.service
        assert 200 <= act.size_after < 2000
        # The cheapest of the sizes looked at; one between two of them may be cheaper by a hair.
        assert re.search(
            r"^[0-9.e-]+ of 1 % spent; 0.1 vCPU more (costs [0-9.]+|saves 0.0[0-9]+) of itself; "
            r"cheapest [0-9.]+ vCPU and it lately ",
            act.reason,
        ), act.reason
        assert len(act.reason) <= 160
        assert site.fleet.fields(act.unique_id.partition("/")[2])["config.cpu_limit_millicores"] == act.size_after
        assert one.service.size == one.size_wanted or "lately used" in act.reason
    assert {one.unique_id for one in plan.decisions if one.resource == VCPUS and one.service} == set(NAMES)


def test_a_decision_shows_what_service_costs(site: Site, told: dict[str, Told]) -> None:
    plan = told["run"].plan
    assert plan
    with site.context() as context:
        values = decision(context, vm=plan.actions[0].unique_id).values
    (limit,) = (one for one in values["resources"] if one["resource"] == CPU_LIMIT_MILLICORES)
    assert limit["service"]["budget_ppm"] == 10_000
    assert limit["service"]["lead_s"] == 300
    assert "for acts that hold after 300 s" in values["text"]
    assert "too little expected in " in values["text"]


@pytest.mark.safety(rule=8)
def test_a_second_cycle_does_nothing(told: dict[str, Told]) -> None:
    again = told["again"].plan
    assert again
    assert again.actions == ()
    assert told["again"].limits().keys() == told["run"].limits().keys()
    assert all(one.service for one in told["again"].limits().values())


def test_a_pinned_forecast_has_the_same_bytes_whatever_was_done_since(told: dict[str, Told]) -> None:
    assert told["again"].made.outcomes == told["run"].made.outcomes != ""
    assert told["again"].made.table == told["run"].made.table


@pytest.mark.parametrize("bad", [np.full(50, -5.0), np.full(9, np.inf), np.full(2800, np.nan)])
def test_one_vms_bad_data_does_not_touch_another(asked: Asked, bad: np.ndarray) -> None:
    whole, nothing = asked.say()
    found, warnings = asked.say(table=asked.with_use(NAMES[2], bad))
    assert nothing == ()
    assert found == {name: row for name, row in whole.items() if name != NAMES[2]}
    assert len(warnings) == 1
    assert f"1 of {VMS} VMs are not sized by price" in warnings[0]


def headroom_after(intervals: int) -> float:
    """Of a VM that was held back in so many, one after another up to now."""
    point = shipped(CPU_MILLICORES, 300)
    return min(intervals * point.step, point.most)


def test_who_stood_at_its_limit_has_spent_of_its_budget_and_gets_headroom(asked: Asked) -> None:
    """A limit that no act set was always there; where use lay far above, another one was."""
    one = next(vm for vm in asked.snapshot.vms if vm.unique_id == NAMES[3])
    fields = {**one.fields, "live.cpu_limit_millicores": 500, "config.cpu_limit_millicores": 500}
    vms = tuple(replace(vm, fields=fields) if vm is one else vm for vm in asked.snapshot.vms)
    seen = replace(asked.snapshot, vms=vms)
    use = np.full(2800, 200.0)
    use[-12:], use[-100:-90] = 499.0, 1500.0
    table = asked.with_use(NAMES[3], use)
    free, _unused = asked.say(table=table)
    bound, _unused = asked.say(snapshot=seen, table=table)
    columns = dict(zip(COLUMNS, zip(free[NAMES[3]], bound[NAMES[3]], strict=True), strict=True))
    # An act could not have landed on the newest interval yet; a day beside the others.
    assert columns["spent"] == (0.0, pytest.approx(11 / (2015 + 288)))
    assert columns["headroom"] == (0.0, pytest.approx(headroom_after(12)))
    assert {name: row for name, row in free.items() if name != NAMES[3]} == {
        name: row for name, row in bound.items() if name != NAMES[3]
    }


def test_who_was_not_let_run_under_a_limit_has_spent_of_its_budget(asked: Asked) -> None:
    """Bursts shorter than a sample leave use below the limit, and demand is then no more than was seen."""
    fields = {"live.cpu_limit_millicores": 500, "config.cpu_limit_millicores": 500}
    bound, free, little = NAMES[3:6]
    vms = tuple(
        replace(vm, fields={**vm.fields, **fields}) if vm.unique_id in (bound, little) else vm
        for vm in asked.snapshot.vms
    )
    seen = replace(asked.snapshot, vms=vms)
    begin = datetime.fromtimestamp(asked.now.timestamp() // 300 * 300, UTC) - timedelta(hours=1)
    delay = rows(np.repeat([[25.0], [400.0], [24.0]], 12, axis=1), [bound, free, little], begin)
    delay = delay.set_column(1, "metric", pa.repeat(pa.scalar(CPU_DELAY_MILLICORES), delay.num_rows))
    request = Request(now=asked.now, metrics=(CPU_MILLICORES, MEMORY_USED_MIB))
    told = {}
    with asked.site.context() as context:
        for heard in (False, True):
            gathered = OutcomeRows(replace(context, now=asked.now), seen, request, default_policy())
            if heard:
                context.series.merge(delay)
            gathered.hear(context.series.scan((), start=begin, end=asked.now, interval_s=300))
            list(gathered.watched([asked.with_use(bound, np.full(2800, 200.0))]))
            said = gathered.table()
            assert said is not None
            told[heard] = {one["unique_id"]: one for one in said.to_pylist()}
    assert (told[False][bound]["spent"], told[False][bound]["headroom"]) == (0, 0)
    assert told[True][bound]["spent"] == pytest.approx(11 / (2015 + 288))
    assert told[True][bound]["headroom"] == pytest.approx(headroom_after(12))
    unlike = {name for name, value in told[True][bound].items() if value != told[False][bound][name]}
    assert unlike == {"spent", "headroom"}
    assert {name: row for name, row in told[True].items() if name != bound} == {
        name: row for name, row in told[False].items() if name != bound
    }


def test_what_was_seen_at_a_limit_is_told_to_forecasts(asked: Asked) -> None:
    """Of limits that acts set since the clock, those before them count; of one that no act set, that it was there."""
    one = next(vm for vm in asked.snapshot.vms if vm.unique_id == NAMES[3])
    fields = {**one.fields, "live.cpu_limit_millicores": 500, "config.cpu_limit_millicores": 500}
    vms = tuple(replace(vm, fields=fields) if vm is one else vm for vm in asked.snapshot.vms)
    request = Request(now=asked.now, metrics=(CPU_MILLICORES, MEMORY_USED_MIB))
    past = np.full((3, 3000), 200.0, dtype=np.float32)
    past[:, -12:], past[:, -100:-90], past[:, 0] = 499.0, 1500.0, 499.0
    with asked.site.context() as context:
        at_cap = SeenAtCap(replace(context, now=asked.now), replace(asked.snapshot, vms=vms), request)
    told = at_cap(CPU_MILLICORES, [NAMES[2], NAMES[3], "fake/unknown"], past)
    assert not told[[0, 2]].any()
    assert np.flatnonzero(told[1]).tolist() == list(range(2988, 3000))  # and not of what no forecast is scored by
    assert not at_cap(MEMORY_USED_MIB, [NAMES[3]], past[1:2]).any()


def test_a_size_that_was_taken_back_since_tells_of_a_cap_below_it(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = np.where(np.arange(3000) < 2990, 4.0, 2.0)
    monkeypatch.setattr(Had, "over", lambda _had, vms, demand: np.tile(had[-demand.shape[1] :], (len(vms), 1)))
    one = next(vm for vm in asked.snapshot.vms if vm.unique_id == NAMES[3])
    small = replace(one, vcpus=2, fields={name: value for name, value in one.fields.items() if "maximum" not in name})
    with asked.site.context() as context:
        at_cap = SeenAtCap(
            context, replace(asked.snapshot, vms=(small,)), Request(now=asked.now, metrics=(CPU_MILLICORES,))
        )
    told = at_cap(CPU_MILLICORES, [NAMES[3]], np.full((1, 3000), 2000.0, dtype=np.float32))
    assert np.flatnonzero(told[0]).tolist() == list(range(2990, 3000))


def test_a_stale_model_is_told_and_the_upper_bound_decides(site: Site, told: dict[str, Told]) -> None:
    site.make_stale()
    found = site.play("cycle", headroom_now=told["run"].made.made_at, headroom_series=told["run"].made.series)
    assert found.plan
    said = " ".join(found.output.split())
    assert f"{VMS} of {VMS} VMs are not sized by price" in said
    assert "[model.stale]" in said
    assert found.made.outcomes == ""
    assert all(one.service is None for one in found.plan.decisions)
    assert any(one.reason.startswith("P95 of demand") for one in found.limits().values())
