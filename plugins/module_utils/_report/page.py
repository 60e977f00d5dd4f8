# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page that needs nothing else: no network, no font, no picture, no library.

It holds for any fleet: charts are for the first ``MOST_CARDS`` VMs (those acted on before the others), rows for the
first ``MOST_ROWS``. Counts are always of all, and where a list is cut the page says so.
"""

from __future__ import annotations

import base64
import hashlib

from .._records.plan import REFUSED, STAY
from .._records.vm import GROW, RESOURCES, SHRINK
from .capacity import capacity
from .cards import cards, charted
from .labels import VERDICT_SIGN
from .markup import Child, Markup, element
from .models import models
from .notices import Notice, notices
from .parts import MOST_ROWS, Links
from .scorecard import scorecard
from .script import SCRIPT
from .sections import coverage, journal, provenance, violations
from .service import service
from .style import STYLE
from .tables import changes, everyone, reasons
from .view import View
from .words import cost, count, sizes, span, when

SECTIONS = (
    ("changes", "Changes"),
    ("charts", "Forecast and use"),
    ("reasons", "Why others stay"),
    ("violations", "Violations"),
    ("service", "Service"),
    ("scorecard", "Scorecard"),
    ("models", "Models"),
    ("capacity", "Room"),
    ("all", "Every VM"),
    ("journal", "Journal"),
    ("coverage", "Coverage"),
    ("provenance", "Provenance"),
)
MOST_ITEMS = 8  # of one notice


def page(view: View) -> str:
    """Return the document."""
    links = Links(
        view,
        listed=frozenset(machine.unique_id for machine in view.machines[:MOST_ROWS]),
        charted=frozenset(machine.unique_id for machine in charted(view)),
    )
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
    main = (
        _tiles(view),
        [_notice(notice, links) for notice in notices(view)],
        changes(view, links),
        cards(view, links),
        reasons(view, links),
        violations(view, links),
        service(view, links),
        scorecard(view, links),
        models(view),
        capacity(view, links),
        everyone(view, links),
        journal(view, links),
        coverage(view),
        provenance(view),
    )
    body = element(
        "body",
        element("a", "Skip to the report", class_="skip", href="#report"),
        _header(view),
        element("main", main, id="report"),
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
    colour, word = view.headline
    seen = f"{count(len(facts.snapshot.vms), 'VM')} on {count(len(facts.snapshot.hosts), 'host')}"
    said = [", ".join(facts.snapshot.endpoints), seen, when(facts.made_at)]
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
    both = view.count(GROW) + view.count(SHRINK) - sum(machine.verdict in (GROW, SHRINK) for machine in view.machines)
    tiles: list[tuple[str, list[str], str]] = [
        (f"{VERDICT_SIGN[GROW]} grow", [f"{view.count(GROW):,}"], f"{both:,} also shrink" if both else ""),
        (f"{VERDICT_SIGN[SHRINK]} shrink", [f"{view.count(SHRINK):,}"], f"{both:,} also grow" if both else ""),
        (f"{VERDICT_SIGN[STAY]} stay", [f"{view.staying:,}"], ""),
        (f"{VERDICT_SIGN[REFUSED]} refused", [f"{view.count(REFUSED):,}"], ""),
        _amounts(view, "Given back" if applied else "Would be given back", SHRINK),
        _amounts(view, "Handed out" if applied else "Would be handed out", GROW),
    ]
    if view.planned.cost:
        of = f"of {cost(view.planned.cost)} planned; " if applied and view.done.cost != view.planned.cost else ""
        tiles.append(("Cost", [cost(view.moved.cost)], f"{of}in the policy's unit"))
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", name),
                element("dd", [element("div", line) for line in lines], element("small", note) if note else None),
            )
            for name, lines, note in tiles
        ],
        class_="tiles",
    )


def _amounts(view: View, name: str, direction: str) -> tuple[str, list[str], str]:
    """Sizes large; limits small, for what they hold back stays promised."""
    moved, planned = (sizes(moved.amounts, direction) for moved in (view.moved, view.planned))
    of_sizes = sizes({key: amount for key, amount in view.moved.amounts.items() if key[0] in RESOURCES}, direction)
    notes = [f"and {one}" for one in moved if one not in of_sizes]
    notes += [f"of {', '.join(planned)} planned"] if moved != planned else []
    return name, of_sizes or ["nothing"], "; ".join(notes)


def _notice(notice: Notice, links: Links) -> Markup:
    items = [_item(item.words, item.unique_id, links) for item in notice.items[:MOST_ITEMS]]
    rest = len(notice.items) - MOST_ITEMS
    if rest > 0:
        items.append(element("li", f"and {rest:,} more"))
    more = (" ", element("a", dict(SECTIONS)[notice.section], href=f"#{notice.section}")) if notice.section else None
    return element(
        "div",
        element("p", notice.words, more),
        element("ul", items) if items else None,
        class_="notice bad" if notice.loud else "notice",
        role="alert" if notice.loud else "note",
    )


def _item(words: str, unique_id: str, links: Links) -> Markup:
    """A line of a notice, with the VM's name as a link where it begins with it."""
    name = links.view.names.get(unique_id, "")
    if name and words.startswith(name):
        return element("li", links.link(unique_id, chart=True), words[len(name) :])
    return element("li", words)
