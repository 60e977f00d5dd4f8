# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several sections of the page are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Optional, Union
from urllib.parse import quote

from .labels import VERDICT_SIGN, VERDICT_WORD
from .markup import Child, Markup, element
from .view import View

MOST_ROWS = 5000  # of one table: about 4 MB of HTML, which a phone still scrolls


@dataclass(frozen=True)
class Links:
    """Where on the page a VM can be found: ``#vm:ENDPOINT/UUID`` is its decision, ``#chart:...`` its card."""

    view: View
    listed: frozenset[str]  # unique_ids with a row in the table of every VM
    charted: frozenset[str]

    def link(self, unique_id: str, *, chart: bool = False) -> Markup:
        """The name of the VM, in any script and direction, as a link to its row, or to its card if it has one."""
        name = self.view.names.get(unique_id, unique_id)
        target = ""
        if chart and unique_id in self.charted:
            target = chart_anchor(unique_id)
        elif unique_id in self.listed:
            target = vm_anchor(unique_id)
        return element("bdi", element("a", name, href=f"#{target}") if target else name)


def vm_anchor(unique_id: str) -> str:
    """The id of a VM's row: the same in every report."""
    return f"vm:{quote(unique_id, safe='/:', errors='replace')}"


def chart_anchor(unique_id: str) -> str:
    """The id of a VM's card."""
    return f"chart:{quote(unique_id, safe='/:', errors='replace')}"


def tag(colour: str, word: str) -> Markup:
    """A word on a coloured ground."""
    return element("span", word, class_=f"tag {colour}")


def verdict_tag(verdict: str) -> Markup:
    """The verdict with its sign: colour alone tells nothing to many."""
    return tag(verdict, f"{VERDICT_SIGN[verdict]} {VERDICT_WORD[verdict]}")


def section(identity: str, title: str, *children: Child) -> Markup:
    """A part of the page that the navigation leads to."""
    return element("section", element("h2", title), children, id=identity)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Markup],
    *,
    name: str,
    identity: Optional[str] = None,
    stacked: bool = False,
) -> Markup:
    """A table in a frame of its own that scrolls by pointer, touch and keyboard where the page is too narrow.

    ``stacked``: on a phone the cells of a row stand below each other instead, for they need no column to be understood.
    """
    head = element("tr", [element("th", column, scope="col") for column in columns])
    parts = element("caption", caption), element("thead", head), element("tbody", rows)
    return element(
        "div",
        element("table", parts, id=identity, class_="stack" if stacked else None),
        class_="scroll",
        role="region",
        aria_label=name,
        tabindex=0,
    )


def row(head: Child, *cells: Markup, **attributes: str) -> Markup:
    """A row and what it is about."""
    return element("tr", element("th", head, scope="row"), cells, **attributes)


def cell(*children: Child) -> Markup:
    """Plain words."""
    return element("td", children)


def number(words: str, *, sort: Union[str, float, None] = None) -> Markup:
    """Figures that stand below each other and are never broken; ``sort``: what the column sorts by instead."""
    return element("td", words, class_="number", data_sort=None if sort is None else f"{sort}")


def why(*children: Child) -> Markup:
    """A sentence: it gets the room that is there."""
    return element("td", children, class_="why")


def soft(*children: Child) -> Markup:
    """A paragraph that matters less."""
    return element("p", children, class_="soft")


def folded(summary: Child, *children: Child) -> Markup:
    """What is shown on demand."""
    return element("details", element("summary", summary), children)


def facts(entries: Iterable[tuple[str, Child]]) -> Markup:
    """Names and values."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in entries], class_="facts")


def left_out(total: int, *, most: int, where: str) -> Child:
    """Say how many are missing, and where they are."""
    return soft(f"{total - most:,} more are not listed here; {where}.") if total > most else None


def policy_line(line: int) -> str:
    """The line of the sizing policy that decided."""
    return f"policy line {line}" if line else "shipped rule"
