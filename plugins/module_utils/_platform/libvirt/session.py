# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to libvirt: every call has a deadline, a lost connection is opened again, errors are ours.

Every remote call runs in a thread of its own and is left behind when its deadline passes: libvirt has no time limit for
a call, keep-alive messages end only a call to a daemon that is wholly stuck, not one that waits for a stuck QEMU, and
neither ends a connect. It also lets the main thread see a SIGTERM while libvirt works.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as DeadlineError
from typing import Any, Callable, TypeVar

from ..._core.errors import EndpointError, HeadroomError, RefusedError
from ..._core.needs import needs
from ..base import GUEST_TIMEOUT, Endpoint

T = TypeVar("T")

OPEN_S = 15.0
READ_S = 40.0  # libvirt waits 30 s for a domain's lock, then says so itself
PULSE_S = 5.0
CLOSE_S = 5.0
RETRY_PAUSES_S = (0.5, 2.0)  # a daemon restarts within a second or two; longer than that is an outage

ENDPOINT_TIMEOUT = "endpoint.timeout"
ENDPOINT_UNREACHABLE = "endpoint.unreachable"
VM_VANISHED = "vm.vanished"
PLATFORM_REFUSED = "platform.refused"


class Session:
    """A connection to one endpoint, opened when first needed."""

    def __init__(self, endpoint: Endpoint, *, read_only: bool, sleep: Callable[[float], None] = time.sleep) -> None:
        self.endpoint = endpoint
        self.read_only = read_only
        self._sleep = sleep
        self._connection: Any = None
        self._left_behind = False  # a call outlived its deadline and still holds the connection

    def call(self, act: Callable[[Any], T], *, deadline_s: float = READ_S, retry: bool = True) -> T:
        """Do ``act(connection)``: one remote call.

        Only a lost connection is retried, and only where ``retry`` allows: a setter may have taken effect before the
        connection broke, so its caller reads back first. Raises EndpointError (``endpoint.unreachable``,
        ``endpoint.denied``, ``endpoint.timeout``) and RefusedError (``vm.vanished``, ``guest.timeout``,
        ``platform.refused``).
        """
        with needs("libvirt"):
            import libvirt
        pauses = list(RETRY_PAUSES_S) if retry else []
        while True:
            try:
                connection = self._connection or self._open()
                return _bounded(lambda: act(connection), deadline_s)  # noqa: B023 - over before the next round
            except libvirt.libvirtError as error:
                if _alive(self._connection):
                    raise self._refused(error) from error
                self._connection = None
                if not pauses:
                    raise self._unreachable(error) from error
            except EndpointError as error:
                if error.code != ENDPOINT_UNREACHABLE or not pauses:
                    raise
            except DeadlineError as error:
                self._left_behind = True
                raise EndpointError(
                    ENDPOINT_TIMEOUT,
                    f"The endpoint {self.endpoint.name} did not answer a call within {deadline_s:g} s.",
                    advice="Look whether libvirtd, or the QEMU of one VM, hangs.",
                ) from error
            self._sleep(pauses.pop(0))

    def ask(self, act: Callable[[Any], T]) -> T:
        """Do ``act(connection)``: one remote call about the endpoint as a whole. Raises EndpointError only."""
        try:
            return self.call(act)
        except RefusedError as error:
            raise EndpointError(
                "endpoint.denied",
                f"The endpoint {self.endpoint.name} does not let itself be read. {error.message}",
                advice="Check what the user that connects may do there.",
            ) from error

    def on(self, domain: Any, act: Callable[[Any], T], *, deadline_s: float = READ_S, retry: bool = True) -> T:
        """Do ``act(domain)``: one remote call on a domain, looked up again when the connection is another by now."""

        def through(connection: Any) -> T:
            same = domain.connect() is connection
            return act(domain if same else connection.lookupByUUIDString(domain.UUIDString()))

        return self.call(through, deadline_s=deadline_s, retry=retry)

    def check_pulse(self) -> None:
        """Raise EndpointError unless the daemon itself answers, whatever one VM does."""
        self.call(lambda connection: connection.getLibVersion(), deadline_s=PULSE_S)

    def close(self) -> None:
        """Let go; never raises. A connection that a stuck call holds is left to the end of the process."""
        connection, self._connection = self._connection, None
        if connection is None or self._left_behind:
            return
        with needs("libvirt"):
            import libvirt
        with contextlib.suppress(libvirt.libvirtError, DeadlineError):
            _bounded(connection.close, CLOSE_S)

    def _open(self) -> Any:
        with needs("libvirt"):
            import libvirt
        libvirt.registerErrorHandler(_silent, None)  # else every error is also printed to stderr
        opener = libvirt.openReadOnly if self.read_only else libvirt.open
        uri = self.endpoint.uri
        try:
            self._connection = _bounded(lambda: opener(uri), OPEN_S)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED):
                raise EndpointError(
                    "endpoint.denied",
                    f"The endpoint {self.endpoint.name} does not let us in: {error.get_error_message()}.",
                    advice="Check the credentials and the groups of the user that runs this.",
                ) from error
            raise self._unreachable(error) from error
        except DeadlineError as error:
            raise self._unreachable(f"no connection within {OPEN_S:g} s") from error
        return self._connection

    def _unreachable(self, why: object) -> EndpointError:
        return EndpointError(
            ENDPOINT_UNREACHABLE,
            f"The endpoint {self.endpoint.name} does not answer: {why}.",
            advice="Check that libvirtd runs there and that its URI is right.",
        )

    def _refused(self, error: Any) -> HeadroomError:
        with needs("libvirt"):
            import libvirt
        code = error.get_error_code()
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return RefusedError(VM_VANISHED, "The VM is no longer there.", advice="Observe again.", libvirt_code=code)
        unanswered = {
            libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
            libvirt.VIR_ERR_AGENT_UNSYNCED,
            libvirt.VIR_ERR_OPERATION_TIMEOUT,  # of an unplug; also said where the VM's lock was not had in time
        }
        return RefusedError(
            GUEST_TIMEOUT if code in unanswered else PLATFORM_REFUSED,
            f"libvirt refuses: {error.get_error_message()}.",
            advice="Look at the log of libvirtd on the host.",
            libvirt_code=code,
        )


def _bounded(act: Callable[[], T], deadline_s: float) -> T:
    """Run libvirt calls in a thread for at most so long. Raises what they raise, or DeadlineError."""
    with needs("libvirt"):
        import libvirt
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(act())
        except (libvirt.libvirtError, HeadroomError) as error:
            outcome.set_exception(error)
        finally:
            outcome.cancel()  # no effect on an outcome; without one a defect shows at once, not at the deadline

    # A daemon thread: a stuck call must not keep the process from ending.
    threading.Thread(target=run, name="libvirt-call", daemon=True).start()
    return outcome.result(deadline_s)


def _alive(connection: Any) -> bool:
    """Whether the connection is still open, as this side knows it: no remote call."""
    with needs("libvirt"):
        import libvirt
    try:
        return connection is not None and bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _silent(_context: object, _error: object) -> None:
    """Take libvirt's error reports: they reach us as exceptions."""
