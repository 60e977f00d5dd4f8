# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much would I save? Back-test and shadow on generated telemetry, and through a playbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc, parse_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_backtest import backtest_sizes
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_case import Asked
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_shadow import Watched, shadow_sizes
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import read_protocol, write_protocol
from ansible_collections.headroom.fleet.plugins.module_utils._store import issued
from ansible_collections.headroom.fleet.plugins.module_utils._store.issued import Issued
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes

from .controller import Controller
from .fleets import Fleet
from .test_models import NAMES, NOW, PER_DAY, VMS, Site, demand, rows, vm

PAST_DAYS, LATER_DAYS = 10, 5  # learnt from, and what came then: a third, which is what a derived protocol scores
QUICK = Asked(curve=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Stores with fifteen days, and a model that was learnt from the first ten; it is the current one."""
    site = Site(tmp_path_factory.mktemp("savings"))
    site.merge(demand(PAST_DAYS + LATER_DAYS, seed=1), at=-PAST_DAYS)
    model = site.train().values["trained"][CPU_MILLICORES]["model"]
    site.review(3)
    return site.root, model


@pytest.fixture
def site(trained: tuple[Path, str], tmp_path: Path) -> Site:
    """The same for one test alone."""
    return Site(Path(shutil.copytree(trained[0], tmp_path / "site")))


def backtest(site: Site, asked: Asked = QUICK, *, days: float = LATER_DAYS, **options: Any) -> Result:
    options = {"snapshot": site.snapshot(), **options}
    return backtest_sizes(site.context(days), asked, **options)


@pytest.fixture(scope="module")
def replayed(trained: tuple[Path, str]) -> dict[str, Any]:
    found: dict[str, Any] = backtest(Site(trained[0]), model=trained[1]).values["backtests"][CPU_MILLICORES]
    return found


def shadow(site: Site, days: float = LATER_DAYS, watched: Watched | None = None, **options: Any) -> Result:
    options = {"snapshot": site.snapshot(), "metrics": [CPU_MILLICORES], **options}
    return shadow_sizes(site.context(days), watched or Watched(), **options)


@pytest.fixture(scope="module")
def shadowed(trained: tuple[Path, str]) -> dict[str, Any]:
    found: dict[str, Any] = shadow(Site(trained[0])).values["shadows"][CPU_MILLICORES]
    return found


def table(site: Site, digest: str) -> pa.Table:
    return table_from_bytes(site.context().artifacts.get_bytes(digest))


def issued_until(rows_of: pa.Table, until: datetime, *, of: list[str]) -> list[tuple[Any, ...]]:
    kept = rows_of.filter(pc.less_equal(rows_of["issued_at"], pa.scalar(until, pa.timestamp("us", "UTC"))))
    kept = kept.filter(pc.is_in(kept["unique_id"], value_set=pa.array(of)))
    return list(zip(*(kept[name].to_pylist() for name in kept.column_names), strict=True))


def rewrite(site: Site, at: float) -> None:
    """All demand from this day on is another."""
    later = demand(LATER_DAYS, seed=9)[:, : round((LATER_DAYS - at) * PER_DAY)]
    site.merge(np.clip(4000 - 2 * later, 10, 4000), at=at)


def test_without_a_protocol_the_last_third_of_all_vms_is_scored(site: Site, replayed: dict[str, Any]) -> None:
    protocol = read_protocol(site.context().artifacts.get_bytes(replayed["protocol"]))
    assert (protocol.scored_from, protocol.scored_to) == (NOW, NOW + timedelta(days=LATER_DAYS))
    assert set(protocol.report_ids) | set(protocol.tune_ids) == set(NAMES)
    assert (replayed["scored_from"], replayed["vms"]) == (format_utc(NOW), VMS)


def test_the_rows_of_the_vms_sum_to_the_figures_of_the_fleet(site: Site, replayed: dict[str, Any]) -> None:
    by_vm = table(site, replayed["table"])
    total = {name: float(pc.sum(by_vm[name]).as_py()) for name in by_vm.column_names[1:]}
    assert by_vm["unique_id"].to_pylist() == NAMES
    assert total["intervals"] == VMS * LATER_DAYS * PER_DAY
    assert total["capacity_h"] == pytest.approx(VMS * 4 * LATER_DAYS * 24)
    for figure, share in (
        ("reclaimed", 1 - total["allocation_h"] / total["capacity_h"]),
        ("violations", total["violated"] / total["intervals"]),
        ("unserved_of_demand", total["unserved_h"] / total["demand_h"]),
        ("worst_vm", max(by_vm["violations_pct"].to_pylist()) / 100),
    ):
        assert float(replayed[figure]["value"]) == pytest.approx(100 * share, abs=1e-4), figure
    assert float(replayed["resizes_per_vm_day"]["value"]) == pytest.approx(
        total["resizes"] / (VMS * LATER_DAYS), abs=1e-4
    )
    given = {name: float(value) for name, value in replayed["given_back"].items()}
    assert given["low"] <= given["value"] <= given["high"]
    assert given["value"] == pytest.approx(float(replayed["reclaimed"]["value"]) / 100 * 4 * VMS, abs=1e-3)
    assert 20 < float(replayed["reclaimed"]["value"]) < 90


def test_what_there_is_now_gives_nothing_back_and_violates_nothing(replayed: dict[str, Any]) -> None:
    now, past, day = (replayed["others"][name] for name in ("now", "past_peak", "day_peak"))
    assert (float(now["reclaimed"]), float(now["violations"]), now["slo4"]) == (0, 0, True)
    assert 0 < float(past["reclaimed"]) < float(day["reclaimed"]) < float(replayed["reclaimed"]["value"])


def test_the_decisions_are_in_the_scorers_schema_and_lead_to_the_same_sizes(
    site: Site, replayed: dict[str, Any]
) -> None:
    decisions = table(site, replayed["decisions"])
    assert decisions.column_names == ["unique_id", "issued_at", "effective_at", "allocation"]
    end_us = round((NOW + timedelta(days=LATER_DAYS)).timestamp()) * 1_000_000
    held = dict.fromkeys(NAMES, (round(NOW.timestamp()) * 1_000_000, 4.0))
    area = dict.fromkeys(NAMES, 0.0)
    effective = decisions["effective_at"].cast(pa.int64()).to_pylist()
    names, sizes = (decisions[column].to_pylist() for column in ("unique_id", "allocation"))
    for name, at, size in zip(names, effective, sizes, strict=True):
        since, had = held[name]
        area[name] += had * (min(at, end_us) - since)
        held[name] = (min(at, end_us), size)
    hours = {name: (area[name] + had * (end_us - since)) / 3.6e9 for name, (since, had) in held.items()}
    by_vm = table(site, replayed["table"])
    assert by_vm["allocation_h"].to_pylist() == pytest.approx([hours[name] for name in NAMES], rel=1e-6)


def test_the_same_past_gives_the_same_digests(site: Site, trained: tuple[Path, str], replayed: dict[str, Any]) -> None:
    again = backtest(site, model=trained[1]).values["backtests"][CPU_MILLICORES]
    for name in ("backtest", "table", "decisions", "protocol"):
        assert again[name] == replayed[name], name


def test_nothing_later_is_known(site: Site, trained: tuple[Path, str], replayed: dict[str, Any]) -> None:
    at = 2.25
    before = table(site, replayed["decisions"])
    rewrite(site, at)
    after = table(site, backtest(site, model=trained[1]).values["backtests"][CPU_MILLICORES]["decisions"])
    until = NOW + timedelta(days=at)
    assert issued_until(after, until, of=NAMES) == issued_until(before, until, of=NAMES)
    assert after != before


def test_one_vm_does_not_touch_another(site: Site, trained: tuple[Path, str], replayed: dict[str, Any]) -> None:
    before = table(site, replayed["table"]).to_pylist()
    site.merge(np.full((1, LATER_DAYS * PER_DAY), 4000.0), at=0, names=NAMES[3:4])
    young = "fake/young"
    site.merge(np.full((1, 100), 50.0), at=LATER_DAYS - 1, names=[young])
    done = backtest(site, model=trained[1], snapshot=site.snapshot([*NAMES, young]))
    found = done.values["backtests"][CPU_MILLICORES]
    after = table(site, found["table"]).to_pylist()
    assert [row for row in after if row["unique_id"] != NAMES[3]] == [
        row for row in before if row["unique_id"] != NAMES[3]
    ]
    assert after[3] != before[3]
    assert found["rejected"] == {young: "less than a day known"}
    assert "1 of 23 VMs could not be replayed for cpu_millicores." in done.warnings


def test_larger_sizes_give_less_back_and_the_page_shows_it(site: Site, trained: tuple[Path, str]) -> None:
    told: list[str] = []
    html = site.root / "pages/savings.html"
    done = backtest(site, Asked(), model=trained[1], html=str(html), progress=told.append)
    found = done.values["backtests"][CPU_MILLICORES]
    curve = found["curve"]
    reclaimed = [float(point["reclaimed"]) for point in curve]
    assert [point["factor"] for point in curve] == ["0.85", "0.92", "1.0", "1.15", "1.3"]
    assert reclaimed == sorted(reclaimed, reverse=True)
    assert len(set(reclaimed)) == len(curve)
    assert float(curve[0]["violations"]) > float(curve[-1]["violations"])
    assert curve[2]["reclaimed"] == found["reclaimed"]["value"]
    assert told[0] == "cpu_millicores: reading the telemetry of 22 VMs"
    assert "cpu_millicores: all sizes times 1.3" in told
    text = html.read_text()
    HTMLParser().feed(text)
    assert "http" not in text.replace("http-equiv", "")
    for words in ("How much would I save?", "peak of the last day", f"{reclaimed[0]:.1f}", "<svg", found["decisions"]):
        assert words in text, words
    assert "peak of the past + 20 %" in done.values["msg"]


def test_whole_vcpus_give_less_back(site: Site, trained: tuple[Path, str], replayed: dict[str, Any]) -> None:
    whole = backtest(site, replace(QUICK, whole_vcpus=True), model=trained[1])
    found = whole.values["backtests"][CPU_MILLICORES]
    assert set(table(site, found["decisions"])["allocation"].to_pylist()) <= {1.0, 2.0, 3.0, 4.0}
    assert float(found["reclaimed"]["value"]) < float(replayed["reclaimed"]["value"])


def test_what_vms_may_have_at_most_is_asked_about_and_not_counted_as_saved(
    site: Site, trained: tuple[Path, str], replayed: dict[str, Any]
) -> None:
    roomy = tuple(replace(vm(name), fields={"config.maximum_vcpus": 8}) for name in NAMES)
    snapshot = site.context().artifacts.put(Snapshot(format_utc(NOW), ("fake",), (), roomy))
    found = backtest(site, model=trained[1], snapshot=snapshot).values["backtests"][CPU_MILLICORES]
    assert float(found["provisioned"]) == 4 * VMS
    assert float(found["others"]["now"]["reclaimed"]) == float(found["others"]["now"]["violations"]) == 0
    before, after = (table(site, of["decisions"])["allocation"].to_pylist() for of in (replayed, found))
    assert max(after) <= 4
    assert after != before


def test_a_protocol_says_what_is_scored(site: Site, trained: tuple[Path, str], replayed: dict[str, Any]) -> None:
    derived = read_protocol(site.context().artifacts.get_bytes(replayed["protocol"]))
    mine = replace(derived, scored_from=NOW + timedelta(days=3), report_ids=tuple(NAMES[:5]), tune_ids=(), pools=())
    done = backtest(site, replace(QUICK, ids="report"), model=trained[1], protocol=write_protocol(mine))
    found = done.values["backtests"][CPU_MILLICORES]
    assert (found["vms"], found["scored_from"]) == (5, format_utc(mine.scored_from))
    slow = write_protocol(replace(mine, decide_every_s=7200))
    for options, code in (
        ({"protocol": "{}"}, "protocol.invalid"),
        ({"protocol": slow, "model": trained[1]}, "model.foreign"),
        ({"protocol": write_protocol(replace(mine, scored_from=NOW - timedelta(days=9)))}, "backtest.young"),
    ):
        with pytest.raises(HeadroomError) as caught:
            backtest(site, metrics=[CPU_MILLICORES], **options)
        assert caught.value.code == code


def test_a_model_that_has_seen_the_window_is_refused(site: Site, trained: tuple[Path, str]) -> None:
    with pytest.raises(HeadroomError) as caught:
        backtest(site, days=LATER_DAYS - 1, model=trained[1])
    assert caught.value.code == "backtest.look_ahead"


def test_a_young_fleet_is_one_error_that_says_how_many_days_it_takes(tmp_path: Path) -> None:
    young = Site(tmp_path)
    for days in (0, 5):
        if days:
            young.merge(demand(days, seed=1), at=-days)
        with pytest.raises(HeadroomError) as caught:
            backtest(young, days=0)
        assert caught.value.code == "backtest.young"
        assert f"{days}.0 days of telemetry for cpu_millicores; it takes 13." in caught.value.message


@pytest.mark.parametrize("asked", [Asked(lead_s=100), Asked(ids="mine"), Asked(target="median"), Asked(most_vms=0)])
def test_bad_options_are_one_clear_error(site: Site, asked: Asked) -> None:
    with pytest.raises(HeadroomError) as caught:
        backtest(site, asked)
    assert caught.value.code == "model.request"


def test_a_shadow_is_of_every_day_since_the_model_was_trained(
    site: Site, trained: tuple[Path, str], shadowed: dict[str, Any]
) -> None:
    assert (shadowed["model"], shadowed["since"]) == (trained[1], format_utc(NOW))
    assert (shadowed["days"], shadowed["days_known"], shadowed["vms"]) == (LATER_DAYS, LATER_DAYS, VMS)
    assert shadow(site, watched=Watched(days=2)).values["shadows"][CPU_MILLICORES]["days"] == 2


def test_the_rows_of_a_shadow_sum_to_its_figures_and_nobody_beats_hindsight(
    site: Site, shadowed: dict[str, Any]
) -> None:
    by_vm = table(site, shadowed["table"])
    total = {name: float(pc.sum(by_vm[name]).as_py()) for name in by_vm.column_names[1:]}
    hours = LATER_DAYS * 24
    for name in ("held", "shadow", "least"):
        assert float(shadowed[name]) == pytest.approx(total[f"{name}_h"] / hours, abs=1e-3)
    assert float(shadowed["held"]) == pytest.approx(4 * VMS)
    assert float(shadowed["least"]) < float(shadowed["shadow"]) < float(shadowed["held"])
    assert total["given_back_h"] == pytest.approx(total["held_h"] - total["shadow_h"])
    assert float(shadowed["reclaimed"]["value"]) == pytest.approx(
        100 * total["given_back_h"] / total["held_h"], abs=1e-3
    )
    assert float(shadowed["regret_pct"]) == pytest.approx(100 * total["regret_h"] / total["held_h"], abs=1e-3)
    assert min(by_vm["regret_h"].to_pylist()) > 0
    assert total["regret_held_h"] == pytest.approx(total["held_h"] - total["least_h"])


def test_a_shadow_of_a_time_that_the_model_was_learnt_from_is_refused(site: Site) -> None:
    with pytest.raises(HeadroomError) as caught:
        shadow(site, watched=Watched(days=LATER_DAYS + 1))
    assert caught.value.code == "shadow.look_ahead"
    assert "Look at 5 days at most" in caught.value.advice
    with pytest.raises(HeadroomError) as caught:
        shadow(site, days=0.9)
    assert caught.value.code == "shadow.young"


def test_a_shadow_without_a_model_in_use_says_so(site: Site) -> None:
    for options in ({"watched": Watched(lead_s=3600)}, {"metrics": ["memory_used_mib"]}):
        with pytest.raises(HeadroomError) as caught:
            shadow(site, **options)
        assert caught.value.code == "shadow.no_model"
    both = shadow(site, metrics=[CPU_MILLICORES, "memory_used_mib"])
    assert list(both.values["shadows"]) == [CPU_MILLICORES]
    assert any("No model for memory_used_mib" in warning for warning in both.warnings)


def test_a_shadow_knows_nothing_later(site: Site, shadowed: dict[str, Any]) -> None:
    at = 2.25
    before = table(site, shadowed["decisions"])
    rewrite(site, at)
    after = table(site, shadow(site).values["shadows"][CPU_MILLICORES]["decisions"])
    until = NOW + timedelta(days=at)
    assert issued_until(after, until, of=NAMES) == issued_until(before, until, of=NAMES)
    assert after != before


def test_a_shadow_is_held_against_what_vms_really_had(site: Site, shadowed: dict[str, Any]) -> None:
    """One VM had less than now, and nobody knows since when; another had what it has."""
    context = site.context()
    had = tuple(replace(vm(name), vcpus=2) if name == NAMES[0] else vm(name) for name in NAMES)
    before = context.artifacts.put(Snapshot(format_utc(NOW - timedelta(hours=1)), ("fake",), (), had))
    at_ms = round((NOW - timedelta(hours=1)).timestamp() * 1000)
    with context.database.transaction() as connection:
        issued.note(connection, Issued("sha256:0", before, "fake", at_ms, at_ms, at_ms + 3_600_000, 300))
    done = shadow(site)
    found = done.values["shadows"][CPU_MILLICORES]
    assert (found["vms"], found["days_known"]) == (VMS - 1, LATER_DAYS)
    by_vm = table(site, found["table"]).to_pylist()
    assert by_vm[0]["intervals"] == 0
    assert by_vm[1:] == table(site, shadowed["table"]).to_pylist()[1:]
    assert not any("No plan tells" in warning for warning in done.warnings)
    assert any("No plan tells" in warning for warning in shadow(site, snapshot=other(site)).warnings)


def other(site: Site) -> str:
    """The same VMs of another fleet, of which no plan was made."""
    snapshot = Snapshot(format_utc(NOW), ("fake", "more"), (), tuple(vm(name) for name in NAMES))
    return site.context().artifacts.put(snapshot)


def shown(output: str, task: str) -> list[str]:
    """The lines that the last task of a playbook showed."""
    found = re.findall(rf"TASK \[{task}\] \**\n(.*?)\nPLAY RECAP", output, re.DOTALL)
    lines: list[str] = json.loads(found[0].partition("=> ")[2])["msg"]
    return lines


def test_the_playbook_trains_replays_and_shows_and_a_rehearsal_keeps_nothing(tmp_path: Path) -> None:
    controller = Controller(tmp_path, Fleet(tmp_path / "fleet.json", vms=VMS))
    store = SeriesStore(controller.variables["headroom_telemetry"])
    store.merge(rows(demand(15, seed=1) / 2, NAMES, NOW - timedelta(days=15)))  # they have two vCPUs
    html = tmp_path / "savings.html"
    variables = {
        "headroom_now": format_utc(NOW),
        "backtest_metrics": [CPU_MILLICORES],
        "backtest_curve": False,
        "backtest_html": str(html),
    }
    done = controller.run("ansible-playbook", "headroom.fleet.backtest", "-v", "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sizing_backtest: cpu_millicores: training on 10.0 days of 22 VMs" in done.stdout
    lines = shown(done.stdout, "Show what it would have saved")
    assert re.match(r"CPU: [0-9.]+ vCPU of 44.0 vCPU would have been given back \([0-9.]+ vCPU to ", lines[0]), lines
    assert any(line.endswith("service level met") for line in lines)
    assert "of 44.0 vCPU would have been given back" in html.read_text()
    artifacts = Path(controller.variables["headroom_artifacts"])
    kept = sorted(artifacts.rglob("*"))
    variables = {**variables, "headroom_now": format_utc(NOW - timedelta(days=6)), "headroom_run_id": "looked"}
    young = controller.run("ansible-playbook", "headroom.fleet.backtest", "--check", "-e", json.dumps(variables))
    assert young.returncode != 0
    assert "There are 9.0 days of telemetry for cpu_millicores; it takes 13." in young.stdout
    assert sorted(artifacts.rglob("*")) == kept
    assert parse_utc(variables["headroom_now"]) < NOW


def test_the_playbook_of_the_shadow_shows_what_came_of_it_and_changes_nothing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    fleet = Fleet(tmp_path / "fleet.json", vms=VMS)
    controller = Controller(tmp_path / "controller", fleet)
    variables = {
        **{f"headroom_{name}": str(site.root / name) for name in ("artifacts", "state", "telemetry")},
        "headroom_now": format_utc(NOW + timedelta(days=LATER_DAYS)),
        "shadow_metrics": [CPU_MILLICORES],
    }

    def play(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        given = json.dumps({**variables, **more})
        return controller.run("ansible-playbook", "headroom.fleet.shadow", *arguments, "-e", given)

    done = play("-v")
    assert done.returncode == 0, done.stdout + done.stderr
    (seen,) = set(re.findall(r'"snapshot": "(sha256:[0-9a-f]{64})"', done.stdout))
    said = shadow(site, snapshot=seen).values["msg"].splitlines()
    assert said[0].startswith(f"cpu_millicores: {LATER_DAYS} of {LATER_DAYS} days of {VMS} VMs, ")
    assert shown(done.stdout, "Show what came of it") == said
    assert "changed=0" in done.stdout
    assert "No plan tells what VMs had" in done.stderr
    assert fleet.writes == 0
    kept = sorted(site.root.rglob("*"))
    rehearsal = play("--check", shadow_days=2)
    assert f"cpu_millicores: 2 of 2 days of {VMS} VMs, " in rehearsal.stdout
    assert sorted(site.root.rglob("*")) == kept
    none = play(shadow_metrics=["memory_used_mib"])
    assert none.returncode != 0
    assert "shadow.no_model" in none.stdout
