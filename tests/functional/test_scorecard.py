# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scorecard over weeks of cycles on the fake platform: forecasts as good or bad as a test wants them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc, utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result, drop_rehearsal
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import vm_info
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.report import Files, report
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.resize import resize
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import COLUMNS, Choice, Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import (
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    MEMORY_OOM_KILLS_PER_S,
    MEMORY_SWAP_BYTES_PER_S,
    MEMORY_USED_MIB,
    Series,
    interval_schema,
)
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, scores, standings
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes

from .fleets import Fleet

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
EVERY = timedelta(days=1)  # a cycle
HORIZON_S = 24 * 3600
QUANTILES = ("0.05", "0.5", "0.9", "0.95", "0.98")
# What fits demand that goes up and down between 300 and 500, and what does not.
GOOD, BAD = (290.0, 400.0, 500.5, 501.0, 502.0), (100.0, 101.0, 102.0, 103.0, 104.0)
UNIQUE_IDS = ("fake/u0", "fake/u1", "fake/u2")
POLICY = """\
schema: headroom.sizing-policy/1
defaults:
  mode: auto
  vcpus: {minimum: 3}  # each has 2: there is always something to do
  grow: {hold_minutes: 0}
capacity: {ha_reserve_hosts: 0}
budgets:
  at_once: {per_host: 9, per_host_set: 9, per_tenant: 9, per_platform: 9}
  window: none
"""


class Weeks:
    """A fleet of three VMs of 2 vCPUs and 1 GiB, its stores, and cycles at any time."""

    def __init__(self, root: Path, *, state: str) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json")
        self.state = state
        self.interval_s = 300  # of the forecasts

    def context(self, now: datetime, *, check: bool = False) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "telemetry")}
        return Context(
            now=now,
            who="ann",
            run_id="rehearsed" if check else "weeks",
            endpoints=(self.fleet.endpoint,),
            urls={**urls, "state": self.state},
            check=check,
        )

    def use(self, start: datetime, end: datetime, **cpu: Mapping[int, float]) -> None:
        """Store telemetry: 300 and 500 in turns; ``cpu``: VM -> interval of the day -> what it used then."""
        count = (end - start) // STEP
        tables = []
        for unique_id in UNIQUE_IDS:
            for metric in (CPU_MILLICORES, MEMORY_USED_MIB):
                values = np.where(np.arange(count) % 2 == 0, 500.0, 300.0)
                for place, value in cpu.get(unique_id[-2:], {}).items() if metric == CPU_MILLICORES else ():
                    values[place::288] = value
                ds = [start + STEP * number for number in range(count)]
                columns = {
                    "unique_id": pa.repeat(pa.scalar(unique_id), count),
                    "metric": pa.repeat(pa.scalar(metric), count),
                    "ds": pa.array(ds, pa.timestamp("us", "UTC")),
                    "interval_s": pa.repeat(pa.scalar(300, pa.int32()), count),
                    **{name: pa.array(values) for name in ("mean", "p95", "maximum")},
                    "samples": pa.repeat(pa.scalar(30, pa.int32()), count),
                    "coverage_ppm": pa.repeat(pa.scalar(1_000_000, pa.int32()), count),
                }
                tables.append(pa.table(columns, schema=interval_schema()))
        context = self.context(end)
        context.series.merge(pa.concat_tables(tables))

    def tell(self, metric: str, values: Mapping[str, Mapping[int, float]]) -> None:
        """Store a metric of some intervals of the first day."""
        found = [(name, BEGIN + STEP * at, value) for name, of in values.items() for at, value in of.items()]
        names, ds, means = zip(*found, strict=True)
        count = len(found)
        columns = [
            names, [metric] * count, ds, [300] * count, means, means, means, [30] * count, [1_000_000] * count,
        ]  # fmt: skip
        context = self.context(BEGIN)
        context.series.merge(
            pa.table(
                [pa.array(column, kind.type) for column, kind in zip(columns, interval_schema(), strict=True)],
                schema=interval_schema(),
            )
        )

    def cycle(self, now: datetime, *, bad: tuple[str, ...] = (), check: bool = False, rules: str = POLICY) -> Result:
        """Observe, forecast and plan; the CPU demand of the VMs in ``bad`` is foretold badly."""
        context = self.context(now, check=check)
        try:
            artifacts = context.artifacts
            moment = format_utc(now)
            steps = HORIZON_S // self.interval_s
            rows = {
                (unique_id, metric): BAD if unique_id in bad and metric == CPU_MILLICORES else GOOD
                for unique_id in UNIQUE_IDS
                for metric in (CPU_MILLICORES, MEMORY_USED_MIB)
            }
            count = steps * len(QUANTILES)
            ds = np.repeat(
                np.datetime64(now.replace(tzinfo=None), "us") + np.arange(steps) * np.timedelta64(self.interval_s, "s"),
                5,
            )
            table = pa.table(
                {
                    "unique_id": pa.array([key[0] for key in rows for _unused in range(count)]),
                    "metric": pa.array([key[1] for key in rows for _unused in range(count)]),
                    "target": pa.repeat(pa.scalar("maximum"), count * len(rows)),
                    "cutoff": pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count * len(rows)),
                    "lead_s": pa.repeat(pa.scalar(0, pa.int64()), count * len(rows)),
                    "ds": pa.array(np.tile(ds, len(rows)), pa.timestamp("us")).cast(pa.timestamp("us", "UTC")),
                    "quantile": pa.array([*QUANTILES] * (steps * len(rows))),
                    "value": pa.array([value for values in rows.values() for value in values * steps]),
                    "engine": pa.repeat(pa.scalar("test"), count * len(rows)),
                }
            ).select(COLUMNS)
            series = Series("memory", 0, 300, moment, moment, UNIQUE_IDS, (), 0, "sha256:" + "0" * 64)
            header = Forecast(
                series=artifacts.put(series),
                made_at=moment,
                cutoff=moment,
                target="maximum",
                horizon_s=HORIZON_S,
                interval_s=self.interval_s,
                quantiles=QUANTILES,
                engines=("test",),
                table=artifacts.put_bytes(table_bytes(table)),
                rows=table.num_rows,
                choices=tuple(Choice(*key, "test", "", 9 * 86_400, 1_000_000, moment, 500) for key in rows),
            )
            names = {"snapshot": artifacts.put(take_snapshot(context)), "forecast": artifacts.put(header)}
            return plan(context, **names, policy_text=rules)
        finally:
            context.close()

    def cycles(self, start: datetime, end: datetime, **options: Any) -> Result:
        """A cycle every EVERY, and the last result."""
        while start <= end:
            found = self.cycle(start, **options)
            start += EVERY
        return found

    def told(self, now: datetime, *, plan: str) -> dict[str, Any]:
        """What the report and the questions about u0 say of it."""
        context = self.context(now)
        files = Files(markdown=str(self.root / "report.md"), metrics=str(self.root / "headroom.prom"))
        report(context, files=files, plan=plan)
        return {
            "report": Path(files.markdown).read_text(),
            "metrics": Path(files.metrics).read_text(),
            "vm": vm_info(context, vm="fake/u0").values["scorecard"],
            "decision": decision(context, vm="fake/u0", plan=plan).values,
        }

    def ask(self, question: Any, **options: Any) -> Any:
        context = self.context(BEGIN)
        try:
            with context.database.transaction() as connection:
                return question(connection, **options)
        finally:
            context.close()

    def figures(self) -> dict[tuple[str, str, int], Any]:
        metrics = (CPU_MILLICORES, MEMORY_USED_MIB)
        found = self.ask(scores.days, unique_ids=UNIQUE_IDS, metrics=metrics, first_day=0, last_day=10**6)
        return {(one.unique_id, one.metric, one.day): one for one in found}


@pytest.fixture
def weeks(tmp_path: Path, state_url: str) -> Weeks:
    return Weeks(tmp_path, state=state_url)


def day(number: int, *, hours: float = 0) -> datetime:
    return BEGIN + timedelta(days=number, hours=hours)


def modes(result: Result) -> dict[str, str]:
    return {one["unique_id"]: one["mode"] for one in result.values["actions"] if one["resource"] == "vcpus"}


ALL_AUTO = dict.fromkeys(UNIQUE_IDS, "auto")


@pytest.mark.safety(rule=9)
def test_bad_forecasts_demote_a_vm_and_seven_good_days_bring_it_back(weeks: Weeks) -> None:
    weeks.use(day(-1), day(17))
    assert modes(weeks.cycles(day(0), day(6), bad=("fake/u0",))) == ALL_AUTO
    assert modes(weeks.cycle(day(7))) == ALL_AUTO  # of the seventh day the last hours may still come
    demoted = weeks.cycle(day(7, hours=3))
    assert modes(demoted) == {**ALL_AUTO, "fake/u0": "recommend"}
    made = weeks.context(BEGIN).artifacts.get(Plan, demoted.values["plan"])
    decided = next(one for one in made.decisions if (one.unique_id, one.resource) == ("fake/u0", "vcpus"))
    assert (decided.verdict, decided.code) == ("act", "demoted")
    assert "; scorecard: lost " in decided.reason
    assert "the 90 % interval covered 0 % of 7 days, less than 85 %" in decided.reason
    told = weeks.told(day(7, hours=3), plan=demoted.values["plan"])
    assert "lost " in told["report"]
    assert "2026-03-08" in told["report"]
    assert 'headroom_scorecard_demoted_vms{metric="cpu_millicores"} 1' in told["metrics"].splitlines()
    card = told["vm"]["vcpus"]
    assert (card["demoted"], card["since"], card["may_return"]) == (True, "2026-03-08", "2026-03-15")
    assert (card["days"], card["intervals"], card["covered_percent"]) == (8, 7 * 288 + 12, pytest.approx(0.5, abs=0.1))
    assert told["decision"]["scorecard"] == told["vm"]
    assert "vcpus is only recommended for since 2026-03-08, at least until 2026-03-15: lost" in told["decision"]["text"]
    # Since the seventh day its forecasts are good.
    assert modes(weeks.cycles(day(8), day(13)))["fake/u0"] == "recommend"
    assert modes(weeks.cycle(day(13, hours=3)))["fake/u0"] == "recommend"
    assert modes(weeks.cycles(day(14), day(14, hours=3)))["fake/u0"] == "recommend"
    assert modes(weeks.cycle(day(14, hours=3))) == ALL_AUTO
    standing = weeks.ask(standings.standings)
    first_day = (BEGIN - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert {key: (one.demoted, one.since_day - first_day) for key, one in standing.items()} == {
        ("fake/u0", CPU_MILLICORES): (False, 13)
    }
    audit.verify(weeks.context(BEGIN).database)
    assert modes(weeks.cycles(day(15), day(16))) == ALL_AUTO  # the bad week is in the 28 days, and had its answer


def test_use_at_the_size_demotes_and_a_persons_own_request_is_not_bound_by_it(weeks: Weeks) -> None:
    weeks.use(day(-1), day(8), u1={100: 1990.0, 101: 1995.0, 102: 2000.0})  # 3 of 288 are 1.04 %
    weeks.fleet.change("u2", fields={**weeks.fleet.fields("u2"), "live.cpu_limit_millicores": 501})
    weeks.cycles(day(0), day(6))
    found = weeks.cycle(day(7, hours=3))
    assert modes(found) == {**ALL_AUTO, "fake/u1": "recommend", "fake/u2": "recommend"}
    reasons = {key: one.reason for key, one in weeks.ask(standings.standings).items()}
    assert reasons == {
        ("fake/u1", CPU_MILLICORES): "violated 1.04 % of 7 days, more than 1 %",
        ("fake/u2", CPU_MILLICORES): "violated 50 % of 7 days, more than 1 %",  # of its CPU limit
    }
    wanted = {"vm": "fake/u1", "vcpus": 4, "memory_mib": None, "policy_text": POLICY}
    assert resize(weeks.context(utc_now()), **wanted, stop=threading.Event()).changed
    assert weeks.fleet.fields("u1")["guest.vcpus"] == 4


def test_who_may_be_short_more_often_is_not_demoted_for_that(weeks: Weeks) -> None:
    """Each is judged by its own budget for what it is short of: memory has another one than CPU."""
    short = dict.fromkeys(range(100, 106), 2000.0)
    weeks.use(day(-1), day(8), u0=short, u1=short)
    half = {f"{where}.{what}": 501 for where in ("live", "config") for what in ("cpu_limit_millicores", "memory_mib")}
    weeks.fleet.change("u2", fields={**weeks.fleet.fields("u2"), **half})
    budgets = "".join(
        f"  - match: {{name: {name}}}\n    set: {{service: {{error_budget_percent: {percent}}}}}\n"
        for name, percent in (("vm0", 5), ("vm2", 60))
    )
    rules = POLICY.replace("capacity:", f"rules:\n{budgets}capacity:")
    weeks.cycles(day(0), day(6), rules=rules)
    assert modes(weeks.cycle(day(7, hours=3), rules=rules)) == {**ALL_AUTO, "fake/u1": "recommend"}
    assert {key: one.reason for key, one in weeks.ask(standings.standings).items()} == {
        ("fake/u1", CPU_MILLICORES): "violated 2.08 % of 7 days, more than 1 %",
        ("fake/u2", MEMORY_USED_MIB): "violated 50 % of 7 days, more than 1 %",
    }


def test_what_told_of_a_want_below_the_size_is_a_violation_too(weeks: Weeks) -> None:
    weeks.fleet.change("u2", fields={**weeks.fleet.fields("u2"), "live.cpu_limit_millicores": 1000})
    weeks.use(day(-1), day(1, hours=3))
    weeks.tell(MEMORY_USED_MIB, {"fake/u0": {9: 943.0, 10: 941.0}})  # 92 % of 1024 are 942.08
    weeks.tell(MEMORY_SWAP_BYTES_PER_S, {"fake/u0": {9: 1e6}, "fake/u1": {8: 1e6, 12: 1e6, 14: 60_000.0}})
    weeks.tell(MEMORY_OOM_KILLS_PER_S, {"fake/u1": {12: 0.01, 13: 0.01}})
    weeks.tell(CPU_DELAY_MILLICORES, {"fake/u1": dict.fromkeys(range(20), 900.0), "fake/u2": {3: 50.0, 4: 49.0}})
    weeks.cycle(day(0))
    weeks.cycle(day(1, hours=3))
    first_day = (BEGIN - datetime(1970, 1, 1, tzinfo=UTC)).days
    violated = {key: one.violated for key, one in weeks.figures().items() if key[2] == first_day}
    assert {key[:2]: count for key, count in violated.items() if count} == {
        ("fake/u0", MEMORY_USED_MIB): 1,
        ("fake/u1", MEMORY_USED_MIB): 3,
        ("fake/u2", CPU_MILLICORES): 1,  # u1 had no limit, so that there was nothing to lift
    }


def test_a_cycle_run_twice_scores_nothing_twice(weeks: Weeks) -> None:
    weeks.use(day(-1), day(3))
    weeks.cycles(day(0), day(2))
    once = weeks.figures()
    assert {one.scored for one in once.values()} == {288, 22 * 12}  # of day 1 what is over for an hour, by whole hours
    weeks.cycle(day(2))
    assert weeks.figures() == once
    assert sum(one.missed for one in once.values()) == 0


def test_intervals_of_forecasts_need_not_begin_together(weeks: Weeks) -> None:
    weeks.use(day(-1), day(2))
    weeks.interval_s = 900
    weeks.cycle(day(0, hours=1 / 12))  # from 0:05 on in quarters of an hour, the last of them from 12:05
    weeks.cycle(day(0, hours=12 + 1 / 6))  # from 12:10 on
    weeks.cycle(day(1, hours=1 / 6))  # by now all that begin before 22:00 are over, for more than an hour
    assert {one.scored for one in weeks.figures().values()} == {49 + 40}
    assert sum(one.missed for one in weeks.figures().values()) == 0


def test_controllers_that_score_at_once_score_nothing_twice(weeks: Weeks) -> None:
    weeks.use(day(-1), day(3))
    weeks.cycles(day(0), day(1))
    with ThreadPoolExecutor(4) as controllers:
        list(controllers.map(weeks.cycle, [day(2)] * 4))
    assert {one.scored for one in weeks.figures().values()} == {288, 22 * 12}


def test_a_rehearsal_scores_and_judges_in_its_overlay_alone(weeks: Weeks) -> None:
    weeks.use(day(-1), day(8))
    weeks.cycles(day(0), day(6), bad=("fake/u0",))
    before, standing = weeks.figures(), weeks.ask(standings.standings)
    rehearsed = weeks.cycle(day(7, hours=3), bad=("fake/u0",), check=True)
    drop_rehearsal("rehearsed")
    assert (weeks.figures(), weeks.ask(standings.standings)) == (before, standing) == (before, {})
    real = weeks.cycle(day(7, hours=3), bad=("fake/u0",))
    assert rehearsed.values == real.values
    assert rehearsed.warnings == real.warnings


def test_missing_telemetry_is_not_scored_and_said(weeks: Weeks) -> None:
    weeks.use(day(-1), day(0, hours=3))
    weeks.use(day(0, hours=5), day(2))
    weeks.cycle(day(0))
    found = weeks.cycle(day(0, hours=12))
    assert "Scorecard: 144 intervals were forecast, and their telemetry or size is not known." in found.warnings
    assert {(one.scored, one.missed) for one in weeks.figures().values()} == {(8 * 12, 2 * 12)}
    weeks.use(day(0, hours=3), day(0, hours=5))  # too late
    weeks.cycle(day(0, hours=12))
    assert {(one.scored, one.missed) for one in weeks.figures().values()} == {(8 * 12, 2 * 12)}


def test_without_its_telemetry_the_plan_is_made_and_says_so(weeks: Weeks) -> None:
    weeks.cycle(day(0))
    (weeks.root / "telemetry").write_text("in the way")
    found = weeks.cycle(day(0, hours=12))
    assert modes(found) == ALL_AUTO
    assert any(one.startswith("The scorecard is not up to date: ") for one in found.warnings)


def test_a_forecast_that_is_lost_takes_only_its_own_intervals_away(weeks: Weeks) -> None:
    weeks.use(day(-1), day(2))
    weeks.cycle(day(0))
    context = weeks.context(day(0))
    lost = [name for name, _unused in context.artifacts.objects()]
    weeks.cycle(day(0, hours=12))
    for name in lost:
        path = weeks.root / "artifacts" / name[7:9] / name[7:]
        if b'"schema":"headroom.forecast/' in path.read_bytes():
            path.unlink()
    weeks.cycle(day(1))
    kept = {one.scored for (_unused, _metric, _day), one in weeks.figures().items()}
    assert kept == {10 * 12 + 10 * 12}  # midnight to ten was scored before it was lost, noon to ten since


@pytest.mark.parametrize("again", [False, True])
def test_violations_are_counted_against_the_size_there_was(weeks: Weeks, again: bool) -> None:
    """Acts are by the real clock: the forecast was made three hours ago, the VM grows now, it is scored in five."""
    now = utc_now().replace(minute=0, second=0, microsecond=0)
    start = now - timedelta(hours=3)
    weeks.use(start - timedelta(hours=2), now + timedelta(hours=6), u0=dict.fromkeys(range(288), 1990.0))
    first = weeks.cycle(start)
    before = (utc_now() - start) // STEP
    done = apply(weeks.context(utc_now()), plan=first.values["plan"], stop=threading.Event())
    after = (utc_now() - start) // STEP
    assert {one["state"] for one in done.values["outcomes"]} == {"done"}
    if again:  # somebody else changes it after that, nobody knows when
        weeks.fleet.change("u0", fields={**weeks.fleet.fields("u0"), "guest.vcpus": 4})
    weeks.cycle(now + timedelta(hours=5))
    mine = [one for key, one in weeks.figures().items() if key[:2] == ("fake/u0", CPU_MILLICORES)]
    scored, violated, missed = (sum(getattr(one, name) for one in mine) for name in ("scored", "violated", "missed"))
    assert before <= violated <= after  # of 2 vCPUs; of 3 none
    assert scored + missed == 6 * 12
    # Up to the interval of the act its size is known.
    assert scored in ((6 * 12,) if not again else (before, after))
