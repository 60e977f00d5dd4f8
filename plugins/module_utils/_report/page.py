# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that needs nothing else: no network, no font, no picture, no library.

It holds for thousands of VMs: charts and details are for the first ``MOST_CARDS`` VMs (those acted on before the
others), rows for the first ``MOST_ROWS``. Counts are always of all.
"""

from __future__ import annotations

import base64
import hashlib

from .._records.plan import REFUSED, STAY
from .._records.vm import GROW, SHRINK
from .cards import cards
from .labels import VERDICT_SIGN, moved, run_word
from .markup import Child, Markup, element
from .sections import coverage, journal, notices, provenance
from .style import SCRIPT, STYLE
from .tables import changes, everyone
from .view import View
from .words import count, span, when

SECTIONS = (
    ("changes", "Changes"),
    ("charts", "Forecast and use"),
    ("all", "Every VM"),
    ("journal", "Journal"),
    ("coverage", "Coverage"),
    ("provenance", "Provenance"),
)


def page(view: View) -> str:
    """Return the document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_content_policy()),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="robots", content="noindex"),
        element("title", f"Headroom report, {when(view.facts.made_at)}"),
        element("style", Markup(STYLE)),
    )
    sections = (changes, cards, everyone, journal, coverage, provenance)
    body = element(
        "body",
        element("a", "Skip to the report", class_="skip", href="#report"),
        _header(view),
        element("main", notices(view), _tiles(view), [section(view) for section in sections], id="report"),
        element("footer", "Made by headroom.fleet. All times are UTC. This file loads nothing from anywhere."),
        element("script", Markup(SCRIPT)),
    )
    return "<!doctype html>\n" + element("html", head, "\n", body, lang="en") + "\n"


def _content_policy() -> str:
    """Nothing may be loaded, and only this style sheet and this script may run, whatever a VM is called."""

    def hashed(source: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() + "'"

    allowed = {
        "default-src": "'none'",
        "style-src": hashed(STYLE),
        "script-src": hashed(SCRIPT),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {which}" for what, which in allowed.items())


def _header(view: View) -> Child:
    facts = view.facts
    colour, word = run_word(view)
    said = [", ".join(facts.snapshot.endpoints), when(facts.made_at)]
    if view.duration_s is not None:
        said.append(f"took {span(view.duration_s)}")
    return element(
        "header",
        element("h1", "Headroom report"),
        element("p", element("span", word, class_=f"tag {colour}"), " ", " · ".join(filter(None, said))),
        element(
            "nav",
            element("ul", [element("li", element("a", name, href=f"#{where}")) for where, name in SECTIONS]),
            aria_label="Sections",
        ),
    )


def _tiles(view: View) -> Child:
    applied = view.facts.receipt is not None
    sums = view.done if applied else view.planned
    tiles = [
        ("VMs seen", f"{len(view.facts.snapshot.vms):,}", "on " + count(len(view.facts.snapshot.hosts), "host")),
        (f"{VERDICT_SIGN[GROW]} grow", f"{view.count(GROW):,}", ""),
        (f"{VERDICT_SIGN[SHRINK]} shrink", f"{view.count(SHRINK):,}", ""),
        (f"{VERDICT_SIGN[STAY]} stay", f"{view.staying:,}", ""),
        (f"{VERDICT_SIGN[REFUSED]} refused", f"{view.count(REFUSED):,}", ""),
        ("Given back" if applied else "Would be given back", moved(sums, SHRINK) or "nothing", ""),
        ("Handed out" if applied else "Would be handed out", moved(sums, GROW) or "nothing", ""),
    ]
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", number, element("small", note) if note else None))
            for name, number, note in tiles
        ],
        class_="tiles",
    )
