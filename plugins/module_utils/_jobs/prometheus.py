# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect telemetry from a Prometheus server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Callable, Optional

from .._core.clock import format_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.series import DAY_S, METRICS
from .._store.series import SeriesStore
from .._telemetry.http import Server, TooLargeError
from .._telemetry.intervals import fuller, intervals
from .._telemetry.prometheus import MOST_POINTS, Query, Span, Tally, read_span
from .._telemetry.rates import StepsBuilder
from .known import known_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

LONGEST_S = 3650 * DAY_S  # ten years, a day's queries each; what is beyond is a slip


@dataclass(frozen=True)
class Queried:
    """What came of it."""

    start: str
    end: str
    rows: int
    tally: Tally


def query_prometheus(
    server: Server,
    queries: Mapping[str, Query],
    *,
    series: SeriesStore,
    now: datetime,
    history_s: int,
    step_s: int = 60,
    interval_s: int = 300,
    unique_ids: Optional[Mapping[str, str]] = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Queried:
    """Read the last ``history_s`` before ``now``, from the begin of an interval on, and store it as intervals.

    A stretch of at most a day is read, stored and forgotten before the next; where an answer is too large they halve.
    To read again what was read changes nothing, but for points that came late. Raises ``prometheus.*``, ``http.*``,
    ``series.*``, ``store.*``.
    """
    _check(queries, history_s=history_s, step_s=step_s, interval_s=interval_s)
    start_s = (int(now.timestamp()) - history_s) // interval_s * interval_s
    end_s = int(now.timestamp()) // step_s * step_s
    length_s = max(interval_s, min(DAY_S, MOST_POINTS * step_s) // interval_s * interval_s)
    tally, rows, read_s = Tally(), 0, start_s
    while read_s < end_s:
        span = Span(read_s, min(read_s + length_s, end_s), step_s)
        try:
            table, counted = _read(server, queries, span, interval_s=interval_s, unique_ids=unique_ids)
        except TooLargeError:
            if length_s == interval_s:
                raise
            length_s = max(interval_s, length_s // 2 // interval_s * interval_s)
            continue
        series.merge(fuller(known_rows(series, table), table))
        rows += table.num_rows
        tally.add(counted)
        read_s = span.end_s
        progress(f"read up to {_utc(read_s)} of {_utc(end_s)}")
    return Queried(_utc(start_s), _utc(end_s), rows, tally)


def _read(
    server: Server,
    queries: Mapping[str, Query],
    span: Span,
    *,
    interval_s: int,
    unique_ids: Optional[Mapping[str, str]],
) -> tuple[pa.Table, Tally]:
    """All metrics of one span, as intervals."""
    with needs("pyarrow"):
        import pyarrow as pa
    tally, tables = Tally(), []
    for metric, query in queries.items():
        builder = StepsBuilder()
        read_span(server, metric, query, span, unique_ids=unique_ids, builder=builder, tally=tally)
        tables.append(intervals(builder.steps(), interval_s=interval_s))
    return pa.concat_tables(tables), tally


def _check(queries: Mapping[str, Query], *, history_s: int, step_s: int, interval_s: int) -> None:
    """Raises ``prometheus.request``."""
    unknown = sorted(set(queries) - set(METRICS))
    wrong = (
        (not queries, "There is no query."),
        (bool(unknown), f"Unknown metric: {', '.join(unknown)}; known are {', '.join(METRICS)}."),
        (interval_s < 1 or bool(DAY_S % interval_s), f"An interval of {interval_s} s does not divide the day."),
        (
            step_s < 1 or bool(interval_s % step_s),
            f"A step of {step_s} s does not divide an interval of {interval_s} s.",
        ),
        (history_s < interval_s, f"A history of {history_s} s holds no interval of {interval_s} s."),
        (history_s > LONGEST_S, f"A history of {history_s} s is longer than {LONGEST_S // DAY_S} days."),
        (any(not math.isfinite(one.factor) or one.factor <= 0 for one in queries.values()), "A factor is not above 0."),
    )
    for found, message in wrong:
        if found:
            raise HeadroomError("prometheus.request", message, advice="Nothing was asked; correct the options.")


def _utc(epoch_s: int) -> str:
    return format_utc(datetime.fromtimestamp(epoch_s, timezone.utc))
