# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What breaks between the libvirt platform and the lab's libvirt: lines, daemons, VMs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Reader
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import session as session_module
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import snapshot as snapshot_module
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_reader
from tests.integration.guests import GUESTS, URI, Spare, define, definition, remove, seen

pytestmark = pytest.mark.lab


def test_an_endpoint_that_is_not_there(endpoint: Endpoint) -> None:
    lost = open_reader(replace(endpoint, uri="qemu+unix:///system?socket=/nonexistent/socket"))
    with pytest.raises(EndpointError) as error:
        lost.observe()
    assert error.value.code == "endpoint.unreachable"
    lost.close()


class Relay:
    """Stands between us and the daemon, to break the line or to hold it still."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "relay.sock"
        self.still = threading.Event()
        self.accepted = 0
        self._target = URI.partition("socket=")[2]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _unused = self._listener.accept()
                self.accepted += 1
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                while self.still.is_set():
                    time.sleep(0.05)
                target.sendall(data)

    def cut(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def close(self) -> None:
        self.still.clear()
        self._listener.close()
        self.path.unlink()
        self.cut()


@pytest.fixture
def relay(tmp_path: Path) -> Any:
    it = Relay(tmp_path)
    yield it
    it.close()


def through(endpoint: Endpoint, relay: Relay) -> Endpoint:
    return replace(endpoint, uri=f"qemu+unix:///system?socket={relay.path}")


def test_a_lost_connection_is_opened_again_for_reading(endpoint: Endpoint, relay: Relay, off: Spare) -> None:
    own = open_reader(through(endpoint, relay))
    before = seen(own, off)
    relay.cut()
    assert seen(own, off) == before
    assert relay.accepted == 2
    own.close()


@pytest.mark.safety(rule=8)
def test_a_write_is_never_tried_twice(endpoint: Endpoint, relay: Relay, off: Spare) -> None:
    session = session_module.Session(through(endpoint, relay), read_only=False)
    domain = session.call(lambda connection: connection.lookupByUUIDString(off.domain.UUIDString()))
    tries = []

    def write_into_a_cut_line(it: Any) -> None:
        tries.append(it)
        relay.cut()
        it.setVcpusFlags(2, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

    with pytest.raises(EndpointError) as error:
        session.on(domain, write_into_a_cut_line, retry=False)
    assert error.value.code == "endpoint.unreachable"
    assert len(tries) == 1
    session.close()


def test_a_daemon_that_hangs_holds_nobody(endpoint: Endpoint, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "OPEN_S", 1.0)
    monkeypatch.setattr(session_module, "RETRY_PAUSES_S", ())
    relay.still.set()
    own = open_reader(through(endpoint, relay))
    begun = time.monotonic()
    with pytest.raises(EndpointError) as error:
        own.sample()
    assert error.value.code == "endpoint.unreachable"
    own.close()
    assert time.monotonic() - begun < 10


def test_a_vm_that_hangs_is_a_gap_and_no_more(reader: Reader, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = define(lab, definition(lab, vcpus=1, memory_mib=256))
    process = None
    stuck = threading.Thread(target=domain.memoryStats, daemon=True)
    try:
        domain.create()
        process = qemu_of(domain)
        os.kill(process, signal.SIGSTOP)
        stuck.start()  # someone asks the VM's monitor, and holds its lock until it answers
        time.sleep(1)
        monkeypatch.setattr(snapshot_module, "JOB_S", 1.0)
        observation = reader.observe()
        assert {gap.subject: gap.code for gap in observation.gaps} == {domain.name(): "endpoint.timeout"}
        assert {vm.name for vm in observation.vms} >= GUESTS
        assert {sample.unique_id for sample in reader.sample()} >= {
            vm.unique_id for vm in observation.vms if vm.name in GUESTS
        }
    finally:
        if process is not None:
            os.kill(process, signal.SIGCONT)
        remove(domain)


def qemu_of(domain: Any) -> int:
    """The process of the domain's QEMU: the lab's processes are seen from outside."""
    wanted = f"uuid\0{domain.UUIDString()}\0".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted in (folder / "cmdline").read_bytes():
                    return int(folder.name)
    raise LookupError(domain.name())
