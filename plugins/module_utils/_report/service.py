# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on service: what sizes chosen by price are expected to come to, what of the error budget is spent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .._core.units import PPM
from .._records.plan import Service
from .._records.vm import LIMITS
from .markup import Markup, element
from .parts import Links, cell, left_out, number, row, section, soft, table
from .rows import Row
from .view import View
from .words import resource_word, share, size

MOST_ROWS = 1000
COLUMNS = ("VM", "What", "Cheapest", "Expected violations", "Error budget spent", "Price of service", "One more")
RULE = (
    "Of each size a model says in what share of the time the VM would get too little. A limit goes to the size that is"
    " cheapest, service included; a size to the larger of that and what the forecast's upper bound takes. Service is"
    " dear for whoever has spent much of its error budget, which so gets more."
)


class Served(NamedTuple):
    """A row that was decided by price."""

    row: Row
    service: Service

    @property
    def spent_ppm(self) -> int:
        """Of the budget."""
        return self.service.spent_ppm * PPM // max(1, self.service.budget_ppm)


def served(view: View) -> list[Served]:
    """Rows decided by price; who spent most of its budget first."""
    found = [Served(one, one.service) for machine in view.machines for one in machine.rows if one.service]
    return sorted(found, key=lambda one: (-one.spent_ppm, -one.service.violated_ppm))


def service(view: View, links: Links) -> Markup:
    """The table."""
    found = served(view)
    if not found:
        return section("service", "Service", soft("No model was asked: sizes follow from the forecast's upper bounds."))
    over = sum(one.spent_ppm >= PPM for one in found)
    said = f"{over:,} of {len(found):,} have spent their error budget." if over else "All have error budget left."
    rows = [row(links.link(one.row.unique_id, chart=True), *_cells(one)) for one in found[:MOST_ROWS]]
    return section(
        "service",
        "Service",
        element("p", said),
        soft(RULE),
        table("Who has spent most of its budget first.", COLUMNS, rows, name="Service", stacked=True),
        left_out(len(found), most=MOST_ROWS, where="headroom.fleet.decision_info tells of any one"),
    )


def in_words(one: Served) -> Iterator[str]:
    """What the columns after the VM say."""
    resource, known = one.row.resource, one.service
    yield resource_word(resource)
    yield size(resource, known.size)
    yield f"{_share(known.violated_ppm)} expected"
    yield f"{_share(known.spent_ppm)} of {_share(known.budget_ppm)} spent"
    yield f"{known.price_ppm / PPM:.3g} times the usual"
    yield _more(known, resource)


def _cells(one: Served) -> Iterator[Markup]:
    sorts = (one.service.size, one.service.violated_ppm, one.spent_ppm, one.service.price_ppm)
    word, *rest, more = in_words(one)
    yield cell(word)
    yield from (number(words, sort=sort) for words, sort in zip(rest, sorts))
    yield cell(more)


def _more(known: Service, resource: str) -> str:
    """What one unit more would cost, beyond what it saves in service."""
    if known.more_ppm is None:
        return "there is no more"
    unit = size(resource, known.unit)
    if resource in LIMITS:
        unit = unit.partition(" (")[0]
    return f"{unit} more {'costs' if known.more_ppm >= 0 else 'saves'} {abs(known.more_ppm) / PPM:.2g} of itself"


def _share(ppm: int) -> str:
    return share(ppm / PPM)
