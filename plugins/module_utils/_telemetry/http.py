# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a server that is not trusted: bounded in time and size, tried again where that can help.

The standard library does it; Ansible's own way may not be imported here. Redirects are refused, for the credentials
would go along.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from urllib.parse import urlencode, urlsplit

from .._core.errors import HeadroomError

RETRY_PAUSES_S = (0.5, 2.0)  # a restart or a moment's overload; longer than that is an outage
LONGEST_S = 3600.0  # of one request; sockets take no negative time, and no endless one
RETRIED = (429, 502, 503, 504)
DENIED = (401, 403)
PIECE_BYTES = 2**16
ERROR_BYTES = 2**14  # of an answer that says what is wrong
REASON_CHARACTERS = 100  # of the words beside a status: they are the server's own, up to 64 KiB of them


@dataclass(frozen=True)
class Server:
    """Where and as whom."""

    url: str
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    ca_path: str = ""
    validate_certs: bool = True
    timeout_s: float = 60.0  # of one request, its answer included


class TooLargeError(HeadroomError):
    """The answer has more bytes than are taken: ask for less at once."""


class StatusError(HeadroomError):
    """The server answered, and not with 200; ``body`` is the beginning of what it said."""

    def __init__(self, code: str, message: str, *, advice: str, status: int, body: bytes) -> None:
        super().__init__(code, message, advice=advice, status=status)
        self.body = body


def post(
    server: Server,
    path: str,
    form: dict[str, str],
    *,
    most_bytes: int,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return the body of the answer.

    Raises ``http.url``, ``http.timeout``, ``http.credentials``, ``http.tls``, ``http.denied``, ``http.unreachable``,
    TooLargeError ``http.too_large`` and, for any other status, StatusError ``http.status``.
    """
    if not 0 < server.timeout_s <= LONGEST_S:
        raise HeadroomError(
            "http.timeout",
            f"A request cannot take {server.timeout_s:g} s.",
            advice=f"Give timeout_s above 0 and up to {LONGEST_S:g}.",
        )
    opener = urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=_tls(server)))
    url = _checked(server.url) + path
    headers = {"Accept": "application/json", **_authorization(server)}
    pauses = list(RETRY_PAUSES_S)
    while True:
        request = urllib.request.Request(url, urlencode(form).encode(), headers)  # noqa: S310 - the scheme is checked
        deadline_s = monotonic() + server.timeout_s
        try:
            with opener.open(request, timeout=server.timeout_s) as answer:
                return _read(answer, most_bytes, deadline_s=deadline_s, monotonic=monotonic)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in RETRIED or not pauses:
                    said = _beginning(error, deadline_s=deadline_s, monotonic=monotonic)
                    raise _refused(server, error, said) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise HeadroomError(
                    "http.tls",
                    f"The certificate of {server.url} is not trusted: {reason.verify_message}.",
                    advice="Name its authority in ca_path.",
                ) from error
            if not pauses:
                raise HeadroomError(
                    "http.unreachable",
                    f"{server.url} does not answer: {_words(reason) or type(reason).__name__}.",
                    advice="Check the URL, and that the server answers within timeout_s.",
                ) from error
        sleep(pauses.pop(0))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_unused: Any) -> None:
        """Follow none."""


def _read(
    answer: http.client.HTTPResponse, most_bytes: int, *, deadline_s: float, monotonic: Callable[[], float]
) -> bytes:
    pieces = bytearray()
    while piece := answer.read1(PIECE_BYTES):  # what is there, however little: a slow server is seen to be slow
        pieces += piece
        if len(pieces) > most_bytes:
            raise TooLargeError(
                "http.too_large", f"An answer has more than {most_bytes} bytes.", advice="Ask for fewer series at once."
            )
        if monotonic() > deadline_s:  # the socket's own limit is between two pieces
            raise TimeoutError("it took too long")
    if answer.length:  # so much is missing of what was announced, and read1 does not say so
        raise http.client.IncompleteRead(bytes(pieces), answer.length)
    return bytes(pieces)


def _beginning(answer: Any, *, deadline_s: float, monotonic: Callable[[], float]) -> bytes:
    """What comes in time of an answer that says what is wrong, bounded; the refusal stands without it."""
    pieces = bytearray()
    with contextlib.suppress(OSError, http.client.HTTPException):
        while len(pieces) < ERROR_BYTES and monotonic() <= deadline_s and (piece := answer.read1(PIECE_BYTES)):
            pieces += piece
    return bytes(pieces[:ERROR_BYTES])


def _refused(server: Server, error: urllib.error.HTTPError, said: bytes) -> HeadroomError:
    status = f"{error.code} {_words(error.reason)}".rstrip()
    if error.code in DENIED:
        return HeadroomError(
            "http.denied",
            f"{server.url} does not let us in: {status}.",
            advice="Check token, or user and password.",
        )
    return StatusError(
        "http.status",
        f"{server.url} answers {status}.",
        advice="Check the URL; redirects are not followed.",
        status=error.code,
        body=said,
    )


def _words(said: object) -> str:
    """The beginning of what the server says in passing, in one line."""
    return " ".join(str(said).split())[:REASON_CHARACTERS]


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # brackets left open, a port that is no number, a name that no server can have
        named = False
    if not named or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise HeadroomError("http.url", "This is no URL of a server.", advice="Write it as https://host:9090.")
    if parts.username is not None or parts.password is not None:
        raise HeadroomError(
            "http.credentials", "The URL of the server holds credentials.", advice="Give them as user and password."
        )
    return url.rstrip("/")


def _tls(server: Server) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.ca_path or None)
    except OSError as error:
        raise HeadroomError(
            "http.tls", f"{server.ca_path} cannot be read: {error}.", advice="ca_path is a file of PEM certificates."
        ) from error
    if not server.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _authorization(server: Server) -> dict[str, str]:
    secret: Optional[str] = None
    if server.token:
        secret = f"Bearer {server.token.strip()}"
    elif server.user:
        secret = "Basic " + base64.b64encode(f"{server.user}:{server.password}".encode()).decode()
    if secret is None:
        return {}
    # What no header can hold would be quoted by the library's own error.
    if not (secret.isascii() and secret.isprintable()):
        raise HeadroomError("http.credentials", "The token holds what a token cannot.", advice="Give it in one line.")
    return {"Authorization": secret}
