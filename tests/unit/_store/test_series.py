# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import decode_artifact, encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import Series, interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store import retention
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

START = datetime(2026, 3, 1, 22, tzinfo=UTC)
END = START + timedelta(hours=4)  # across midnight: two days, two partitions
CPU = "cpu_millicores"


def row(unique_id="lab/a", slot=0, mean=100.0, **other):
    given = {
        "unique_id": unique_id,
        "metric": CPU,
        "ds": START + timedelta(seconds=300 * slot),
        "interval_s": 300,
        "mean": mean,
        "p95": None,
        "maximum": None,
        "samples": 0,
        "coverage_ppm": 1_000_000,
    }
    return {**given, **other}


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=interval_schema())


def read(store, unique_ids=None, **other):
    return store.read(unique_ids, **{"start": START, "end": END, "interval_s": 300, **other}).to_pylist()


def means(store, **other):
    return [(item["unique_id"], item["ds"], item["mean"]) for item in read(store, **other)]


def test_rows_come_back_sorted_whatever_the_order_of_writing(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    rows = [row(vm, slot, mean=slot + 0.5) for vm in ("lab/b", "lab/a") for slot in (30, 2, 1)]
    rows.append(row("lab/a", 1, metric="memory_used_mib", mean=7.0))
    store.merge(table(*rows[::2]))
    store.merge(table(*rows[1::2]))
    got = read(store)
    assert [(r["unique_id"], r["metric"], r["ds"]) for r in got] == sorted(
        (r["unique_id"], r["metric"], r["ds"]) for r in rows
    )
    assert sum(r["mean"] for r in got) == sum(r["mean"] for r in rows)


def test_reading_selects_vms_metrics_range_and_interval(tmp_path):
    store = SeriesStore((tmp_path / "t").as_uri())
    store.merge(
        table(
            row("lab/a", 0),
            row("lab/a", 1),
            row("lab/a", 2),
            row("lab/b", 1),
            row("it's", 1),
            row("lab/a", 1, metric="memory_used_mib"),
            row("lab/a", 12, interval_s=3600, mean=5.0),
        )
    )
    at = START + timedelta(seconds=300)
    hour = {"start": at, "end": at + timedelta(seconds=300), "metrics": [CPU]}
    assert [r["unique_id"] for r in read(store, **hour)] == ["it's", "lab/a", "lab/b"]
    assert [r["unique_id"] for r in read(store, ["lab/b", "it's", "lab/none"], **hour)] == ["it's", "lab/b"]
    assert [r["mean"] for r in read(store, interval_s=3600)] == [5.0]
    assert read(store, []) == []


def test_the_later_write_wins_and_the_same_rows_make_no_new_version(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    first = store.merge(table(row(slot=0, mean=1.0), row(slot=1, mean=2.0)))
    assert store.merge(table(row(slot=1, mean=2.0), row(slot=0, mean=1.0))) == first
    assert store.merge(table(row(slot=1, mean=3.0), row(slot=2, mean=8.0), row(slot=2, mean=9.0))) == first + 1
    assert [mean for _unused, _unused, mean in means(store)] == [1.0, 3.0, 9.0]
    assert [mean for _unused, _unused, mean in means(store, version=first)] == [1.0, 2.0]


def test_a_maximum_that_becomes_known_is_a_change(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    store.merge(table(row(mean=1.0)))
    store.merge(table(row(mean=1.0, maximum=4.0, samples=60)))
    assert read(store)[0]["maximum"] == 4.0


BAD = {
    "unknown metric": ({"metric": "cpu_percent"}, "series.metric"),
    "NaN": ({"mean": math.nan}, "series.value"),
    "infinite": ({"maximum": math.inf}, "series.value"),
    "negative": ({"mean": -0.5}, "series.value"),
    "NaN for a p95 that is not known": ({"p95": math.nan}, "series.value"),
    "mean above maximum": ({"mean": 5.0, "maximum": 4.0}, "series.value"),
    "coverage above one": ({"coverage_ppm": 1_000_001}, "series.value"),
    "negative samples": ({"samples": -1}, "series.value"),
    "no VM": ({"unique_id": ""}, "series.value"),
    "between intervals": ({"ds": START + timedelta(seconds=17)}, "series.unaligned"),
    "an interval across midnight": ({"interval_s": 420}, "series.interval"),
    "an interval of nothing": ({"interval_s": 0}, "series.interval"),
}


@pytest.mark.parametrize(("change", "code"), BAD.values(), ids=BAD.keys())
def test_a_bad_row_is_one_error_and_stores_nothing(tmp_path, change, code):
    store = SeriesStore(str(tmp_path / "t"))
    with pytest.raises(HeadroomError) as caught:
        store.merge(table(row(slot=1), row(**change)))
    assert caught.value.code == code
    assert read(store) == []


def test_bad_columns_are_one_error(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    good = table(row())
    naive = good.set_column(2, "ds", good["ds"].cast(pa.timestamp("us")))
    cases = {
        "series.naive_time": naive,
        "series.columns": good.drop_columns(["mean"]),
        "series.value": good.set_column(4, "mean", pa.array([None], pa.float64())),
    }
    for code, bad in cases.items():
        with pytest.raises(HeadroomError) as caught:
            store.merge(bad)
        assert caught.value.code == code
    for bad in (good.append_column("y", pa.array([1])), good.set_column(4, "mean", pa.array(["much"]))):
        with pytest.raises(HeadroomError) as caught:
            store.merge(bad)
        assert caught.value.code == "series.columns"
    text_times = good.set_column(2, "ds", pa.array(["2026-03-01T22:00:00Z"]))
    with pytest.raises(HeadroomError, match="not a time"):
        store.merge(text_times)


def test_the_digest_is_the_documented_one(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    store.merge(table(row(slot=1, mean=2.5), row(slot=0, mean=1.5, p95=1.75, maximum=2.0, samples=3)))
    header = store.header(None, start=START, end=END, interval_s=300)
    at = int(START.timestamp()) * 1_000_000
    nan = struct.pack("<Q", 0x7FF8000000000000)
    packed = struct.pack("<qidddii", at, 300, 1.5, 1.75, 2.0, 3, 1_000_000)
    packed += struct.pack("<qid", at + 300_000_000, 300, 2.5) + nan + nan + struct.pack("<ii", 0, 1_000_000)
    lines = [["lab/a", CPU, 2, hashlib.sha256(packed).hexdigest()]]
    canonical = json.dumps(lines, separators=(",", ":")).encode()
    assert header.rows_digest == "sha256:" + hashlib.sha256(canonical).hexdigest()
    assert header.rows == 2
    assert decode_artifact(Series, encode_artifact(header)) == header


def test_the_digest_depends_neither_on_files_nor_on_chunks(tmp_path):
    one, other = SeriesStore(str(tmp_path / "one")), SeriesStore(str(tmp_path / "other"))
    rows = [row(f"lab/{vm}", slot, mean=vm + slot / 8) for vm in range(7) for slot in range(40)]
    one.merge(table(*rows))
    for part in range(5):
        other.merge(table(*rows[part::5]))
    assert retention.compact(str(tmp_path / "other"), before=END + timedelta(days=1), since=START) == 2
    span = {"start": START, "end": END, "interval_s": 300}
    digest = one.header(None, **span).rows_digest
    assert other.header(None, **span).rows_digest == digest
    scan = other.scan(None, chunk_rows=150, **span)
    chunks = list(scan.tables())
    assert len(chunks) == 7
    assert scan.header().rows_digest == digest
    one.merge(table(row("lab/3", 5, mean=0.0)))
    assert one.header(None, **span).rows_digest != digest


def test_a_pinned_header_reads_the_same_rows_after_later_writes(tmp_path):
    store = SeriesStore(str(tmp_path / "t"))
    store.merge(table(row(slot=0, mean=1.0)))
    header = store.header(["lab/a", "lab/gone"], start=START, end=END, interval_s=300)
    store.merge(table(row(slot=0, mean=50.0), row(slot=1, mean=51.0)))
    scan = store.pinned(header)
    assert [r["mean"] for chunk in scan.tables() for r in chunk.to_pylist()] == [1.0]
    assert scan.header() == header
    with pytest.raises(HeadroomError) as caught:
        store.pinned(replace(header, table_version=99))
    assert caught.value.code == "store.version_gone"
    with pytest.raises(HeadroomError) as caught:
        SeriesStore(str(tmp_path / "elsewhere")).pinned(header)
    assert caught.value.code == "series.elsewhere"


def test_an_overlay_takes_the_writes_and_wins_the_reads(tmp_path):
    base = SeriesStore(str(tmp_path / "base"))
    version = base.merge(table(row(slot=0, mean=1.0), row(slot=1, mean=2.0)))
    rehearsal = SeriesStore(str(tmp_path / "base"), overlay_url=str(tmp_path / "overlay"))
    assert [mean for _unused, _unused, mean in means(rehearsal)] == [1.0, 2.0]
    assert not (tmp_path / "overlay").exists()
    rehearsal.merge(table(row(slot=1, mean=20.0), row("lab/new", 2, mean=30.0)))
    assert [mean for _unused, _unused, mean in means(rehearsal)] == [1.0, 20.0, 30.0]
    assert [mean for _unused, _unused, mean in means(base)] == [1.0, 2.0]
    assert base.merge(table()) == version
    header = rehearsal.header(None, start=START, end=END, interval_s=300)
    assert (header.table_version, header.overlay_version) == (version, 1)
    rehearsal.merge(table(row(slot=0, mean=40.0)))
    scan = rehearsal.pinned(header)
    assert [r["mean"] for chunk in scan.tables() for r in chunk.to_pylist()] == [1.0, 20.0, 30.0]
    # A header of the base alone is read without the overlay, also by a rehearsal.
    plain = base.header(None, start=START, end=END, interval_s=300)
    assert [r["mean"] for chunk in rehearsal.pinned(plain).tables() for r in chunk.to_pylist()] == [1.0, 2.0]


def test_an_overlay_never_creates_the_base(tmp_path):
    rehearsal = SeriesStore(str(tmp_path / "base"), overlay_url=str(tmp_path / "overlay"))
    rehearsal.merge(table(row()))
    assert len(read(rehearsal)) == 1
    assert not (tmp_path / "base").exists()


WRITER = """
import sys
from datetime import datetime, timedelta, timezone
import pyarrow as pa
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
place, name, start, count = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])
store = SeriesStore(place)
print("ready", flush=True)
sys.stdin.readline()
for slot in range(count):
    rows = [{"unique_id": vm, "metric": "cpu_millicores", "ds": start + timedelta(minutes=5 * slot), "interval_s": 300,
             "mean": float(slot), "p95": None, "maximum": None, "samples": 0, "coverage_ppm": 1000000}
            for vm in (f"lab/{name}", "lab/shared")]
    store.merge(pa.Table.from_pylist(rows, schema=interval_schema()))
"""


def test_two_writers_at_once_both_land(tmp_path):
    place, count = tmp_path / "t", 8
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, place, name, START.isoformat(), str(count)],
            env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdin.close()
        writer.stdout.close()
    got = read(SeriesStore(str(place)))
    assert [(r["unique_id"], r["mean"]) for r in got] == [
        (vm, float(slot)) for vm in ("lab/one", "lab/shared", "lab/two") for slot in range(count)
    ]


def test_a_store_that_is_newer_or_foreign_or_out_of_reach_says_so(tmp_path):
    from deltalake import DeltaTable

    store = SeriesStore(str(tmp_path / "newer"))
    store.merge(table(row()))
    DeltaTable(tmp_path / "newer").alter.set_table_properties({"headroom.schema": "2"}, raise_if_not_exists=False)
    DeltaTable.create(tmp_path / "foreign", pa.schema([("x", pa.int64())]))
    (tmp_path / "file").write_text("not a folder")
    for name, code in {"newer": "store.newer", "foreign": "store.other", "file": "store.unreachable"}.items():
        with pytest.raises(HeadroomError) as caught:
            SeriesStore(str(tmp_path / name)).merge(table(row(slot=3)))
        assert caught.value.code == code
        assert caught.value.advice
    for name in ("newer", "foreign"):
        with pytest.raises(HeadroomError):
            read(SeriesStore(str(tmp_path / name)))


def test_an_object_store_that_does_not_answer_is_unreachable(monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "none",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "canary-4711",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(HeadroomError) as caught:
        read(SeriesStore("s3://bucket/telemetry"))
    assert caught.value.code == "store.unreachable"
    assert "canary" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_credentials_in_the_url_are_refused_and_not_repeated():
    with pytest.raises(HeadroomError) as caught:
        SeriesStore("s3://user:canary-4711@bucket/telemetry")
    assert caught.value.code == "store.credentials"
    assert "canary" not in str(caught.value)


def test_a_table_damaged_by_others_is_an_error_and_not_a_guess(tmp_path):
    from deltalake import write_deltalake

    store = SeriesStore(str(tmp_path / "t"))
    store.merge(table(row()))
    twice = table(row(mean=7.0)).append_column("day", pa.array([START.date()]))
    write_deltalake(tmp_path / "t", twice, mode="append")
    with pytest.raises(HeadroomError) as caught:
        read(store)
    assert caught.value.code == "series.duplicate"


def test_a_relative_path_is_the_same_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SeriesStore("telemetry").merge(table(row()))
    assert len(read(SeriesStore(str(Path(tmp_path) / "telemetry")))) == 1
