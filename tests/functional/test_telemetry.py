# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError, HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import collect as collect_module
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.collect import collect
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.forecast import forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import COUNTERS, METRICS, Sample, Series
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_from_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.history import Demand

from .fleets import Fleet

DAY_S = 86_400  # as the interval of live collections: two of a test then never fall into two intervals
CPU, MEMORY = "cpu_millicores", "memory_used_mib"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SHORT = {"duration_s": 1.6, "step_s": 0.2, "interval_s": DAY_S}  # nine samples; a busy machine may lose some


@pytest.fixture
def series(tmp_path):
    return SeriesStore(str(tmp_path / "telemetry"))


def live(series):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    table = series.read(None, start=today - timedelta(days=1), end=today + timedelta(days=1), interval_s=DAY_S)
    return {(row["unique_id"], row["metric"]): row for row in table.to_pylist()}


def serious(result):
    """Gaps but those of a busy machine."""
    return [(gap.endpoint, gap.subject, gap.code) for gap in result.gaps if gap.code != "telemetry.slow"]


def test_a_collection_finds_the_load_of_every_vm(tmp_path, series):
    fleet = Fleet(tmp_path / "fleet.json", vms=2)
    fleet.change("u1", load={"cpu_millicores": 1500})  # reports no memory
    said = []
    result = collect([fleet.endpoint], series=series, progress=said.append, **SHORT)
    rows = live(series)
    assert set(rows) == {("fake/u0", CPU), ("fake/u0", MEMORY), ("fake/u1", CPU)}
    assert rows["fake/u0", CPU]["mean"] == pytest.approx(500, rel=0.01)
    assert rows["fake/u1", CPU]["maximum"] == pytest.approx(1500, rel=0.01)
    assert rows["fake/u0", MEMORY]["mean"] == 300
    assert 5 <= rows["fake/u0", CPU]["samples"] <= 8
    assert 11 <= rows["fake/u0", CPU]["coverage_ppm"] <= 20  # 1.6 s of a day are 18 ppm
    assert result.unique_ids == ("fake/u0", "fake/u1")
    assert result.silent.pop(MEMORY) == ("fake/u1",)
    assert result.silent == dict.fromkeys(set(METRICS) - {CPU, MEMORY}, ("fake/u0", "fake/u1"))
    assert result.samples > 12
    assert result.rows == 3
    assert serious(result) == []
    assert result.version >= 1
    assert len(said) == 9


def test_an_endpoint_that_fails_midway_leaves_a_gap_and_the_others_land(tmp_path, series):
    sound, broken = Fleet(tmp_path / "a.json", vms=1, name="a"), Fleet(tmp_path / "b.json", vms=1, name="b")
    aside = tmp_path / "aside.json"

    def trip(said):
        number = int(said.split()[1])
        if number == 3:
            broken.path.rename(aside)
        if number == 8:
            aside.rename(broken.path)

    result = collect(
        [sound.endpoint, broken.endpoint], series=series, progress=trip, duration_s=2.4, step_s=0.2, interval_s=DAY_S
    )
    rows = live(series)
    assert rows["a/u0", CPU]["samples"] > rows["b/u0", CPU]["samples"] > 0
    for vm in ("a/u0", "b/u0"):  # what could not be asked is unknown, not 0
        assert rows[vm, CPU]["mean"] == pytest.approx(500, rel=0.01)
    assert serious(result) == [("b", "endpoint", "endpoint.unreachable")]


def test_every_metric_goes_all_the_way(tmp_path, series):
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    fleet.change("u0", load={metric: 1000 + number for number, metric in enumerate(METRICS)})
    result = collect([fleet.endpoint], series=series, guest_agent=True, **SHORT)
    rows = live(series)
    # Guests are asked each 30 s: within this collection once, and one reading has no length.
    expected = {metric for metric in METRICS if not metric.startswith("guest_")}
    assert {metric for _unused, metric in rows} == expected
    for number, metric in enumerate(METRICS):
        if metric in expected:
            assert rows["fake/u0", metric]["mean"] == pytest.approx(
                1000 + number, rel=0.01 if metric in COUNTERS else 0
            )
    assert set(result.silent) == set(METRICS) - expected


class Played:
    """Time that passes when somebody sleeps, in which an endpoint's answers are there at once."""

    def __init__(self, begin):
        self.begin, self.passed_s = begin, 0.0

    def clock(self):
        return self.begin + timedelta(seconds=self.passed_s)

    def monotonic(self):
        return self.passed_s

    def sleep(self, seconds):
        self.passed_s += seconds
        threading.Event().wait(0.02)  # for the thread that samples

    def open_reader(self, _endpoint):
        return self

    def sample(self):
        return (Sample("a/u", self.clock(), "b", {CPU: {"": round(self.passed_s * 10**9)}}, {MEMORY: 5}),)

    def sample_guests(self):
        return (Sample("a/u", self.clock(), "b", {}, {"guest_load_milli": 700}, "agent"),)

    def close(self):
        pass


def play(series, monkeypatch, *, duration_s, progress=lambda _unused: None):
    played = Played(datetime(2026, 3, 2, 12, 1, tzinfo=UTC))
    monkeypatch.setattr(collect_module, "open_reader", played.open_reader)
    result = collect(
        [collect_module.Endpoint(name="a", uri="played://")],
        series=series,
        duration_s=duration_s,
        step_s=10,
        interval_s=300,
        guest_agent=True,
        clock=played.clock,
        monotonic=played.monotonic,
        sleep=played.sleep,
        progress=progress,
    )
    table = series.read(None, start=played.begin.replace(minute=0), end=played.begin + timedelta(1), interval_s=300)
    return result, table.to_pylist()


def test_intervals_are_stored_as_they_end_and_each_once(series, monkeypatch):
    versions = []

    def look(_unused):
        table = series.read(None, start=NOW, end=NOW + timedelta(1), interval_s=300)
        versions.append(sorted({row["ds"].minute for row in table.to_pylist()}))

    result, rows = play(series, monkeypatch, duration_s=840, progress=look)
    of_cpu = [row for row in rows if row["metric"] == CPU]
    assert [(row["ds"].minute, row["mean"], row["maximum"]) for row in of_cpu] == [
        (0, 1000.0, 1000.0),
        (5, 1000.0, 1000.0),
        (10, 1000.0, 1000.0),
    ]
    coverage = [row["coverage_ppm"] / 1e6 for row in of_cpu]
    assert coverage == pytest.approx([0.8, 1.0, 1.0], abs=0.2)  # a busy machine may lose some
    assert {tuple(minutes) for minutes in versions} >= {(), (0,), (0, 5)}
    assert result.rows == len(rows)
    assert {row["metric"] for row in rows} == {CPU, MEMORY, "guest_load_milli"}
    assert "guest_load_milli" not in result.silent


def test_a_broken_connection_is_closed_and_made_anew(tmp_path, series, monkeypatch):
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    opened, readers = collect_module.open_reader, []

    class BreaksOnce:
        """The first connection breaks at its second call, and stays broken."""

        def __init__(self, endpoint):
            self.number, self.calls, self.closed, self.reader = len(readers), 0, False, opened(endpoint)
            readers.append(self)

        def sample(self):
            self.calls += 1
            if self.number == 0 and self.calls > 1:
                raise EndpointError("endpoint.broken", "The connection broke.")
            return self.reader.sample()

        def close(self):
            self.closed = True

    monkeypatch.setattr(collect_module, "open_reader", BreaksOnce)
    result = collect([fleet.endpoint], series=series, **SHORT)
    assert serious(result) == [("fake", "endpoint", "endpoint.broken")]
    assert live(series)["fake/u0", CPU]["samples"] >= 3
    assert [reader.closed for reader in readers] == [True, True]


def test_an_endpoint_out_of_reach_is_a_gap(tmp_path, series):
    sound, absent = Fleet(tmp_path / "a.json", vms=1, name="a"), Fleet(tmp_path / "b.json", vms=1, name="b")
    absent.path.unlink()
    result = collect([sound.endpoint, absent.endpoint], series=series, **SHORT)
    assert serious(result) == [("b", "endpoint", "endpoint.unreachable")]
    assert {vm for vm, _unused in live(series)} == {"a/u0"}


def test_when_nobody_answers_nothing_is_written(tmp_path, series):
    absent = Fleet(tmp_path / "b.json", vms=1)
    absent.path.unlink()
    result = collect([absent.endpoint], series=series, **SHORT)
    assert (result.rows, result.version, len(serious(result))) == (0, -1, 1)
    assert not (tmp_path / "telemetry").exists()


def test_an_endpoint_that_hangs_does_not_hold_up_the_others(tmp_path, series, monkeypatch):
    sound, stuck = Fleet(tmp_path / "a.json", vms=1, name="a"), Fleet(tmp_path / "b.json", vms=1, name="b")
    release = threading.Event()
    opened = collect_module.open_reader

    class Stuck:
        def sample(self):
            release.wait(60)
            return ()

        def close(self):
            pass

    monkeypatch.setattr(
        collect_module, "open_reader", lambda endpoint: Stuck() if endpoint.name == "b" else opened(endpoint)
    )
    try:
        result = collect([stuck.endpoint, sound.endpoint], series=series, **SHORT)
    finally:
        release.set()
    assert ("b", "telemetry.slow") in [(gap.endpoint, gap.code) for gap in result.gaps]
    assert live(series)["a/u0", CPU]["samples"] >= 5


def test_two_collections_in_one_interval_keep_the_maximum_of_both(tmp_path, series):
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    fleet.change("u0", load={"cpu_millicores": 1500, "memory_used_mib": 300})
    collect([fleet.endpoint], series=series, **SHORT)
    fleet.change("u0", load={"cpu_millicores": 500, "memory_used_mib": 200})
    collect([fleet.endpoint], series=series, **SHORT)
    row = live(series)["fake/u0", CPU]
    assert row["maximum"] == pytest.approx(1500, rel=0.01)
    assert row["p95"] == pytest.approx(1500, rel=0.01)
    assert row["mean"] == pytest.approx(1000, rel=0.2)
    assert 10 <= row["samples"] <= 16
    assert 22 <= row["coverage_ppm"] <= 38


def test_a_step_longer_than_the_duration_is_refused(series):
    for times in ({"duration_s": 5, "step_s": 10}, {"duration_s": 5, "step_s": 0}):
        with pytest.raises(HeadroomError) as caught:
            collect([], series=series, **times)
        assert caught.value.code == "collect.times"


def test_a_rehearsal_collects_into_its_own_table(tmp_path, series):
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    rehearsal = SeriesStore(str(tmp_path / "telemetry"), overlay_url=str(tmp_path / "overlay"))
    collect([fleet.endpoint], series=rehearsal, **SHORT)
    assert ("fake/u0", CPU) in live(rehearsal)
    assert live(series) == {}
    assert not (tmp_path / "telemetry").exists()


DEMANDS = {"lab/web": Demand("busy", 1800, 300), "lab/idle": Demand("idle", 60, 128)}
REQUEST = Request(now=NOW, metrics=(CPU, MEMORY), history_s=14 * DAY_S)


@pytest.fixture
def artifacts(tmp_path):
    return ArtifactStore(str(tmp_path / "artifacts"))


def rows_of(artifacts, digest):
    return table_from_bytes(artifacts.get_bytes(artifacts.get(Forecast, digest).table)).to_pylist()


def test_backfill_twice_changes_nothing(series):
    first = backfill(DEMANDS, series=series, now=NOW, weeks=2)
    assert first.rows == 2 * 3 * 14 * 288
    assert backfill(DEMANDS, series=series, now=NOW, weeks=2) == first


def test_a_forecast_names_its_series_and_its_table(series, artifacts):
    backfill(DEMANDS, series=series, now=NOW, weeks=2)
    result = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=["lab/web", "lab/idle", "lab/new"])
    made = artifacts.get(Forecast, result.digest)
    header = artifacts.get(Series, made.series)
    assert made.series == result.series
    assert (header.rows, header.metrics) == (2 * 2 * 14 * 288, (CPU, MEMORY))
    assert header.unique_ids == ("lab/idle", "lab/new", "lab/web")
    assert (made.cutoff, made.target, made.rows) == ("2026-03-02T12:00:00Z", "maximum", 2 * 2 * 12 * 3)
    rows = rows_of(artifacts, result.digest)
    upper = {
        (row["unique_id"], row["metric"]): row["value"] for row in rows if row["quantile"] == "0.95"
    }  # of the last step
    assert upper["lab/web", CPU] > 1800
    assert upper["lab/idle", CPU] < 200
    assert result.engines[""] == 2
    assert result.warnings == ("2 of 6 series have no history.",)
    again = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=["lab/new", "lab/idle", "lab/web"])
    assert again == result


def test_a_pinned_series_gives_the_same_forecast_after_later_writes(series, artifacts):
    backfill(DEMANDS, series=series, now=NOW, weeks=2)
    first = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=list(DEMANDS))
    backfill({"lab/idle": Demand("busy", 4000, 900)}, series=series, now=NOW, weeks=2)
    second = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=list(DEMANDS))
    assert second.digest != first.digest
    pinned = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=list(DEMANDS), series_digest=first.series)
    assert pinned == first


def test_a_pinned_series_whose_rows_are_not_there_any_more_is_one_error(series, artifacts):
    backfill(DEMANDS, series=series, now=NOW, weeks=2)
    first = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=list(DEMANDS))
    header = artifacts.get(Series, first.series)
    for change, code in (
        ({"rows_digest": "sha256:" + "0" * 64}, "series.changed"),
        ({"table_version": 999}, "store.version_gone"),
        ({"table": "file:///elsewhere"}, "series.elsewhere"),
    ):
        digest = artifacts.put(replace(header, **change))
        with pytest.raises(HeadroomError) as caught:
            forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=list(DEMANDS), series_digest=digest)
        assert caught.value.code == code


def test_a_forecast_without_any_telemetry_says_so(series, artifacts):
    result = forecast(REQUEST, artifacts=artifacts, series=series, unique_ids=["lab/web"])
    assert (result.rows, result.engines) == (0, {"": 2})
    assert rows_of(artifacts, result.digest) == []


def test_live_samples_reach_the_forecast_of_the_interval_under_way(tmp_path, series, artifacts):
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    fleet.change("u0", load={"cpu_millicores": 2500, "memory_used_mib": 700})
    now = datetime.now(UTC)
    backfill({"fake/u0": Demand("idle", 60, 128)}, series=series, now=now - timedelta(minutes=5), weeks=1)
    collect([fleet.endpoint], series=series, duration_s=0.8, step_s=0.1)
    request = Request(now=datetime.now(UTC), metrics=(CPU, MEMORY))
    result = forecast(request, artifacts=artifacts, series=series, unique_ids=["fake/u0"])
    choices = {choice.metric: choice for choice in artifacts.get(Forecast, result.digest).choices}
    assert choices[CPU].recent_maximum == pytest.approx(2500, rel=0.02)
    assert choices[MEMORY].recent_maximum == 700


def test_samples_of_a_restart_are_never_subtracted(series, monkeypatch):
    start = datetime.now(UTC)
    readings = iter(
        Sample("a/u", start + timedelta(seconds=n), "boot1" if n < 3 else "boot2", {CPU: {"": n * 10**9}})
        for n in range(6)
    )

    class Scripted:
        def sample(self):
            return (next(readings),)

        def close(self):
            pass

    monkeypatch.setattr(collect_module, "open_reader", lambda _unused: Scripted())
    endpoint = collect_module.Endpoint(name="a", uri="scripted://")
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        threading.Event().wait(0.2)  # for the thread that samples

    collect([endpoint], series=series, duration_s=5, step_s=1, interval_s=DAY_S, monotonic=lambda: now[0], sleep=sleep)
    row = live(series)["a/u", CPU]
    assert row["samples"] == 4  # five steps, less the one across the restart
    assert row["mean"] == row["maximum"] == 1000


def test_a_forecast_of_a_snapshot_says_what_hosts_will_have_to_serve(series, artifacts):
    backfill(DEMANDS, series=series, now=NOW, weeks=4)
    host = Host("lab/h", "lab", "h", "rack", 16, 0, 10**6, 32768, 0, 10**6)
    names = ("lab/idle", "lab/new", "lab/web")
    vms = tuple(VM(name, "lab", name, "lab/h", "rack", "running", 2, 512, "", {}) for name in names)
    seen = Snapshot("2026-03-02T12:00:00Z", ("lab",), (host,), vms)
    request = replace(REQUEST, history_s=28 * 86400)
    result = forecast(request, artifacts=artifacts, series=series, unique_ids=names, snapshot=seen)
    places = {(one.kind, one.place, one.metric): one for one in artifacts.get(Forecast, result.digest).places}
    assert set(places) == {
        (kind, name, metric) for kind, name in (("host", "lab/h"), ("host_set", "rack")) for metric in (CPU, MEMORY)
    }
    rack = places["host_set", "rack", CPU]
    assert (rack.vms, rack.assumed) == (3, 2000)  # of the one without history
    assert 2000 < rack.quantiles[1] <= rack.apart[1]
    assert len(rack.peaks) == 28
    assert rack.growth.slopes[0] <= 0 <= rack.growth.slopes[2]
