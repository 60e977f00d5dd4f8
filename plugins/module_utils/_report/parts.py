# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces that several sections of the page are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Optional

from .labels import VERDICT_SIGN, VERDICT_WORD
from .markup import Child, Markup, element

MOST_ROWS = 5000  # of one table: about 4 MB of HTML, which a phone still scrolls


def tag(colour: str, word: str) -> Markup:
    """A word on a coloured ground."""
    return element("span", word, class_=f"tag {colour}")


def verdict_tag(verdict: str) -> Markup:
    """The verdict with its sign: colour alone tells nothing to many."""
    return tag(verdict, f"{VERDICT_SIGN[verdict]} {VERDICT_WORD[verdict]}")


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


def row(name: str, *cells: Markup, **attributes: str) -> Markup:
    """A row headed by the name of a VM, which may be in any script and direction."""
    return element("tr", element("th", element("bdi", name), scope="row"), cells, **attributes)


def cell(*children: Child) -> Markup:
    """Plain words."""
    return element("td", children)


def number(words: str) -> Markup:
    """Figures that stand below each other and are never broken."""
    return element("td", words, class_="number")


def why(*children: Child) -> Markup:
    """A sentence: it gets the room that is there."""
    return element("td", children, class_="why")


def folded(summary: str, *children: Child, opened: bool = False) -> Markup:
    """What is shown on demand."""
    return element("details", element("summary", summary), children, open=opened)


def facts(entries: Iterable[tuple[str, Child]]) -> Markup:
    """Names and values."""
    return element("dl", [(element("dt", name), element("dd", value)) for name, value in entries], class_="facts")
