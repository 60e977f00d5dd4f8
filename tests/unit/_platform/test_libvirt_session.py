# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines, errors and threads of a session, on libvirt's own test driver (in this process, without a daemon)."""

from __future__ import annotations

import threading
import time
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import EndpointError, RefusedError
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt import write
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.field import Field
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.session import Session

TEST = Endpoint("test", "test:///default")
UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
OFF = f"<domain type='test'><name>off</name><uuid>{UUID}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"


@pytest.fixture
def session() -> Any:
    it = Session(TEST, read_only=False)
    yield it
    it.close()


def test_an_act_is_done_on_the_connection_and_on_a_domain_of_it(session: Session) -> None:
    domain = session.call(lambda connection: connection.lookupByName("test"))
    assert session.on(domain, lambda it: it.name()) == "test"


def test_a_domain_of_an_earlier_connection_is_looked_up_again(session: Session) -> None:
    domain = session.call(lambda connection: connection.lookupByName("test"))
    session.close()
    assert session.on(domain, lambda it: it.name()) == "test"


def test_what_libvirt_does_not_know_has_vanished(session: Session, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RefusedError) as error:
        session.call(lambda connection: connection.lookupByName("nobody"))
    assert error.value.code == "vm.vanished"
    assert capfd.readouterr().err == "", "libvirt's own handler must not print"


def test_what_libvirt_refuses_is_refused_with_its_words(session: Session) -> None:
    domain = session.call(lambda connection: connection.lookupByName("test"))
    with pytest.raises(RefusedError) as error:
        session.on(domain, lambda it: it.setVcpusFlags(9999, 1))
    assert error.value.code == "platform.refused"
    assert "maximum" in error.value.message
    with pytest.raises(EndpointError) as error:
        session.ask(lambda connection: connection.lookupByName("nobody"))
    assert error.value.code == "endpoint.denied"


@pytest.mark.safety(rule=3)
@pytest.mark.parametrize(
    ("error", "of_host", "of_guest"),
    [
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "guest.timeout", "guest.timeout"),
        (libvirt.VIR_ERR_AGENT_UNSYNCED, "guest.timeout", "guest.timeout"),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, "guest.timeout", "guest.timeout"),
        (libvirt.VIR_ERR_OPERATION_INVALID, "platform.refused", "guest.refused"),
    ],
)
def test_a_request_that_may_still_be_carried_out_is_told_from_one_that_was_refused(
    session: Session, monkeypatch: pytest.MonkeyPatch, error: int, of_host: str, of_guest: str
) -> None:
    def fail(_domain: Any, _value: Any) -> None:
        raised = libvirt.libvirtError("as libvirt raises it")
        raised.err = (error, libvirt.VIR_FROM_QEMU, "no", libvirt.VIR_ERR_ERROR, "", "", "", -1, -1)
        raise raised

    session.call(lambda connection: connection.defineXML(OFF))
    for by_guest, code in ((False, of_host), (True, of_guest)):
        field = Field("live.some", lambda _description: 1, fail, by_guest=by_guest)
        monkeypatch.setattr(write, "find_field", {field.name: field}.get)
        with pytest.raises(RefusedError) as refusal:
            write.LibvirtWriter(session).write(f"test/{UUID}", field.name, 2)
        assert (refusal.value.code, refusal.value.details["libvirt_code"]) == (code, error)


def test_a_read_only_session_cannot_write() -> None:
    limited = Session(TEST, read_only=True)
    domain = limited.call(lambda connection: connection.lookupByName("test"))
    with pytest.raises(RefusedError):
        limited.on(domain, lambda it: it.setVcpusFlags(1, 1))
    limited.close()


def test_a_call_that_hangs_is_left_behind(session: Session) -> None:
    release = threading.Event()
    begun = time.monotonic()
    with pytest.raises(EndpointError) as error:
        session.call(lambda _connection: release.wait(60), deadline_s=0.1)
    assert error.value.code == "endpoint.timeout"
    session.close()
    assert time.monotonic() - begun < 5
    release.set()


def test_a_defect_in_an_act_shows_at_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    begun = time.monotonic()
    with pytest.raises(BaseException) as error:  # noqa: PT011 - cancelled; what matters is that and when
        session.call(lambda connection: connection.no_such_call(), deadline_s=30)
    assert type(error.value).__name__ == "CancelledError"
    assert time.monotonic() - begun < 5
    assert told[0].exc_type is AttributeError


def test_only_a_lost_connection_is_retried_and_only_so_often() -> None:
    pauses: list[float] = []
    nowhere = Session(Endpoint("gone", "qemu+unix:///system?socket=/nonexistent"), read_only=True, sleep=pauses.append)
    with pytest.raises(EndpointError) as error:
        nowhere.call(lambda connection: connection.getInfo())
    assert error.value.code == "endpoint.unreachable"
    assert pauses == [0.5, 2.0]
    pauses.clear()
    with pytest.raises(EndpointError):
        nowhere.call(lambda connection: connection.getInfo(), retry=False)
    assert pauses == []


def test_an_id_of_another_endpoint_is_not_looked_for() -> None:
    writer = open_writer(TEST)
    with pytest.raises(Exception, match="no VM of the endpoint test") as error:
        writer.current("other/6695eb01-f6a4-8304-79aa-97f2502e193f")
    assert error.value.code == "endpoint.other"
    writer.close()
