# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._store.rows import checked_rows
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.files import Column, Layout, read_file

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
