# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A glance at the telemetry store: one number of each VM, unsorted and with no header to name the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.needs import needs
from .delta import query

if TYPE_CHECKING:
    import pyarrow as pa

    from .scan import Scan


def above(scan: Scan, metric: str, least: float) -> dict[str, float]:
    """The largest mean of a metric of each VM that was ever above 0 and no less than this; intervals of any length."""
    text = (
        "SELECT unique_id, MAX(mean) AS peak FROM series "  # noqa: S608 - own values
        f"WHERE {scan.span.when([metric])} AND mean > 0 AND mean >= {least!r} GROUP BY unique_id"
    )
    found = _asked(scan, text)
    largest: dict[str, float] = {}
    if found.num_rows:
        for unique_id, peak in zip(found["unique_id"].to_pylist(), found["peak"].to_pylist()):
            largest[unique_id] = max(peak, largest.get(unique_id, peak))
    return largest


def _asked(scan: Scan, text: str) -> pa.Table:
    with needs("pyarrow"):
        import pyarrow as pa
    batches = [batch for source in scan.sources for batch in query(source.table, text)]
    if not batches:
        return pa.table({})
    schema = pa.schema([field.with_type(_plain(field.type)) for field in batches[0].schema])
    return pa.concat_tables([pa.Table.from_batches([batch]).cast(schema) for batch in batches])


def _plain(kind: pa.DataType) -> pa.DataType:
    """Texts in one of the ways in which a table may hold them."""
    with needs("pyarrow"):
        import pyarrow as pa
    return pa.string() if pa.types.is_string_view(kind) or pa.types.is_large_string(kind) else kind
