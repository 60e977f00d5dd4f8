# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows: when acts may begin, in local time of an IANA zone.

A local time that a clock change skips, or that occurs twice, is read as RFC 5545 section 3.3.5 does: with the offset
before the gap, and as the first of the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Optional
from zoneinfo import ZoneInfo, available_timezones

from .load import Document, Node, suggest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 1440
ALWAYS = "always"

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_KEYS = ("zone", "days", "from", "to")


@dataclass(frozen=True)
class Window:
    """From one time of day to another, on each of the days (0: Monday), in minutes after midnight.

    An end that is not later than the start is on the next day.
    """

    zone: str
    days: tuple[int, ...]
    start_minute: int
    end_minute: int

    def on(self, day: date) -> tuple[datetime, datetime]:
        """The window that begins on this local day, in UTC."""
        following = day + timedelta(days=self.end_minute <= self.start_minute)
        return self._moment(day, self.start_minute), self._moment(following, self.end_minute)

    def _moment(self, day: date, minute: int) -> datetime:
        naive = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001 - wall clock
        return naive.replace(tzinfo=ZoneInfo(self.zone)).astimezone(timezone.utc)


def opening(windows: tuple[Window, ...], *, now: datetime, until: datetime) -> Optional[tuple[datetime, datetime]]:
    """The window open now, else the next that opens before ``until``: [begin, end) in UTC; overlapping ones are one.

    ``windows`` is not empty: no windows at all means that acts may begin at any time.
    """
    spans = sorted(span for window in windows for span in _spans(window, now=now, until=until))
    found: Optional[tuple[datetime, datetime]] = None
    for begin, end in spans:
        if end <= now or begin >= until:
            continue
        if found is None:
            found = (begin, end)
        elif begin <= found[1]:
            found = (found[0], max(found[1], end))
    return found


def _spans(window: Window, *, now: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    zone = ZoneInfo(window.zone)
    first = now.astimezone(zone).date() - timedelta(days=1)  # it may have begun yesterday
    count = (until.astimezone(zone).date() - first).days + 1
    days = (first + timedelta(days=offset) for offset in range(count + 1))
    spans = (window.on(day) for day in days if day.weekday() in window.days)
    return [(begin, end) for begin, end in spans if begin < end]  # a clock change may swallow a short one


@dataclass(frozen=True)
class Windows:
    """Reads ``windows``: the word ``always``, or a list of windows. The value is a tuple; empty: always."""

    def read(self, document: Document, node: Node, path: str) -> Any:
        """Read and check; zones must be known to the system's zone database."""
        if node.id == "scalar":
            document.choice(node, options=(ALWAYS,), path=path)
            return ()
        return tuple(_window(document, item, path) for item in document.sequence(node, path=path))


def _window(document: Document, node: Node, path: str) -> Window:
    entries = document.mapping(node, known=_KEYS, path=path)
    for key in _KEYS:
        if key not in entries:
            raise document.error(node, f"a window in {path} has no {key!r}")
    zone = document.text(entries["zone"].node, path=f"{path}.zone")
    zones = available_timezones()
    if zone not in zones:
        raise document.error(
            entries["zone"].node, f"the time zone {zone!r} is not known here", advice=suggest(zone, zones)[:200]
        )
    days = [
        DAYS.index(document.choice(item, options=DAYS, path=f"{path}.days"))
        for item in document.sequence(entries["days"].node, path=f"{path}.days")
    ]
    start, end = (_minute(document, entries[key].node, f"{path}.{key}") for key in ("from", "to"))
    if start in (end, MINUTES_PER_DAY):
        raise document.error(entries["from"].node, f"a window in {path} is empty", advice="A day is 00:00 to 24:00.")
    return Window(zone=zone, days=tuple(sorted(set(days))), start_minute=start, end_minute=end)


def _minute(document: Document, node: Node, path: str) -> int:
    # Plain 22:00 is a base-60 number to YAML 1.1; the text as written is what counts.
    found = _CLOCK.fullmatch(node.value) if node.id == "scalar" else None
    if found is None:
        raise document.error(node, f"{path} must be a time of day", advice="Write it as 22:00; 24:00 ends a day.")
    return MINUTES_PER_DAY if found[1] is None else int(found[1]) * 60 + int(found[2])
