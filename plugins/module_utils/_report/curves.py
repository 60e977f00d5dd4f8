# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Demand over time, as a chart needs it: few points, and plain numbers out of the tables of series and forecast."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from .._core.needs import needs
from .._records.forecast import TARGET_MAXIMUM, Forecast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

MOST_POINTS = 192  # observed; about two CSS pixels of a chart each
LOWER, MEDIAN, UPPER = "0.05", "0.5", "0.95"  # of the interval of 90 % that the scorecard holds forecasts to


class Observed(NamedTuple):
    """One interval of the past, in the metric's unit; the maximum is None where nothing was sampled inside it."""

    start_s: int  # seconds since the epoch
    mean: float
    maximum: Optional[float]


def highest(point: Observed) -> float:
    """The largest use that is known of an interval."""
    return point.mean if point.maximum is None else max(point.mean, point.maximum)


class Expected(NamedTuple):
    """One interval of the forecast: the median, or the quantile in the middle, and the ends of the ``band``."""

    start_s: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class Curve:
    """Past and forecast of one metric of one VM, each sorted by time. Use overlaps a forecast that came true."""

    observed: tuple[Observed, ...] = ()
    observed_interval_s: int = 300
    expected: tuple[Expected, ...] = ()
    expected_interval_s: int = 3600
    earlier: tuple[Expected, ...] = ()  # what the forecast before this one said of the time until this one begins
    earlier_interval_s: int = 3600
    checked: int = 0  # intervals of both forecasts in which use is known by now
    missed: int = 0  # of these, with use above the upper bound


class Expectation(NamedTuple):
    """A forecast and its table, of one cutoff."""

    header: Forecast
    table: pa.Table


def read_curves(
    series: Optional[pa.Table],
    forecast: Optional[Expectation],
    earlier: Optional[Expectation] = None,
    *,
    unique_ids: frozenset[str],
) -> dict[tuple[str, str], Curve]:
    """Return the curves of these VMs by (unique_id, metric).

    ``series`` has the columns of the interval table, sorted by time. ``earlier``: the forecast before, of the same
    target.
    """
    past = _past(series, unique_ids) if series is not None else {}
    future = _future(forecast.table, unique_ids) if forecast is not None else {}
    before = _future(earlier.table, unique_ids) if earlier is not None else {}
    interval_s = forecast.header.interval_s if forecast else 3600
    earlier_interval_s = earlier.header.interval_s if earlier else 3600
    of_maximum = forecast is not None and forecast.header.target == TARGET_MAXIMUM
    curves = {}
    for key in {*past, *future}:
        past_interval_s, points = past.get(key, (300, []))
        expected = future.get(key, ())
        known = _between(before.get(key, ()), points, expected)
        checks = [
            _checked(points, known, earlier_interval_s, of_maximum=of_maximum),
            _checked(points, expected, interval_s, of_maximum=of_maximum),
        ]
        thinned_s, observed = thin(points, interval_s=past_interval_s)
        curves[key] = Curve(
            observed,
            thinned_s,
            expected,
            interval_s,
            known,
            earlier_interval_s,
            checked=sum(checked for checked, _unused in checks),
            missed=sum(missed for _unused, missed in checks),
        )
    return curves


def _between(
    earlier: tuple[Expected, ...], points: list[Observed], expected: tuple[Expected, ...]
) -> tuple[Expected, ...]:
    """The part of an earlier forecast that use is shown for, and that the later forecast does not speak of."""
    if not points or not expected:
        return ()
    return tuple(one for one in earlier if points[0].start_s <= one.start_s < expected[0].start_s)


def _past(table: pa.Table, unique_ids: frozenset[str]) -> dict[tuple[str, str], tuple[int, list[Observed]]]:
    found: dict[tuple[str, str], tuple[int, list[Observed]]] = {}
    for unique_id, metric, ds, interval_s, mean, maximum in _rows(
        table, unique_ids, ("unique_id", "metric", "ds", "interval_s", "mean", "maximum")
    ):
        _unused, points = found.setdefault((unique_id, metric), (interval_s, []))
        points.append(Observed(round(ds.timestamp()), mean, maximum))
    return found


def _checked(
    points: list[Observed], expected: tuple[Expected, ...], interval_s: int, *, of_maximum: bool
) -> tuple[int, int]:
    """In how many intervals of a forecast use is known by now, and in how many of these it was above the band."""
    if not expected:
        return 0, 0
    first_s = expected[0].start_s
    used: dict[int, list[float]] = defaultdict(list)
    for point in points:
        used[(point.start_s - first_s) // interval_s].append(highest(point) if of_maximum else point.mean)
    known = [
        (one.upper, max(values) if of_maximum else sum(values) / len(values))
        for one in expected
        if (values := used.get((one.start_s - first_s) // interval_s))
    ]
    return len(known), sum(value > upper for upper, value in known)


def thin(points: list[Observed], *, interval_s: int, most: int = MOST_POINTS) -> tuple[int, tuple[Observed, ...]]:
    """Join neighbouring intervals until about ``most`` are left: the mean of means, the largest maximum.

    Returns the length of an interval and the intervals.
    """
    if not points:
        return interval_s, ()
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


def band(quantiles: Iterable[str]) -> tuple[str, str]:
    """The quantiles between which the band is drawn: the interval of 90 %, else the outermost there are."""
    ordered = sorted(quantiles, key=float)
    return (LOWER, UPPER) if {LOWER, UPPER} <= set(ordered) else (ordered[0], ordered[-1])


def _expected(start_s: int, quantiles: dict[str, float]) -> Expected:
    ordered = [quantiles[name] for name in sorted(quantiles, key=float)]
    median = quantiles.get(MEDIAN, ordered[len(ordered) // 2])
    lower, upper = band(quantiles)
    return Expected(start_s, quantiles[lower], median, quantiles[upper])


def _rows(table: pa.Table, unique_ids: frozenset[str], names: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Rows of these VMs alone: a fleet's table may have millions."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    ours = pc.is_in(table["unique_id"].cast(pa.string()), pa.array(sorted(unique_ids), pa.string()))
    chosen = table.select(names).filter(ours)
    return zip(*(chosen[name].to_pylist() for name in names))
