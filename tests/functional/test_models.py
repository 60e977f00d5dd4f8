# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a model on generated telemetry: trained, on trial, promoted or rolled back, drifted, refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import features
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.model_life import on_trial
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import models as model_jobs
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import train as train_job
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.models import load, model_info
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.points import shipped
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.review import Terms, review
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.train import Course, train
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import Key, Model, Version
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, models
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

from .controller import Controller
from .fleets import Fleet

NOW = datetime(2026, 3, 2, tzinfo=UTC)
STEP_S, PER_DAY = 300, 288
PAST_DAYS, LATER_DAYS, VMS = 10, 10, 22  # about the least fleet that can be learnt from
NAMES = sorted(f"fake/u{number}" for number in range(VMS))
KEY = Key("outcome", CPU_MILLICORES, 300)
COURSE = Course(share_percent=100)
TERMS = Terms(share_percent=100, least_vms=10)


def demand(days: int, *, seed: int) -> np.ndarray:
    """Rhythm, noise and bursts in millicores, [V, T]."""
    rng = np.random.default_rng(seed)
    steps = np.arange(days * PER_DAY)
    level = rng.uniform(200, 1200, (VMS, 1))
    rhythm = 1 + 0.6 * np.sin(steps / PER_DAY * 2 * np.pi + rng.uniform(0, 6, (VMS, 1)))
    burst = 2 * level * (rng.random((VMS, len(steps))) < 0.01)
    return np.clip(level * rhythm * rng.gamma(20, 1 / 20, rhythm.shape) + burst, 10, 4000).round(1)


def rows(values: np.ndarray, names: list[str], start: datetime) -> pa.Table:
    vms, steps = values.shape
    ds = np.tile(int(start.timestamp()) * 10**6 + np.arange(steps) * STEP_S * 10**6, vms)
    flat = values.ravel()
    columns = [
        np.repeat(names, steps), np.full(flat.size, CPU_MILLICORES), pa.array(ds, pa.timestamp("us", "UTC")),
        np.full(flat.size, STEP_S, dtype=np.int32), flat, flat, flat, np.full(flat.size, 10, dtype=np.int32),
        np.full(flat.size, 10**6, dtype=np.int32),
    ]  # fmt: skip
    return pa.table([pa.array(column) for column in columns], schema=interval_schema())


def vm(unique_id: str) -> VM:
    return VM(
        unique_id=unique_id, endpoint="fake", name=unique_id, host_id="fake/h", host_set="fake", power="running",
        vcpus=4, memory_mib=4096, generation="g", fields={},
    )  # fmt: skip


class Site:
    """Stores in a folder, and jobs on them at any time."""

    key = KEY  # of the models that tests look at

    def __init__(self, root: Path) -> None:
        self.root = root

    def context(self, days: float = 0, *, check: bool = False, run_id: str = "test") -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "state", "telemetry")}
        return Context(now=NOW + timedelta(days=days), who="ann", run_id=run_id, urls=urls, check=check)

    def snapshot(self, names: list[str] = NAMES) -> str:
        vms = tuple(vm(name) for name in sorted(names))
        return self.context().artifacts.put(Snapshot(format_utc(NOW), ("fake",), (), vms))

    def merge(self, values: np.ndarray, *, at: float, names: list[str] = NAMES) -> None:
        self.context().series.merge(rows(values, names, NOW + timedelta(days=at)))

    def train(self, days: float = 0, course: Course = COURSE, **options: Any) -> Result:
        options = {"snapshot": self.snapshot(), "metrics": [CPU_MILLICORES], **options}
        return train(self.context(days), course, **options)

    def review(self, days: float, terms: Terms = TERMS, *, check: bool = False) -> Result:
        context = self.context(days, check=check, run_id="" if check else "test")
        try:
            return review(context, terms, snapshot=self.snapshot())
        finally:
            context.close()

    def versions(self) -> dict[str, str]:
        with self.context().database.transaction() as connection:
            return {version.model: version.status for version in models.of(connection, self.key)}

    def put(self, model: Model, *, status: str, days: float, share_ppm: int = 0) -> str:
        """Register a model that was made by hand."""
        context = self.context(days)
        name = context.artifacts.put(model)
        at_ms = round(context.now.timestamp() * 1000)
        version = Version(self.key, name, status, share_ppm, made_ms=at_ms, since_ms=at_ms, reason="a test")
        with context.database.transaction() as connection:
            models.put(context.database, connection, version, run_id="test", who="ann")
        return name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Ten days to learn from and ten that follow; a model on trial for all VMs."""
    site = Site(tmp_path_factory.mktemp("models"))
    site.merge(demand(PAST_DAYS + LATER_DAYS, seed=1), at=-PAST_DAYS)
    return site.root, site.train()


@pytest.fixture
def site(trained: tuple[Path, Result], tmp_path: Path) -> Site:
    """The same for one test alone."""
    return Site(Path(shutil.copytree(trained[0], tmp_path / "site")))


def first(trained: tuple[Path, Result]) -> dict[str, Any]:
    found: dict[str, Any] = trained[1].values["trained"][CPU_MILLICORES]
    return found


def test_a_model_says_what_it_was_learnt_from_and_with(trained: tuple[Path, Result], site: Site) -> None:
    told = first(trained)
    assert trained[1].changed
    loaded = load(site.context().artifacts, told["model"], now=NOW)
    header = loaded.header
    assert (header.start, header.end) == ("2026-02-20T00:00:00Z", "2026-03-02T00:00:00Z")
    assert (header.vms, told["vms"], told["rejected"]) == (VMS, VMS, {})
    assert header.features == features.names() == loaded.outcomes.features
    assert header.libraries == model_jobs.libraries()
    assert len(header.expected) == 3  # days after the seven that a decision looks at
    assert 0 < header.expected[0].cost_ppm < 1_000_000
    assert loaded.outcomes.rows == header.rows == told["rows"] > 5000
    point = shipped(CPU_MILLICORES, 300)
    care = loaded.point.unserved / point.unserved  # bursts that nobody foresees make prices dear
    assert care in {2, 4, 8, 16}
    assert loaded.point == replace(point, violation=care * point.violation, unserved=care * point.unserved)


@pytest.mark.parametrize(("minute", "newest"), [(None, "23:20"), (50, "22:50"), (20, "23:20")])
def test_sizes_are_learnt_at_the_minute_of_the_cycle(
    site: Site, monkeypatch: pytest.MonkeyPatch, minute: int | None, newest: str
) -> None:
    learnt = []

    def seen(past: Trace, *_point: Any, **_terms: Any) -> None:
        learnt.append(past.start + timedelta(seconds=past.steps * past.step_s))
        raise HeadroomError("forecast.untrained", "enough seen")

    monkeypatch.setattr(train_job, "train_sizer", seen)
    site.train(8 - 40 / 1440, replace(COURSE, minute=minute))
    assert [f"{end:%H:%M}" for end in learnt] == [newest]


def test_the_same_past_gives_the_same_bytes_whatever_comes_later_and_whoever_is_left_out(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    alone = Site(tmp_path)
    alone.merge(demand(PAST_DAYS + LATER_DAYS, seed=1)[:, : PAST_DAYS * PER_DAY], at=-PAST_DAYS)
    alone.merge(np.full((1, 100), 50.0), at=-1, names=["fake/young"])
    done = alone.train(snapshot=alone.snapshot([*NAMES, "fake/young", "fake/silent"]))
    told = done.values["trained"][CPU_MILLICORES]
    assert told["rejected"] == {"fake/silent": "no telemetry", "fake/young": "less than a day known"}
    assert "2 of 24 VMs were not learnt from" in done.warnings[0]
    ours = load(alone.context().artifacts, told["model"], now=NOW).header
    theirs = load(Site(trained[0]).context().artifacts, first(trained)["model"], now=NOW).header
    assert ours.rows_digest != theirs.rows_digest
    assert replace(ours, rows_digest=theirs.rows_digest) == theirs


def test_numbers_of_the_shipped_point_are_replaced_for_the_use_of_a_model_alone(
    trained: tuple[Path, Result], site: Site
) -> None:
    done = site.train(course=replace(COURSE, due_days=0), point={"unserved": 1400})
    mine, theirs = (
        load(site.context().artifacts, told["model"], now=NOW)
        for told in (done.values["trained"][CPU_MILLICORES], first(trained))
    )
    assert mine.point == replace(shipped(CPU_MILLICORES, 300), unserved=1400.0)  # a person's own prices stay
    assert mine.outcomes == theirs.outcomes
    held = [sum(day.held_ppm for day in one.header.expected) for one in (mine, theirs)]
    assert held[0] < held[1]  # what is expected is of sizes at that price


def test_no_model_is_trained_before_it_is_due(site: Site) -> None:
    again = site.train(6.9)
    assert not again.changed
    assert again.values["trained"][CPU_MILLICORES]["reason"] == "none is due: the newest is less than 7 days old"


def test_a_canary_that_does_well_takes_over_and_the_rehearsal_foretells_it(
    trained: tuple[Path, Result], site: Site
) -> None:
    name = first(trained)["model"]
    assert site.versions() == {name: "canary"}
    early = site.review(0.5)
    assert not early.changed
    assert early.values["reviewed"][0]["verdict"]["step"] == "wait"
    rehearsed = site.review(3, check=True)
    assert site.versions() == {name: "canary"}
    done = site.review(3)
    assert (done.changed, done.values) == (True, rehearsed.values)
    assert site.versions() == {name: "current"}
    assert done.values["reviewed"][0]["changes"][0]["status"] == "current"
    again = site.review(3)
    assert not again.changed
    (listed,) = model_info(site.context(3), snapshot=site.snapshot()).values["models"]
    assert (listed["status"], listed["vms_now"], listed["refused"]) == ("current", VMS, "")
    assert audit.verify(site.context().database)[0] == 3  # candidate, canary, current


def test_of_two_controllers_at_once_one_promotes(site: Site) -> None:
    with ThreadPoolExecutor(2) as both:
        changed = [done.changed for done in both.map(site.review, (3, 3))]
    assert sorted(changed) == [False, True]
    assert set(site.versions().values()) == {"current"}
    assert audit.verify(site.context().database)[0] == 3


def test_of_two_controllers_that_train_at_once_the_first_counts(
    trained: tuple[Path, Result], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = load(site.context().artifacts, first(trained)["model"], now=NOW).header

    def slow(*_arguments: object, **_options: object) -> Model:
        site.put(replace(header, seed=8), status="candidate", days=7.9)
        return replace(header, seed=9)

    monkeypatch.setattr(train_job, "_trained", slow)
    done = site.train(8)
    (other,) = (name for name, status in site.versions().items() if status == "candidate")
    assert done.values["trained"][CPU_MILLICORES]["reason"] == f"another controller trained {other} meanwhile"
    assert (done.changed, len(site.versions())) == (False, 2)


def header_of(site: Site, trained: tuple[Path, Result]) -> Model:
    return load(site.context().artifacts, first(trained)["model"], now=NOW).header


def test_a_trial_that_comes_to_nothing_is_told(trained: tuple[Path, Result], site: Site) -> None:
    site.put(header_of(site, trained), status="canary", days=0, share_ppm=100_000)
    done = site.review(3, replace(TERMS, least_vms=20))
    assert not done.changed
    count = sum(on_trial(one, first(trained)["model"], 100_000) for one in NAMES)
    assert f"still on trial: 3 days of {count} VMs are too few: it takes 1 of 20" in done.warnings[0]


def test_where_all_vms_are_on_trial_nobody_waits_for_more(site: Site) -> None:
    assert site.review(3, replace(TERMS, least_vms=100, most_vms=100)).changed
    assert set(site.versions().values()) == {"current"}


def test_a_canary_is_not_compared_with_a_model_for_another_use(trained: tuple[Path, Result], site: Site) -> None:
    other = replace(header_of(site, trained), interval_s=600, seed=9)
    name = site.put(other, status="current", days=0)
    (told,) = site.review(3).values["reviewed"]
    assert site.versions() == {first(trained)["model"]: "current", name: "retired"}
    (alone,) = Site(trained[0]).review(3, check=True).values["reviewed"]
    assert told["verdict"] == alone["verdict"]  # both by what its training expects


@pytest.mark.parametrize(
    ("change", "due"),
    [({}, False), ({"series_interval_s": 600}, True), ({"target": "mean"}, True), ({"every_s": 7200}, True)],
)
def test_a_model_for_another_use_is_due(site: Site, change: dict[str, Any], due: bool) -> None:
    context = site.context(1)
    with context.database.transaction() as connection:
        known = models.of(connection, KEY)
    assert train_job._due(context, known, replace(COURSE, **change)) is due


def test_use_at_a_limit_is_taken_for_less_than_was_demanded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[Trace] = []

    def seen(past: Trace, *_arguments: object, **_options: object) -> None:
        learnt.append(past)
        raise HeadroomError("forecast.untrained", "That is all that was wanted.")

    monkeypatch.setattr(train_job, "train_sizer", seen)
    fields = {"live.cpu_limit_millicores": 500, "config.cpu_limit_millicores": 500}
    vms = [replace(vm(name), fields=fields) for name in NAMES]
    limited = site.context().artifacts.put(Snapshot(format_utc(NOW), ("fake",), (), tuple(vms)))
    course = replace(COURSE, due_days=0)
    for snapshot in (site.snapshot(), limited):
        site.train(course=course, snapshot=snapshot)
    free, held = (past.demand for past in learnt)
    at_limit = (free >= 0.985 * 0.5) & (free <= 1.2 * 0.5)
    assert at_limit.any()
    np.testing.assert_allclose(held[at_limit], 1.15 * free[at_limit])
    np.testing.assert_array_equal(held[free < 0.98 * 0.5], free[free < 0.98 * 0.5])


def test_a_model_that_starves_its_vms_is_rolled_back_and_the_current_one_stays(
    trained: tuple[Path, Result], site: Site
) -> None:
    name = first(trained)["model"]
    site.review(3)
    header = load(site.context().artifacts, name, now=NOW).header
    blind = replace(header, trees=("", "", ""), seed=9)  # it never foresees any harm
    bad = site.put(blind, status="candidate", days=3)
    assert site.review(3).changed
    assert site.versions() == {name: "current", bad: "canary"}
    done = site.review(4)
    assert site.versions() == {name: "current", bad: "rolled_back"}
    (told,) = done.values["reviewed"]
    assert told["verdict"]["step"] == "roll_back"
    assert "time at the cap" in told["verdict"]["reason"]
    assert "was rolled back" in done.warnings[0]
    assert not site.review(4).changed


def test_a_canary_that_is_refused_is_rolled_back(
    trained: tuple[Path, Result], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_jobs, "VERSION", features.VERSION + 1)
    (told,) = site.review(0.5).values["reviewed"]
    assert "[model.foreign]" in told["verdict"]["reason"]
    assert site.versions() == {first(trained)["model"]: "rolled_back"}


def test_a_model_that_is_not_what_was_trained_is_refused(trained: tuple[Path, Result], site: Site) -> None:
    artifacts = site.context().artifacts
    header = load(artifacts, first(trained)["model"], now=NOW).header
    text = artifacts.get_bytes(header.trees[0])
    for change, code in (
        (
            {"trees": (artifacts.put_bytes(text.replace(b"num_leaves=", b"num_leaves=9", 1)), *header.trees[1:])},
            "damaged",
        ),
        ({"trees": (artifacts.put_bytes(b"\xff"), *header.trees[1:])}, "damaged"),
        ({"trees": (header.trees[1], header.trees[0], header.trees[2])}, "damaged"),  # of other outcomes
        ({"point": {**header.point, "jump": "nan"}}, "damaged"),
        ({"point": {"jump": "2"}}, "damaged"),
        ({"features": header.features[:-1]}, "foreign"),
        ({"libraries": {}}, "library"),
    ):
        name = artifacts.put(replace(header, **change))
        with pytest.raises(HeadroomError) as caught:
            load(artifacts, name, now=NOW)
        assert caught.value.code == f"model.{code}", change


def test_a_stale_current_model_is_told_and_stays(trained: tuple[Path, Result], site: Site) -> None:
    site.review(3)
    done = site.review(50)
    assert not done.changed
    assert "[model.stale]" in done.values["reviewed"][0]["refused"]
    with pytest.raises(HeadroomError) as caught:
        load(site.context().artifacts, first(trained)["model"], now=NOW + timedelta(days=50))
    assert caught.value.code == "model.stale"


def test_a_fleet_that_changed_raises_the_alarm_and_tunes_nothing(site: Site) -> None:
    site.review(3)
    calm = site.review(6)
    assert calm.values["reviewed"][0]["drift"]["alarm"] is False
    site.merge(np.clip(3 * demand(4, seed=5), 0, 4000), at=6)
    done = site.review(10)
    drift = done.values["reviewed"][0]["drift"]
    assert (drift["alarm"], drift["days"], done.changed) == (True, 7, False)
    assert float(drift["loss"]) > float(drift["expected"])
    assert "has drifted" in done.warnings[0]


def test_a_young_fleet_is_told_and_is_no_failure(tmp_path: Path) -> None:
    young = Site(tmp_path)
    nothing = young.train()
    young.merge(demand(5, seed=1), at=-5)
    for done in (nothing, young.train()):
        assert (done.changed, done.values["trained"][CPU_MILLICORES]["model"]) == (False, "")
        assert "No model was trained" in done.warnings[0]


@pytest.mark.parametrize(
    "options",
    [
        {"course": Course(lead_s=100)}, {"course": Course(series_interval_s=7200, lead_s=7200, every_s=7200)},
        {"course": Course(target="median")}, {"course": Course(share_percent=0)},
        {"metrics": []}, {"metrics": ["disk_read_iops"]}, {"point": {"sump": 1}}, {"point": {"jump": "high"}},
    ],
)  # fmt: skip
def test_bad_options_are_one_clear_error(site: Site, options: dict[str, Any]) -> None:
    with pytest.raises(HeadroomError) as caught:
        site.train(**options)
    assert caught.value.code == "model.request"


def test_the_playbook_reviews_and_trains_and_a_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=VMS)
    controller = Controller(tmp_path, fleet)
    variables = {"headroom_now": format_utc(NOW), "train_metrics": [CPU_MILLICORES]}
    options = ("-v", "-e", json.dumps(variables))
    rehearsed = controller.run("ansible-playbook", "headroom.fleet.train", "--check", *options)
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    assert "No model was trained for cpu_millicores" in rehearsed.stdout + rehearsed.stderr
    assert not (tmp_path / "stores").exists()
    SeriesStore(controller.variables["headroom_telemetry"]).merge(
        rows(demand(PAST_DAYS, seed=1), NAMES, NOW - timedelta(days=PAST_DAYS))
    )
    done = controller.run("ansible-playbook", "headroom.fleet.train", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    database = Database(controller.variables["headroom_state"])
    with database.transaction() as connection:
        versions = models.every(connection)
    database.close()
    assert [version.key for version in versions] == [KEY, Key("quantile", CPU_MILLICORES, 0)]
    for version in versions:
        assert (version.status, version.share_ppm) == ("canary", 10**6)  # of a small fleet all
        assert version.model in done.stdout
