# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a back-test of sizes found, as a page that needs nothing else, and as text for a terminal."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from .._records.sizing_backtest import (
    DAY_PEAK,
    HEADROOM,
    NOW,
    PAST_PEAK,
    CurvePoint,
    Figure,
    PolicyScore,
    SizingBacktest,
)
from .chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, scale, value_tick, value_ticks
from .markup import Child, Markup, element
from .parts import cell, facts, folded, number, row, section, soft, table, tag
from .style import STYLE
from .words import MIB_PER_GIB, count, when

BOTTOM = 40
MOST_WORST = 20  # VMs
# Of the tables: heading, name of the figure, digits behind the point.
FIGURES = (
    ("reclaimed %", "reclaimed", 1),
    ("violations %", "violations", 2),
    ("unserved %", "unserved_of_demand", 2),
    ("worst VM %", "worst_vm", 1),
    ("VMs within 1 %", "vms_within_1pct", 0),
    ("resizes/VM/day", "resizes_per_vm_day", 1),
)
_POLICIES = {
    HEADROOM: "Headroom",
    NOW: "what there is now",
    PAST_PEAK: "peak of the past + 20 %",
    DAY_PEAK: "peak of the last day + 20 %, guard",
}
_METRICS = {"cpu_millicores": "CPU", "memory_used_mib": "Memory"}


def savings_text(record: SizingBacktest) -> str:
    """Draw a table for people: policies down, figures across, each with its interval."""
    lines = [f"{_title(record)}: {_headline(record)}", f"  {_scope(record)}"]
    lines.append(f"  {'':34}" + "".join(f"{title:>19}" for title, _name, _digits in FIGURES))
    for one in record.policies:
        cells = (_with_interval(one, name, digits) for _title, name, digits in FIGURES)
        lines.append(
            f"  {_POLICIES[one.policy]:34}" + "".join(f"{cell:>19}" for cell in cells) + f"  {_met(slo4=one.slo4)}"
        )
    lines += [
        f"  sizes x {point.factor:<4}: reclaimed {_short(point.reclaimed, 1)} %, violations "
        f"{_short(point.violations, 2)} %, unserved {_short(point.unserved, 2)} %, {_met(slo4=point.slo4)}"
        for point in record.curve
    ]
    return "\n".join(lines)


def savings_page(found: Sequence[tuple[SizingBacktest, Sequence[Mapping[str, Any]]]], names: Mapping[str, str]) -> str:
    """Return the document: each record with the rows of its table of VMs; ``names``: unique_id -> name."""
    first = found[0][0]
    style_hash = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", f"How much would I save? {when(first.made_at)}"),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element("header", element("h1", "How much would I save?"), element("p", "Made ", when(first.made_at))),
        element("main", [_section(record, rows, names) for record, rows in found]),
        element("footer", "Made by headroom.fleet. All times are UTC. This file loads nothing from anywhere."),
    )
    return "<!doctype html>\n" + element("html", head, "\n", body, lang="en") + "\n"


def _section(record: SizingBacktest, rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Markup:
    ours = record.policies[0]
    return section(
        record.metric,
        _title(record),
        element("p", tag("done" if ours.slo4 else "failed", _met(slo4=ours.slo4)), " ", _headline(record)),
        soft(_scope(record)),
        element("h3", "Policies"),
        _policies(record),
        (element("h3", "A little more or less, in hindsight"), element("div", _card(record), class_="cards"))
        if record.curve
        else None,
        element("h3", "Worst VMs"),
        _worst(rows, names),
        _rejected(record, names),
        folded("Where these figures come from", facts(_provenance(record))),
    )


def _headline(record: SizingBacktest) -> str:
    given, ours = record.given_back, record.policies[0]
    return (
        f"{_amount(record, given.value)} of {_amount(record, record.provisioned)} would have been given back "
        f"({_amount(record, given.low)} to {_amount(record, given.high)}), at "
        f"{_short(ours.value('violations'), 2)} % violations."
    )


def _scope(record: SizingBacktest) -> str:
    model = "a model that was given" if record.model else "a model trained on what came before"
    return (
        f"{count(record.vms, 'VM')}, {when(record.scored_from)} to {when(record.scored_to)}, decisions every "
        f"{record.every_s // 60} min that take {record.lead_s // 60} min to act, by {model}. Intervals are 90 %."
    )


def _policies(record: SizingBacktest) -> Markup:
    rows = [
        row(
            _POLICIES[one.policy],
            *(number(_with_interval(one, name, digits)) for _title, name, digits in FIGURES),
            cell(_word(slo4=one.slo4)),
        )
        for one in record.policies
    ]
    limits = record.slo
    caption = (
        f"Service level: violations at most {limits['violations']} %, unserved at most {limits['unserved']} %, no VM "
        f"above {limits['worst_vm']} %, {limits['vms_within_1pct']} % of the VMs within 1 %."
    )
    columns = ("Policy", *(title for title, _name, _digits in FIGURES), "Service level")
    return table(caption, columns, rows, name="Policies")


def _card(record: SizingBacktest) -> Markup:
    """The curve: up is reclaimed, right is violated."""
    points = sorted(record.curve, key=lambda point: float(point.violations))
    others = [one for one in record.policies if one.policy != HEADROOM and one.value("violations")]
    limit = float(record.slo["violations"])
    most = max([limit, *(float(point.violations) for point in points)]) * 1.1
    x_ticks, right = value_ticks(most, binary=False)
    y_ticks, top = value_ticks(max([1.0, *(float(point.reclaimed) for point in points)]), binary=False)
    x, y = scale(0, right, LEFT, WIDTH - RIGHT), scale(0, top, HEIGHT - BOTTOM, TOP)
    line = "L".join(f"{x(float(point.violations))} {y(float(point.reclaimed))}" for point in points)
    drawn = element(
        "svg",
        element("text", "% reclaimed", class_="tick", x=2, y=12),
        [value_tick(y(tick), tick) for tick in y_ticks],
        [_bottom(x(tick), f"{tick:.10g}") for tick in x_ticks],
        element("text", "% violations", class_="tick", x=WIDTH - RIGHT, y=HEIGHT - 6, text_anchor="end"),
        element("line", class_="cutoff", x1=f"{x(limit)}", x2=f"{x(limit)}", y1=TOP, y2=HEIGHT - BOTTOM),
        element("text", "limit", class_="label", x=f"{x(limit) + 4}", y=HEIGHT - BOTTOM - 5),
        element("path", class_="line-past", d=f"M{line}"),
        [_mark(point, x(float(point.violations)), y(float(point.reclaimed))) for point in points],
        [
            _other(one, x(min(float(one.value("violations")), right)), y(float(one.value("reclaimed"))))
            for one in others
        ],
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label="Reclaimed over violations, for all sizes a little smaller or larger: "
        + "; ".join(
            f"times {one.factor} {_short(one.reclaimed, 1)} % at {_short(one.violations, 2)} %" for one in points
        ),
    )
    rows = [
        row(
            point.factor,
            number(_short(point.reclaimed, 1)),
            number(_short(point.violations, 2)),
            number(_short(point.unserved, 2)),
            cell(_word(slo4=point.slo4)),
        )
        for point in record.curve
    ]
    columns = ("All sizes times", "reclaimed %", "violations %", "unserved %", "Service level")
    return element(
        "article",
        drawn,
        table("Squares in the chart are the other policies.", columns, rows, name="Curve"),
        class_="card",
    )


def _bottom(x: float, words: str) -> Child:
    return element("text", words, class_="tick", x=f"{x}", y=HEIGHT - BOTTOM + 15, text_anchor="middle")


def _mark(point: CurvePoint, x: float, y: float) -> Child:
    label = f"x {point.factor}"
    dot = element("path", class_="line-past", d=f"M{x} {y - 3}V{y + 3}")
    return dot, element("text", label, class_="label", x=f"{x}", y=f"{y - 6}", text_anchor="middle")


def _other(one: PolicyScore, x: float, y: float) -> Child:
    square = f"M{x - 3} {y - 3}H{x + 3}V{y + 3}H{x - 3}Z"
    return element("path", element("title", _POLICIES[one.policy]), class_="size-now", d=square)


def _worst(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Child:
    ranked = sorted(
        (one for one in rows if one["violations_pct"] is not None),
        key=lambda one: (-one["violations_pct"], one["reclaimed_pct"], one["unique_id"]),
    )
    shown = [
        row(
            element("bdi", names.get(one["unique_id"], one["unique_id"])),
            number(f"{one['violations_pct']:.2f}"),
            number(f"{one['reclaimed_pct']:.1f}"),
            number(f"{one['resizes']:,}"),
        )
        for one in ranked[:MOST_WORST]
    ]
    caption = f"The {len(shown)} of {count(len(ranked), 'VM')} with the most violations."
    return table(caption, ("VM", "violations %", "reclaimed %", "resizes"), shown, name="Worst VMs")


def _rejected(record: SizingBacktest, names: Mapping[str, str]) -> Child:
    if not record.rejected:
        return None
    rows = [row(element("bdi", names.get(one, one)), cell(why)) for one, why in record.rejected.items()]
    told = f"{count(len(rows), 'VM')} could not be replayed"
    return folded(told, table(told, ("VM", "Why"), rows, name="Rejected VMs"))


def _provenance(record: SizingBacktest) -> list[tuple[str, Child]]:
    return [
        ("learnt from", f"{when(record.learnt_from)} to {when(record.learnt_to)}"),
        *(
            (name, element("code", value))
            for name, value in (
                ("model", record.model or "trained for this"),
                ("snapshot", record.snapshot),
                ("telemetry", record.rows_digest),
                ("protocol", record.protocol),
                ("table of VMs", record.table),
                ("decisions", record.decisions),
            )
        ),
    ]


def _title(record: SizingBacktest) -> str:
    return _METRICS.get(record.metric, record.metric)


def _amount(record: SizingBacktest, value: str) -> str:
    if not value:
        return "?"
    if record.unit == "MiB":
        return f"{float(value) / MIB_PER_GIB:,.1f} GiB"
    return f"{float(value):,.1f} {record.unit}"


def _with_interval(one: PolicyScore, name: str, digits: int) -> str:
    figure = next((figure for figure in one.figures if figure.name == name), Figure(name, "", "", ""))
    value = _short(figure.value, digits)
    return f"{value} [{_short(figure.low, digits)}, {_short(figure.high, digits)}]" if figure.low else value


def _short(value: str, digits: int) -> str:
    return f"{float(value):.{digits}f}" if value else "?"


def _word(*, slo4: bool) -> str:
    return "met" if slo4 else "missed"


def _met(*, slo4: bool) -> str:
    return f"service level {_word(slo4=slo4)}"
