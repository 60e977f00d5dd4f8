# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The other sections of the page: limits that were hit, the journal, what is known of the fleet, and from what."""

from __future__ import annotations

from collections import Counter
from typing import Optional

from .._core.units import PPM
from .._records.vm import RESOURCES
from .labels import METRIC_WORD, SCOPE_WORD, outcome_word, results_words
from .markup import Child, Markup, element
from .parts import Links, cell, facts, folded, left_out, number, row, section, soft, table, tag, why
from .view import View
from .violations import FULL_PERCENT, LIMITS, WAITING_PERCENT, Violation
from .words import count, demand, percent, resource_word, size, span, when

MOST_NAMED = 12  # engines and their reasons
MOST_VIOLATIONS = 200
MOST_OUTCOMES = 1000
MOST_PLACES = 20


def violations(view: View, links: Links) -> Markup:
    """Where the recent past did not fit into what a VM has."""
    found = view.facts.violations
    if found is None:
        return section("violations", "Violations", soft("Without a forecast and its past nobody looked for any."))
    rule = f"At {FULL_PERCENT} % of its size or more, demand may have been higher than what can be seen; "
    rule += f"CPUs that wait for the host {WAITING_PERCENT} % of the time or more are short of a host, not of vCPUs."
    window = f"From {when(found.start)} to {when(found.end)}, in intervals of {span(found.interval_s)}."
    if not found.found:
        return section("violations", "Violations", element("p", f"{window} None."), soft(rule))
    sizes = {(vm.unique_id, name): getattr(vm, name) for vm in view.facts.snapshot.vms for name in RESOURCES}
    rows = [_violation(one, sizes, links) for one in found.found[:MOST_VIOLATIONS]]
    columns = ("VM", "What", "At the limit", "Above its size", "Peak", "Size then")
    return section(
        "violations",
        "Violations",
        soft(rule),
        table(f"{window} The longest first.", columns, rows, name="Violations", stacked=True),
        left_out(len(found.found), most=MOST_VIOLATIONS, where="they were at their limit for a shorter time"),
    )


def _violation(one: Violation, sizes: dict[tuple[str, str], int], links: Links) -> Markup:
    resource = LIMITS[one.metric].resource
    now = sizes.get((one.unique_id, resource), 0)

    def share(intervals: int) -> Markup:
        return number(
            f"{intervals:,} of {one.intervals:,} ({percent(intervals * PPM // one.intervals)})", sort=intervals
        )

    return row(
        links.link(one.unique_id, chart=True),
        cell(METRIC_WORD.get(one.metric, one.metric)),
        share(one.at_limit),
        share(one.above),
        number(demand(resource, one.peak)),
        number(size(resource, now)),
    )


def journal(view: View, links: Links) -> Markup:
    """How the last apply ended, act by act; what is owed and held, and what the budget still allows."""
    return section("journal", "Journal", _outcomes(view, links), _owed(view, links), _held(view, links), _budget(view))


def coverage(view: View) -> Markup:
    """How much of the fleet is known, how fresh it is, and which engine forecast it."""
    snapshot = view.facts.snapshot
    seen = [count(len(snapshot.vms), "VM"), count(len(snapshot.hosts), "host"), count(len(snapshot.gaps), "gap")]
    rows = [
        row(
            one.endpoint or "not in the snapshot",
            cell(METRIC_WORD.get(one.metric, one.metric)),
            number(percent(one.coverage_ppm), sort=one.coverage_ppm),
            number(f"{one.vms - one.without:,} of {one.vms:,}"),
            number(_ago(one.newest_s), sort=one.newest_s),
            number(_ago(one.oldest_s), sort=one.oldest_s),
        )
        for one in view.known
    ]
    columns = ("Endpoint", "Metric", "Coverage", "VMs with data", "Newest value", "VM longest without")
    return section(
        "coverage",
        "Coverage",
        element("p", f"Snapshot of {when(snapshot.taken_at)}: {', '.join(seen)}."),
        table("What telemetry knew of the fleet when it was forecast.", columns, rows, name="Coverage")
        if rows
        else soft("No forecast was made, so nothing is said about telemetry."),
        _engines(view),
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
    entries.append(("Kill switch", known.kill_switch or "off"))
    digests = [(name, element("code", digest)) for name, digest in known.digests.items() if digest]
    return section(
        "provenance",
        "Provenance",
        facts(entries),
        (element("h3", "Artifacts"), facts(digests)) if digests else None,
    )


def _ago(seconds: Optional[int]) -> str:
    return "never" if seconds is None else f"{span(seconds)} ago"


def _outcomes(view: View, links: Links) -> Child:
    receipt = view.facts.receipt
    if receipt is None:
        return element("p", "Nothing was applied in this run.")
    if not receipt.outcomes:
        return element("p", "The apply had nothing to do.")
    rows = [
        row(
            links.link(outcome.unique_id, chart=True),
            cell(outcome.operation),
            cell(tag(*outcome_word(outcome))),
            why(element("code", outcome.code) if outcome.code else None, " ", outcome.message),
            number(when(outcome.finished_at)),
        )
        for outcome in receipt.outcomes[:MOST_OUTCOMES]
    ]
    columns = ("VM", "Act", "Result", "Why", "Ended")
    ended = f"Run {receipt.run_id}, {when(receipt.started_at)} to {when(receipt.finished_at)}."
    return (
        element("p", f"Last apply: {results_words(view.results)}."),
        folded("Every act of it", table(ended, columns, rows, name="Last apply", stacked=True)),
        left_out(len(receipt.outcomes), most=MOST_OUTCOMES, where="the receipt holds them all"),
    )


def _owed(view: View, links: Links) -> Child:
    if not view.facts.owed:
        return element("p", "No rollback is owed.")
    rows = [
        row(
            links.link(one.unique_id, chart=True),
            cell(resource_word(one.resource)),
            cell(tag("failed", "could not be set back" if one.failed else "owed")),
            why(one.message),
            number(when(one.since)),
            cell(element("code", f"{one.run_id} {one.action_id}")),
        )
        for one in view.facts.owed
    ]
    columns = ("VM", "What", "State", "Why", "Since", "Run and act")
    caption = "Waiting for a restart, or for a person."
    return element("h3", "Owed rollbacks"), table(caption, columns, rows, name="Owed rollbacks", stacked=True)


def _held(view: View, links: Links) -> Child:
    if not view.facts.held:
        return element("p", "No VM is held.")
    rows = [
        row(
            links.link(one.unique_id),
            cell(one.who),
            why(one.reason),
            number(when(one.until) or "until released"),
        )
        for one in view.facts.held
    ]
    columns = ("VM", "By", "Why", "Until")
    return element("h3", "Held VMs"), table("Nothing is done to these.", columns, rows, name="Held VMs", stacked=True)


def _budget(view: View) -> Child:
    plan = view.facts.plan
    if plan is None:
        return None
    if plan.budget.window is None:
        return element("p", "The policy sets no rolling budget.")
    hours = span(plan.budget.window_s)
    if not view.facts.budget_used:
        return element("p", f"No act was begun in the last {hours}: all of the rolling budget is left.")
    rows = [
        row(
            element("bdi", one.place or "(none)"),
            cell(SCOPE_WORD.get(one.scope, one.scope)),
            number(f"{one.used:,} of {one.most:,}", sort=one.used),
            number(f"{one.left:,}", sort=one.left),
        )
        for one in view.facts.budget_used[:MOST_PLACES]
    ]
    columns = ("Place", "Kind", "Acts begun", "Left")
    caption = f"Acts begun in the last {hours}, by any run; the fullest first."
    return (
        element("h3", "Rolling budget"),
        table(caption, columns, rows, name="Rolling budget"),
        left_out(len(view.facts.budget_used), most=MOST_PLACES, where="they have more left"),
    )


def _engines(view: View) -> Child:
    if view.facts.forecast is None:
        return None
    engines = Counter((choice.engine, choice.reason) for choice in view.facts.forecast.choices)
    rows = [
        row(element("code", engine), number(f"{series:,}", sort=series), why(reason))
        for (engine, reason), series in engines.most_common(MOST_NAMED)
    ]
    columns = ("Engine", "Series", "Why")
    return folded("Which engine forecast, and why", table("Most frequent first.", columns, rows, name="Engines"))
