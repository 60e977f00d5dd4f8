# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies that race, and a state store that goes wrong under one: nothing twice, nothing half-done, nothing late."""

from __future__ import annotations

import multiprocessing
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._store import audit, killswitch
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from tests.functional.controller import Controller
from tests.functional.fleets import Fleet, action, plan
from tests.kills.killing import run_playbook, wait
from tests.kills.steps import STEPS
from tests.servers.postgres import Postgres, running
from tests.unit._store.test_controllers import at_once

TERMS = LeaseTerms(ttl_s=4, wait_s=60)
LATEST_S = 5  # an act that begins later after the kill switch, or without a store, breaks rule 13
VMS = 24
SIZE_MIB = 512


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running() as started:
        yield started


class Site:
    """A fleet, a plan that shrinks every VM one after another, and its stores."""

    def __init__(self, root: Path, state: str, *, vms: int = VMS) -> None:
        self.root = root
        self.fleet = Fleet(root / "fleet.json", vms=vms)
        self.urls = {"artifacts": str(root / "artifacts"), "state": state}
        acts = [action(self.fleet, f"u{n}", "memory.balloon", SIZE_MIB, number=n) for n in range(vms)]
        self.actions = acts
        with closing(self.context()) as context:
            self.plan = context.artifacts.put(plan(*acts, now=utc_now(), budget=Budget(Limits())))

    def context(self) -> Context:
        return Context(now=utc_now(), who="tester", endpoints=(self.fleet.endpoint,), urls=self.urls)

    def apply(self) -> dict[str, int]:
        """How many actions ended in which state; or the code of what broke off the run, at 0."""
        with closing(self.context()) as context:
            try:
                states: dict[str, int] = apply(context, plan=self.plan, stop=threading.Event(), terms=TERMS).values[
                    "states"
                ]
            except HeadroomError as error:
                return {error.code: 0}
            return states

    def start(self) -> tuple[multiprocessing.Process, Any]:
        """Apply in a process of its own."""
        fork = multiprocessing.get_context("fork")
        answer = fork.Queue()
        process = fork.Process(target=lambda: answer.put(self.apply()))
        process.start()
        return process, answer

    def journal(self, columns: str) -> list[Any]:
        with closing(Database(self.urls["state"])) as database, database.transaction() as connection:
            text = f"SELECT {columns} FROM journal ORDER BY begun_at_ms"  # noqa: S608 - own words
            return list(connection.execute(sqlalchemy.text(text)))

    @property
    def memory(self) -> set[tuple[int, int]]:
        """Live and configured memory of the VMs: a pair whose halves differ is half-done."""
        vms = self.fleet.load()["vms"].values()
        return {(vm["fields"]["live.memory_mib"], vm["fields"]["config.memory_mib"]) for vm in vms}

    def variables(self, **other: Any) -> dict[str, Any]:
        """Of tests/kills/apply.yml."""
        endpoints = [{"name": self.fleet.endpoint.name, "uri": self.fleet.endpoint.uri}]
        return {"plan": self.plan, "endpoints": endpoints, **self.urls, **other}

    def check_done(self) -> None:
        """After the next apply everything is done, and the audit log is whole."""
        assert set(self.apply()) <= {"done", "already_done"}
        assert self.memory == {(SIZE_MIB, SIZE_MIB)}
        with closing(Database(self.urls["state"])) as database:
            audit.verify(database)
        assert {row.state for row in self.journal("state")} <= {"done", "reverted"}


def until(predicate: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.safety(rule=7)
@pytest.mark.safety(rule=8)
def test_two_applies_that_race_apply_each_action_once(server: Postgres, tmp_path: Path) -> None:
    site = Site(tmp_path, server.database())
    found = at_once(lambda _number: site.apply(), (1,), (2,))
    assert sorted(found, key=str) == [{"already_done": VMS}, {"done": VMS}]
    assert site.fleet.writes == 2 * VMS  # each action has two fields
    assert [row.state for row in site.journal("state")] == ["done"] * VMS
    site.check_done()


@pytest.mark.safety(rule=13)
def test_no_act_begins_once_the_kill_switch_is_on(server: Postgres, tmp_path: Path) -> None:
    site = Site(tmp_path, server.database())
    process, answer = site.start()
    until(lambda: len(site.journal("state")) > 2)
    with closing(Database(site.urls["state"])) as database:
        assert killswitch.turn(database, on=True, who="ann", reason="fire")
        with database.transaction() as connection:
            turned_ms = connection.execute(sqlalchemy.text("SELECT at_ms FROM kill_switch")).scalar_one()
        states = answer.get(timeout=60)
        process.join(60)
        assert states["skipped"] > 0
        assert all(row.begun_at_ms <= turned_ms + LATEST_S * 1000 for row in site.journal("begun_at_ms"))
        assert site.memory <= {(SIZE_MIB, SIZE_MIB), (1024, 1024)}
        assert site.apply() == {"kill_switch.on": 0}
        killswitch.turn(database, on=False, who="ann", reason="out")
    site.check_done()


@pytest.mark.safety(rule=13)
@pytest.mark.parametrize(("fail", "mend"), [("stop", "start"), ("pause", "resume")])
def test_no_act_begins_once_the_store_is_out_of_reach(server: Postgres, tmp_path: Path, fail: str, mend: str) -> None:
    site = Site(tmp_path, server.database())
    process, answer = site.start()
    until(lambda: len(site.journal("state")) > 2)
    getattr(server, fail)()
    try:
        time.sleep(LATEST_S)
        late = site.fleet.writes
        time.sleep(LATEST_S)
        assert site.fleet.writes == late < 2 * VMS
    finally:
        getattr(server, mend)()
    states = answer.get(timeout=120)
    process.join(60)
    if fail == "stop":
        assert states == {"store.unreachable": 0}
    site.check_done()
    assert site.fleet.writes <= 2 * VMS + 4  # no more than one act, interrupted in the middle, was done again


@pytest.mark.safety(rule=7)
@pytest.mark.parametrize("step", ["begun", "one field read back"])
def test_a_lease_lost_in_the_middle_of_an_act(server: Postgres, tmp_path: Path, step: str) -> None:
    site = Site(tmp_path, server.database(), vms=1)
    playbook = run_playbook(tmp_path, site.variables(), step=STEPS[step])
    mark = tmp_path / "mark"
    wait(mark.exists, step, tmp_path)
    writes = site.fleet.writes
    with closing(Database(site.urls["state"])) as database, database.transaction() as connection:
        text = "UPDATE lease SET token = token + 1, holder = 'another', expires_at_ms = :end"
        connection.execute(sqlalchemy.text(text), {"end": database.now_ms(connection) + 3000})
    mark.unlink()
    playbook.wait(60)
    said = (tmp_path / "output").read_text()
    assert "The lease on endpoint fake was lost" in said, said[-3000:]
    assert playbook.returncode
    assert server.password not in said
    assert site.fleet.writes == writes
    assert [row.state for row in site.journal("state")] == ["begun"]
    site.check_done()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def fill(place: Path) -> Path:
    """Take all the room there is."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize("step", ["before the intent", "the intent written, not committed", "begun", "acted"])
def test_a_disk_that_fills_up_in_the_middle_of_an_act(tmp_path: Path, small_disk: Path, step: str) -> None:
    site = Site(tmp_path, str(small_disk / "state.db"), vms=1)
    Database(site.urls["state"]).close()
    playbook = run_playbook(tmp_path, site.variables(), step=STEPS[step])
    mark = tmp_path / "mark"
    wait(mark.exists, step, tmp_path)
    filler = fill(small_disk)
    mark.unlink()
    playbook.wait(60)
    said = (tmp_path / "output").read_text()
    assert playbook.returncode, said[-3000:]
    assert "The state store at" in said, said[-3000:]
    assert "Traceback" not in said
    assert len(site.memory) == 1
    assert site.memory <= {(SIZE_MIB, SIZE_MIB), (1024, 1024)}
    filler.unlink()
    site.check_done()


class Watch:
    """Looks for a word in every process's command line until the end of the block."""

    def __init__(self, word: str) -> None:
        self.word = word.encode()
        self.seen: set[bytes] = set()
        self.looks = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.looks += 1
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                if self.word in line:
                    self.seen.add(line)


TASKS = [
    {"headroom.fleet.vm_resize": {"memory_mib": 512}, "register": "resized", "name": "Resize"},
    {"headroom.fleet.vm_info": {}, "register": "seen", "name": "Look"},
    {"headroom.fleet.state_prune": {}, "register": "pruned", "name": "Prune"},
]


@pytest.mark.parametrize("case", ["right", "wrong", "unreachable", "unreadable"])
def test_the_password_of_the_state_store_appears_nowhere(server: Postgres, tmp_path: Path, case: str) -> None:
    url = server.database()
    url = {
        "right": url,
        "wrong": url.replace("@127", "x@127"),
        "unreachable": url.replace(str(server.port), "1"),
        "unreadable": url.replace("@127", "@" + server.password + "@127"),
    }[case]
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    controller = Controller(tmp_path, fleet)
    controller.write("group_vars/all.yml", {**controller.variables, "headroom_state": url})
    loud = {
        "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
        "ANSIBLE_DISPLAY_TRACEBACK": "always",
        "HEADROOM_STATE": url,
    }
    plays = [{"hosts": "vm0", "gather_facts": False, "tasks": [{**task, "ignore_errors": True} for task in TASKS]}]
    with Watch(server.password) as watch:
        runs = [controller.run("ansible-playbook", "-vvv", "--diff", controller.write("plays.yml", plays), **loud)]
        controller.inventory(figures=True)
        runs.append(controller.run("ansible-inventory", "-vvv", "--graph", **loud))
    said = "".join(run.stdout + run.stderr for run in runs)
    assert "ok=3" in said, said[-3000:]
    assert ("ignored=0" in said) is (case == "right"), said[-3000:]
    assert case == "right" or f"store.{'url' if case == 'unreadable' else 'unreachable'}" in said, said[-3000:]
    assert server.password not in said
    assert watch.looks > 10
    assert watch.seen == set()
    (tmp_path / "group_vars/all.yml").unlink()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if server.password.encode() in path.read_bytes()] == []
    assert tmp_path / "ansible.log" in written


def test_a_folder_that_went_away_is_one_clear_error(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    controller = Controller(tmp_path, fleet)
    (tmp_path / "stores").write_text("a file where the folder was")
    plays = [{"hosts": "vm0", "gather_facts": False, "tasks": [{**TASKS[0], "ignore_errors": True}]}]
    done = controller.run("ansible-playbook", controller.write("plays.yml", plays))
    assert "store." in done.stdout, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert fleet.writes == 0
