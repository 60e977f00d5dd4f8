# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast stage: interval rows in, quantiles and choices out. It never refuses: it falls back and says so.

What a VM is given at present appears nowhere in it: a forecast of demand must not depend on the size that it decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from .._core.clock import format_utc
from .._core.needs import needs
from .._core.units import PPM
from .._records.forecast import COLUMNS, TARGET_MAXIMUM, Choice
from .._records.series import METRICS
from .conformal import FleetErrors
from .engines import ENGINES, Engine
from .grid import SECOND_US, Past, Span, past
from .request import EPOCH, Request
from .select import Selection, Shape, select

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float32]
    Flags = npt.NDArray[np.bool_]
    Doubles = npt.NDArray[np.float64]

DECIMALS = 3  # of values: a thousandth of a millicore or MiB is beyond any meaning


def make_forecast(
    tables: Iterable[pa.Table], request: Request, *, unique_ids: Sequence[str], engines: Sequence[Engine] = ENGINES
) -> tuple[pa.Table, tuple[Choice, ...]]:
    """Forecast every metric of the request for each VM.

    ``tables`` are interval rows in tables of whole VMs; only one is held at a time, and how the VMs are dealt out to
    them changes nothing. Returns the rows (``_records.forecast.COLUMNS``, sorted by VM, metric, ds, quantile; values
    never negative, never NaN, ascending with the quantile) and one choice per VM and metric; a VM without history has
    no rows, and a choice with engine "". Raises ``forecast.request``.
    """
    request.check()
    with needs("numpy"):
        import numpy as np
    levels = np.array([float(quantile) for quantile in request.quantiles])
    shape = Shape(
        request.interval_s, request.lead_s // request.interval_s, request.horizon_s // request.interval_s, levels
    )
    span = Span(
        cutoff_us=(request.cutoff - EPOCH) // timedelta(microseconds=1),
        series_interval_s=request.series_interval_s,
        interval_s=request.interval_s,
        columns=request.history_s // request.interval_s,
    )
    fleet = {metric: FleetErrors() for metric in request.metrics}
    parts: list[_Part] = []
    for table in tables:
        for metric in request.metrics:
            known = past(table, metric=metric, target=request.target, span=span)
            if known.unique_ids:
                chosen = select(known.values, shape, engines=engines)
                scale = _scale(known.values)
                fleet[metric].add(chosen.naive_errors, scale)
                parts.append(_lean(metric, scale, known, chosen))
    found = [_finished(part, fleet[part.metric].offsets(levels), request, engines) for part in parts]
    choices = {(choice.unique_id, choice.metric): choice for part in found for choice in part.choices}
    for unique_id in unique_ids:
        for metric in request.metrics:
            if (unique_id, metric) not in choices:
                choices[unique_id, metric] = Choice(unique_id, metric, "", "no history", 0, 0, "", -1)
    return _table(found, request, engines), tuple(choices[key] for key in sorted(choices))


@dataclass(frozen=True)
class _Part:
    """One metric of one table's VMs, before the whole fleet's errors are known."""

    metric: str
    scale: Floats  # [V]
    past: Past
    chosen: Selection


@dataclass(frozen=True)
class _Finished:
    metric: str
    unique_ids: list[str]
    engine: npt.NDArray[np.int64]  # [V]
    values: Doubles  # [V, steps, Q]
    choices: list[Choice]


def _finished(part: _Part, fleet: Floats, request: Request, engines: Sequence[Engine]) -> _Finished:
    """Correct and order the quantiles, and say why."""
    with needs("numpy"):
        import numpy as np
    chosen, known = part.chosen, part.past
    fleet_offset = part.scale[:, None] * fleet[None, :]
    own: Flags = ~np.isnan(chosen.offset)
    # An own correction that rests on too few errors for its level is at least the fleet's.
    offset = np.where(own & ~chosen.exact, np.fmax(chosen.offset, fleet_offset), chosen.offset)
    offset = np.where(own, offset, np.nan_to_num(fleet_offset, nan=0.0))
    values: Doubles = np.maximum(chosen.raw.astype(np.float64) + offset[:, None, :], 0.0)
    values = np.round(np.maximum.accumulate(values, axis=2), DECIMALS).astype(np.float64)
    correction = "not corrected" if np.isnan(fleet).any() else "corrected by the errors of the fleet"
    now_us = (request.now - EPOCH) // timedelta(microseconds=1)
    until = np.minimum(known.observed_until_us, now_us).tolist()
    names = [engine.name for engine in engines]
    choices = [
        Choice(
            unique_id=unique_id,
            metric=part.metric,
            engine=names[engine],
            reason=(
                f"{names[engine]}: pinball {ratio:.2f} of naive over {origins} origins"
                if scored
                else f"{names[engine]}: too short a history to compare engines, {correction}"
            )
            + _basis(request.target, maxima),
            history_s=history_s,
            coverage_ppm=known_ppm,
            observed_until=format_utc(EPOCH + timedelta(microseconds=end)),
            recent_maximum=recent,
        )
        for unique_id, engine, ratio, origins, scored, maxima, history_s, known_ppm, end, recent in zip(
            known.unique_ids,
            chosen.engine.tolist(),
            chosen.ratio.tolist(),
            chosen.origins.tolist(),
            np.all(own, axis=1).tolist(),
            known.maxima_ppm.tolist(),
            known.history_s.tolist(),
            known.known_ppm.tolist(),
            until,
            np.ceil(known.recent_maximum).astype(np.int64).tolist(),
        )
    ]
    return _Finished(part.metric, known.unique_ids, chosen.engine, values, choices)


def _basis(target: str, maxima_ppm: int) -> str:
    if target != TARGET_MAXIMUM or maxima_ppm == PPM:
        return ""
    return f"; the maximum is known for {maxima_ppm * 100 // PPM} % of the intervals, else the mean stands in"


def _scale(values: Floats) -> Floats:
    """Level of each series [V]: its mean, at least one unit."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(values)
    total = np.where(known, values, np.float32(0)).sum(axis=1, dtype=np.float64)
    mean: Doubles = total / np.maximum(np.count_nonzero(known, axis=1), 1)
    return np.maximum(mean, 1.0).astype(np.float32)


def _lean(metric: str, scale: Floats, known: Past, chosen: Selection) -> _Part:
    """Let go of past and errors: what stays until the end of a large fleet must be small."""
    with needs("numpy"):
        import numpy as np
    nothing = np.empty((0, 0), dtype=np.float32)
    return _Part(metric, scale, replace(known, values=nothing), replace(chosen, naive_errors=nothing))


def _table(found: Sequence[_Finished], request: Request, engines: Sequence[Engine]) -> pa.Table:
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    steps, quantiles = request.horizon_s // request.interval_s, len(request.quantiles)
    text = pa.dictionary(pa.int32(), pa.string())
    time = pa.timestamp("us", "UTC")
    types = dict(zip(COLUMNS, (text, text, text, time, pa.int64(), time, text, pa.float64(), text)))
    schema = pa.schema([pa.field(name, types[name], nullable=False) for name in COLUMNS])
    keys = [(unique_id, part.metric) for part in found for unique_id in part.unique_ids]
    if not keys:
        return schema.empty_table()
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
    values = np.concatenate([part.values for part in found])[order]
    spoken = np.concatenate([part.engine for part in found])[order]
    ids = sorted({unique_id for unique_id, _unused in keys})
    place = {unique_id: number for number, unique_id in enumerate(ids)}
    vm = np.array([place[keys[number][0]] for number in order.tolist()], dtype=np.int32)
    metric = np.array([METRICS.index(keys[number][1]) for number in order.tolist()], dtype=np.int32)
    count = len(keys) * steps * quantiles
    cutoff_us = (request.cutoff - EPOCH) // timedelta(microseconds=1)
    ds_us = cutoff_us + (request.lead_s + np.arange(steps) * request.interval_s) * SECOND_US

    def each(codes: npt.NDArray[np.int32], words: Sequence[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(list(words), pa.string()))

    series = steps * quantiles
    columns = {
        "unique_id": each(np.repeat(vm, series), ids),
        "metric": each(np.repeat(metric, series), METRICS),
        "target": each(np.zeros(count, dtype=np.int32), [request.target]),
        "cutoff": pa.array(np.full(count, cutoff_us), time),
        "lead_s": pa.array(np.full(count, request.lead_s, dtype=np.int64)),
        "ds": pa.array(np.tile(np.repeat(ds_us, quantiles), len(keys)), time),
        "quantile": each(np.tile(np.arange(quantiles, dtype=np.int32), len(keys) * steps), request.quantiles),
        "value": pa.array(values.reshape(-1)),
        "engine": each(np.repeat(spoken, series), [engine.name for engine in engines]),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=schema)
