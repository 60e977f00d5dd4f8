# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows in local time, over midnight and over clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._policy.windows import Window, opening

EVERY_DAY = "[mon, tue, wed, thu, fri, sat, sun]"


def windows(*texts: str) -> tuple[Window, ...]:
    lines = "".join(f"    - {text}\n" for text in texts)
    policy = load_policy(f"schema: headroom.sizing-policy/1\ndefaults:\n  windows:\n{lines}", name="p.yml")
    return policy.defaults["windows"].value


def nightly(begin: str, end: str, *, zone: str = "Europe/Berlin", days: str = EVERY_DAY) -> str:
    return f"{{zone: {zone}, days: {days}, from: {begin}, to: {end}}}"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def find(some: tuple[Window, ...], now: str, *, hours: int = 24) -> tuple[str, str] | None:
    found = opening(some, now=at(now), until=at(now) + timedelta(hours=hours))
    return (found[0].isoformat()[:16], found[1].isoformat()[:16]) if found else None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-01-13T18:00", ("2026-01-13T21:00", "2026-01-14T03:00")),  # opens tonight
        ("2026-01-13T21:00", ("2026-01-13T21:00", "2026-01-14T03:00")),  # the first moment is inside
        ("2026-01-14T02:59", ("2026-01-13T21:00", "2026-01-14T03:00")),  # began yesterday
        ("2026-01-14T03:00", ("2026-01-14T21:00", "2026-01-15T03:00")),  # the last is not
    ],
)
def test_a_window_crosses_midnight(now: str, expected: tuple[str, str]) -> None:
    assert find(windows(nightly("22:00", "04:00")), now) == expected


def test_only_the_days_named_begin_a_window() -> None:
    some = windows(nightly("22:00", "04:00", days="[fri]"))  # 16 January 2026 is a Friday
    assert find(some, "2026-01-13T12:00") is None
    assert find(some, "2026-01-17T01:00") == ("2026-01-16T21:00", "2026-01-17T03:00")
    assert find(some, "2026-01-13T12:00", hours=24 * 7) == ("2026-01-16T21:00", "2026-01-17T03:00")


def test_a_window_that_opens_only_after_the_plan_expires_does_not_count() -> None:
    some = windows(nightly("22:00", "04:00"))
    assert find(some, "2026-01-13T12:00", hours=9) is None
    assert find(some, "2026-01-13T12:00", hours=10) is not None


@pytest.mark.parametrize(
    ("begin", "end", "now", "expected"),
    [
        # 29 March 2026: 02:00 becomes 03:00 in Berlin.
        ("01:00", "04:00", "2026-03-28T20:00", ("2026-03-29T00:00", "2026-03-29T02:00")),
        ("02:30", "04:00", "2026-03-28T20:00", ("2026-03-29T01:30", "2026-03-29T02:00")),
        ("01:30", "02:30", "2026-03-28T20:00", ("2026-03-29T00:30", "2026-03-29T01:30")),
        # 25 October 2026: 03:00 becomes 02:00; what occurs twice means the first.
        ("01:00", "04:00", "2026-10-24T20:00", ("2026-10-24T23:00", "2026-10-25T03:00")),
        ("02:30", "04:00", "2026-10-24T20:00", ("2026-10-25T00:30", "2026-10-25T03:00")),
        ("01:00", "02:30", "2026-10-24T20:00", ("2026-10-24T23:00", "2026-10-25T00:30")),
    ],
)
def test_a_clock_change_falls_into_the_window(begin: str, end: str, now: str, expected: tuple[str, str]) -> None:
    assert find(windows(nightly(begin, end)), now) == expected


def test_a_window_that_a_clock_change_swallows_does_not_open() -> None:
    # 02:30 does not exist and is read as 03:30, after the end.
    assert find(windows(nightly("02:30", "03:15")), "2026-03-28T20:00", hours=12) is None


def test_windows_that_touch_are_one() -> None:
    some = windows(nightly("22:00", "24:00"), nightly("00:00", "02:00"), nightly("01:00", "06:00", zone="UTC"))
    assert find(some, "2026-01-13T20:00") == ("2026-01-13T21:00", "2026-01-14T06:00")


def test_zones_differ() -> None:
    assert find(windows(nightly("22:00", "04:00", zone="America/New_York")), "2026-07-01T12:00") == (
        "2026-07-02T02:00",
        "2026-07-02T08:00",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (nightly("22:00", "04:00", zone="Europe/Berlim"), "Did you mean 'Europe/Berlin'?"),
        (nightly("25:00", "04:00"), "must be a time of day"),
        (nightly("9:00", "10:00"), "must be a time of day"),
        (nightly("22:00", "22:00"), "is empty"),
        (nightly("24:00", "04:00"), "is empty"),
        (nightly("22:00", "04:00", days="[mo]"), "Did you mean 'mon'?"),
        (nightly("22:00", "04:00", days="[]"), "at least one item"),
        ("{zone: UTC, days: [mon], from: 22:00}", "has no 'to'"),
        ("{zone: UTC, days: [mon], from: 22:00, to: 23:00, until: 3}", "no key 'until'"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        windows(text)
    assert caught.value.code == "policy.invalid"
    assert caught.value.details["line"] == 4
    assert words in f"{caught.value.message} {caught.value.advice}"
