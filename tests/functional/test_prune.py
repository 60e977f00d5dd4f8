# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pruning: what nothing needs goes, what something needs stays, and a second time nothing is left to do."""

from __future__ import annotations

import os
import tempfile
import textwrap
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy
import yaml

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import prune as prune_job
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, recover_only, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.prune import prune
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema
from ansible_collections.headroom.fleet.plugins.module_utils._store import (
    approvals,
    audit,
    holds,
    journal,
    leases,
    lineage,
    references,
    retention,
)
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore

from .controller import Controller
from .fleets import NOW, Fleet, action, plan

DAY_MS = 86_400_000
AGES = {"records_days": 31, "telemetry_days": 31, "rehearsal_days": 1}
STOP = threading.Event()
# Every column of the state store that says when something was.
TIMES = {
    "journal": ("begun_at_ms", "updated_at_ms"),
    "released": ("at_ms",),
    "approval": ("at_ms", "expires_at_ms"),
    "hold": ("at_ms", "until_ms"),
    "lease": ("expires_at_ms",),
    "reference": ("at_ms",),
}


class Stores:
    """Three stores, and a fleet to fill them from."""

    def __init__(self, root: Path, state_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", vms=4)
        self.urls = {"artifacts": str(root / "artifacts"), "state": state_url, "telemetry": str(root / "telemetry")}
        (root / "tmp").mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(root / "tmp"))  # where rehearsals are

    def context(self, **values: Any) -> Context:
        return Context(
            **{"now": utc_now(), "who": "ann", "endpoints": (self.fleet.endpoint,), "urls": self.urls, **values}
        )

    def prune(self, **values: Any) -> Result:
        with closing(self.context(**values)) as context:
            return prune(context, **AGES)

    def apply(self, made: Plan) -> dict[str, Any]:
        with closing(self.context(now=NOW)) as context:
            return apply(
                context, plan=context.artifacts.put(made), stop=STOP, terms=LeaseTerms(5, 0), pinned_clock=True
            ).values

    def age(self, days: int, *, but: tuple[str, ...] = ()) -> None:
        """Let everything in the stores be older by so many days, but for some artifacts."""
        with closing(self.context()) as context, context.database.transaction() as connection:
            for table, columns in TIMES.items():
                for column in columns:
                    statement = f"UPDATE {table} SET {column} = {column} - :age"  # noqa: S608 - the table above
                    connection.execute(sqlalchemy.text(statement), {"age": days * DAY_MS})
        for path in Path(self.urls["artifacts"]).rglob("*"):
            if path.is_file() and f"sha256:{path.name}" not in but:
                moment = path.stat().st_mtime - days * 86_400
                os.utime(path, (moment, moment))

    def artifacts(self) -> set[str]:
        return {f"sha256:{path.name}" for path in Path(self.urls["artifacts"]).rglob("*") if path.is_file()}

    def listing(self) -> dict[Path, bytes]:
        """Every file of the stores."""
        return {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def rows(self, table: str) -> int:
        with closing(self.context()) as context, context.database.transaction() as connection:
            count = sqlalchemy.select(sqlalchemy.func.count()).select_from(sqlalchemy.table(table))
            return int(connection.execute(count).scalar_one())


@pytest.fixture
def stores(tmp_path: Path, state_url: str, monkeypatch: pytest.MonkeyPatch) -> Stores:
    return Stores(tmp_path, state_url, monkeypatch)


def removed(result: Result) -> dict[str, int]:
    return {name: count for name, count in result.values["removed"].items() if count}


def test_what_is_old_and_settled_goes_once_and_check_mode_foretells_it(stores: Stores) -> None:
    for size in (512, 1024):
        stores.apply(plan(action(stores.fleet, "u0", "memory.balloon", size)))
    with closing(stores.context()) as context, context.database.transaction() as connection:
        database = context.database
        orphan = context.artifacts.put_bytes(b"of a run that died")
        approvals.grant(database, connection, orphan, who="ann", ttl_s=60, actions=["a0001"])
        holds.place(database, connection, holds.Hold("fake/u1", "ann", "lunch", database.now_ms(connection)))
        holds.place(database, connection, holds.Hold("fake/u2", "ann", "for good", None))
        references.put(database, connection, "plan/old", orphan)
    stores.age(40)
    with closing(stores.context()) as context:
        young = context.artifacts.put_bytes(b"of today")
    before = stores.listing()
    foreseen = stores.prune(check=True)
    assert stores.listing() == before
    done = stores.prune()
    assert (done.changed, done.values) == (foreseen.changed, foreseen.values)
    # Plans, receipts and the orphan; of the two acts on one VM the newest stays.
    assert removed(done) == {"journal": 1, "approval": 1, "hold": 1, "lease": 1, "reference": 1, "artifact": 5}
    assert stores.artifacts() == {young}
    assert (stores.rows("journal"), stores.rows("hold")) == (1, 1)
    with closing(stores.context()) as context:
        rows, _unused = audit.verify(context.database)
        with context.database.transaction() as connection:
            assert journal.newest_acts(connection, state="done")["fake/u0", "memory_mib"][0] == "grow"
    again = stores.prune()
    assert (again.changed, removed(again), stores.rows("audit")) == (False, {}, rows)


def test_what_is_young_stays_with_all_it_refers_to(stores: Stores) -> None:
    with closing(stores.context()) as context:
        policy = context.artifacts.put_bytes(b"schema: a policy")
        forgotten = context.artifacts.put_bytes(b"nothing refers to it")
    one = replace(plan(action(stores.fleet, "u0", "memory.balloon", 512)), policy=policy)
    values = stores.apply(one)
    stores.age(40, but=(values["receipt"],))
    assert removed(stores.prune())["artifact"] == 1
    assert stores.artifacts() == {policy, values["plan"], values["receipt"]} != {forgotten}
    with closing(stores.context(now=NOW)) as context:
        undone = rollback(context, receipt=values["receipt"], stop=STOP, terms=LeaseTerms(5, 0))
    assert undone.values["states"] == {"done": 1}


def test_an_artifact_is_read_by_one_prune_and_keeps_what_it_refers_to_in_all(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(stores.context()) as context:
        policy = context.artifacts.put_bytes(b"schema: a policy")
    values = stores.apply(replace(plan(action(stores.fleet, "u0", "memory.balloon", 512)), policy=policy))
    read: list[str] = []
    get_bytes = ArtifactStore.get_bytes

    def note(self: ArtifactStore, digest: str) -> bytes:
        read.append(digest)
        return get_bytes(self, digest)

    monkeypatch.setattr(ArtifactStore, "get_bytes", note)
    kept = [policy, values["plan"], values["receipt"]]
    assert removed(stores.prune(check=True)) == removed(stores.prune()) == {}
    assert sorted(read) == sorted(kept * 2)  # the rehearsal kept no note
    stores.age(40, but=(values["receipt"],))
    assert "artifact" not in removed(stores.prune())
    assert (len(read), sorted(stores.artifacts()), stores.rows("lineage")) == (6, sorted(kept), 3)
    stores.age(40)
    assert removed(stores.prune())["artifact"] == 3
    assert (stores.artifacts(), stores.rows("lineage")) == (set(), 0)


def test_what_a_first_prune_reads_is_noted_in_few_transactions(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(stores.context()) as context:
        kept = {context.artifacts.put_bytes(str(number).encode()) for number in range(7)}
        lost = kept.pop()
    noted: list[set[str]] = []
    note, get_bytes = lineage.note, ArtifactStore.get_bytes

    def count(connection: sqlalchemy.Connection, found: dict[str, lineage.Lineage]) -> None:
        noted.append(set(found))
        note(connection, found)

    def get(self: ArtifactStore, digest: str) -> bytes:
        if digest == lost:  # another prune takes it between the listing and the reading
            raise HeadroomError("artifact.missing", "It is gone.", advice="")
        return get_bytes(self, digest)

    monkeypatch.setattr(lineage, "note", count)
    monkeypatch.setattr(ArtifactStore, "get_bytes", get)
    monkeypatch.setattr(prune_job, "NOTED_AT_ONCE", 4)
    stores.prune()
    assert [len(found) for found in noted] == [4, 2]
    assert set.union(*noted) == kept  # of the lost one nothing is known: it may come again
    assert stores.rows("lineage") == 6


@pytest.mark.safety(rule=6)
def test_an_owed_rollback_and_an_interrupted_act_are_settled_after_any_time(stores: Stores) -> None:
    before = stores.fleet.fields("u0")
    receipt = stores.apply(plan(action(stores.fleet, "u0", "vcpus.hotplug", 6)))["receipt"]
    with closing(stores.context(now=NOW)) as context:
        undone = rollback(context, receipt=receipt, stop=STOP, terms=LeaseTerms(5, 0))
    assert undone.values["states"] == {"owed": 1}
    stores.fleet.change("u1", faults={"live.memory_mib": "break"})
    made = plan(action(stores.fleet, "u1", "memory.balloon", 512))
    with pytest.raises(HeadroomError, match="broke off"):
        stores.apply(made)
    stores.age(400)
    stores.prune()
    stores.fleet.change("u0", fields=before)  # its restart
    stores.fleet.change("u1", faults={})
    with closing(stores.context()) as context:
        settled = recover_only(context, stop=STOP, terms=LeaseTerms(5, 0))
    assert sorted(one["state"] for one in settled.values["outcomes"]) == ["done", "reverted"]
    stores.age(400)
    assert removed(stores.prune())["artifact"] > 2  # settled, they go


@pytest.mark.safety(rule=9)
def test_an_approval_that_counts_keeps_its_plan(stores: Stores) -> None:
    made = plan(action(stores.fleet, "u0", "memory.balloon", 512, mode="approve"), now=utc_now())
    with closing(stores.context()) as context, context.database.transaction() as connection:
        digest = context.artifacts.put(made)
        approvals.grant(context.database, connection, digest, who="ann", ttl_s=90 * 86_400, actions=["a0001"])
    stores.age(40)
    assert removed(stores.prune()) == {}
    assert stores.artifacts() == {digest}


@pytest.mark.safety(rule=3)
def test_what_a_rolling_budget_may_count_and_what_keeps_a_vm_held_stays(stores: Stores) -> None:
    for size in (512, 600, 700):
        stores.apply(plan(action(stores.fleet, "u0", "memory.balloon", size)))
    stores.fleet.change("u1", faults={"config.memory_mib": "refuse"})
    for _unused in range(2):
        stores.apply(plan(action(stores.fleet, "u1", "memory.balloon", 512)))
    stores.age(30)
    assert "journal" not in removed(stores.prune())
    stores.age(10)
    assert removed(stores.prune())["journal"] == 2
    with closing(stores.context()) as context, context.database.transaction() as connection:
        assert holds.reverted_twice(connection) == {"fake/u1"}
        assert holds.release(context.database, connection, "fake/u1", who="ann")
    stores.age(40)
    assert {"journal": 2, "released": 1}.items() <= removed(stores.prune()).items()


@pytest.mark.safety(rule=7)
def test_a_fencing_token_never_comes_again(stores: Stores) -> None:
    with closing(stores.context()) as context:
        first = leases.acquire(context.database, "e", holder="a", ttl_s=60)
        stores.age(40)
        assert removed(stores.prune()) == {"lease": 1}
        assert leases.acquire(context.database, "e", holder="b", ttl_s=60) > first
        with pytest.raises(HeadroomError, match="lost"):
            leases.renew(context.database, "e", token=first, ttl_s=60)


def test_telemetry_goes_by_age_and_what_a_kept_header_names_stays(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "GRACE_HOURS", 0)
    today = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    span: dict[str, Any] = {"start": today - timedelta(days=60), "end": today + timedelta(days=1), "interval_s": 300}
    store = SeriesStore(stores.urls["telemetry"])

    def write(mean: float) -> Any:
        for days, slot in ((50, 0), (10, 0), (10, 1)):
            ds = today - timedelta(days=days) + timedelta(minutes=5 * slot)
            row = {"unique_id": "fake/u0", "metric": "cpu_millicores", "ds": ds, "interval_s": 300, "mean": mean}
            row |= {"p95": None, "maximum": None, "samples": 0, "coverage_ppm": 1_000_000}
            store.merge(pa.Table.from_pylist([row], schema=interval_schema()))
        return store.header(None, **span)

    def readable(header: Any) -> bool:
        scan = store.pinned(header)
        try:
            return sum(table.num_rows for table in scan.tables()) == header.rows and scan.header() == header
        except HeadroomError:
            return False

    forgotten, kept = write(1.0), write(2.0)
    with closing(stores.context()) as context:
        old = context.artifacts.put(forgotten)
        stores.age(40)
        context.artifacts.put(kept)
    before = stores.listing()
    foreseen = stores.prune(check=True)
    assert stores.listing() == before
    done = stores.prune()
    assert foreseen.values["removed"]["telemetry_row"] == removed(done)["telemetry_row"] == 1
    assert (foreseen.values["compacted_days"], done.values["compacted_days"]) == (1, 1)
    assert old not in stores.artifacts()
    assert (readable(kept), readable(forgotten)) == (True, False)
    assert store.header(None, **span).rows == 2
    assert not stores.prune().changed


def test_rehearsals_left_behind_go_and_others_stay(stores: Stores) -> None:
    for run_id in ("left", "live"):
        with closing(stores.context(check=True, run_id=run_id)) as context:
            context.artifacts.put_bytes(b"rehearsed")
    places = {path.name.rpartition("-")[2]: path for path in (stores.root / "tmp").iterdir()}
    for path in (places["left"], *places["left"].rglob("*")):
        os.utime(path, (1, 1))
    os.utime(places["live"], (1, 1))  # its files are young
    (stores.root / "tmp/headroom-rehearsal-file").write_text("somebody's")
    assert removed(stores.prune(check=True)) == removed(stores.prune()) == {"rehearsal": 1}
    assert (places["left"].exists(), places["live"].exists()) == (False, True)


def test_a_clock_in_the_future_makes_nothing_old(stores: Stores) -> None:
    stores.apply(plan(action(stores.fleet, "u0", "memory.balloon", 512)))
    assert removed(stores.prune(now=datetime(2100, 1, 1, tzinfo=UTC))) == {}


@pytest.mark.parametrize(("name", "days"), [("records_days", 30), ("telemetry_days", 0), ("rehearsal_days", 0)])
def test_an_age_that_would_take_what_counts_is_refused(stores: Stores, name: str, days: int) -> None:
    with closing(stores.context()) as context, pytest.raises(HeadroomError) as caught:
        prune(context, **{**AGES, name: days})
    assert caught.value.code == "prune.age"


def test_a_damaged_artifact_is_an_error_and_nothing_of_the_store_goes(stores: Stores) -> None:
    with closing(stores.context()) as context:
        context.artifacts.put_bytes(b"old")
        stores.age(40)
        young = context.artifacts.put_bytes(b"young")
    name = young.partition(":")[2]
    (stores.root / "artifacts" / name[:2] / name).write_bytes(b"edited")
    with pytest.raises(HeadroomError) as caught:
        stores.prune()
    assert caught.value.code == "artifact.edited"
    assert digest_bytes(b"old") in stores.artifacts()


def test_the_playbook_of_the_guide_runs(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/docsite/rst/guide_stores.rst").read_text(encoding="utf-8")
    block = guide.partition("    # prune.yml\n")[2].partition("\n\n..")[0]
    controller = Controller(tmp_path, Fleet(tmp_path / "fleet.json", vms=1))
    playbook = controller.write("prune.yml", yaml.safe_load(textwrap.dedent(block)))
    for options in (("--check",), ()):
        done = controller.run("ansible-playbook", playbook, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "0 rows, sha256:" in done.stdout
