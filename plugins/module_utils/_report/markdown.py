# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in short, as Markdown (CommonMark with tables) for tickets, chats and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .._records.plan import REFUSED
from .._records.vm import GROW, SHRINK
from .labels import METRIC_WORD, VERDICT_WORD, moved, outcome_word, results_words, run_word
from .markup import visible
from .view import View
from .words import RESOURCE_WORD, count, percent, shortened, span, step, when

MOST_ROWS = 100  # of one table; the page and the plan hold the rest

_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[#+=-])")


def markdown(view: View) -> str:
    """Return the text."""
    return "\n".join(line for section in _SECTIONS for line in section(view)) + "\n"


def plain(words: str) -> str:
    """Words that mean nothing to a reader of Markdown: not markup, not HTML, not a link, not a mention, one line."""
    line = " ".join(visible(words).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    return _SPECIAL.sub(r"\\\1", line).replace("://", "&#58;//")


def _head(view: View) -> Iterator[str]:
    facts = view.facts
    applied = facts.receipt is not None
    sums = view.done if applied else view.planned
    endpoints = ", ".join(plain(name) for name in facts.snapshot.endpoints)
    verdicts = [(view.count(GROW), "grow"), (view.count(SHRINK), "shrink")]
    verdicts += [(view.staying, "stay"), (view.count(REFUSED), "refused")]
    yield f"# Headroom report, {when(facts.made_at)}"
    yield ""
    yield f"**{run_word(view)[1]}.** Run `{facts.run_id}`, {endpoints}."
    yield ""
    words = ", ".join(f"{number:,} {verdict}" for number, verdict in verdicts)
    yield f"- {count(len(facts.snapshot.vms), 'VM')} seen: {words}"
    yield f"- {'Given back' if applied else 'Would be given back'}: {moved(sums, SHRINK) or 'nothing'}"
    yield f"- {'Handed out' if applied else 'Would be handed out'}: {moved(sums, GROW) or 'nothing'}"
    if view.duration_s is not None:
        yield f"- The run took {span(view.duration_s)}"
    yield ""


def _notices(view: View) -> Iterator[str]:
    for loud, words, items in view.notices:
        yield f"> **{plain(words)}**" if loud else f"> {plain(words)}"
        for item in shortened(items):
            yield f"> - {plain(item)}"
        yield ""


def _changes(view: View) -> Iterator[str]:
    rows = [
        (
            row.vm_name,
            VERDICT_WORD[row.verdict],
            step(row.resource, row.size_now, row.size_wanted),
            row.reason,
            outcome_word(row.outcome)[1],
        )
        for machine in view.acted
        for row in machine.rows
        if row.action
    ]
    yield "## Changes"
    yield ""
    if not rows:
        yield "The plan changes nothing." if view.facts.plan else "Nothing was planned."
        yield ""
    yield from _table(("VM", "What", "Size", "Why", "Result"), rows)


def _reasons(view: View) -> Iterator[str]:
    rows = [
        (VERDICT_WORD[one.verdict], RESOURCE_WORD[one.resource], f"{one.vms:,}", one.code, one.example)
        for one in view.reasons
    ]
    if rows:
        yield "## Why others stay"
        yield ""
        yield from _table(("Verdict", "Of", "VMs", "Reason", "For example"), rows)


def _journal(view: View) -> Iterator[str]:
    yield "## Journal"
    yield ""
    facts = view.facts
    applied = plain(results_words(view)) or "nothing to do"
    yield f"- Last apply: {applied}" if facts.receipt else "- Nothing was applied"
    yield f"- Rollbacks owed: {len(facts.owed)}"
    for one in facts.owed:
        name = view.names.get(one.unique_id, one.unique_id)
        yield f"  - {plain(name)}, since {when(one.since)}: {plain(one.message)}"
    yield f"- VMs held: {len(facts.held)}"
    for held in facts.held:
        name = view.names.get(held.unique_id, held.unique_id)
        until = when(held.until) or "released"
        yield f"  - {plain(name)}, by {plain(held.who)} until {until}: {plain(held.reason)}"
    yield ""


def _coverage(view: View) -> Iterator[str]:
    rows = [
        (
            METRIC_WORD.get(one.metric, one.metric),
            percent(one.coverage_ppm),
            f"{one.vms - one.without:,} of {one.vms:,}",
            "never" if one.oldest_s is None else f"{span(one.oldest_s)} ago",
        )
        for one in view.known
    ]
    if rows:
        yield "## Coverage"
        yield ""
        yield from _table(("Metric", "Coverage", "VMs with data", "VM longest without"), rows)


def _provenance(view: View) -> Iterator[str]:
    yield "## Provenance"
    yield ""
    yield f"- snapshot of {when(view.facts.snapshot.taken_at)}"
    for name, digest in view.facts.digests.items():
        if digest:
            yield f"- {name} `{digest}`"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield _line(columns)
    yield _line("---" for _unused in columns)
    for row in rows[:MOST_ROWS]:
        yield _line(plain(words) for words in row)
    yield ""
    if len(rows) > MOST_ROWS:
        yield f"{len(rows) - MOST_ROWS:,} more are in the plan."
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


_SECTIONS = (_head, _notices, _changes, _reasons, _journal, _coverage, _provenance)
