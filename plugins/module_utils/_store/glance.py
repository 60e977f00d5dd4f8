# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A glance at the telemetry store: one number of each VM, unsorted and with no header to name the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .delta import query

if TYPE_CHECKING:
    from .scan import Scan


def above(scan: Scan, metric: str, least: float) -> dict[str, float]:
    """The largest mean of a metric of each VM that was ever above 0 and no less than this; intervals of any length."""
    text = (
        "SELECT unique_id, MAX(mean) AS peak FROM series "  # noqa: S608 - own values
        f"WHERE {scan.span.when([metric])} AND mean > 0 AND mean >= {least!r} GROUP BY unique_id"
    )
    largest: dict[str, float] = {}
    for source in scan.sources:
        for batch in query(source.table, text):
            for unique_id, peak in zip(batch["unique_id"].to_pylist(), batch["peak"].to_pylist()):
                largest[unique_id] = max(peak, largest.get(unique_id, peak))
    return largest
