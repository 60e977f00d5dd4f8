# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store.rows import checked_rows
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry import files
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import (
    Column,
    Layout,
    Tally,
)
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import read_file as pieces_of

WIDE = Layout(
    columns={
        "cpu_millicores": Column("cpu_pct", factor=10, times="vcpus"),
        "memory_used_mib": Column("mem_used_kb", factor=1 / 1024),
    },
    interval_s=300,
    assume_utc=True,
)
AT = datetime(2013, 7, 1, 0, 5)  # noqa: DTZ001 - the file's times have no zone


@pytest.fixture
def wide(tmp_path):
    path = tmp_path / "trace.parquet"
    columns = {
        "unique_id": ["rnd-1", "rnd-2"],
        "ds": pa.array([AT, AT], pa.timestamp("us")),
        "vcpus": pa.array([4, 1], pa.int16()),
        "cpu_pct": pa.array([50.0, None], pa.float32()),
        "mem_used_kb": pa.array([2048.0, 1024.0], pa.float32()),
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


def read_file(path, layout, tally=None):
    return pa.concat_tables(pieces_of(path, layout, tally or Tally()))


def short(table):
    assert checked_rows(table).num_rows == table.num_rows
    return [(row["unique_id"], row["metric"], row["mean"], row["p95"], row["maximum"]) for row in table.to_pylist()]


def test_a_wide_file_of_means_leaves_p95_and_maximum_null(wide):
    table = read_file(wide, WIDE)
    assert short(table) == [
        ("rnd-1", "cpu_millicores", 2000.0, None, None),  # 50 % of four vCPUs; the null of rnd-2 is no row
        ("rnd-1", "memory_used_mib", 2.0, None, None),
        ("rnd-2", "memory_used_mib", 1.0, None, None),
    ]
    assert set(table["ds"].to_pylist()) == {AT.replace(tzinfo=UTC)}


def test_vms_can_be_renamed_left_out_and_moved_in_time(wide):
    table = read_file(wide, replace(WIDE, unique_ids={"rnd-2": "lab/web1", "rnd-9": "lab/x"}, shift_s=86400))
    assert short(table) == [("lab/web1", "memory_used_mib", 1.0, None, None)]
    assert table["ds"].to_pylist() == [datetime(2013, 7, 2, 0, 5, tzinfo=UTC)]


def test_a_long_csv_with_maxima(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text(
        "vm,time,what,avg,top\n"
        "lab/a,2026-03-01T12:00:00Z,cpu.usage,0.5,0.75\n"
        "lab/a,2026-03-01T12:00:00Z,mem.used,100,\n"
        "lab/a,2026-03-01T12:00:00Z,net,1,2\n"
    )
    layout = Layout(
        columns={
            "cpu_millicores": Column("avg", maximum="top", factor=1000, name="cpu.usage"),
            "memory_used_mib": Column("avg", maximum="top", name="mem.used"),
        },
        interval_s=300,
        unique_id="vm",
        ds="time",
        metric="what",
    )
    assert short(read_file(str(path), layout)) == [
        ("lab/a", "cpu_millicores", 500.0, None, 750.0),
        ("lab/a", "memory_used_mib", 100.0, None, None),
    ]


def test_a_file_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE_ROWS", 10)
    monkeypatch.setattr(files, "PIECE_BYTES", 300)
    for name in ("long.csv", "long.parquet"):
        table = pa.table(
            {
                "unique_id": ["lab/a"] * 100,
                "ds": pa.array(
                    [1_300_000_000_000_000 // 300_000_000 * 300_000_000 + n * 300_000_000 for n in range(100)]
                )
                .cast(pa.timestamp("us"))
                .cast(pa.timestamp("us", "UTC")),
                "v": [n if n < 50 else n + 0.5 for n in range(100)],
            }
        )
        path = str(tmp_path / name)
        csv.write_csv(table, path) if name.endswith(".csv") else pq.write_table(table, path)
        tally = Tally()
        pieces = list(pieces_of(path, Layout({"cpu_millicores": Column("v")}, 300), tally))
        assert len(pieces) >= 5
        assert pa.concat_tables(pieces)["mean"].to_pylist() == table["v"].to_pylist()
        assert (tally.rows, tally.vms) == (100, {"cpu_millicores": {"lab/a"}})


def test_vms_that_nobody_knows_are_counted(wide):
    tally = Tally()
    read_file(wide, replace(WIDE, unique_ids={"rnd-2": "lab/web1"}), tally)
    assert (tally.unknown, tally.rows) == ({"rnd-1"}, 1)


SIMPLE = Layout(columns={"cpu_millicores": Column("avg", p95="p95", maximum="top")}, interval_s=300)
HEADER = "unique_id,ds,avg,p95,top"
AT_NOON = "2026-03-01T12:00:00Z"


@pytest.mark.parametrize(
    ("line", "why"),
    {
        "negative": (f"lab/b,{AT_NOON},-1,,", "line 3, avg of cpu_millicores is negative or infinite"),
        "a negative maximum": (f"lab/b,{AT_NOON},1,,-5", "line 3, top of cpu_millicores is negative or infinite"),
        "infinite": (f"lab/b,{AT_NOON},inf,,", "line 3, avg of cpu_millicores is negative or infinite"),
        "above the maximum": (f"lab/b,{AT_NOON},5,,4", "line 3, avg of cpu_millicores is above the maximum"),
        "p95 above it": (f"lab/b,{AT_NOON},3,5,4", "line 3, p95 of cpu_millicores is above the maximum"),
        "no VM": (f",{AT_NOON},1,,", "line 3, there is no VM"),
        "no time": ("lab/b,,1,,", "line 3, there is no time"),
        "between intervals": ("lab/b,2026-03-01T12:00:01Z,1,,", "line 3, the time is no multiple of the interval"),
    }.values(),
)
def test_what_cannot_be_true_is_an_error_that_names_the_line(tmp_path, line, why):
    path = tmp_path / "bad.csv"
    path.write_text(f"{HEADER}\nlab/a,{AT_NOON},1,2,3\n{line}\nlab/c,{AT_NOON},1,2,3\n")
    with pytest.raises(HeadroomError) as caught:
        read_file(str(path), SIMPLE)
    assert caught.value.code == "file.value"
    assert why in caught.value.message


def test_in_a_parquet_file_the_error_names_the_row(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE_ROWS", 2)
    path = tmp_path / "bad.parquet"
    times = pa.array([datetime(2026, 3, 1, tzinfo=UTC)] * 5, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"unique_id": list("abcde"), "ds": times, "v": [1.0, 2.0, 3.0, -4.0, 5.0]}), path)
    with pytest.raises(HeadroomError, match="row 4, v of cpu_millicores is negative"):
        read_file(str(path), Layout({"cpu_millicores": Column("v")}, 300))


def test_nan_and_nothing_are_no_value(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text(
        f"{HEADER}\nlab/a,{AT_NOON},1,NaN,\nlab/b,{AT_NOON},NaN,,\nlab/c,{AT_NOON},,2,3\nlab/d,{AT_NOON},nan,2,3\n"
    )
    assert short(read_file(str(path), SIMPLE)) == [("lab/a", "cpu_millicores", 1.0, None, None)]
    times = pa.array([datetime(2026, 3, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC"))
    table = pa.table({"unique_id": ["a", "b"], "ds": times, "v": [1.0, float("nan")]})
    pq.write_table(table, tmp_path / "gaps.parquet")
    layout = Layout({"cpu_millicores": Column("v", maximum="v")}, 300)
    assert short(read_file(str(tmp_path / "gaps.parquet"), layout)) == [("a", "cpu_millicores", 1.0, None, 1.0)]


def test_of_two_rows_of_one_time_the_later_counts(tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text(f"{HEADER}\nlab/a,{AT_NOON},1,2,3\nlab/b,{AT_NOON},9,9,9\nlab/a,{AT_NOON},2,3,4\n")
    rows = checked_rows(read_file(str(path), SIMPLE))
    assert [(row["unique_id"], row["mean"]) for row in rows.to_pylist()] == [("lab/a", 2.0), ("lab/b", 9.0)]


def test_a_file_without_rows_is_sound(tmp_path):
    path = tmp_path / "none.csv"
    path.write_text(f"{HEADER}\n")
    assert sum(piece.num_rows for piece in pieces_of(str(path), SIMPLE, Tally())) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"columns": {}}, "file.layout"),
        ({"columns": {"cpu_percent": Column("avg")}}, "file.layout"),
        ({"columns": {"cpu_millicores": Column("avg", factor=0)}}, "file.layout"),
        ({"columns": {"cpu_millicores": Column("avg", factor=float("nan"))}}, "file.layout"),
        ({"interval_s": 0}, "file.layout"),
        ({"interval_s": 7}, "file.layout"),
        ({"columns": {"cpu_millicores": Column("mean")}}, "file.columns"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(tmp_path, change, code):
    path = tmp_path / "sound.csv"
    path.write_text(f"{HEADER}\nlab/a,{AT_NOON},1,2,3\n")
    with pytest.raises(HeadroomError) as caught:
        read_file(str(path), replace(SIMPLE, **change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "code"),
    {
        "a text for a number": (f"{HEADER}\nlab/a,{AT_NOON},many,2,3\n", "file.unreadable"),
        "a field too much": (f"{HEADER}\nlab/a,{AT_NOON},1,2,3,4\n", "file.unreadable"),
        "nothing at all": ("", "file.unreadable"),
        "a column twice": (f"{HEADER},avg\nlab/a,{AT_NOON},1,2,3,4\n", "file.columns"),
        "times of two forms": (f"{HEADER}\nlab/a,{AT_NOON},1,2,3\nlab/b,noon,1,2,3\n", "series.naive_time"),
        "seconds since 1970": (f"{HEADER}\nlab/a,1772366400,1,2,3\n", "series.naive_time"),
    }.values(),
)
def test_a_broken_csv_is_one_error(tmp_path, text, code):
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(HeadroomError) as caught:
        read_file(str(path), SIMPLE)
    assert caught.value.code == code


def test_bad_files_are_one_error_each(wide, tmp_path):
    other = tmp_path / "broken.parquet"
    other.write_bytes(b"PAR1 and then nothing")
    cases = {
        "series.naive_time": (wide, replace(WIDE, assume_utc=False)),
        "file.columns": (wide, replace(WIDE, ds="time")),
        "file.unreadable": (str(other), WIDE),
    }
    for code, (path, layout) in cases.items():
        with pytest.raises(HeadroomError) as caught:
            read_file(path, layout)
        assert caught.value.code == code
    with pytest.raises(HeadroomError) as caught:
        read_file(str(tmp_path / "absent.csv"), WIDE)
    assert caught.value.code == "file.unreadable"
