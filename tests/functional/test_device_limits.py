# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of disks and interfaces on the fake platform: forecast, planned, applied, at rest, undone; and guarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.guard import guard
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.report import Files, report
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Decision, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes

from .bench import STOP, TERMS
from .controller import POLICY
from .fleets import MAC, Fleet

DAYS = 8
STEP_S = 300
FREELY = {"profile": "elastic", "minimum_change_percent": 0, "step_limit": "none"}
ELASTIC = {**POLICY, "defaults": {**POLICY["defaults"], "disk_limit": FREELY, "network_limit": FREELY}}
LEVELS = {  # what every VM uses
    "cpu_millicores": 1300,
    "memory_used_mib": 800,
    "disk_iops": 200,
    "disk_bytes_per_s": 8_000_000,
    "net_receive_bits_per_s": 20_000_000,
    "net_transmit_bits_per_s": 4_000_000,
}
LIMITS = {  # limit -> the metric it goes by
    "disk_iops/vda": "disk_iops",
    "disk_bytes_per_s/vda": "disk_bytes_per_s",
    f"interface_inbound_bits_per_s/{MAC}": "net_receive_bits_per_s",
    f"interface_outbound_bits_per_s/{MAC}": "net_transmit_bits_per_s",
}
SECOND = ("disk_iops/vdb", "disk_bytes_per_s/vdb")  # of u1 alone


class Site:
    """A fleet of two VMs, e/u0 and e/u1, of which the second has two disks, and its stores."""

    def __init__(self, root: Path, *, days: int = DAYS) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", vms=2, name="e")
        second = {f"{kind}.{name}": 0 for name in SECOND for kind in ("live", "config")}
        self.fleet.change("u1", fields={**self.fleet.fields("u1"), **second})
        self.write(LEVELS, intervals=days * 86_400 // STEP_S)

    def context(self, **values: Any) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "telemetry")}
        urls["state"] = str(self.root / "state.db")
        return Context(now=utc_now(), who="ann", endpoints=(self.fleet.endpoint,), urls=urls, **values)

    def write(self, levels: dict[str, float], *, intervals: int = 1, vms: tuple[str, ...] = ("u0", "u1")) -> None:
        """So many of the newest intervals, all of which are over but the last."""
        last = int(utc_now().timestamp()) // STEP_S * STEP_S
        noise = np.random.default_rng(1).normal(1, 0.02 if intervals > 1 else 0, intervals)
        rows = [
            {"unique_id": f"e/{uuid}", "metric": metric, "ds": (last - ago * STEP_S) * 10**6, "interval_s": STEP_S}
            | {"mean": value, "p95": value, "maximum": value, "samples": 5, "coverage_ppm": 1_000_000}
            for uuid in vms
            for metric, level in levels.items()
            for ago, value in enumerate((level * noise).tolist())
        ]
        SeriesStore(str(self.root / "telemetry")).merge(pa.Table.from_pylist(rows, interval_schema()))

    def forecast(self, policy: dict[str, Any] | None) -> tuple[str, str]:
        """Digests of a fresh snapshot and of the forecast of its VMs."""
        context = self.context()
        snapshot = context.artifacts.put(take_snapshot(context))
        made = forecast_demand(
            context,
            snapshot=snapshot,
            series=None,
            horizon_s=86_400,
            interval_s=STEP_S,
            lead_s=0,
            history_s=28 * 86_400,
            series_interval_s=STEP_S,
            quantiles=("0.5", "0.95", "0.98"),
            target="mean",
            policy_text=json.dumps(policy) if policy else "",
        )
        return snapshot, made.values["forecast"]

    def plan(self, policy: dict[str, Any] | None, *, known: dict[str, Any] | None = None, digest: str = "") -> str:
        """Digest of the plan by this policy; ``known``: another policy, by which its forecast is made."""
        snapshot, made = self.forecast(known or policy)
        text = json.dumps(policy) if policy else ""
        found: str = plan(
            self.context(), snapshot=snapshot, forecast=digest or made, policy_text=text, policy_name="p.yml"
        ).values["plan"]
        return found

    def made(self, digest: str) -> Plan:
        return self.context().artifacts.get(Plan, digest)

    def decisions(self, digest: str) -> dict[tuple[str, str], Decision]:
        """Of this plan, those about devices."""
        found = self.made(digest).decisions
        return {(one.unique_id, one.resource): one for one in found if "/" in one.resource}

    def metrics(self, policy: dict[str, Any] | None) -> set[str]:
        """What a forecast by this policy tells of."""
        context = self.context()
        header = context.artifacts.get(Forecast, self.forecast(policy)[1])
        return set(table_from_bytes(context.artifacts.get_bytes(header.table))["metric"].to_pylist())

    def apply(self, digest: str, **values: Any) -> Any:
        return apply(self.context(**values), plan=digest, stop=STOP, terms=TERMS)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def limits(site: Site) -> dict[str, Any]:
    fields = {uuid: site.fleet.fields(uuid) for uuid in ("u0", "u1")}
    return {f"{uuid} {name}": value for uuid, of in fields.items() for name, value in of.items() if "/" in name}


@pytest.mark.safety(rule=8)
def test_limits_of_devices_follow_their_demand_and_come_to_rest_and_are_undone(site: Site) -> None:
    before = site.fleet.load()["vms"]
    first = site.plan(ELASTIC)
    acts = site.made(first).actions
    by_name = {(one.unique_id, one.resource): one for one in acts if "/" in one.resource}
    assert set(by_name) == {("e/u0", name) for name in LIMITS} | {("e/u1", name) for name in (*LIMITS, *SECOND)}
    assert len(acts) == len(by_name)
    decided = site.decisions(first)
    for (vm, name), act in by_name.items():
        level = LEVELS[LIMITS[name.replace("vdb", "vda")]]
        upper = decided[vm, name].upper
        assert level < upper < 1.15 * level
        assert 0 <= act.size_after - upper / 0.35 <= (1 if name.startswith("disk_iops") else 100_000) + 3
    # A rehearsal changes nothing.
    assert site.apply(first, check=True).changed
    assert (site.fleet.load()["vms"], site.fleet.writes) == (before, 0)
    done = site.apply(first).values
    assert done["states"] == {"done": len(acts)}
    for (vm, name), act in by_name.items():
        fields = site.fleet.fields(vm.partition("/")[2])
        assert fields[f"live.{name}"] == fields[f"config.{name}"] == act.size_after
    # Asked again it has nothing to do.
    writes, after = site.fleet.writes, limits(site)
    second = site.plan(ELASTIC)
    assert site.made(second).actions == ()
    assert not site.apply(second).changed
    assert not site.apply(first).changed
    assert (site.fleet.writes, limits(site)) == (writes, after)
    assert {one.code for one in site.decisions(second).values()} <= {"fits", "small_change", "hold_time"}
    undone = rollback(site.context(), receipt=done["receipt"], stop=STOP, terms=TERMS).values
    assert undone["states"] == {"done": len(acts)}
    assert json.dumps(site.fleet.load()["vms"]) == json.dumps(before)


def test_people_are_told_in_their_units(site: Site) -> None:
    digest = site.plan(ELASTIC)
    text = decision(site.context(), vm="e/u1", plan=digest).values["text"]
    files = Files(html=str(site.root / "r.html"), markdown=str(site.root / "r.md"))
    report(site.context(), files=files, plan=digest)
    told = (site.root / "r.md").read_text(encoding="utf-8")
    for unit in ("IOPS", "MB/s", "Mbit/s"):
        assert unit in text
        assert unit in told
    for name in (*LIMITS, *SECOND):
        assert name in text


def test_what_no_policy_asks_for_is_neither_forecast_nor_decided(site: Site) -> None:
    assert site.metrics(None) == {"cpu_millicores", "memory_used_mib"}
    assert site.metrics(ELASTIC) == set(LEVELS)
    assert site.decisions(site.plan(None)) == {}


@pytest.mark.safety(rule=2)
def test_without_a_forecast_of_its_device_a_limit_stays(site: Site) -> None:
    digest = site.plan(ELASTIC, known=POLICY)
    found = site.decisions(digest)
    assert len(found) == 2 * len(LIMITS) + len(SECOND)
    assert {one.code for one in found.values()} == {"no_forecast"}
    assert site.made(digest).actions == ()
    assert not site.apply(digest).changed
    assert site.fleet.writes == 0


def test_a_limit_that_comes_to_the_maximum_is_taken_away(site: Site) -> None:
    fields = {**site.fleet.fields("u0"), "live.disk_iops/vda": 150, "config.disk_iops/vda": 150}
    site.fleet.change("u0", fields=fields)
    section = {**FREELY, "maximum_iops": 300}
    policy = {**ELASTIC, "defaults": {**ELASTIC["defaults"], "disk_limit": section}}
    digest = site.plan(policy)
    (act,) = (one for one in site.made(digest).actions if (one.unique_id, one.resource) == ("e/u0", "disk_iops/vda"))
    assert {one.after for one in act.changes} == {0}
    site.apply(digest)
    assert site.fleet.fields("u0")["live.disk_iops/vda"] == 0


def test_the_guard_grows_the_limit_that_is_reached_and_no_other(tmp_path: Path) -> None:
    site = Site(tmp_path, days=0)
    names = [f"{kind}.{name}" for name in (*LIMITS, *SECOND) for kind in ("live", "config")]
    for uuid in ("u0", "u1"):
        has = {name: 500 if "iops" in name else 40_000_000 for name in names if name in site.fleet.fields(uuid)}
        site.fleet.change(uuid, fields={**site.fleet.fields(uuid), **has})
    before = limits(site)
    site.write({**LEVELS, "disk_iops": 499}, vms=("u0",))
    site.write(LEVELS, vms=("u1",))
    context = site.context()
    digest = context.artifacts.put(take_snapshot(context))
    found = guard(context, snapshot=digest, policy_text=json.dumps(ELASTIC), policy_name="p.yml").values
    acts = [(one["vm"], one["resource"], one["before"], one["after"]) for one in found["actions"]]
    assert [one[1:] for one in acts] == [("disk_iops/vda", 500, 1200)]
    assert found["short"] == ["e/u0"]
    assert site.apply(found["plan"]).values["states"] == {"done": 1}
    grown = dict.fromkeys(("u0 live.disk_iops/vda", "u0 config.disk_iops/vda"), 1200)
    assert limits(site) == {**before, **grown}
