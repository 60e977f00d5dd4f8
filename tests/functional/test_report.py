# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a whole cycle on the fake platform, from the stores."""

from __future__ import annotations

import re
import shutil
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backtest import backtest_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import hold, kill_switch
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import observe
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.report import Files, report
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.standing import EPOCH
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import CURRENT, RETIRED, Key, Version
from ansible_collections.headroom.fleet.plugins.module_utils._store import models, scores
from ansible_collections.headroom.fleet.plugins.module_utils._store.scores import Score
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand, history

from .fleets import NOW, Fleet

POLICY = """\
schema: headroom.sizing-policy/1
defaults:
  mode: auto
  shrink: {hold_hours: 0}
capacity:
  ha_reserve_hosts: 0
budgets:
  at_once: {per_host: 9, per_host_set: 9, per_tenant: 9, per_platform: 9}
  window: none
"""
DEMANDS = {
    "fake/u0": Demand("busy", cpu_millicores=1900, memory_used_mib=800),  # of 2 vCPUs: grows
    "fake/u1": Demand("busy", cpu_millicores=100, memory_used_mib=800),  # shrinks
}  # nothing is known of u2


class Cycle:
    """A fleet of three, its stores, and the digests of one cycle on it."""

    def __init__(self, root: Path, *, check: bool = False, policy: str = POLICY) -> None:
        self.fleet = Fleet(root / "fleet.json")
        self.root = root
        self.check = check
        with_past = self.context(check=False)
        backfill(DEMANDS, series=with_past.series, now=NOW)
        self.policy = policy
        self.make_plan()

    def make_plan(self, *, now: datetime = NOW) -> None:
        """Observe, forecast and plan."""
        self.snapshot = self.run(observe, now=now)["snapshot"]
        found = self.run(
            forecast_demand,
            now=now,
            snapshot=self.snapshot,
            series=None,
            horizon_s=3600,
            interval_s=300,
            lead_s=0,
            history_s=28 * 86400,
            series_interval_s=300,
            quantiles=["0.5", "0.95", "0.98"],
            target="maximum",
        )
        options = {"snapshot": self.snapshot, "forecast": found["forecast"], "policy_text": self.policy}
        self.plan = self.run(plan, now=now, **options)["plan"]

    def context(self, *, check: bool | None = None, now: datetime = NOW) -> Context:
        """The surroundings of one stage."""
        return Context(
            now=now,
            who="tester",
            run_id="cycle-1",
            endpoints=(self.fleet.endpoint,),
            urls={name: str(self.root / name) for name in ("artifacts", "state", "telemetry")},
            check=self.check if check is None else check,
        )

    def run(self, job: Any, *, now: datetime = NOW, **options: Any) -> dict[str, Any]:
        """Run one stage; nothing but the stores lasts until the next."""
        context = self.context(now=now)
        try:
            return job(context, **options).values
        finally:
            context.close()

    def files(self) -> Files:
        """One of each."""
        return Files(*(str(self.root / "out" / name) for name in ("index.html", "report.md", "headroom.prom")))


@pytest.fixture
def cycle(tmp_path: Path) -> Cycle:
    return Cycle(tmp_path)


def test_a_receipt_is_enough_to_report_on_the_whole_cycle(cycle: Cycle) -> None:
    receipt = cycle.run(apply, plan=cycle.plan, stop=threading.Event(), pinned_clock=True)["receipt"]
    cycle.run(hold, unique_ids=["fake/u2"], reason="being moved")
    found = cycle.run(report, files=cycle.files(), receipt=receipt)
    assert (found["grow"], found["shrink"], found["state"]) == (1, 1, "applied")
    assert found["given_back"]["vcpus"] == 1
    grows = f"2 → {2 + found['handed_out']['vcpus']} vCPU"
    html = Path(found["html"]).read_text()
    for words in ("vm0", grows, "2 → 1 vCPU", "being moved", receipt, cycle.plan, 'class="line-past" d="M'):
        assert words in html
    text = Path(found["markdown"]).read_text()
    assert f"| vm0 | ▲ grows | {grows} | done |" in text
    assert 'headroom_acts{result="done",reason=""}' in Path(found["metrics"]).read_text()
    assert [path.name for path in sorted((cycle.root / "out").iterdir())] == [
        "headroom.prom",
        "index.html",
        "report.md",
    ]


def test_how_well_bands_held_comes_from_the_scores_and_from_a_back_test(cycle: Cycle) -> None:
    context = cycle.context()
    day = (NOW.date() - EPOCH).days
    with context.database.transaction() as connection:
        for ago, banded, covered in ((0, 100, 80.0), (1, 288, 280.0), (90, 288, 1.0)):  # the last is long ago
            figures = Score("fake/u0", "cpu_millicores", day - ago, banded, 0, 0, 1.0, 2.0, covered, banded, 0)
            scores.add(connection, [figures])
    context.close()
    back = cycle.run(backtest_forecast, snapshot=cycle.snapshot, origins=3, quantiles=("0.05", "0.5", "0.95"))
    found = cycle.run(report, files=cycle.files(), plan=cycle.plan, backtest=back["backtest"])
    html = Path(found["html"]).read_text()
    assert "the interval of 90 % covered 92.8 % of 388 intervals, over 2 days" in html
    assert "Back-tested at 3 moments of the past, the interval of 90 % held" in html
    assert "On the past" in html


def test_models_that_speak_are_named_and_what_they_learnt_from_is_told(cycle: Cycle) -> None:
    context = cycle.context()
    lost, retired = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    with context.database.transaction() as connection:
        for digest, status in ((lost, CURRENT), (retired, RETIRED)):
            version = Version(Key("outcome", "cpu_millicores", 300), digest, status, 1_000_000, 0, 0, "")
            models.put(context.database, connection, version, run_id="r", who="tester")
    context.close()
    html = Path(cycle.run(report, files=cycle.files(), plan=cycle.plan)["html"]).read_text()
    assert "111111111111" in html  # its record is lost: the page says so, and is a page
    assert "Not used:" in html
    assert "222222222222" not in html


def test_cost_budget_and_violations_come_from_policy_journal_and_past(tmp_path: Path) -> None:
    window = "{hours: 24, per_host: 5, per_host_set: 6, per_tenant: 7, per_platform: 2}"
    cycle = Cycle(tmp_path, policy=POLICY.replace("window: none", f"window: {window}"))
    receipt = cycle.run(apply, plan=cycle.plan, stop=threading.Event(), pinned_clock=True)["receipt"]
    found = cycle.run(report, files=cycle.files(), receipt=receipt)
    metrics = Path(found["metrics"]).read_text()
    for line in (
        'headroom_budget_acts{scope="per_platform"} 2',
        'headroom_budget_acts_left{scope="per_platform"} 0',
        'headroom_budget_acts_left{scope="per_tenant"} 5',
        'headroom_violating_vms{metric="cpu_millicores"} 1',  # u0 is at its 2 vCPUs
    ):
        assert line in metrics.splitlines()
    moved = found["handed_out"]["vcpus"] - found["given_back"]["vcpus"]
    assert f'headroom_cost_change{{state="done"}} {8 * moved}' in metrics.splitlines()  # the shipped policy's unit
    assert (
        "1 VM ran into a limit between 2026-02-28 12:00 UTC and 2026-03-01 12:00 UTC."
        in Path(found["html"]).read_text()
    )


def test_a_report_made_again_later_holds_the_forecast_against_use(cycle: Cycle) -> None:
    later = NOW + timedelta(hours=1)
    now = cycle.run(report, files=cycle.files(), plan=cycle.plan)
    assert "Use was above the interval" not in Path(now["html"]).read_text()
    context = cycle.context()
    demands = {**DEMANDS, "fake/u1": Demand("busy", cpu_millicores=1500, memory_used_mib=800)}  # it surged
    surged = history(demands, start=NOW, end=later, interval_s=300)
    context.series.merge(surged)
    context.close()
    found = cycle.run(report, now=later, files=cycle.files(), plan=cycle.plan)
    assert "Use was above the interval in 12 of 12 steps forecast and known." in Path(found["html"]).read_text()


def test_the_next_cycle_shows_what_the_one_before_expected(cycle: Cycle) -> None:
    later = NOW + timedelta(minutes=30)
    context = cycle.context()
    context.series.merge(history(DEMANDS, start=NOW, end=later, interval_s=300))
    context.close()
    cycle.make_plan(now=later)
    cycle.make_plan(now=later)  # once more from the same: the one before stays the one before
    found = cycle.run(report, now=later, files=cycle.files(), plan=cycle.plan)
    html = Path(found["html"]).read_text()
    assert re.search(r"Use was above the interval in \d of 6 steps forecast and known", html)
    chart = html[html.index('<article class="card" id="chart:fake/u0"') :]
    assert chart[: chart.index("</svg>")].count('class="band-next"') == 2


def test_a_plan_before_that_is_lost_takes_nothing_else_of_the_report_away(cycle: Cycle) -> None:
    lost = cycle.plan
    cycle.make_plan(now=NOW + timedelta(minutes=5))
    (cycle.root / "artifacts" / lost[7:9] / lost[7:]).unlink()
    context = cycle.context()
    result = report(context, files=cycle.files(), plan=cycle.plan)
    context.close()
    assert any(lost in warning for warning in result.warnings)
    html = Path(cycle.files().html).read_text()
    assert 'class="line-past" d="M' in html
    assert "ran into a limit between" in html


def test_a_plan_alone_and_a_snapshot_alone_can_be_reported_on(cycle: Cycle) -> None:
    assert cycle.run(report, files=cycle.files(), plan=cycle.plan)["state"] == "planned"
    assert cycle.run(report, files=cycle.files(), snapshot=cycle.snapshot)["state"] == "observed"


def test_the_same_digests_make_the_same_page(cycle: Cycle) -> None:
    files = cycle.files()
    cycle.run(report, files=files, plan=cycle.plan)
    first = Path(files.html).read_bytes()
    cycle.run(report, files=files, plan=cycle.plan)
    assert Path(files.html).read_bytes() == first


def test_the_last_success_outlives_a_stopped_run(cycle: Cycle) -> None:
    files = cycle.files()
    receipt = cycle.run(apply, plan=cycle.plan, stop=threading.Event(), pinned_clock=True)["receipt"]
    cycle.run(report, files=files, receipt=receipt)
    name = "headroom_last_success_timestamp_seconds"
    before = [line for line in Path(files.metrics).read_text().splitlines() if line.startswith(name)]
    stop = threading.Event()
    stop.set()
    stopped = cycle.run(apply, plan=cycle.plan, stop=stop, pinned_clock=True)
    assert stopped["stopped"]
    cycle.run(report, files=files, receipt=stopped["receipt"])
    text = Path(files.metrics).read_text()
    assert [line for line in text.splitlines() if line.startswith(name)] == before


def test_a_rehearsal_has_a_report_and_leaves_no_store(tmp_path: Path) -> None:
    rehearsed = Cycle(tmp_path, check=True)
    found = rehearsed.run(report, files=rehearsed.files(), plan=rehearsed.plan)
    assert "Rehearsal: nothing was changed" in Path(found["html"]).read_text()
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "artifacts").exists()
    assert rehearsed.fleet.writes == 0


def test_the_kill_switch_is_told_first(cycle: Cycle) -> None:
    cycle.run(kill_switch, on=True, reason="storage is failing")
    cycle.run(report, files=cycle.files(), plan=cycle.plan)
    assert "The kill switch is on (tester: storage is failing)" in Path(cycle.files().html).read_text()


def test_without_the_past_the_charts_show_the_forecast_alone(cycle: Cycle) -> None:
    shutil.rmtree(cycle.root / "telemetry")
    context = cycle.context()
    result = report(context, files=cycle.files(), plan=cycle.plan)
    context.close()
    assert any("without the past" in warning for warning in result.warnings)
    html = Path(cycle.files().html).read_text()
    drawn = html[html.index('class="cards"') :].partition("</section>")[0]
    assert 'class="line-next" d="M' in drawn
    assert 'class="line-past" d="M' not in drawn


def test_nothing_to_report_on_is_one_clear_error(cycle: Cycle) -> None:
    with pytest.raises(HeadroomError) as caught:
        cycle.run(report, files=cycle.files())
    assert caught.value.code == "report.nothing"


def test_a_file_that_cannot_be_written_is_one_clear_error(cycle: Cycle) -> None:
    (cycle.root / "out").write_text("in the way")
    with pytest.raises(HeadroomError) as caught:
        cycle.run(report, files=cycle.files(), plan=cycle.plan)
    assert caught.value.code == "report.unwritable"
    assert "out" in caught.value.message
