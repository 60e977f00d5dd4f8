# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time: aware UTC datetimes inside, RFC 3339 with ``Z`` in records, and waits that are a predicate and a clock."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Callable, TypeVar

from .errors import HeadroomError

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc_now() -> datetime:
    """The present, to the microsecond. Call it once, at the edge, and pass it on."""
    return datetime.now(timezone.utc)


def format_utc(moment: datetime) -> str:
    """RFC 3339 in UTC; microseconds only where there are any."""
    if moment.tzinfo is None:
        raise HeadroomError("time.naive", f"The time {moment} has no zone.", advice="Give an aware UTC time.")
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def format_ms(ms: int) -> str:
    """The same for milliseconds since 1970 UTC, as the state store keeps times."""
    return format_utc(datetime.fromtimestamp(ms / 1000, timezone.utc))


def parse_utc(text: str) -> datetime:
    """Read RFC 3339 with any offset into UTC. Raises ``time.invalid``, ``time.naive``."""
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise HeadroomError(
            "time.invalid", f"{text!r} is not a time.", advice="Write it as 2026-01-31T12:00:00Z."
        ) from error
    if moment.tzinfo is None:
        raise HeadroomError("time.naive", f"The time {text!r} has no zone.", advice="End it with Z or an offset.")
    return moment.astimezone(timezone.utc)


def wait_until(
    predicate: Callable[[], T],
    *,
    timeout_s: float,
    poll_s: float = 0.2,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> T:
    """Poll until the predicate is true and return what it gave; after ``timeout_s`` return its last, false, answer."""
    deadline = monotonic() + timeout_s
    while True:
        answer = predicate()
        if answer or monotonic() >= deadline:
            return answer
        sleep(poll_s)
