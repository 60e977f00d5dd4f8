# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demand over time, as a chart needs it: few points, and plain numbers out of the tables of series and forecast."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

MOST_POINTS = 288  # observed; a day of 300 s intervals, and about what a chart of a phone's width can show
MEDIAN = "0.5"


class Observed(NamedTuple):
    """One interval of the past, in the metric's unit; the maximum is None where nothing was sampled inside it."""

    start_s: int  # seconds since the epoch
    mean: float
    maximum: Optional[float]


class Expected(NamedTuple):
    """One interval of the forecast: the lowest and highest quantile there is, and the median (or the middle one)."""

    start_s: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class Curve:
    """Past and forecast of one metric of one VM, each sorted by time."""

    observed: tuple[Observed, ...] = ()
    observed_interval_s: int = 300
    expected: tuple[Expected, ...] = ()
    expected_interval_s: int = 3600


def read_curves(
    series: Optional[pa.Table], forecast: Optional[pa.Table], *, interval_s: int, unique_ids: frozenset[str]
) -> dict[tuple[str, str], Curve]:
    """Return the curves of these VMs by (unique_id, metric).

    ``series`` has the columns of the interval table, sorted by time; ``forecast`` those of a forecast's table, of
    one cutoff. ``interval_s`` is the forecast's.
    """
    past = _past(series, unique_ids) if series is not None else {}
    future = _future(forecast, unique_ids) if forecast is not None else {}
    curves = {}
    for key in {*past, *future}:
        observed_interval_s, observed = past.get(key, (300, ()))
        curves[key] = Curve(observed, observed_interval_s, future.get(key, ()), interval_s)
    return curves


def _past(table: pa.Table, unique_ids: frozenset[str]) -> dict[tuple[str, str], tuple[int, tuple[Observed, ...]]]:
    found: dict[tuple[str, str], list[Observed]] = defaultdict(list)
    intervals: dict[tuple[str, str], int] = {}
    for unique_id, metric, ds, interval_s, mean, maximum in _rows(
        table, unique_ids, ("unique_id", "metric", "ds", "interval_s", "mean", "maximum")
    ):
        found[unique_id, metric].append(Observed(round(ds.timestamp()), mean, maximum))
        intervals[unique_id, metric] = interval_s
    return {key: thin(points, interval_s=intervals[key]) for key, points in found.items()}


def thin(points: list[Observed], *, interval_s: int, most: int = MOST_POINTS) -> tuple[int, tuple[Observed, ...]]:
    """Join neighbouring intervals until about ``most`` are left: the mean of means, the largest maximum.

    Returns the length of an interval and the intervals.
    """
    span = (points[-1].start_s - points[0].start_s) // interval_s + 1
    wide_s = interval_s * max(1, -(-span // most))
    if wide_s == interval_s:
        return interval_s, tuple(points)
    joined: dict[int, list[Observed]] = defaultdict(list)
    for point in points:
        joined[point.start_s // wide_s * wide_s].append(point)
    return wide_s, tuple(
        Observed(
            start_s,
            sum(point.mean for point in part) / len(part),
            max((point.maximum for point in part if point.maximum is not None), default=None),
        )
        for start_s, part in sorted(joined.items())
    )


def _future(table: pa.Table, unique_ids: frozenset[str]) -> dict[tuple[str, str], tuple[Expected, ...]]:
    quantiles: dict[tuple[str, str], dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for unique_id, metric, ds, quantile, value in _rows(
        table, unique_ids, ("unique_id", "metric", "ds", "quantile", "value")
    ):
        quantiles[unique_id, metric][round(ds.timestamp())][quantile] = value
    return {key: tuple(_expected(start_s, of) for start_s, of in sorted(at.items())) for key, at in quantiles.items()}


def _expected(start_s: int, quantiles: dict[str, float]) -> Expected:
    ordered = [quantiles[name] for name in sorted(quantiles, key=float)]
    median = quantiles.get(MEDIAN, ordered[len(ordered) // 2])
    return Expected(start_s, min(ordered), median, max(ordered))


def _rows(table: pa.Table, unique_ids: frozenset[str], names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows of these VMs alone: a fleet's table may have millions."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    ours = pc.is_in(table["unique_id"].cast(pa.string()), pa.array(sorted(unique_ids), pa.string()))
    chosen = table.select(names).filter(ours)
    return zip(*(chosen[name].to_pylist() for name in names))
