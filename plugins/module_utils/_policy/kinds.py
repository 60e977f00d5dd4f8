# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kinds of settings: each reads one node into one value, or says what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from .load import Document, Node

NONE = "none"
MOST_PERCENT = 100

_QUANTILE = re.compile(r"0\.[0-9]{1,6}")
_DECIMAL = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_PERCENT = re.compile(r"([1-9][0-9]{0,3}) ?%")


class Kind(Protocol):
    """Reads the value of a setting."""

    def read(self, document: Document, node: Node, path: str) -> Any:
        """Return the value. Raises ``policy.invalid``."""


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds, both included."""

    minimum: int
    maximum: int

    def read(self, document: Document, node: Node, path: str) -> int:
        """Read it."""
        return document.integer(node, minimum=self.minimum, maximum=self.maximum, path=path)


@dataclass(frozen=True)
class Word:
    """One of a few words."""

    options: tuple[str, ...]

    def read(self, document: Document, node: Node, path: str) -> str:
        """Read it."""
        return document.choice(node, options=self.options, path=path)


@dataclass(frozen=True)
class Quantile:
    """A quantile of at least one half, as the decimal string that forecasts carry: 0.950 is "0.95"."""

    def read(self, document: Document, node: Node, path: str) -> str:
        """Read it from the text as written, so that no binary fraction comes between."""
        found = node.id == "scalar" and _QUANTILE.fullmatch(node.value)
        if not found or not Decimal("0.5") <= Decimal(node.value):
            raise document.error(node, f"{path} must be a quantile from 0.5 to below 1", advice="Write it as 0.95.")
        return normal_quantile(node.value)


@dataclass(frozen=True)
class Share:
    """A share such as ``50 %``, or the word ``none``: no limit, which must be written, never implied."""

    def read(self, document: Document, node: Node, path: str) -> Any:
        """Return the whole percent, or None for ``none``."""
        text = node.value if node.id == "scalar" else ""
        found = _PERCENT.fullmatch(text)
        if text != NONE and found is None:
            raise document.error(node, f"{path} must be a share such as 50 %, or none")
        return int(found[1]) if found else None


@dataclass(frozen=True)
class Percent:
    """A percentage above 0 and up to 100, as a decimal string: 0.50 is "0.5"."""

    def read(self, document: Document, node: Node, path: str) -> str:
        """Read it from the text as written, so that no binary fraction comes between."""
        found = node.id == "scalar" and node.style is None and _DECIMAL.fullmatch(node.value)
        if not found or not 0 < Decimal(node.value) <= MOST_PERCENT:
            raise document.error(node, f"{path} must be above 0 and at most 100", advice="Write it as 0.5.")
        return normal_quantile(node.value)


@dataclass(frozen=True)
class PerDirection:
    """One value for both directions, or a mapping of ``grow`` and ``shrink``."""

    kind: Kind


def normal_quantile(text: str) -> str:
    """The one spelling of a quantile: no zeros at the end."""
    return f"{Decimal(text).normalize():f}"
