# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of telemetry goes and what stays. ``telemetry_url`` is a folder here; tests/integration has it on S3."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store import delta, retention
from ansible_collections.headroom.fleet.plugins.module_utils._store.delta import NO_VERSION
from ansible_collections.headroom.fleet.plugins.module_utils._store.retention import Retained, retain
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
NOTHING = Retained()


@pytest.fixture
def telemetry_url(tmp_path):
    return str(tmp_path / "telemetry")


def write(url, *, days, slots=3, metric="cpu_millicores", mean=1.0):
    """One commit for each interval, as collectors make them."""
    for day in range(days):
        for slot in range(slots):
            row = {
                "unique_id": "lab/a", "metric": metric, "ds": FIRST + day * DAY + slot * timedelta(minutes=5),
                "interval_s": 300, "mean": mean + slot, "p95": None, "maximum": None, "samples": 0,
                "coverage_ppm": 1_000_000,
            }  # fmt: skip
            SeriesStore(url).merge(pa.Table.from_pylist([row], schema=interval_schema()))


def header(url):
    return SeriesStore(url).header(None, start=FIRST, end=FIRST + 9 * DAY, interval_s=300)


def reread(url, pinned):
    scan = SeriesStore(url).pinned(pinned)
    for _unused in scan.tables():
        pass
    return scan.header()


def test_old_days_go_scattered_days_are_compacted_and_a_second_time_changes_nothing(telemetry_url, monkeypatch):
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    write(telemetry_url, days=3)
    pinned = header(telemetry_url)
    write(telemetry_url, days=3, mean=50.0)
    given = {"oldest": FIRST + DAY, "settled": FIRST + 2 * DAY, "versions": {pinned.table_version}}
    foreseen = retain(telemetry_url, **given, dry_run=True)
    before = header(telemetry_url)
    assert header(telemetry_url) == before
    done = retain(telemetry_url, **given)
    assert (done.rows, done.days) == (foreseen.rows, foreseen.days) == (3, 1)
    after = header(telemetry_url)
    assert after.rows == before.rows - 3
    for kept in (pinned, after):
        assert reread(telemetry_url, kept) == kept
    with pytest.raises(HeadroomError):
        reread(telemetry_url, before)  # no kept header names it, and nobody reads it within the time of grace
    assert retain(telemetry_url, **given) == retain(telemetry_url, **given, dry_run=True) == NOTHING
    assert header(telemetry_url) == after


def test_files_stay_for_readers_and_writers_under_way(telemetry_url):
    write(telemetry_url, days=1)
    pinned = header(telemetry_url)
    done = retain(telemetry_url, oldest=FIRST, settled=FIRST + DAY, versions=())
    assert done == Retained(rows=0, days=1, files=0)
    assert reread(telemetry_url, pinned) == pinned


def test_compacting_keeps_the_rows_and_leaves_the_last_day_and_whole_days_alone(telemetry_url):
    write(telemetry_url, days=2)
    before = header(telemetry_url)
    assert retention.compact(telemetry_url, before=FIRST + DAY, since=FIRST) == 1
    after = header(telemetry_url)
    assert (after.rows_digest, after.table_version) == (before.rows_digest, before.table_version + 1)
    assert retention.compact(telemetry_url, before=FIRST + DAY, since=FIRST) == 0
    assert header(telemetry_url) == after


def fleet_row(vm, slot, interval_s=300):
    """Ids as inventories have them: what tells VMs apart comes late."""
    return {
        "unique_id": f"vcenter.example.org/datacenter-1/{vm:04}", "metric": "cpu_millicores",
        "ds": FIRST + slot * timedelta(seconds=interval_s), "interval_s": interval_s, "mean": vm + slot / 8,
        "p95": None, "maximum": None, "samples": 0, "coverage_ppm": 1_000_000,
    }  # fmt: skip


def merge(url, rows):
    SeriesStore(url).merge(pa.Table.from_pylist(rows, schema=interval_schema()))


@pytest.mark.parametrize("at_once", [10, 100_000])
def test_the_rows_of_a_vm_lie_together_in_compacted_days(telemetry_url, monkeypatch, at_once):
    monkeypatch.setattr(retention, "SORTED_ROWS", at_once)
    for slot in range(6):
        merge(telemetry_url, [fleet_row(vm, slot) for vm in range(40)] + [fleet_row(3, slot, 3600)])
    before = header(telemetry_url)
    assert retention.compact(telemetry_url, before=FIRST + DAY, since=FIRST) == 1
    table = delta.open_table(telemetry_url)
    (file,) = pa.table(table.get_add_actions(flatten=True))["path"].to_pylist()
    columns = ["interval_s", "unique_id", "ds"]
    rows = pq.read_table(file, filesystem=delta.filesystem(table), partitioning=None, columns=columns).to_pylist()
    of_vms = [list(run) for _vm, run in groupby(rows, key=lambda row: (row["interval_s"], row["unique_id"]))]
    assert [len(run) for run in of_vms] == 41 * [6]
    assert all(run == sorted(run, key=lambda row: row["ds"]) for run in of_vms)
    assert header(telemetry_url).rows_digest == before.rows_digest


@pytest.mark.parametrize("late", [fleet_row(7, 9), {**fleet_row(7, 1), "mean": 99.0}])
def test_what_another_writer_commits_while_a_day_is_compacted_stays(telemetry_url, monkeypatch, late):
    for slot in range(3):
        merge(telemetry_url, [fleet_row(vm, slot) for vm in range(9)])
    commit, lately = deltalake.write_deltalake, [late]

    def overtaken(*given, **options):
        while lately:
            merge(telemetry_url, [lately.pop()])
        commit(*given, **options)

    monkeypatch.setattr(deltalake, "write_deltalake", overtaken)
    assert retention.compact(telemetry_url, before=FIRST + DAY, since=FIRST) == 1
    rows = SeriesStore(telemetry_url).read(None, start=FIRST, end=FIRST + DAY, interval_s=300)
    wanted = {(vm, slot): vm + slot / 8 for vm in range(9) for slot in range(3)}
    wanted[7, (late["ds"] - FIRST) // timedelta(minutes=5)] = late["mean"]
    assert rows["mean"].to_pylist() == [mean for _place, mean in sorted(wanted.items())]


def test_a_day_with_rows_of_another_is_left_as_it_is_and_the_rest_is_done(telemetry_url, monkeypatch):
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    for slot in range(3):
        merge(telemetry_url, [fleet_row(1, slot), {**fleet_row(1, slot), "metric": "memory_used_mib"}])
    stray = {**fleet_row(1, 288), "day": FIRST.date()}
    deltalake.write_deltalake(telemetry_url, pa.Table.from_pylist([stray], schema=delta.table_schema()), mode="append")

    def rows():
        return sum(batch.num_rows for batch in delta.query(delta.open_table(telemetry_url), "SELECT ds FROM series"))

    before = rows()
    with pytest.raises(HeadroomError) as refused:
        retain(telemetry_url, oldest=FIRST, settled=FIRST + DAY, versions=())
    assert refused.value.code == "series.day"
    assert rows() == before == 7
    files = delta.open_table(telemetry_url).file_uris()
    assert (sum("cpu_" in one for one in files), sum("memory_" in one for one in files)) == (4, 1)
    assert retention.vacuum(telemetry_url, versions=()) == 0  # was done before it was said


def test_metrics_of_a_later_release_are_left_to_it(telemetry_url, monkeypatch):
    for slot in range(3):
        merge(telemetry_url, [fleet_row(1, slot)])
    monkeypatch.setattr(retention, "METRICS", {})
    assert retention.compact(telemetry_url, before=FIRST + DAY, since=FIRST) == 0


def test_where_there_is_no_telemetry_there_is_nothing_to_do(telemetry_url):
    assert retain(telemetry_url, oldest=FIRST, settled=FIRST, versions={1, -1}) == NOTHING


def test_of_the_log_stays_what_a_kept_version_is_read_from(telemetry_url, monkeypatch):
    monkeypatch.setitem(delta.PROPERTIES, "delta.checkpointInterval", "10")  # 100 unless told
    for number in range(32):  # checkpoints at 9, 19 and 29
        write(telemetry_url, days=1, slots=1, mean=float(number))
        if number == 22:
            pinned = header(telemetry_url)
    before = header(telemetry_url)
    versions = {pinned.table_version}
    assert retention.shorten(telemetry_url, versions=versions) == 0  # all of it is of today
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    foreseen = retention.shorten(telemetry_url, versions=versions, dry_run=True)
    assert reread(telemetry_url, replace(pinned, table_version=5)).table_version == 5
    assert retention.shorten(telemetry_url, versions=versions) == foreseen == 19 + 1  # commits, and a checkpoint
    for kept in (pinned, before):
        assert reread(telemetry_url, kept) == kept
    for gone in (5, 18):
        with pytest.raises(HeadroomError):
            reread(telemetry_url, replace(pinned, table_version=gone))
    assert retention.shorten(telemetry_url, versions=versions) == 0
    assert retain(telemetry_url, oldest=FIRST, settled=FIRST, versions=()).files > 10  # for nothing is kept any more
    assert header(telemetry_url).rows_digest == before.rows_digest
    with pytest.raises(HeadroomError):
        reread(telemetry_url, pinned)


def test_a_version_that_another_prune_has_taken_keeps_nothing_and_fails_nothing(telemetry_url, monkeypatch):
    monkeypatch.setitem(delta.PROPERTIES, "delta.checkpointInterval", "10")
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    for number in range(42):
        write(telemetry_url, days=1, slots=1, mean=float(number))
        if number == 31:  # a prune for one artifact store, while another has headers from before and after it
            lost = header(telemetry_url).table_version - 4
            assert retain(telemetry_url, oldest=FIRST, settled=FIRST, versions=()).files > 0
        if number == 35:
            pinned = header(telemetry_url)
    newest = header(telemetry_url)
    given = {"oldest": FIRST, "settled": FIRST, "versions": {NO_VERSION, 0, lost, pinned.table_version}}
    assert retain(telemetry_url, **given, dry_run=True).files > 0
    assert retain(telemetry_url, **given).files > 0
    for kept in (pinned, newest):
        assert reread(telemetry_url, kept) == kept
    assert retention.shorten(telemetry_url, versions={0, lost}) == 11  # neither holds the log
    assert reread(telemetry_url, newest) == newest


def test_a_long_log_goes_in_parts_and_can_be_read_between_them(telemetry_url, monkeypatch):
    monkeypatch.setitem(delta.PROPERTIES, "delta.checkpointInterval", "10")
    for number in range(32):
        write(telemetry_url, days=1, slots=1, mean=float(number))
    pinned = header(telemetry_url)
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    monkeypatch.setattr(retention, "LOG_FILES_AT_ONCE", 12)
    gone = []
    for _unused in range(4):
        retention.vacuum(telemetry_url, versions={1, 12, pinned.table_version})  # gone sooner or later
        foreseen = retention.shorten(telemetry_url, versions=(), dry_run=True)
        gone.append(retention.shorten(telemetry_url, versions=()))
        assert gone[-1] == foreseen
        assert reread(telemetry_url, pinned) == pinned
    assert gone == [12, 12, 7, 0]  # commits 0 to 28, and two checkpoints
