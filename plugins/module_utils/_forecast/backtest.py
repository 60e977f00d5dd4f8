# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rolling-origin back-test: forecast from past moments as one would have then, and score it by what came.

(Tashman, International Journal of Forecasting 2000.) At each origin every engine is tried, corrected and chosen anew
from the past of that origin alone, with the code that makes the forecasts: nothing later is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .._core.clock import EPOCH
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._records.backtest import COLUMNS, SELECTED, Interval, Score
from .._records.series import DAY_S
from .conformal import DECIMALS, FleetErrors, corrected
from .engines import ENGINES, Engine
from .forecast import bound_warnings, bounded, shape_of
from .grid import Span, level_of, past
from .request import LONGEST_S, Request
from .scores import Means, Tally
from .select import attempt, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

MOST_ORIGINS = 1000  # at each of them the whole sample is forecast anew by every engine
MOST_CELLS = 2**29  # VMs times metrics and intervals looked at, 4 bytes each
CHUNK_VMS = 500  # tried at once; what is kept of an origin is small


@dataclass(frozen=True)
class Rolling:
    """From which moments to forecast: the newest whose truth is wholly known at ``request.now``, and those before."""

    request: Request  # what is forecast at each origin
    origins: int
    step_s: int  # from origin to origin

    def check(self, *, vms: int = 0) -> None:
        """Raise ``forecast.request``, also for what is too much for so many VMs."""
        self.request.check(vms=vms)
        interval_s = self.request.interval_s
        for wrong, why in (
            (
                not 1 <= self.origins <= MOST_ORIGINS,
                f"{self.origins} origins are fewer than one or more than {MOST_ORIGINS}.",
            ),
            (
                self.step_s <= 0 or self.step_s % interval_s != 0,
                f"The step of {self.step_s} s is no multiple of the interval of {interval_s} s.",
            ),
            (
                self.origins * self.step_s > LONGEST_S,
                f"{self.origins} origins {self.step_s} s apart span more than {LONGEST_S // DAY_S} days.",
            ),
            (
                vms * len(self.request.metrics) * self.span.columns > MOST_CELLS,
                f"{vms} VMs over {self.span.columns} intervals do not fit into memory: test fewer VMs or origins.",
            ),
        ):
            if wrong:
                raise HeadroomError("forecast.request", why, advice="Correct the options of the back-test.")

    @property
    def end(self) -> datetime:
        """End of the newest truth: of the last telemetry interval that is over. One under way may yet have its peak."""
        cutoff, request = self.request.cutoff, self.request
        return cutoff if cutoff <= request.now else cutoff - timedelta(seconds=request.series_interval_s)

    @property
    def cutoffs(self) -> list[datetime]:
        """End of what is known at each origin, newest first."""
        newest = self.end - timedelta(seconds=self.request.horizon_s + self.request.lead_s)
        return [newest - timedelta(seconds=self.step_s * number) for number in range(self.origins)]

    @property
    def span(self) -> Span:
        """All that any origin looks at, with its truth."""
        request = self.request
        reach_s = request.lead_s + request.horizon_s + self.step_s * (self.origins - 1)
        return Span(
            cutoff_us=(self.end - EPOCH) // timedelta(microseconds=1),
            series_interval_s=request.series_interval_s,
            interval_s=request.interval_s,
            columns=request.columns + reach_s // request.interval_s,
        )

    @property
    def start(self) -> datetime:
        """START of the oldest interval looked at."""
        return self.end - timedelta(seconds=self.span.columns * self.request.interval_s)


def back_test(
    tables: Iterable[pa.Table], rolling: Rolling, *, unique_ids: Sequence[str], engines: Sequence[Engine] = ENGINES
) -> tuple[pa.Table, tuple[Score, ...], tuple[Interval, ...], tuple[str, ...]]:
    """Score each engine, and the selection among them, on the VMs of ``tables`` (as ``make_forecast`` takes them).

    Returns rows per VM (``_records.backtest.COLUMNS``, sorted by metric, engine, VM, quantile), the scores and the
    coverage of intervals for all VMs, and warnings. The values of all VMs are held at once, 4 bytes each. Raises
    ``forecast.request``, ``forecast.rows``.
    """
    rolling.check(vms=len(unique_ids))
    request = rolling.request
    names = [SELECTED, *(engine.name for engine in engines)]
    held: dict[str, list[tuple[list[str], Floats]]] = {metric: [] for metric in request.metrics}
    for table in tables:
        for metric in request.metrics:
            known = past(table, metric=metric, target=request.target, span=rolling.span)
            for first in range(0, len(known.unique_ids), CHUNK_VMS):
                rows = slice(first, first + CHUNK_VMS)
                held[metric].append((known.unique_ids[rows], known.values[rows]))
    tallies = {
        metric: _tallied(chunks, rolling, unique_ids=unique_ids, engines=engines)
        for metric, chunks in held.items()
        if chunks
    }
    ids = {metric: [unique_id for chunk, _unused in chunks for unique_id in chunk] for metric, chunks in held.items()}
    found = [
        (metric, name, means)
        for metric, of_metric in tallies.items()
        for name, tally in zip(names, of_metric)
        if len((means := tally.means()).rows)
    ]
    scores = tuple(score for one in found for score in _scores(*one, request.quantiles))
    intervals = tuple(interval for one in found for interval in _intervals(*one, request.quantiles))
    warnings = bound_warnings(engines, request, unique_ids=unique_ids)
    return _table(found, ids, request.quantiles), scores, intervals, warnings


def issued(
    chunks: Sequence[tuple[Sequence[str], Floats]],
    end: int,
    rolling: Rolling,
    *,
    unique_ids: Sequence[str],
    engines: Sequence[Engine],
) -> Iterator[list[Doubles]]:
    """Forecast from the first ``end`` columns of each chunk's values [V, T], as ``make_forecast`` would have then.

    Yields for each chunk the values [V, steps, Q] of the selection and of each engine.
    """
    request, shape = rolling.request, shape_of(rolling.request)
    fleet, tried = FleetErrors(), []
    for ids, values in chunks:
        known = values[:, max(0, end - request.columns) : end]
        trials = attempt(known, shape, engines=bounded(engines, ids, request, unique_ids=unique_ids))
        scale = level_of(known)
        fleet.add(trials[0].naive_errors, scale)
        chosen = select(trials)
        said = [(one.raw, one.offset, one.exact) for one in trials]
        tried.append((scale, [(chosen.raw, chosen.offset, chosen.exact), *said]))
    offsets = fleet.offsets(shape.levels)
    for scale, said in tried:
        yield [
            corrected(raw, own=offset, exact=exact, fleet=scale[:, None] * offsets[None, :])
            for raw, offset, exact in said
        ]


def _tallied(
    chunks: Sequence[tuple[Sequence[str], Floats]],
    rolling: Rolling,
    *,
    unique_ids: Sequence[str],
    engines: Sequence[Engine],
) -> list[Tally]:
    """Score the selection and each engine over all origins."""
    with needs("numpy"):
        import numpy as np
    shape = shape_of(rolling.request)
    tallies = [Tally(sum(len(ids) for ids, _unused in chunks), shape.levels) for _unused in range(len(engines) + 1)]
    for number in range(rolling.origins):
        end = rolling.span.columns - shape.lead - shape.steps - number * rolling.step_s // shape.interval_s
        first = 0
        for (ids, values), said in zip(chunks, issued(chunks, end, rolling, unique_ids=unique_ids, engines=engines)):
            rows = slice(first, first + len(ids))
            came = values[:, end + shape.lead : end + shape.lead + shape.steps]
            truth: Doubles = np.asarray(np.round(came.astype(np.float64), DECIMALS), dtype=np.float64)
            for tally, value in zip(tallies, said):
                tally.add(rows, truth, value, said[1])  # naive stands first among the engines
            first += len(ids)
    return tallies


def _scores(metric: str, engine: str, means: Means, quantiles: Sequence[str]) -> list[Score]:
    pinball, naive, coverage, bias = (
        means.overall(measure).tolist() for measure in (means.pinball, means.naive_pinball, means.coverage, means.bias)
    )
    worst = means.worst(means.pinball, highest=True).tolist()
    least = means.worst(means.coverage, highest=False).tolist()
    return [
        Score(
            metric=metric,
            engine=engine,
            quantile=quantile,
            vms=len(means.rows),
            points=int(means.points.sum()),
            pinball=_decimal(pinball[place]),
            naive_pinball=_decimal(naive[place]),
            coverage_ppm=round(coverage[place] * PPM),
            bias=_decimal(bias[place]),
            worst_pinball=_decimal(worst[place]),
            worst_coverage_ppm=round(least[place] * PPM),
        )
        for place, quantile in enumerate(quantiles)
    ]


def _intervals(metric: str, engine: str, means: Means, quantiles: Sequence[str]) -> list[Interval]:
    """Coverage between the quantiles that are as far from 0 as from 1; ties are split as in each of the two."""
    coverage = means.overall(means.coverage).tolist()
    return [
        Interval(metric, engine, lower, upper, round((coverage[high] - coverage[low]) * PPM))
        for low, lower in enumerate(quantiles)
        for high, upper in enumerate(quantiles)
        if low < high and abs(float(lower) + float(upper) - 1) < 1 / PPM
    ]


def _decimal(value: float) -> str:
    return f"{value:.{DECIMALS}f}"


def _table(found: Sequence[tuple[str, str, Means]], ids: dict[str, list[str]], quantiles: Sequence[str]) -> pa.Table:
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    types = dict(zip(COLUMNS, [pa.string()] * 4 + [pa.int64()] + [pa.float64()] * 4))
    schema = pa.schema([pa.field(name, types[name], nullable=False) for name in COLUMNS])
    parts = [schema.empty_table()]
    for metric, engine, means in found:
        series = [ids[metric][row] for row in means.rows.tolist()]
        order = np.array(sorted(range(len(series)), key=series.__getitem__), dtype=np.int64)
        rows = len(series) * len(quantiles)
        measures = (means.pinball, means.naive_pinball, means.coverage, means.bias)
        columns = [
            [unique_id for unique_id in sorted(series) for _unused in quantiles],
            [metric] * rows,
            [engine] * rows,
            list(quantiles) * len(series),
            np.repeat(means.points[order], len(quantiles)),
            *(measure[order].reshape(-1) for measure in measures),
        ]
        parts.append(pa.table(dict(zip(COLUMNS, columns)), schema=schema))
    return pa.concat_tables(parts)
