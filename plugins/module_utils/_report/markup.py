# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that is escaped by construction: text becomes markup only here, and everything that is not markup is text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Union

# Elements that HTML writes without an end tag.
_VOID = frozenset({"meta", "input", "br"})

# What may not stand in a document, and what turns the direction of the text around it (Unicode TR 36, "Trojan Source").
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """HTML, complete and escaped."""

    __slots__ = ()


Child = Union[str, None, Iterable["Child"]]


def element(kind: str, /, *children: Child, **attributes: Union[str, int, bool, None]) -> Markup:
    """One element. An attribute that is None or False is left out, True has no value; a_b is a-b, ``class_`` class."""
    parts = [f"<{kind}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        parts.append(f" {written}" if value is True else f' {written}="{text(str(value))}"')
    parts.append(">")
    if kind not in _VOID:
        parts.append(join(children))
        parts.append(f"</{kind}>")
    return Markup("".join(parts))


def join(children: Iterable[Child]) -> Markup:
    """One after the other, nothing between."""
    return Markup("".join(_render(child) for child in children))


def text(plain: str) -> Markup:
    """Plain text, escaped for content and for quoted attributes."""
    return Markup(html.escape(visible(plain)))


def visible(plain: str) -> str:
    """Replace what a reader could not see or a document may not hold."""
    return _UNSAFE.sub("\ufffd", plain)


def _render(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return text(child)
    return join(child)
