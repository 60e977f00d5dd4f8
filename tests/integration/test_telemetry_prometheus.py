# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus server with a back-filled past, read into a telemetry store."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.prometheus import query_prometheus
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry import prometheus as prometheus_module
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.http import Server
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.prometheus import Query
from tests.servers.prometheus import running

CPU, USED = "cpu_millicores", "memory_used_mib"
END = datetime(2026, 3, 1, 14, tzinfo=UTC)
BEGIN = END - timedelta(hours=2)
SCRAPE_S = 15
QUERIES = {
    CPU: Query("sum by (uuid) (rate(cpu_seconds_total[1m]))", "lab/{uuid}", factor=1000),
    USED: Query("used_mib", "lab/{uuid}"),
}
QUIET_FROM = BEGIN + timedelta(minutes=60)  # VM a is not scraped for a while, and Prometheus knows it
QUIET_TO = BEGIN + timedelta(minutes=75)
RESTART = BEGIN + timedelta(minutes=90)  # VM a's counter begins anew


def past():
    """OpenMetrics text: a's CPU at 500, in its last minute of each 5 at 2000; b's memory, with words that are none."""
    cpu, used, seconds = [], [], 0.0
    at = BEGIN - timedelta(minutes=5)
    while at <= END:
        stamp = f"{at.timestamp():.3f}"
        if at == RESTART:
            seconds = 0.0
        if not QUIET_FROM <= at < QUIET_TO:
            cpu.append(f'cpu_seconds_total{{uuid="a",host="x"}} {seconds:.6f} {stamp}')
        elif at == QUIET_FROM:
            cpu.append(f'cpu_seconds_total{{uuid="a",host="x"}} {math.nan} {stamp}')
        minute = at.minute % 10
        value = {7: "NaN", 8: "+Inf", 9: "-5"}.get(minute, str(100 + minute))
        used.append(f'used_mib{{uuid="b"}} {value} {stamp}')
        used.append(f'used_mib{{uuid="stranger"}} 1 {stamp}')
        seconds += SCRAPE_S * (2.0 if at.minute % 5 == 4 else 0.5)
        at += timedelta(seconds=SCRAPE_S)
    return "\n".join(["# TYPE cpu_seconds counter", *cpu, "# TYPE used_mib gauge", *used, "# EOF", ""])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running(tmp_path_factory.mktemp("prometheus"), past()) as found:
        yield found


@pytest.fixture
def series(tmp_path):
    return SeriesStore(str(tmp_path / "telemetry"))


def collected(url, series, *, queries=None, now=END, history_s=7200, step_s=60, **options):
    return query_prometheus(
        Server(url),
        QUERIES if queries is None else queries,
        series=series,
        now=now,
        history_s=history_s,
        step_s=step_s,
        interval_s=300,
        **options,
    )


def rows_of(series, metric):
    table = series.read(None, metrics=[metric], start=BEGIN, end=END, interval_s=300)
    return {(row["unique_id"], int((row["ds"] - BEGIN).total_seconds()) // 60): row for row in table.to_pylist()}


def test_rates_land_in_the_interval_in_which_they_happened(url, series):
    collected(url, series)
    cpu = rows_of(series, CPU)
    assert {vm for vm, _unused in cpu} == {"lab/a"}
    first = cpu["lab/a", 0]
    # Minutes 0 to 3 at 500, minute 4 at 2000. The point at :05 is the rate of that minute: it ENDS the interval.
    assert first["maximum"] == first["p95"] == pytest.approx(2000, rel=0.02)
    assert first["mean"] == pytest.approx(800, rel=0.02)
    assert (first["samples"], first["coverage_ppm"]) == (5, 1_000_000)
    assert cpu["lab/a", 115]["mean"] == pytest.approx(800, rel=0.02)


def test_a_vm_that_is_not_scraped_is_a_gap_and_a_restart_no_burst(url, series):
    collected(url, series)
    cpu = rows_of(series, CPU)
    silent = [minute for minute in range(0, 120, 5) if ("lab/a", minute) not in cpu]
    assert silent == [60, 65, 70]
    partly = [minute for (_unused, minute), row in cpu.items() if row["coverage_ppm"] < 1_000_000]
    assert partly == [55]  # the point at :60 belongs to it, and says NaN
    assert cpu["lab/a", 90]["maximum"] == pytest.approx(2000, rel=0.05)


def test_what_is_no_value_is_left_out_and_counted(url, series):
    found = collected(url, series)
    row = rows_of(series, USED)["lab/b", 5]  # the points at :06 to :10, of which three say nothing
    assert (row["mean"], row["maximum"], row["coverage_ppm"]) == (103.0, 106.0, 400_000)
    assert found.tally.dropped[USED] == {"not_a_number": 24, "negative": 12}


def test_unknown_vms_are_counted(url, series):
    found = collected(url, series, unique_ids={"lab/a": "rack/1", "lab/b": "rack/2"})
    assert found.tally.unknown == {"lab/stranger"}
    assert {vm for vm, _unused in rows_of(series, USED)} == {"rack/2"}


def test_the_same_range_again_changes_nothing_and_later_points_count(url, series):
    collected(url, series, now=END - timedelta(minutes=3))
    assert rows_of(series, CPU)["lab/a", 115]["coverage_ppm"] == 400_000
    collected(url, series)
    whole = rows_of(series, CPU)
    assert whole["lab/a", 115]["coverage_ppm"] == 1_000_000
    header = series.header(None, start=BEGIN, end=END, interval_s=300)
    collected(url, series)
    assert series.header(None, start=BEGIN, end=END, interval_s=300) == header  # the version included
    collected(url, series, now=END - timedelta(minutes=3))  # an older look knows less of the last interval
    assert rows_of(series, CPU) == whole


def test_a_rehearsal_writes_to_its_own_table(url, tmp_path):
    series = SeriesStore(str(tmp_path / "telemetry"), overlay_url=str(tmp_path / "overlay"))
    assert collected(url, series).rows > 0
    assert not (tmp_path / "telemetry").exists()


def test_an_answer_too_large_is_asked_for_in_parts(url, series, tmp_path, monkeypatch):
    collected(url, series)
    monkeypatch.setattr(prometheus_module, "MOST_BYTES", 1500)
    said = []
    other = SeriesStore(str(tmp_path / "other"))
    found = collected(url, other, progress=said.append)
    assert len(said) > 4
    assert found.tally.dropped[USED] == {"not_a_number": 24, "negative": 12}  # once each
    assert rows_of(other, CPU) == rows_of(series, CPU)
    assert rows_of(other, USED) == rows_of(series, USED)
    monkeypatch.setattr(prometheus_module, "MOST_BYTES", 50)
    with pytest.raises(HeadroomError) as caught:
        collected(url, other)
    assert caught.value.code == "http.too_large"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"queries": {CPU: Query("rate(")}}, "prometheus.query"),
        ({"queries": {CPU: Query("used_mib offset 5m @ bogus")}}, "prometheus.query"),
        ({"queries": {"cpu_percent": Query("up")}}, "prometheus.request"),
        ({"queries": {CPU: Query("up", factor=-1)}}, "prometheus.request"),
        ({"queries": {}}, "prometheus.request"),
        ({"step_s": 7}, "prometheus.request"),
        ({"history_s": 60}, "prometheus.request"),
        ({"history_s": 10**12}, "prometheus.request"),
    ],
)
def test_a_request_that_cannot_be_is_one_error(url, series, tmp_path, change, code):
    with pytest.raises(HeadroomError) as caught:
        collected(url, series, **change)
    assert caught.value.code == code
    assert not (tmp_path / "telemetry").exists()


def test_what_is_no_prometheus_is_one_error(url, series):
    with pytest.raises(HeadroomError) as caught:
        collected(f"{url}/nowhere", series)
    assert caught.value.code == "http.status"


def test_a_certificate_is_verified_unless_told_otherwise(tmp_path, series):
    with running(tmp_path / "tls", past(), certificate=True) as url:

        def read(**options):
            return query_prometheus(
                Server(url, **options), QUERIES, series=series, now=END, history_s=3600, interval_s=300
            )

        with pytest.raises(HeadroomError) as caught:
            read()
        assert caught.value.code == "http.tls"
        assert read(ca_path=str(tmp_path / "tls/ca.pem")).rows == read(validate_certs=False).rows > 0
