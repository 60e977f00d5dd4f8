# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on room: headroom of host sets and hosts, days until full, and advice where no size helps."""

from __future__ import annotations

from .._core.units import PPM
from .._records.hostset import FULL, GROWING, HOST, HOST_SET, NEVER, UNKNOWN
from .chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, scale, value_tick, value_ticks
from .markup import Child, Markup, element
from .parts import Links, cell, folded, left_out, number, row, section, soft, table, why
from .rooms import Room, advice, days_words, rooms
from .view import View
from .words import PER_UNIT, count, demand, percent, resource_word, when

MOST_PLACES = 200  # of one table
MOST_DRAWN = 8
MOST_ADVICE = 50
LEAST_AHEAD, MOST_AHEAD = 14, 90  # days of the trend that are drawn
BOTTOM = 24
STRETCH = 1.2
TREND_POINTS = 12  # of the line that is drawn: a compound growth is bent

_STATES = {UNKNOWN: "unknown", NEVER: "not within a year", FULL: "full now"}


def capacity(view: View, links: Links) -> Markup:
    """What hosts can serve, what their VMs will ask for together, and when that meets."""
    found = rooms(view.facts)
    if not found:
        return section("capacity", "Room", soft("No forecast says what hosts and host sets will have to serve."))
    sets, hosts = ([one for one in found if one.joint.kind == kind] for kind in (HOST_SET, HOST))
    rule = (
        "Usable is what hosts have, less what they reserve, with the largest of a host set lost as the policy asks; "
        f"expected is the {found[0].level} quantile of what the VMs ask for together. Full is the day from which one "
        "daily peak in ten does not fit; in brackets a 90 % interval."
    )
    drawn = [_chart(one) for one in sets if any(peak >= 0 for peak in one.joint.peaks)][:MOST_DRAWN]
    return section(
        "capacity",
        "Room",
        soft(rule),
        _advice(view, found, links),
        _table("Host sets, the fullest first.", "Host set", sets, name="Host sets"),
        element("div", drawn, class_="cards") if drawn else None,
        folded("Every host", _table("Hosts, the fullest first.", "Host", hosts, name="Hosts")) if hosts else None,
    )


def _advice(view: View, found: tuple[Room, ...], links: Links) -> Child:
    told = advice(view.facts, found)
    if not told:
        return element("p", "Nobody needs more hosts or more instances.")
    rows = [
        row(
            element("bdi", one.what),
            why(one.why, (" ", links.link(one.unique_id)) if one.unique_id else None),
            number(when(one.by)[:10] or "now", sort=one.by),
        )
        for one in told[:MOST_ADVICE]
    ]
    caption = "What no size of a VM solves."
    return (
        element("h3", "Advice"),
        table(caption, ("What", "Why", "By"), rows, name="Advice", stacked=True),
        left_out(len(told), most=MOST_ADVICE, where="they are due later"),
    )


def _table(caption: str, head: str, found: list[Room], *, name: str) -> Child:
    rows = [
        row(
            element("bdi", one.name or "(none)"),
            cell(resource_word(one.resource)),
            number(demand(one.resource, one.usable), sort=one.usable),
            number(demand(one.resource, one.expected), sort=one.expected),
            number(demand(one.resource, one.apart), sort=one.apart),
            number(f"{demand(one.resource, one.left)} ({_share(one)})", sort=one.left),
            number(full_words(one), sort=one.outlook.days),
            why(_remarks(one)),
        )
        for one in found[:MOST_PLACES]
    ]
    columns = (head, "What", "Usable", "Expected together", "Sum of single peaks", "Headroom", "Full in", "Of what")
    return (
        table(caption, columns, rows, name=name, stacked=True),
        left_out(len(found), most=MOST_PLACES, where="they have more headroom"),
    )


def full_words(room: Room) -> str:
    """When it is full, and how sure that is."""
    ends = room.outlook
    if ends.state == GROWING:
        return days_words(ends)
    worst = f", at the worst {ends.earliest:,} d" if ends.state == NEVER and ends.earliest >= 0 else ""
    return _STATES[ends.state] + worst


def _share(room: Room) -> str:
    if not room.usable:
        return "nothing is usable"
    return percent(max(room.left, 0) * PPM // room.usable)


def _remarks(room: Room) -> str:
    joint = room.joint
    parts = [count(joint.vms, "VM")]
    if joint.kind == HOST_SET:
        parts.append(f"{count(room.lost, 'host')} of {room.hosts:,} may be lost")
    if joint.assumed:
        parts.append(f"{demand(room.resource, joint.assumed)} of VMs without a forecast, taken at their size")
    if not joint.points:
        parts.append("no past forecast to learn from: the sum of single peaks stands in")
    if joint.growth is None:
        parts.append("too few days are known for a trend")
    return ", ".join(parts)


def _chart(room: Room) -> Markup:
    """The daily peaks, where their trend leads, and what is usable."""
    joint, unit = room.joint, PER_UNIT[room.resource]
    peaks, growth, ends = joint.peaks, joint.growth, room.outlook
    ahead = min(max(ends.days + LEAST_AHEAD // 2, LEAST_AHEAD), MOST_AHEAD) if growth else 0
    days = [ahead * number // TREND_POINTS for number in range(TREND_POINTS + 1)]
    levels = list(zip(*(growth.after(day) for day in days))) if growth else []  # low, middle, high
    # The worst that growth could come to may lie far above all that is known: it is drawn as far as there is room.
    most = STRETCH * max([room.usable, *peaks, *(one[-1] for one in levels[1:2])])
    ticks, top = value_ticks(most / unit, binary=False)
    x, y = scale(-len(peaks), ahead, LEFT, WIDTH - RIGHT), scale(0, top * unit, HEIGHT - BOTTOM, TOP)
    words = f"{resource_word(room.resource)} of {room.name}. Usable {demand(room.resource, room.usable)}, expected "
    words += f"{demand(room.resource, room.expected)}, full: {full_words(room)}."
    bars = "".join(
        f"M{x(day - len(peaks))} {y(peak)}H{x(day + 1 - len(peaks))}" for day, peak in enumerate(peaks) if peak >= 0
    )
    trend: list[Child] = []
    if levels:
        low, middle, high = ([f"{x(day)} {y(min(value, most))}" for day, value in zip(days, one)] for one in levels)
        band = f"M{'L'.join((*high, *reversed(low)))}Z"
        trend = [
            element("path", class_="band-next", d=band),
            element("path", class_="line-next", d=f"M{'L'.join(middle)}"),
            element("line", class_="cutoff", x1=f"{x(0)}", x2=f"{x(0)}", y1=TOP, y2=HEIGHT - BOTTOM),
            _day(x(ahead), f"in {ahead} d", "end"),
        ]
    edge = y(room.usable)
    drawn = element(
        "svg",
        element("text", "vCPU" if unit > 1 else "MiB", class_="tick", x=2, y=12),
        [value_tick(y(tick * unit), tick) for tick in ticks],
        element("path", class_="line-past", d=bars),
        trend,
        element("line", class_="size-now", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{edge}", y2=f"{edge}"),
        element("text", "usable", class_="label", x=LEFT + 4, y=f"{edge - 4}"),
        _day(x(-len(peaks)), f"{len(peaks)} d ago", "start"),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=words,
    )
    title = element("h3", element("bdi", room.name or "(none)"), " ", resource_word(room.resource))
    return element("article", element("div", title, class_="head"), drawn, class_="card")


def _day(x: float, words: str, anchor: str) -> Child:
    return element("text", words, class_="tick", x=f"{x}", y=HEIGHT - BOTTOM + 15, text_anchor=anchor)
