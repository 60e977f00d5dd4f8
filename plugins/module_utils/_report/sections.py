# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other sections of the page: what needs a person, the journal, what is known of the fleet, and from what."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from .labels import METRIC_WORD, outcome_word, results_words
from .markup import Child, Markup, element
from .parts import MOST_ROWS, cell, facts, folded, number, row, table, tag, why
from .view import View
from .words import RESOURCE_WORD, count, percent, shortened, span, when

MOST_NAMED = 12  # engines and their reasons


def notices(view: View) -> Child:
    """What a person should know first, the loudest on top."""
    return [
        element(
            "div",
            element("p", words),
            element("ul", [element("li", item) for item in shortened(items)]) if items else None,
            class_="notice bad" if bad else "notice",
            role="alert" if bad else "note",
        )
        for bad, words, items in view.notices
    ]


def journal(view: View) -> Markup:
    """How the last apply ended, act by act; what is owed and held."""
    return element(
        "section",
        element("h2", "Journal"),
        _outcomes(view),
        _owed(view),
        _held(view),
        id="journal",
    )


def coverage(view: View) -> Markup:
    """How much of the fleet is known, how fresh it is, and which engine forecast it."""
    snapshot = view.facts.snapshot
    seen = [count(len(snapshot.vms), "VM"), count(len(snapshot.hosts), "host"), count(len(snapshot.gaps), "gap")]
    rows = [
        row(
            METRIC_WORD.get(one.metric, one.metric),
            number(percent(one.coverage_ppm)),
            number(f"{one.vms - one.without:,} of {one.vms:,}"),
            number(_ago(one.newest_s)),
            number(_ago(one.oldest_s)),
        )
        for one in view.known
    ]
    columns = ("Metric", "Coverage", "VMs with data", "Newest value", "VM longest without")
    return element(
        "section",
        element("h2", "Coverage"),
        element("p", f"Snapshot of {when(snapshot.taken_at)}: {', '.join(seen)}."),
        table("What telemetry knew of the fleet when it was forecast.", columns, rows, name="Coverage")
        if rows
        else element("p", "No forecast was made, so nothing is said about telemetry.", class_="soft"),
        _engines(view),
        id="coverage",
    )


def provenance(view: View) -> Markup:
    """From what this was made: enough to make it again, or to doubt it."""
    known = view.facts
    entries: list[tuple[str, Child]] = [("Run", element("code", known.run_id))]
    if known.started_at:
        entries.append(("Started", when(known.started_at)))
    entries.append(("Report made", when(known.made_at)))
    if known.plan:
        made, expires = when(known.plan.made_at), when(known.plan.expires_at)
        entries.append(("Plan", f"{known.plan.purpose}, made {made}, expires {expires}"))
    if known.forecast:
        header = known.forecast
        target = f"{header.target} of each {span(header.interval_s)}"
        entries.append(("Forecast", f"{target}, for {span(header.horizon_s)} from {when(header.cutoff)}"))
        entries.append(("Quantiles", ", ".join(header.quantiles)))
    digests = [(name, element("code", digest)) for name, digest in known.digests.items() if digest]
    return element(
        "section",
        element("h2", "Provenance"),
        facts(entries),
        (element("h3", "Artifacts"), facts(digests)) if digests else None,
        id="provenance",
    )


def _ago(seconds: Optional[int]) -> str:
    return "never" if seconds is None else f"{span(seconds)} ago"


def _outcomes(view: View) -> Child:
    receipt = view.facts.receipt
    if receipt is None:
        return element("p", "Nothing was applied in this run.")
    if not receipt.outcomes:
        return element("p", "The apply had nothing to do.")
    rows = [
        row(
            outcome.vm_name,
            cell(outcome.operation),
            cell(tag(*outcome_word(outcome))),
            why(element("code", outcome.code) if outcome.code else None, " ", outcome.message),
            number(when(outcome.finished_at)),
        )
        for outcome in receipt.outcomes[:MOST_ROWS]
    ]
    columns = ("VM", "Act", "Result", "Why", "Ended")
    return table(f"Last apply: {results_words(view)}.", columns, rows, name="Last apply", stacked=True)


def _owed(view: View) -> Child:
    if not view.facts.owed:
        return element("p", "No rollback is owed.")
    names = view.names
    rows = [
        row(
            names.get(one.unique_id, one.unique_id),
            cell(RESOURCE_WORD.get(one.resource, one.resource)),
            cell(tag("failed", "could not be set back") if one.failed else tag("waits", "owed")),
            why(one.message),
            number(when(one.since)),
            cell(element("code", f"{one.run_id} {one.action_id}")),
        )
        for one in view.facts.owed
    ]
    columns = ("VM", "What", "State", "Why", "Since", "Run and act")
    caption = "Waiting for a restart, or for a person."
    return element("h3", "Owed rollbacks"), table(caption, columns, rows, name="Owed rollbacks")


def _held(view: View) -> Child:
    if not view.facts.held:
        return None
    names = view.names
    rows = [
        row(
            names.get(one.unique_id, one.unique_id),
            cell(one.who),
            why(one.reason),
            number(when(one.until) or "until released"),
        )
        for one in view.facts.held
    ]
    columns = ("VM", "By", "Why", "Until")
    return element("h3", "Held VMs"), table("Nothing is done to these.", columns, rows, name="Held VMs")


def _engines(view: View) -> Child:
    if view.facts.forecast is None:
        return None
    engines = Counter((choice.engine, choice.reason) for choice in view.facts.forecast.choices)
    rows = [
        element(
            "tr",
            element("th", element("code", engine), scope="row"),
            number(f"{series:,}"),
            why(reason),
        )
        for (engine, reason), series in engines.most_common(MOST_NAMED)
    ]
    columns = ("Engine", "Series", "Why")
    return folded("Which engine forecast, and why", table("Most frequent first.", columns, rows, name="Engines"))
