# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary in every credential: it appears in no output, log, file, row or process, whatever succeeds or fails."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Self

import psycopg
import pytest
from psycopg import sql

from tests.servers import postgres

from .controller import Controller
from .fleets import Fleet

# New in each run: others may test with canaries on the same machine at the same time.
TOKEN, BASIC, IN_URI, WRONG = (f"canary-{name}-{secrets.token_hex(8)}" for name in ("token", "basic", "uri", "wrong"))
MODULE = "headroom.fleet."
SLOW_S = 1.0  # an answer of Prometheus: time enough to look at the processes that wait for it
POLL_S = 0.05


class Prometheus(BaseHTTPRequestHandler):
    """Knows nothing, slowly; remembers who asked."""

    seen: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        self.seen.add(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SLOW_S)
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_unused: Any) -> None:
        """Nothing."""


@contextmanager
def prometheus() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Processes:
    """Looks at the command line and the environment of every process again and again."""

    def __init__(self, canaries: tuple[str, ...]) -> None:
        self.canaries = canaries
        self.told: set[str] = set()
        self.modules: set[str] = set()  # processes of our modules that were looked at
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            for process in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        text = (process / name).read_text(errors="replace")
                    except OSError:  # it ended, or is somebody else's
                        continue
                    if any(canary in text for canary in self.canaries):
                        self.told.add(f"{name} of {text[:200]}")
                    if "AnsiballZ_telemetry_collect" in text:
                        self.modules.add(process.name)


@pytest.fixture(scope="module")
def leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What a playbook that uses and misuses every credential leaves where."""
    root = tmp_path_factory.mktemp("secrets")
    fleet = Fleet(root / "fleet.json", vms=2)
    with postgres.running() as server, prometheus() as url:
        state = server.database()
        controller = Controller(root, fleet)
        controller.write("group_vars/all.yml", {**controller.variables, "headroom_state": state})
        unreachable = {"name": "away", "uri": f"qemu+tcp://ann:{IN_URI}@127.0.0.1:1/system"}
        controller.inventory(endpoints=[{"name": "fake", "uri": fleet.endpoint.uri}, unreachable])
        query = {"url": url, "metrics": {"cpu_millicores": {"query": "cpu"}}, "history_s": 600}
        basic = {"user": "ann", "password": BASIC}
        wrong, other = state.replace(server.password, WRONG), state.replace("postgresql+psycopg", "mysql")
        tasks = [
            ("fleet_snapshot", {}),
            ("telemetry_collect", {"prometheus": {**query, "token": TOKEN}}),
            ("telemetry_collect", {"prometheus": {**query, **basic}}),
            ("telemetry_collect", {"prometheus": {**query, **basic, "url": "http://127.0.0.1:1"}}),
            ("telemetry_collect", {"prometheus": {**query, "url": url.replace("//", f"//ann:{BASIC}@")}}),
            ("vm_resize", {"vm": "vm0", "memory_mib": 2048}),
            ("vm_resize", {"vm": "vm0", "memory_mib": 1 << 40}),
            ("vm_info", {"vm": "vm0", "state_url": wrong}),
            ("kill_switch", {"state": "on", "reason": "a test", "state_url": other}),
            ("audit_verify", {}),
        ]
        canaries = (server.password, TOKEN, BASIC, IN_URI, WRONG)
        names = [f"r{number}" for number in range(len(tasks))]
        play = {
            "hosts": "vm0",
            "gather_facts": False,
            "tasks": [
                {MODULE + module: arguments, "register": name, "ignore_errors": True}
                for name, (module, arguments) in zip(names, tasks, strict=True)
            ],
        }
        given = [controller.write("plays.yml", [play]), root / "group_vars/all.yml", root / "headroom.yml"]
        log = {"ANSIBLE_LOG_PATH": str(root / "ansible.log")}
        with Processes(canaries) as processes:
            done = controller.run("ansible-playbook", given[0], "-vvv", "--diff", **log)
            cycle = controller.run("ansible-playbook", "headroom.fleet.cycle", "-vvv", "--diff", **log)
        with psycopg.connect(state.replace("+psycopg", "")) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            everything = [sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)) for (name,) in tables]
            rows = [str(connection.execute(one).fetchall()) for one in everything]
        yield {
            "output": done.stdout + done.stderr,
            "cycle": cycle.stdout + cycle.stderr,
            "rows": "\n".join(rows),
            "files": [path for path in root.rglob("*") if path.is_file() and path not in given],
            "processes": processes,
            "canaries": canaries,
        }


@pytest.mark.parametrize("where", ["output", "cycle", "rows"])
def test_nothing_is_told(leaks: dict[str, Any], where: str) -> None:
    told = [line[:300] for line in leaks[where].splitlines() if any(canary in line for canary in leaks["canaries"])]
    assert told == []


def test_no_file_holds_it(leaks: dict[str, Any]) -> None:
    assert any(path.name == "ansible.log" for path in leaks["files"])
    held = {path: path.read_bytes() for path in leaks["files"]}
    assert [path for path in held if any(canary.encode() in held[path] for canary in leaks["canaries"])] == []


def test_no_process_carries_it(leaks: dict[str, Any]) -> None:
    assert leaks["processes"].modules  # it did look while modules ran
    assert leaks["processes"].told == set()


def test_the_credentials_were_used(leaks: dict[str, Any]) -> None:
    assert f"Bearer {TOKEN}" in Prometheus.seen
    assert any(header.startswith("Basic ") for header in Prometheus.seen)
    assert '"changed": true' in leaks["output"]  # the resize, on PostgreSQL
    for code in ("store.unreachable", "store.url", "endpoint.unreachable"):
        assert code in leaks["output"]
