# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One chart as plain SVG: what a VM used, what it is expected to use, and the sizes before and after."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Callable, NamedTuple, Optional

from .._records.vm import MEMORY_MIB, VCPUS
from .curves import Curve, Expected, Observed, highest
from .markup import Child, Markup, element
from .words import MIB_PER_GIB, PER_UNIT, UNIT, demand, size

# Of the viewBox. A card is 300 to 560 CSS pixels wide, so that a font of 12 units is 9 to 15 pixels high.
WIDTH, HEIGHT = 440, 216
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 22, 24
LABEL_ABOVE, LABEL_BELOW = 4, 13  # from a size line to the base of its label

HOUR_S = 3600
_TIME_STEPS_S = tuple(hours * HOUR_S for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336))
_MOST_TIME_TICKS = 7
_MOST_VALUE_TICKS = 5


class Limit(NamedTuple):
    """How much of a size may be used, in the unit of the size; None: all of it."""

    now: Optional[float]
    after: Optional[float]
    done: bool  # or only planned


NO_LIMIT = Limit(None, None, done=False)


def chart(
    curve: Curve,
    *,
    resource: str,
    label: str,
    size_now: int,
    size_after: Optional[int] = None,
    done: bool = False,
    limit: Limit = NO_LIMIT,
) -> Optional[Markup]:
    """Draw a curve with its sizes; None where there is nothing to draw. ``size_after`` None: the size stays."""
    starts = [point.start_s for point in curve.observed] + [point.start_s for point in curve.expected]
    if not starts:
        return None
    last = max(
        [point.start_s + curve.observed_interval_s for point in curve.observed[-1:]]
        + [point.start_s + curve.expected_interval_s for point in curve.expected[-1:]]
    )
    unit = PER_UNIT[resource]
    sizes = [size_now, *([] if size_after is None else [size_after])]
    top = max([_high(curve) / unit, *sizes])
    ticks, top = value_ticks(top, binary=resource == MEMORY_MIB)
    in_gib = resource == MEMORY_MIB and ticks[1] >= MIB_PER_GIB // 2
    axis_unit, per_axis_unit = ("GiB", MIB_PER_GIB) if in_gib else (UNIT[resource], 1)
    x = scale(min(starts), last, LEFT, WIDTH - RIGHT)
    y_size = scale(0, top, HEIGHT - BOTTOM, TOP)

    def y(value: float) -> float:
        return y_size(value / unit)

    forecasts = [
        (points, interval_s)
        for points, interval_s in (
            (curve.earlier, curve.earlier_interval_s),
            (curve.expected, curve.expected_interval_s),
        )
        if points
    ]
    now_s = curve.expected[0].start_s if curve.expected else last
    return element(
        "svg",
        element("text", axis_unit, class_="tick", x=2, y=12),
        [value_tick(y_size(tick), tick / per_axis_unit) for tick in ticks],
        [_time_tick(x(tick), tick, step) for tick, step in time_ticks(min(starts), last)],
        [element("path", class_="band-next", d=_next_band(*one, x, y)) for one in forecasts],
        element("path", class_="band-past", d=_past_band(curve, x, y)),
        element("path", class_="line-past", d=_past_line(curve, x, y)),
        [element("path", class_="line-next", d=_next_line(*one, x, y)) for one in forecasts],
        _cutoff(x(now_s)) if curve.expected else None,
        _limit_lines(limit, y=y_size, x_now=x(now_s), size_end=size_now if size_after is None else size_after),
        _size_lines(size_now, size_after, resource=resource, y=y_size, x_now=x(now_s), done=done),
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=label,
    )


def describe(
    curve: Curve, *, resource: str, size_now: int, size_after: Optional[int], done: bool, limit: Limit = NO_LIMIT
) -> str:
    """Say in words what the chart shows, for those who do not see it."""
    parts = []
    if curve.observed:
        parts.append(f"Observed at most {demand(resource, max(highest(point) for point in curve.observed))}")
    if curve.expected:
        lower, upper = min(point.lower for point in curve.expected), max(point.upper for point in curve.expected)
        parts.append(f"expected between {demand(resource, lower)} and {demand(resource, upper)}")
    parts.append(f"size {size(resource, size_now)}")
    if size_after is not None:
        parts.append(f"{'now' if done else 'planned'} {size(resource, size_after)}")
    if limit.now != limit.after:
        parts.append(
            f"limit {_limit_words(limit.now)}, {'now' if limit.done else 'planned'} {_limit_words(limit.after)}"
        )
    elif limit.now is not None:
        parts.append(f"limit {_limit_words(limit.now)}")
    return ", ".join(parts) + "."


def value_ticks(top: float, *, binary: bool) -> tuple[list[float], float]:
    """Round steps (1, 2, 5; for memory powers of two) that reach above ``top``; returns the ticks and the axis' end."""
    step = 1.0 if binary else 0.1
    while top / step > _MOST_VALUE_TICKS:
        step *= 2.5 if not binary and f"{step:e}"[0] == "2" else 2
    count = int(top / step) + 1
    return [step * number for number in range(count + 1)], step * count


def time_ticks(first_s: int, last_s: int) -> list[tuple[int, int]]:
    """Round UTC times within the range, each with the step between them."""
    span = last_s - first_s
    step = next((one for one in _TIME_STEPS_S if span / one <= _MOST_TIME_TICKS), _TIME_STEPS_S[-1])
    return [(tick, step) for tick in range(-(-first_s // step) * step, last_s + 1, step)]


def scale(first: float, last: float, start: float, end: float) -> Callable[[float], float]:
    """Map the range onto another one, rounded as SVG wants it."""
    span = (last - first) or 1
    return lambda value: round(start + (value - first) / span * (end - start), 1)


def _high(curve: Curve) -> float:
    return max(
        [highest(point) for point in curve.observed] + [point.upper for point in (*curve.earlier, *curve.expected)]
    )


def value_tick(y: float, value: float) -> Child:
    """A line across the chart, and what it stands for."""
    number = f"{value:,.10g}"
    return (
        element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y}", y2=f"{y}"),
        element("text", number, class_="tick", x=LEFT - 5, y=f"{y + 4}", text_anchor="end"),
    )


def _time_tick(x: float, tick: int, step: int) -> Child:
    moment = datetime.fromtimestamp(tick, timezone.utc)
    midnight = moment.hour == 0
    words = f"{moment.day} {moment:%b}" if midnight or step >= 24 * HOUR_S else f"{moment:%H:%M}"
    anchor = "end" if x > WIDTH - RIGHT - 16 else "middle"
    return (
        element("line", class_="grid day" if midnight else "grid", x1=f"{x}", x2=f"{x}", y1=TOP, y2=HEIGHT - BOTTOM),
        element("text", words, class_="tick", x=f"{x}", y=HEIGHT - BOTTOM + 15, text_anchor=anchor),
    )


def _runs(points: tuple[Observed, ...], interval_s: int) -> list[list[Observed]]:
    """Stretches without a gap: what was not observed is not drawn."""
    runs: list[list[Observed]] = []
    for point in points:
        if not runs or point.start_s != runs[-1][-1].start_s + interval_s:
            runs.append([])
        runs[-1].append(point)
    return runs


def _stairs(points: list[tuple[float, float, float]], *, begin: str) -> str:
    """Path of horizontal pieces (x1, x2, y), joined by verticals."""
    parts = [f"{begin}{points[0][0]} {points[0][2]}H{points[0][1]}"]
    parts += [f"V{y}H{x2}" for _unused, x2, y in points[1:]]
    return "".join(parts)


def _back(points: list[tuple[float, float, float]]) -> str:
    """The same from right to left, closed."""
    parts = [f"L{points[-1][1]} {points[-1][2]}H{points[-1][0]}"]
    parts += [f"V{y}H{x1}" for x1, _unused, y in reversed(points[:-1])]
    return "".join(parts) + "Z"


_Map = Callable[[float], float]


def _pieces(
    run: list[Observed], interval_s: int, x: _Map, y: _Map, of: Callable[[Observed], float]
) -> list[tuple[float, float, float]]:
    return [(x(point.start_s), x(point.start_s + interval_s), y(of(point))) for point in run]


def _past_line(curve: Curve, x: _Map, y: _Map) -> str:
    interval_s = curve.observed_interval_s
    return "".join(
        _stairs(_pieces(run, interval_s, x, y, lambda point: point.mean), begin="M")
        for run in _runs(curve.observed, interval_s)
    )


def _past_band(curve: Curve, x: _Map, y: _Map) -> str:
    interval_s = curve.observed_interval_s
    return "".join(
        _stairs(_pieces(run, interval_s, x, y, highest), begin="M")
        + _back(_pieces(run, interval_s, x, y, lambda point: point.mean))
        for run in _runs(curve.observed, interval_s)
    )


def _expected(
    points: tuple[Expected, ...], interval_s: int, x: _Map, y: _Map, of: Callable[[Expected], float]
) -> list[tuple[float, float, float]]:
    return [(x(point.start_s), x(point.start_s + interval_s), y(of(point))) for point in points]


def _next_line(points: tuple[Expected, ...], interval_s: int, x: _Map, y: _Map) -> str:
    return _stairs(_expected(points, interval_s, x, y, lambda point: point.median), begin="M")


def _next_band(points: tuple[Expected, ...], interval_s: int, x: _Map, y: _Map) -> str:
    upper = _expected(points, interval_s, x, y, lambda point: point.upper)
    lower = _expected(points, interval_s, x, y, lambda point: point.lower)
    return _stairs(upper, begin="M") + _back(lower)


def _cutoff(x: float) -> Child:
    return element("line", class_="cutoff", x1=f"{x}", x2=f"{x}", y1=TOP, y2=HEIGHT - BOTTOM)


def _size_lines(size_now: int, size_after: Optional[int], *, resource: str, y: _Map, x_now: float, done: bool) -> Child:
    """The size until now, and on where it stays; the size after the act from now on, dashed while only planned."""
    y_now = y(size_now)
    end_now = WIDTH - RIGHT if size_after is None else x_now
    parts: list[Child] = [
        element("line", class_="size-now", x1=LEFT, x2=f"{end_now}", y1=f"{y_now}", y2=f"{y_now}"),
        element("text", f"size {size(resource, size_now)}", class_="label", x=LEFT + 4, y=f"{y_now - LABEL_ABOVE}"),
    ]
    if size_after is not None:
        y_after = y(size_after)
        # On the side of the line that the step between the sizes does not come from.
        y_label = y_after + (LABEL_BELOW if size_after < size_now else -LABEL_ABOVE)
        path = f"M{x_now} {y_now}V{y_after}H{WIDTH - RIGHT}"
        words = f"{'now' if done else 'planned'} {size(resource, size_after)}"
        parts += [
            element("path", class_="size-after" if done else "size-after planned", d=path),
            element("text", words, class_="label after", x=WIDTH - RIGHT, y=f"{y_label}", text_anchor="end"),
        ]
    return parts


def _limit_lines(limit: Limit, *, y: _Map, x_now: float, size_end: float) -> Child:
    """The limit until now, and from now on; where there is none nothing is drawn, for the size says it."""
    parts: list[Child] = []
    stays = limit.now == limit.after
    if limit.now is not None:
        end = WIDTH - RIGHT if stays else x_now
        parts.append(element("path", class_="limit", d=f"M{LEFT} {y(limit.now)}H{end}"))
    if limit.after is None:
        return parts
    y_after = y(limit.after)
    if not stays:
        kind = "limit after" if limit.done else "limit after planned"
        parts.append(element("path", class_=kind, d=f"M{x_now} {y_after}H{WIDTH - RIGHT}"))
    # Above its line, unless the label of the size is there, which may lie below the line of the size.
    y_label, y_size = y_after - LABEL_ABOVE, y(size_end)
    if y_label < y_size + 2 * LABEL_BELOW:
        y_label = min(max(y_after, y_size + LABEL_BELOW) + LABEL_BELOW, HEIGHT - BOTTOM - LABEL_ABOVE)
    words = f"limit {_limit_words(limit.after)}"
    parts.append(element("text", words, class_="label", x=WIDTH - RIGHT, y=f"{y_label}", text_anchor="end"))
    return parts


def _limit_words(limit: Optional[float]) -> str:
    return "none" if limit is None else f"{limit:g} {UNIT[VCPUS]}"
