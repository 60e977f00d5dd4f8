# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as one HTML page that needs nothing else: per row a curve, bars and the table; light and dark."""

from __future__ import annotations

from html import escape
from itertools import groupby

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1a1f26; --soft: #55606e; --line: #d9dee5;
  --met: #0b57b7; --failed: #b3520b; --curve: #9aa4b1; }
@media (prefers-color-scheme: dark) { :root { --page: #111418; --card: #1a1f25; --ink: #e7eaee; --soft: #a3adba;
  --line: #333b45; --met: #8ab8f5; --failed: #f0a25c; --curve: #6b7684; } }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 1rem 0; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
svg { flex: 1 1 28rem; max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
.soft, svg .soft { color: var(--soft); fill: var(--soft); }
.axis { stroke: var(--line); } .limit { stroke: var(--failed); stroke-dasharray: 4 3; }
.curve { fill: none; stroke: var(--curve); } .met { fill: var(--met); } .failed { fill: var(--failed); }
.error { stroke: var(--ink); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""

TABLE = (
    ("reclaimed %", "reclaimed", "{:.1f}"),
    ("violations %", "violations", "{:.2f}"),
    ("by capacity %", "violations_by_capacity", "{:.2f}"),
    ("unserved %", "unserved_of_demand", "{:.2f}"),
    ("worst VM %", "worst_vm", "{:.1f}"),
    ("p99 VM %", "p99_vm", "{:.1f}"),
    ("VMs within 0.5 %", "vms_within_half_pct", "{:.0f}"),
    ("VMs within 1 %", "vms_within_1pct", "{:.0f}"),
    ("resizes per VM and day", "resizes_per_vm_day", "{:.1f}"),
    ("longest run, min", "longest_run_min", "{}"),
    ("VMs with a run over 30 min", "vms_with_run_over_30min", "{}"),
)
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 320, 48, 40, 14
MOST_VIOLATIONS = 2.0  # percent, the right end of the curve; what lies beyond stands at the edge
BAR, NAMES = 22, 230  # height of a bar, width of the names


def page(said: dict) -> str:
    """All rows of the bench."""
    rows = groupby(said["results"], key=lambda one: one["row"])
    parts = [section(name, list(results), said["slo4"]) for name, results in rows]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sizing policies</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        "<h1>Sizing policies, replayed in a closed loop</h1>"
        f"<p>Set of VMs: {escape(said['ids'])}, scored {said['scored']} times. Blue, filled: the service level was "
        "met; orange, hollow: it was not. Lines: the same policy with all its sizes a little smaller or larger, in "
        "hindsight. Intervals: 90 %, bootstrap over VM and day.</p>" + "".join(parts) + "</body></html>\n"
    )


def section(name: str, results: list[dict], slo: dict) -> str:
    plots = curve(results, slo) + bars(results)
    return f'<section><h2>{escape(name)}</h2><div class="plots">{plots}</div>{table(results)}</section>'


def mark(one: dict, x: float, y: float) -> str:
    """A policy's point: filled or hollow, so that colour is not all that tells."""
    kind = 'class="met"' if one["score"]["slo4"] else 'fill="none" style="stroke:var(--failed);stroke-width:2"'
    title = f"{one['policy']}: {one['score']['reclaimed']:.1f} % at {one['score']['violations']:.2f} %"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {kind}><title>{escape(title)}</title></circle>'


def curve(results: list[dict], slo: dict) -> str:
    """Reclaimed over violations."""
    lowest = min((point["reclaimed"] for one in results for point in [one["score"], *one["curve"]]), default=0)
    least = max(0, 10 * int(lowest // 10))

    def at(point: dict) -> tuple[float, float]:
        share = min(point["violations"] / MOST_VIOLATIONS, 1)
        up = max(point["reclaimed"] - least, 0) / (100 - least)
        return LEFT + share * (WIDTH - LEFT - 12), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    limit = at({"violations": slo["violations"], "reclaimed": 0})[0]
    drawn = [f'<line class="limit" x1="{limit:.1f}" x2="{limit:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>']
    for percent in range(least, 101, 10):
        y = at({"violations": 0, "reclaimed": percent})[1]
        drawn.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text class="soft" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>')
    for percent in (0, 0.5, 1, 1.5, 2):
        x = at({"violations": percent, "reclaimed": 0})[0]
        drawn.append(f'<text class="soft" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{percent}</text>')
    for one in results:
        points = sorted([one["score"], *one["curve"]], key=lambda point: point["violations"])
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
        drawn.append(f'<polyline class="curve" points="{line}"/>' + mark(one, *at(one["score"])))
    drawn.append(
        f'<text class="soft" x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        "violations, % of samples; up: reclaimed, % of capacity</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Reclaimed over violations">{"".join(drawn)}</svg>'
    )


def bars(results: list[dict]) -> str:
    """What each policy reclaims, with its interval."""
    height = BAR * len(results) + 4
    scale = (WIDTH - NAMES - 50) / 100
    drawn = []
    for place, one in enumerate(results):
        y, score = place * BAR + 4, one["score"]
        low, high = (NAMES + scale * max(bound, 0) for bound in one["intervals"]["reclaimed"])
        kind = "met" if score["slo4"] else "failed"
        opacity = "" if score["slo4"] else ' fill-opacity="0.45"'
        drawn.append(
            f'<text x="{NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(one["policy"])}</text>'
            f'<rect class="{kind}"{opacity} x="{NAMES}" y="{y}" height="{BAR - 6}"'
            f' width="{max(scale * score["reclaimed"], 0):.1f}"/>'
            f'<line class="error" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 8}" y2="{y + 8}"/>'
            f'<text x="{high + 5:.1f}" y="{y + 13}">{score["reclaimed"]:.1f}</text>'
        )
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Reclaimed by policy">{"".join(drawn)}</svg>'


def table(results: list[dict]) -> str:
    """All figures, each with its interval where there is one."""
    head = "".join(f"<th>{escape(title)}</th>" for title, _name, _form in TABLE)
    body = []
    for one in results:
        cells = [f"<td>{escape(one['policy'])}</td>"]
        for _title, name, form in TABLE:
            bounds = " to ".join(form.format(bound) for bound in one["intervals"].get(name, ()))
            cells.append(f'<td>{form.format(one["score"][name])} <span class="soft">{bounds}</span></td>')
        met = "met" if one["score"]["slo4"] else "not met"
        body.append(f"<tr>{''.join(cells)}<td>{met}</td><td>{one['cpu_s']:.1f}</td></tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th>policy</th>{head}<th>SLO-4</th><th>CPU-s</th></tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
