# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server of a test's own: Debian's, on loopback, in a temporary folder, with a password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "headroom"
START_S = 60
# A test server may lose its data with its machine; what is tested is never the disk's own promise.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
}


class Postgres:
    """A server that runs; ``password`` is long and random, so that a search for it finds nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = f"canary{secrets.token_hex(12)}"
        self._account = _unprivileged()
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def create(self) -> None:
        """Make the cluster."""
        if self._account:
            os.chown(self.folder, int(self._account["user"]), int(self._account["group"]))
        secret = self.folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # for the few moments of initdb, in a folder that only its account may enter
        command = [
            PROGRAMS / "initdb", "-D", self.folder / "data", "-U", USER, "--pwfile", secret, "--auth=scram-sha-256",
            "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=self.folder, check=False, capture_output=True, text=True, **self._account)
        assert done.returncode == 0, done.stdout + done.stderr
        secret.unlink()

    def start(self) -> None:
        """Run it until it answers."""
        options = [f"--{name}={value}" for name, value in SETTINGS.items()]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", self.folder / "data", f"--port={self.port}", *options],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._account,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while True:
            try:
                self._connect().close()
            except psycopg.OperationalError:
                assert self._server.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End it at once, as a machine that fails does: sessions are cut off."""
        if self._server:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(START_S)
            self._server = None

    def pause(self) -> None:
        """Let every process of it stand still: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def database(self) -> str:
        """The state URL of a new, empty database."""
        self._databases += 1
        name = f"state{self._databases}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str) -> str:
        """The state URL of a database of this server."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{name}"

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self.password, dbname="postgres", autocommit=True
        )

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        children = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()
        for process in (self._server.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # a session may end by itself
                os.kill(process, number)


@contextmanager
def running() -> Iterator[Postgres]:
    """A server from here to the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="headroom-postgres-"))
    server = Postgres(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _unprivileged() -> dict[str, object]:
    """Under whom it runs, as arguments of subprocess: PostgreSQL refuses to be root."""
    if os.geteuid():
        return {}
    account = pwd.getpwnam("postgres")  # of Debian's package
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
