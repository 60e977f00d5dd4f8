# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A glance at the telemetry store: rows as they come, unsorted and with no header to name them.

For whoever needs the last minutes of every VM, or one number of a few VMs, and needs them fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.needs import needs
from .delta import query
from .scan import Scan, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

MOST_NAMED = 2_000  # VMs that a condition lists; of more it names the first and the last


def rows(scan: Scan, metric: str) -> pa.Table:
    """unique_id, ds, mean, maximum of one metric, of all VMs; rows of a rehearsal come last and count before others."""
    text = f"SELECT unique_id, ds, mean, maximum FROM series WHERE {scan.where([metric])}"  # noqa: S608 - own values
    return _asked(scan, text)


def peaks(scan: Scan, metric: str, unique_ids: Sequence[str]) -> dict[str, float]:
    """The largest value of a metric of each of these VMs: the maximum of an interval where it is known, else its mean.

    A VM without rows is left out.
    """
    with needs("pyarrow"):
        import pyarrow.compute as pc
    if not unique_ids:
        return {}
    some = sorted(unique_ids)
    named = f"unique_id IN ({', '.join(map(quoted, some))})"
    if len(some) > MOST_NAMED:
        named = f"unique_id >= {quoted(some[0])} AND unique_id <= {quoted(some[-1])}"
    text = (
        "SELECT unique_id, MAX(COALESCE(maximum, mean)) AS peak FROM series "  # noqa: S608 - own values, ids quoted
        f"WHERE {scan.where([metric])} AND {named} GROUP BY unique_id"
    )
    wanted, found = set(some), _asked(scan, text)
    largest: dict[str, float] = {}
    if not found.num_rows:
        return largest
    for unique_id, peak in zip(found["unique_id"].to_pylist(), pc.fill_null(found["peak"], 0.0).to_pylist()):
        if unique_id in wanted:
            largest[unique_id] = max(peak, largest.get(unique_id, peak))
    return largest


def above(scan: Scan, metric: str, least: float) -> dict[str, float]:
    """The largest mean of a metric of each VM that was ever above 0 and no less than this; intervals of any length."""
    text = (
        "SELECT unique_id, MAX(mean) AS peak FROM series "  # noqa: S608 - own values
        f"WHERE {scan.when([metric])} AND mean > 0 AND mean >= {least!r} GROUP BY unique_id"
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
