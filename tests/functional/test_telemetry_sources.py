# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module telemetry_collect on its other sources, through Ansible: a file, and a server that speaks Prometheus."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import backfill as backfill_module
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backfill import backfill_file
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry import files as files_module
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import Column, Layout

from .controller import HERE, Controller
from .fleets import Fleet

CANARY = "canary-9c41d7"
NOW = "2026-03-01T12:00:00Z"
START = datetime(2026, 3, 1, 11, tzinfo=UTC)
CPU = "cpu_millicores"
LINES = (
    "vm,time,percent,vcpus",
    "vm0,2026-03-01T11:00:00Z,50,4",
    "vm0,2026-03-01T11:05:00Z,25,4",
    "nobody,2026-03-01T11:00:00Z,50,4",
)
LAYOUT = {"unique_id": "vm", "ds": "time", "metrics": {CPU: {"mean": "percent", "factor": 10, "times": "vcpus"}}}


class Answering(BaseHTTPRequestHandler):
    """Every query has one series, of the VM named vm1, which is always at 0.25; it wants the token."""

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        first, last, step = (int(form[name][0]) for name in ("start", "end", "step"))
        values = [[at, "0.25"] for at in range(first, last + 1, step)]
        result = [{"metric": {"name": "vm1"}, "values": values}]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()
        self.send_response(200 if self.headers["Authorization"] == f"Bearer {CANARY}" else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def told(tmp_path_factory, url):
    """What each task returned, what the run printed, and the rows stored."""
    root = tmp_path_factory.mktemp("sources")
    controller = Controller(root, Fleet(root / "fleet.json", vms=2))
    (root / "trace.csv").write_text("\n".join(LINES) + "\n")
    (root / "bad.csv").write_text("\n".join([*LINES, "vm0,2026-03-01T11:10:00Z,-1,4"]) + "\n")
    whose = {"snapshot": "{{ look.snapshot }}", "now": NOW}
    metrics = {CPU: {"query": "cpu", "unique_id": "{name}", "factor": 1000}}
    server = {"url": url, "token": CANARY, "metrics": metrics}
    rehearsed = {"check_mode": True}
    sources = {
        "file_check": ({"file": "trace.csv", "layout": LAYOUT}, rehearsed),
        "file": ({"file": "trace.csv", "layout": LAYOUT}, {}),
        "file_again": ({"file": "trace.csv", "layout": LAYOUT}, {}),
        "file_bad": ({"file": "bad.csv", "layout": LAYOUT}, {}),
        "file_metric": ({"file": "trace.csv", "layout": {**LAYOUT, "metrics": {CPU: {"men": "percent"}}}}, {}),
        "prometheus_check": ({"prometheus": server}, rehearsed),
        "prometheus": ({"prometheus": server}, {}),
        "prometheus_again": ({"prometheus": server}, {}),
        "prometheus_denied": ({"prometheus": {**server, "token": f"{CANARY}x"}}, {}),
        "both": ({"prometheus": server, "file": "trace.csv", "layout": LAYOUT}, {}),
    }
    tasks = [{"headroom.fleet.fleet_snapshot": {}, "register": "look"}]
    for name, (arguments, rest) in sources.items():
        tasks.append({"headroom.fleet.telemetry_collect": {**arguments, **whose}, "register": name, **rest})
        table = {"path": f"{root}/stores/telemetry/_delta_log"}
        tasks.append({"ansible.builtin.find": table, "register": f"{name}_log", "vars": HERE})
    for task in tasks:
        task["run_once"] = True
    found = controller.results({"hosts": "headroom_vms", "tasks": tasks}, arguments=("-vvv",))["vm0"]
    series = SeriesStore(controller.variables["headroom_telemetry"])
    table = series.read(None, start=START, end=START + timedelta(hours=1), interval_s=300)
    everything = json.dumps(found) + "".join(
        path.read_text(errors="replace") for path in (root / "stores").rglob("*") if path.is_file()
    )
    return found, table.to_pylist(), everything


def test_a_file_beside_the_playbook_is_read(told):
    found, rows, _unused = told
    assert (found["file"]["rows"], found["file"]["vms"], found["file"]["unknown_vms"]) == (2, 1, 1)
    assert "nobody" in "".join(found["file"]["warnings"])
    mine = [(row["ds"].minute, row["mean"], row["maximum"]) for row in rows if row["unique_id"] == "fake/u0"]
    assert mine == [(0, 2000.0, None), (5, 1000.0, None)]


def test_prometheus_is_read(told):
    found, rows, _unused = told
    assert (found["prometheus"]["rows"], found["prometheus"]["samples"]) == (12, 60)
    assert (found["prometheus"]["started_at"], found["prometheus"]["finished_at"]) == ("2026-03-01T11:00:00Z", NOW)
    mine = [row for row in rows if row["unique_id"] == "fake/u1"]
    assert [(row["ds"].minute, row["mean"], row["maximum"]) for row in mine] == [
        (minute, 250.0, 250.0) for minute in range(0, 60, 5)
    ]


@pytest.mark.parametrize("source", ["file", "prometheus"])
@pytest.mark.safety(rule=1)
def test_a_rehearsal_says_the_same_and_writes_nothing(told, source):
    found, _rows, _unused = told
    checked, ran = found[f"{source}_check"], found[source]
    for key in ("rows", "vms", "unknown_vms", "silent", "changed"):
        assert checked[key] == ran[key]
    before = {"file": 0, "prometheus": len(log(found, "file"))}[source]
    assert len(log(found, f"{source}_check")) == before < len(log(found, source))


@pytest.mark.parametrize("source", ["file", "prometheus"])
@pytest.mark.safety(rule=8)
def test_the_same_again_changes_nothing(told, source):
    found, _rows, _unused = told
    assert found[f"{source}_again"]["changed"] is False
    assert log(found, f"{source}_again") == log(found, source)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("file_bad", "file.value", "bad.csv, line 5, percent of cpu_millicores is negative"),
        ("file_metric", "metric.invalid", "missing required arguments: mean"),
        ("prometheus_denied", "http.denied", "401"),
    ],
)
def test_a_failure_is_one_clear_error_and_stores_nothing(told, name, code, words):
    found, _rows, _unused = told
    assert (found[name]["failed"], found[name]["code"]) == (True, code)
    assert words in found[name]["msg"]


def test_of_a_file_with_a_wrong_row_nothing_is_stored(told):
    found, _rows, _unused = told
    assert log(found, "file_bad") == log(found, "file_again")


def test_a_file_is_stored_in_parts_and_only_when_all_of_it_is_sound(tmp_path, monkeypatch):
    monkeypatch.setattr(backfill_module, "MERGE_ROWS", 3)
    monkeypatch.setattr(files_module, "PIECE_BYTES", 200)
    lines = [f"vm{n % 5},2026-03-01T11:{5 * (n // 5):02}:00Z,{n},4" for n in range(50)]
    path = tmp_path / "parts.csv"
    layout = Layout({CPU: Column("percent")}, 300, unique_id="vm", ds="time")
    series = SeriesStore(str(tmp_path / "telemetry"))
    path.write_text("\n".join([LINES[0], *lines, "vm0,2026-03-01T11:55:00Z,-1,4", ""]))
    with pytest.raises(HeadroomError, match="line 52"):
        backfill_file(str(path), series=series, layout=layout)
    assert not (tmp_path / "telemetry").exists()
    path.write_text("\n".join([LINES[0], *lines, ""]))
    first = backfill_file(str(path), series=series, layout=layout)
    assert (first.rows, first.version > 1) == (50, True)
    table = series.read(None, start=START, end=START + timedelta(hours=1), interval_s=300)
    assert sorted(table["mean"].to_pylist()) == list(range(50))
    assert backfill_file(str(path), series=series, layout=layout) == first


def test_one_source_at_a_time(told):
    found, _rows, _unused = told
    assert "mutually exclusive" in found["both"]["msg"]


def test_the_token_is_nowhere(told):
    _found, _rows, everything = told
    assert CANARY not in everything


def test_the_cycle_reads_prometheus_where_it_is_told_and_forecasts_from_its_intervals(tmp_path, url):
    controller = Controller(tmp_path, Fleet(tmp_path / "fleet.json", vms=2))
    metrics = {CPU: {"query": "cpu", "unique_id": "{name}", "factor": 1000}}
    said = {"observe_prometheus": {"url": url, "token": CANARY, "metrics": metrics}, "headroom_now": NOW}
    variables = controller.write("said.yml", {**said, "observe_interval_s": 600, "forecast_interval_s": 600})
    stages = ("headroom.fleet.observe", "headroom.fleet.forecast")
    done = controller.run("ansible-playbook", *stages, "-vvv", "-e", f"@{variables}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert CANARY not in done.stdout + done.stderr
    series = SeriesStore(controller.variables["headroom_telemetry"])
    table = series.read(None, start=START, end=START + timedelta(hours=1), interval_s=600)
    assert set(table["unique_id"].to_pylist()) == {"fake/u1"}
    assert table.num_rows == 6
    assert re.search(r'"engines": \{\s*"": 3,\s*"naive": 1\s*\}', done.stdout)


def log(found, name):
    """The commits of the telemetry table after a task."""
    return sorted(file["path"] for file in found[f"{name}_log"]["files"])
