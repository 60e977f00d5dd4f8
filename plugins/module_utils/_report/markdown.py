# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report in short, as Markdown (CommonMark with tables) for tickets, chats and merge requests.

It is cut to what a comment holds: what needs a person, what changes, why the others stay. The page has the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from .._records.plan import REFUSED
from .._records.vm import GROW, SHRINK
from .labels import METRIC_WORD, VERDICT_SIGN, VERDICT_WORD, outcome_word, results_words
from .markup import visible
from .notices import notices
from .service import COLUMNS, in_words, served
from .view import View
from .words import cost, count, percent, share, sizes, span, when

MOST_ROWS = 40  # of one table: a comment may hold 65,536 characters on GitHub, and a person reads fewer
MOST_ITEMS = 8  # of one notice
MOST_CELL = 160  # characters

_SPECIAL = re.compile(r"([\\`*_\[\]|~$]|^[#+=-])")


def markdown(view: View) -> str:
    """Return the text."""
    return "\n".join(line for section in _SECTIONS for line in section(view)).rstrip() + "\n"


def plain(words: str) -> str:
    """Words that mean nothing to a reader of Markdown: not markup, not HTML, not a link, not a mention, one line."""
    line = " ".join(visible(words).split())
    line = line if len(line) <= MOST_CELL else line[: MOST_CELL - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    return _SPECIAL.sub(r"\\\1", line).replace("://", "&#58;//")


def _head(view: View) -> Iterator[str]:
    facts = view.facts
    applied = facts.receipt is not None
    endpoints = ", ".join(plain(name) for name in facts.snapshot.endpoints)
    counts = [(view.count(GROW), "grow"), (view.count(SHRINK), "shrink"), (view.staying, "stay")]
    counts.append((view.count(REFUSED), "refused"))
    yield f"# Headroom report, {when(facts.made_at)}"
    yield ""
    took = "" if view.duration_s is None else f", took {span(view.duration_s)}"
    yield f"**{view.headline[1]}.** {endpoints}, run `{plain(facts.run_id)}`{took}."
    yield ""
    words = ", ".join(f"**{number:,}** {verdict}" for number, verdict in counts)
    yield f"- {count(len(facts.snapshot.vms), 'VM')} seen: {words}"
    yield f"- {'Given back' if applied else 'Would be given back'}: {_amounts(view, SHRINK)}"
    yield f"- {'Handed out' if applied else 'Would be handed out'}: {_amounts(view, GROW)}"
    if view.planned.cost:
        yield f"- Cost, in the policy's unit: {cost(view.moved.cost)} of {cost(view.planned.cost)} planned"
    yield ""


def _amounts(view: View, direction: str) -> str:
    moved, planned = (", ".join(sizes(one.amounts, direction)) or "nothing" for one in (view.moved, view.planned))
    return moved if moved == planned else f"{moved} of {planned} planned"


def _notices(view: View) -> Iterator[str]:
    for notice in notices(view):
        yield f"> **{plain(notice.words)}**" if notice.loud else f"> {plain(notice.words)}"
        yield from (f"> - {plain(item.words)}" for item in notice.items[:MOST_ITEMS])
        if len(notice.items) > MOST_ITEMS:
            yield f"> - and {len(notice.items) - MOST_ITEMS:,} more"
        yield ""


def _changes(view: View) -> Iterator[str]:
    rows = [
        (
            act.vm_name,
            f"{VERDICT_SIGN[act.verdict]} {VERDICT_WORD[act.verdict]}",
            act.amount,
            outcome_word(act.outcome)[1] + (f" ({act.outcome.code})" if act.outcome and act.outcome.code else ""),
            act.reason,
        )
        for act in view.acts
    ]
    yield "## Changes"
    yield ""
    if not rows:
        yield "The plan changes nothing." if view.facts.plan else "Nothing was planned."
        yield ""
    yield from _table(("VM", "What", "Size", "Result", "Why"), rows)


def _reasons(view: View) -> Iterator[str]:
    rows = [
        (VERDICT_WORD[one.verdict], one.code, f"{one.vms:,}", f"{one.rows[0].vm_name}: {one.rows[0].reason}")
        for one in view.reasons
    ]
    if rows:
        yield "## Why others stay"
        yield ""
        yield from _table(("Verdict", "Reason", "VMs", "For example"), rows)


def _journal(view: View) -> Iterator[str]:
    yield "## Journal"
    yield ""
    facts = view.facts
    applied = plain(results_words(view.results)) or "nothing to do"
    yield f"- Last apply: {applied}" if facts.receipt else "- Nothing was applied"
    yield f"- Rollbacks owed: {len(facts.owed):,}"
    yield f"- VMs held: {len(facts.held):,}"
    for held in facts.held[:MOST_ITEMS]:
        name = view.names.get(held.unique_id, held.unique_id)
        until = when(held.until) or "released"
        yield f"  - {plain(name)}, by {plain(held.who)} until {until}: {plain(held.reason)}"
    if len(facts.held) > MOST_ITEMS:
        yield f"  - and {len(facts.held) - MOST_ITEMS:,} more"
    yield ""


def _service(view: View) -> Iterator[str]:
    rows = [(one.row.vm_name, *in_words(one)) for one in served(view)]
    if rows:
        yield "## Service"
        yield ""
        yield from _table(COLUMNS, rows)


def _scorecard(view: View) -> Iterator[str]:
    card = view.facts.scorecard
    if card is None or not (card.totals or card.demoted):
        return
    yield "## Scorecard"
    yield ""
    demoted = [
        (
            view.names.get(one.unique_id, one.unique_id),
            METRIC_WORD.get(one.metric, one.metric),
            one.reason,
            one.since,
            one.may_return,
        )
        for one in card.demoted
    ]
    yield from _table(("Only recommended for", "What", "Why", "Since", "May return from"), demoted)
    totals = [
        (
            METRIC_WORD.get(one.metric, one.metric),
            f"{one.scored:,}",
            *(share(value) for value in (one.violation_ratio, one.loss_ratio, one.coverage_ratio)),
        )
        for one in card.totals
    ]
    columns = (f"{card.days} days", "Intervals", "Violated", "Loss, of naive's", "90 % interval covered")
    yield from _table(columns, totals)


def _coverage(view: View) -> Iterator[str]:
    rows = [
        (
            one.endpoint,
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
        yield from _table(("Endpoint", "Metric", "Coverage", "VMs with data", "VM longest without"), rows)


def _provenance(view: View) -> Iterator[str]:
    yield "## Provenance"
    yield ""
    yield f"- snapshot of {when(view.facts.snapshot.taken_at)}"
    for name, digest in view.facts.digests.items():
        if digest:
            yield f"- {plain(name)} `{plain(digest)}`"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield _line(columns)
    yield _line("---" for _unused in columns)
    for row in rows[:MOST_ROWS]:
        yield _line(plain(words) for words in row)
    yield ""
    if len(rows) > MOST_ROWS:
        yield f"{len(rows) - MOST_ROWS:,} more are on the page and in the plan."
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


_SECTIONS = (_head, _notices, _changes, _reasons, _service, _scorecard, _journal, _coverage, _provenance)
