# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client against servers that misbehave."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.http import (
    RETRY_PAUSES_S,
    Server,
    StatusError,
    TooLargeError,
    post,
)

CANARY = "canary-5f1b3c"


@contextmanager
def serving(*answers):
    """A server that gives these answers in turn, the last one for ever; yields its URL and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, self.headers.get("Authorization"), parse_qs(form)))
            answers[min(len(asked), len(answers)) - 1](self)

        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization"), {}))
            say(200, b"followed")(self)

        def log_message(self, *_unused):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def say(status, body=b"", **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def hang_up(handler):
    handler.close_connection = True
    handler.connection.close()


def half(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b"half")


def asked_of(url, *, most_bytes=1000, **options):
    return post(Server(url, **options), "/api", {"query": "a b&c"}, most_bytes=most_bytes, sleep=lambda _unused: None)


def refused(url, **options):
    with pytest.raises(HeadroomError) as caught:
        asked_of(url, **options)
    assert CANARY not in f"{caught.value} {caught.value.details}"
    return caught.value


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({}, None),
        ({"token": f"{CANARY}\n"}, f"Bearer {CANARY}"),
        ({"user": "me", "password": "secret"}, "Basic bWU6c2VjcmV0"),
    ],
)
def test_a_request_carries_its_form_and_its_credentials(options, header):
    with serving(say(200, b"fine")) as (url, asked):
        assert asked_of(f"{url}/", **options) == b"fine"
    assert asked == [("/api", header, {"query": ["a b&c"]})]


@pytest.mark.parametrize("failure", [say(503), say(502), say(429), hang_up, half])
def test_what_may_pass_is_tried_again(failure):
    with serving(failure, say(200, b"fine")) as (url, asked):
        assert asked_of(url) == b"fine"
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("failure", "code"),
    [(hang_up, "http.unreachable"), (half, "http.unreachable"), (say(503, b"later"), "http.status")],
)
def test_what_does_not_pass_is_one_error(failure, code):
    with serving(failure) as (url, asked):
        assert refused(url, token=CANARY).code == code
    assert len(asked) == 1 + len(RETRY_PAUSES_S)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "http.denied"), (403, "http.denied"), (400, "http.status"), (500, "http.status")]
)
def test_a_refusal_is_not_tried_again(status, code):
    with serving(say(status, b"because")) as (url, asked):
        error = refused(url, token=CANARY)
    assert error.code == code
    assert len(asked) == 1
    if isinstance(error, StatusError):
        assert error.body == b"because"


def endless(handler):
    handler.wfile.write(b"HTTP/1.1 401 " + b"word " * 10_000 + b"\r\nContent-Length: 0\r\n\r\n")


def no_status(handler):
    handler.wfile.write(b"word " * 10_000 + b"\r\n\r\n")


@pytest.mark.parametrize(("answer", "code"), [(endless, "http.denied"), (no_status, "http.unreachable")])
def test_what_a_server_says_beside_the_status_is_bounded(answer, code):
    with serving(answer) as (url, _asked):
        error = refused(url)
    assert error.code == code
    assert "word word" in error.message
    assert len(error.message) < 300


def test_credentials_do_not_follow_a_redirect():
    with serving(say(200)) as (elsewhere, followed):  # noqa: SIM117 - the other one needs its address
        with serving(say(302, Location=elsewhere)) as (url, asked):
            assert refused(url, token=CANARY).code == "http.status"
    assert (len(asked), followed) == (1, [])


def test_an_answer_is_taken_up_to_its_bound():
    with serving(say(200, b"x" * 1000)) as (url, _asked):
        assert len(asked_of(url, most_bytes=1000)) == 1000
        with pytest.raises(TooLargeError):
            asked_of(url, most_bytes=999)


def test_an_answer_that_drips_ends_at_the_time_limit():
    release = threading.Event()

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        while not release.wait(0.02):
            handler.wfile.write(b"x" * 10)

    ticks = iter(range(10_000))
    with serving(drip) as (url, _asked):
        try:
            with pytest.raises(HeadroomError) as caught:
                post(
                    Server(url, timeout_s=5),
                    "/api",
                    {},
                    most_bytes=10**9,
                    sleep=lambda _unused: None,
                    monotonic=lambda: float(next(ticks)),
                )
        finally:
            release.set()
    assert (caught.value.code, "took too long" in caught.value.message) == ("http.unreachable", True)


def test_a_refusal_stands_though_the_server_never_ends_to_say_why():
    release = threading.Event()

    def stall(handler):
        handler.send_response(400)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"a wrong")
        release.wait(30)

    with serving(stall) as (url, asked):
        try:
            error = refused(url, timeout_s=0.2)
        finally:
            release.set()
    assert (error.code, error.body, len(asked)) == ("http.status", b"a wrong", 1)


def test_a_server_that_never_answers_is_one_error():
    release = threading.Event()
    with serving(lambda _unused: release.wait(30)) as (url, _asked):
        try:
            assert refused(url, timeout_s=0.2).code == "http.unreachable"
        finally:
            release.set()


@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        ("file:///etc/passwd", {}, "http.url"),
        ("ftp://host", {}, "http.url"),
        ("prometheus:9090", {}, "http.url"),
        ("http://[::1", {}, "http.url"),
        ("http://host:port", {}, "http.url"),
        ("http://host:99999", {}, "http.url"),
        (f"http://{'a' * 64}.example", {}, "http.url"),
        ("http://host", {"timeout_s": -1}, "http.timeout"),
        ("http://host", {"timeout_s": 0}, "http.timeout"),
        ("http://host", {"timeout_s": 10**11}, "http.timeout"),
        (f"http://host/?token={CANARY}", {}, "http.url"),
        (f"http://me:{CANARY}@host", {}, "http.credentials"),
        ("http://host", {"token": f"{CANARY}\nX: y"}, "http.credentials"),
        ("http://host", {"token": f"{CANARY}é"}, "http.credentials"),
        ("https://host", {"ca_path": "/absent.pem"}, "http.tls"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(url, options, code):
    assert refused(url, **options).code == code
