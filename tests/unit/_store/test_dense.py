# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry in arrays: the same rows as in tables, however they lie in files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store import dense, retention
from ansible_collections.headroom.fleet.plugins.module_utils._store.delta import PARTITIONS, PROPERTIES
from ansible_collections.headroom.fleet.plugins.module_utils._store.dense import GridsDigest, grids, largest
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOTS = 200  # across midnight: two days, two partitions
END = START + timedelta(seconds=300 * SLOTS)
CPU, MEMORY = "cpu_millicores", "memory_used_mib"
VMS = [f"lab/{name}" for name in "abcdefg"]


def rows(unique_id, slots, *, metric=CPU, interval_s=300, seed=0):
    """Rows of one VM; every fifth has no maximum."""
    rng = np.random.default_rng(seed)
    return [
        {
            "unique_id": unique_id,
            "metric": metric,
            "ds": START + timedelta(seconds=interval_s * slot),
            "interval_s": interval_s,
            "mean": float(rng.uniform(1, 2)),
            "p95": None,
            "maximum": None if number % 5 == 4 else 100.0 + slot,
            "samples": 30,
            "coverage_ppm": 1_000_000,
        }
        for number, slot in enumerate(slots)
    ]


def table(found):
    return pa.Table.from_pylist(found, schema=interval_schema())


def scan(store, unique_ids=VMS, *, metrics=(CPU,)):
    return store.scan(unique_ids, metrics=metrics, start=START, end=END, interval_s=300)


def laid(store, unique_ids=VMS, **other):
    """One grid of all VMs, from grids of a few."""
    found = list(grids(scan(store, unique_ids, **other), chunk_values=3 * SLOTS))
    assert {len(one.unique_ids) for one in found} <= {1, 3}
    return {
        metric: [np.concatenate([getattr(one, name) for one in found if one.metric == metric]) for name in NAMES]
        for metric in {one.metric for one in found}
    }


NAMES = ("mean", "maximum")


def expected(store, unique_ids=VMS, *, metrics=(CPU,)):
    """The same from the rows that the store reads."""
    read = store.read(unique_ids, metrics=metrics, start=START, end=END, interval_s=300).to_pylist()
    found = {metric: np.full((2, len(unique_ids), SLOTS), np.nan) for metric in metrics}
    for one in read:
        place = (sorted(unique_ids).index(one["unique_id"]), (one["ds"] - START) // timedelta(seconds=300))
        for number, name in enumerate(NAMES):
            found[one["metric"]][number][place] = np.nan if one[name] is None else one[name]
    assert read
    return found


def same(store, unique_ids=VMS, **other):
    got, wanted = laid(store, unique_ids, **other), expected(store, unique_ids, **other)
    assert got.keys() == wanted.keys()
    for metric, both in wanted.items():
        np.testing.assert_array_equal(got[metric], both)


@pytest.fixture
def store(tmp_path):
    """Whole series, series with gaps, rows before and after, of other VMs, metrics and intervals, in several files."""
    store = SeriesStore(str(tmp_path / "t"))
    store.merge(table([row for vm in (*VMS[:5], "lab/cc") for row in rows(vm, range(-30, 60), seed=1)]))
    store.merge(table([row for vm in VMS[:5] for row in rows(vm, range(60, SLOTS + 20), seed=2)]))
    store.merge(table(rows(VMS[5], [3, 4, 9, 150, 199, 200]) + rows(VMS[1], range(3), interval_s=3600)))
    store.merge(table(rows(VMS[2], range(10, 20), seed=3) + rows(VMS[3], range(90), metric=MEMORY)))
    return store


def test_grids_hold_the_rows_that_tables_hold(store):
    same(store)
    same(store, metrics=(CPU, MEMORY))
    same(store, [VMS[0], VMS[5], "lab/none"])


def test_where_rows_lie_in_files_makes_no_difference(store, tmp_path):
    before, digest = laid(store), read_digest(store)
    assert retention.compact(str(tmp_path / "t"), before=END + timedelta(days=2), since=START - timedelta(days=1))
    np.testing.assert_array_equal(laid(store)[CPU], before[CPU])
    same(store)
    assert read_digest(store) == digest == read_digest(store, chunk_values=2 * SLOTS)


def read_digest(store, **how):
    digest = GridsDigest()
    for grid in grids(scan(store), **how):
        digest.update(grid)
    assert digest.rows == int(np.count_nonzero(~np.isnan(expected(store)[CPU][0])))
    return digest.value()


@pytest.mark.parametrize("change", [{"mean": 2.5}, {"maximum": 999.0}])
def test_the_digest_tells_of_every_value(store, change):
    digest = read_digest(store)
    store.merge(table([{**rows(VMS[0], [7])[0], **change}]))
    assert read_digest(store) != digest


def test_rows_of_a_rehearsal_take_the_place_of_others(store, tmp_path):
    both = SeriesStore(str(tmp_path / "t"), overlay_url=str(tmp_path / "o"))
    both.merge(table(rows(VMS[0], range(5, 9), seed=9) + rows(VMS[6], range(SLOTS), seed=9)))
    same(both)
    assert np.isnan(laid(store)[CPU][0][6]).all()


def test_two_rows_for_one_interval_are_refused(store, tmp_path):
    found = table(rows(VMS[0], [7]))
    day = pa.array([START.date()], pa.date32())
    write_deltalake(
        tmp_path / "t", found.append_column(pa.field("day", pa.date32(), nullable=False), day), mode="append"
    )
    with pytest.raises(HeadroomError) as caught:
        laid(store)
    assert caught.value.code == "series.duplicate"


def test_a_table_in_which_rows_can_be_struck_out_is_asked_not_read(tmp_path):
    DeltaTable.create(
        tmp_path / "t",
        interval_schema().append(pa.field("day", pa.date32(), nullable=False)),
        partition_by=list(PARTITIONS),
        configuration={**PROPERTIES, "delta.enableDeletionVectors": "true"},
        raise_if_key_not_exists=False,
    )
    store = SeriesStore(str(tmp_path / "t"))
    assert DeltaTable(tmp_path / "t").protocol().min_reader_version > 1
    store.merge(table([row for vm in VMS[:4] for row in rows(vm, range(50))]))
    same(store)


def peaks(store, metrics):
    """The largest values, from the rows that the store reads."""
    return {
        metric: np.fmax.reduce(np.where(np.isnan(maximum), mean, maximum), axis=1)
        for metric, (mean, maximum) in expected(store, metrics=metrics).items()
    }


def test_the_largest_values_are_those_of_the_rows(store, tmp_path, monkeypatch):
    both = SeriesStore(str(tmp_path / "t"), overlay_url=str(tmp_path / "o"))
    both.merge(table([{**row, "maximum": 50.0} for row in rows(VMS[0], range(SLOTS))]))
    for one in (store, both):
        np.testing.assert_equal(largest(scan(one, metrics=(CPU, MEMORY))), peaks(one, (CPU, MEMORY)))
    assert (peaks(both, [CPU])[CPU] != peaks(store, [CPU])[CPU]).any()

    every = SeriesStore(str(tmp_path / "every"))
    every.merge(table([{**row, "maximum": 3.0 + row["mean"]} for row in rows(VMS[1], range(-20, SLOTS + 20))]))
    every.merge(table([{**row, "maximum": 2.0 + row["mean"]} for vm in VMS[2:] for row in rows(vm, range(9))]))
    wanted = peaks(every, [CPU])
    monkeypatch.setattr(dense, "grids", None)  # nothing has to be laid out
    np.testing.assert_equal(largest(scan(every)), wanted)


def test_where_there_is_no_vm_there_is_no_largest_value(store):
    assert [len(of) for of in largest(scan(store, [], metrics=(CPU, MEMORY))).values()] == [0, 0]


def test_where_there_is_no_table_nothing_is_known(tmp_path):
    (grid,) = grids(scan(SeriesStore(str(tmp_path / "t"))))
    assert grid.mean.shape == (len(VMS), SLOTS)
    assert np.isnan(grid.mean).all()
