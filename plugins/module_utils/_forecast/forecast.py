# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast stage: interval rows in, quantiles and choices out. It never refuses: it falls back and says so.

What a VM is given at present appears nowhere in it: a forecast of demand must not depend on the size that it decides.
Only where use was held back by what a VM had then is told: demand seen there is a lower bound, and is learnt as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Optional

from .._core.clock import EPOCH, format_utc
from .._core.needs import needs
from .._core.units import PPM, SECOND_US
from .._records.forecast import COLUMNS, JOINED_BY, NO_HISTORY, TARGET_MAXIMUM, Choice
from .._records.series import METRICS
from .conformal import FleetErrors, corrected
from .engines import COSTLY, ENGINES, Engine
from .grid import Past, Span, level_of, past
from .quantile_engine import FleetModels, Speaking
from .request import Request
from .select import Only, Selection, Shape, Trial, attempt, select
from .trained import BOTH, CHOSEN, MIX, MODEL, Spoken, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .together import Together

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]
    Held = Callable[[str, Sequence[str], Floats], Flags]

BY_FLEET = "corrected by the errors of the fleet"
MOSTLY_SEEN_PPM = 900_000  # of the time: a lost sample now and then is not worth a word


def make_forecast(
    tables: Iterable[pa.Table],
    request: Request,
    *,
    unique_ids: Sequence[str],
    engines: Sequence[Engine] = ENGINES,
    models: Optional[FleetModels] = None,
    together: Optional[Together] = None,
    held: Optional[Held] = None,
) -> tuple[pa.Table, tuple[Choice, ...], tuple[str, ...]]:
    """Forecast every metric of the request for each VM.

    ``tables`` are interval rows in tables of whole VMs; only one is held at a time, and how the VMs are dealt out to
    them changes nothing. Returns the rows (``_records.forecast.COLUMNS``, sorted by VM, metric, ds, quantile; values
    never negative, never NaN, ascending with the quantile), one choice per VM and metric, and warnings; a VM without
    history, or with rows that make no sense, has no rows, and a choice with engine "". A costly engine is tried for the
    first ``request.costly_vms`` of ``unique_ids`` alone. ``models`` speak beside the engine chosen, and the one in use
    brings the errors of the fleet that it learnt from; else those of this fleet serve. ``together`` learns what the VMs
    of a place ask for jointly. ``held`` tells where the past [V, T] of a metric and VMs was seen at a cap. Raises
    ``forecast.request``, ``forecast.rows``.
    """
    request.check(vms=len(unique_ids))
    shape = shape_of(request)
    span = Span(
        cutoff_us=(request.cutoff - EPOCH) // timedelta(microseconds=1),
        series_interval_s=request.series_interval_s,
        interval_s=request.interval_s,
        columns=request.columns,
        under_way=request.cutoff > request.now,
    )
    fleet = {metric: FleetErrors() for metric in request.metrics}
    parts: list[_Part] = []
    rejected: dict[tuple[str, str], str] = {}
    for table in tables:
        for metric in request.metrics:
            known = past(table, metric=metric, target=request.target, span=span)
            rejected.update({(unique_id, metric): why for unique_id, why in known.rejected.items()})
            if known.unique_ids:
                bound = None if held is None else held(metric, known.unique_ids, known.values)
                trials = attempt(
                    known.values,
                    shape,
                    engines=bounded(engines, known.unique_ids, request, unique_ids=unique_ids),
                    under_way=span.under_way,
                    bound=bound,
                )
                model = None if models is None else models.speaking(metric, known.unique_ids)
                part = _part(metric, known, trials, model, request, bound=bound)
                fleet[metric].add(trials[0].naive_errors, part.scale)
                if together is not None:
                    together.learn(metric, known, trials, part.chosen, part.spoken)
                parts.append(part)
    tried = frozenset(_tried(request, unique_ids))
    priors = {metric: _prior(metric, errors, models, shape) for metric, errors in fleet.items()}
    found = [_finished(part, priors[part.metric], request, engines, tried) for part in parts]
    if together is not None:
        for one in found:
            together.say(one.metric, one.unique_ids, one.values)
    choices = {(choice.unique_id, choice.metric): choice for part in found for choice in part.choices}
    unknown = {(unique_id, metric): NO_HISTORY for unique_id in unique_ids for metric in request.metrics}
    for key, why in {**unknown, **rejected}.items():
        choices.setdefault(key, Choice(*key, "", why, 0, 0, "", -1))
    silent = sum(part.silent for part in found)
    warnings = bound_warnings(engines, request, unique_ids=unique_ids) + (
        (f"A costly engine gave no forecast for {silent} series; the others speak for them.",) if silent else ()
    )
    warnings += tuple(f"There is no forecast of {of} for {one}: {why}." for (one, of), why in sorted(rejected.items()))
    return _table(found, request, names_of(engines, models)), tuple(choices[key] for key in sorted(choices)), warnings


def names_of(engines: Sequence[Engine], models: Optional[FleetModels]) -> tuple[str, ...]:
    """Whoever may speak."""
    return (*(engine.name for engine in engines), *(() if models is None else (*models.names, MIX)))


def shape_of(request: Request) -> Shape:
    """Return the request in steps."""
    with needs("numpy"):
        import numpy as np
    return Shape(
        request.interval_s,
        request.lead_s // request.interval_s,
        request.horizon_s // request.interval_s,
        np.array([float(quantile) for quantile in request.quantiles]),
    )


def bounded(
    engines: Sequence[Engine], rows: Sequence[str], request: Request, *, unique_ids: Sequence[str]
) -> list[Engine]:
    """Confine the costly engines to the rows of VMs that they are tried for."""
    with needs("numpy"):
        import numpy as np
    tried = _tried(request, unique_ids)
    places = np.array([place for place, unique_id in enumerate(rows) if unique_id in tried], dtype=np.int64)
    return [Only(engine, places) if engine in COSTLY else engine for engine in engines]


def bound_warnings(engines: Sequence[Engine], request: Request, *, unique_ids: Sequence[str]) -> tuple[str, ...]:
    """Say which engines were not tried for everyone."""
    if len(unique_ids) <= request.costly_vms:
        return ()
    return tuple(
        f"{engine.name} was tried for {request.costly_vms} of {len(unique_ids)} VMs, the first by unique_id."
        for engine in engines
        if engine in COSTLY
    )


def _tried(request: Request, unique_ids: Sequence[str]) -> set[str]:
    return set(sorted(unique_ids)[: request.costly_vms])


@dataclass(frozen=True)
class _Prior:
    """What corrects VMs that have too few errors of their own."""

    offsets: Floats  # [Q], in units of a series' level; NaN: nothing is known
    reason: str


def _prior(metric: str, errors: FleetErrors, models: Optional[FleetModels], shape: Shape) -> _Prior:
    """As the model in use learnt it, so that no VM's data of now moves another's forecast; else of this fleet."""
    with needs("numpy"):
        import numpy as np
    learnt = None if models is None else models.prior(metric, shape.levels)
    if models is not None and learnt is not None:
        return _Prior(learnt, f"{BY_FLEET} that the model {models.current[metric]} learnt from")
    offsets = errors.offsets(shape.levels)
    return _Prior(offsets, "not corrected" if np.isnan(offsets).any() else BY_FLEET)


@dataclass(frozen=True)
class _Part:
    """One metric of one table's VMs, before the whole fleet's errors are known."""

    metric: str
    scale: Floats  # [V]
    past: Past
    chosen: Selection
    complete: list[list[bool]]  # [engines][V], whether each engine says every step
    spoken: Optional[Spoken]  # what the trained model says
    model: Optional[Speaking]  # whose it is


@dataclass(frozen=True)
class _Finished:
    metric: str
    unique_ids: list[str]
    engine: Integers  # [V, Q]
    values: Doubles  # [V, steps, Q]
    choices: list[Choice]
    silent: int  # series for which a costly engine was tried and has no forecast


def _part(
    metric: str,
    known: Past,
    trials: Sequence[Trial],
    model: Optional[Speaking],
    request: Request,
    *,
    bound: Optional[Flags],
) -> _Part:
    """Choose among the engines, and hear what the trained model says beside the one chosen."""
    chosen, spoken = select(trials), None
    if model is not None:
        spoken = listen(
            model,
            known.values,
            shape_of(request),
            trials=trials,
            chosen=chosen,
            under_way=request.cutoff > request.now,
            bound=bound,
        )
    complete = [trial.complete.tolist() for trial in trials]
    return _Part(metric, level_of(known.values), _lean(known), chosen, complete, spoken, model)


def _finished(
    part: _Part, prior: _Prior, request: Request, engines: Sequence[Engine], tried: frozenset[str]
) -> _Finished:
    """Correct and order the quantiles, and say why."""
    with needs("numpy"):
        import numpy as np
    chosen, known = part.chosen, part.past
    fleet = part.scale[:, None] * prior.offsets[None, :]
    values = corrected(chosen.raw, own=chosen.offset, exact=chosen.exact, fleet=fleet)
    names = [engine.name for engine in engines]
    speaking, heard = chosen.engine, [""] * len(values)
    if part.spoken is not None and part.model is not None:
        values, who = part.spoken.beside(values)
        places = part.model.places(len(values))[:, None]
        trained = np.where(who == BOTH, len(part.model.names), places)
        speaking = np.where(who == CHOSEN, chosen.engine, len(names) + trained)
        heard = _heard(part.spoken, part.model, who, request.quantiles)
    everyone = (*names, *(() if part.model is None else (*part.model.names, MIX)))
    scored = np.all(~np.isnan(chosen.offset), axis=1).tolist()
    until = np.minimum(known.observed_until_us, (request.now - EPOCH) // timedelta(microseconds=1)).tolist()
    costly = [place for place, engine in enumerate(engines) if engine in COSTLY]
    engine, ratio, origins = speaking.tolist(), chosen.ratio.tolist(), chosen.origins.min(axis=1).tolist()
    choices, silent = [], 0
    for row, unique_id in enumerate(known.unique_ids):
        spoken = [everyone[place] for place in engine[row]]
        others = {at: name for at, name in enumerate(spoken) if engine[row][at] < len(names)}
        reason = heard[row]
        if others and scored[row]:
            reason += "; " * bool(reason) + _comparison(others, ratio[row], request.quantiles, origins[row])
        elif others:
            reason += "; " * bool(reason) + f"{names[0]}: too short a history to compare engines, {prior.reason}"
        missing = [names[place] for place in costly if unique_id in tried and not part.complete[place][row]]
        silent += bool(missing)
        choices.append(
            Choice(
                unique_id=unique_id,
                metric=part.metric,
                engine=JOINED_BY.join(dict.fromkeys(spoken)),
                reason=reason
                + "".join(f"; {name} gave no forecast" for name in missing)
                + _basis(request.target, int(known.maxima_ppm[row]), int(known.seen_ppm[row])),
                history_s=int(known.history_s[row]),
                coverage_ppm=int(known.known_ppm[row]),
                observed_until=format_utc(EPOCH + timedelta(microseconds=until[row])),
                recent_maximum=int(np.ceil(known.recent_maximum[row])),
            )
        )
    return _Finished(part.metric, known.unique_ids, speaking, values, choices, silent)


def _heard(spoken: Spoken, model: Speaking, who: Integers, quantiles: Sequence[str]) -> list[str]:
    """Say where the trained model speaks, alone or in part, which one, and how good it was; "" where it does not."""
    with needs("numpy"):
        import numpy as np
    loss = spoken.standing.loss
    ratio = np.divide(loss[:, 0], loss[:, 1], out=np.ones_like(loss[:, 0]), where=loss[:, 1] > 0)
    digests, places = model.digests(len(who)), model.places(len(who)).tolist()
    reasons = []
    for row, (of_levels, digest, place) in enumerate(zip(who.tolist(), digests, places)):
        parts = [
            f"{name} at {', '.join(quantiles[at] for at, one in enumerate(of_levels) if one == code)}"
            for code, name in ((MODEL, model.names[place]), (BOTH, MIX))
            if code in of_levels
        ]
        origins = int(spoken.origins[row])
        seen = f"pinball {', '.join(f'{one:.2f}' for one in ratio[row])} of the next best, over {origins} origins"
        told = seen if origins else "no origin yet that it was not trained on"
        reasons.append(f"{'; '.join(parts)} (model {digest}; {told})" if parts else "")
    return reasons


def _comparison(spoken: Mapping[int, str], ratios: Sequence[float], quantiles: Sequence[str], origins: int) -> str:
    """Say who speaks at which quantile, and how good that was: its pinball loss as a share of naive's."""
    places: dict[str, list[int]] = {}
    for place, name in spoken.items():
        places.setdefault(name, []).append(place)
    parts = [
        f"{name} at {', '.join(quantiles[place] for place in at)}"
        f" (pinball {', '.join(f'{ratios[place]:.2f}' for place in at)} of naive)"
        for name, at in places.items()
    ]
    return f"{'; '.join(parts)}, over {origins} origins"


def _basis(target: str, maxima_ppm: int, seen_ppm: int) -> str:
    """What the numbers rest on, where that is less than it could be."""
    told = ""
    if target == TARGET_MAXIMUM and maxima_ppm < PPM:
        told += f"; the maximum is known for {maxima_ppm * 100 // PPM} % of the intervals, else the mean stands in"
    if seen_ppm < MOSTLY_SEEN_PPM:
        told += f"; of its intervals {seen_ppm * 100 // PPM} % of the time was seen"
    return told


def _lean(known: Past) -> Past:
    """Let go of the past: what stays until the end of a large fleet must be small."""
    with needs("numpy"):
        import numpy as np
    return replace(known, values=np.empty((0, 0), dtype=np.float32))


def _table(found: Sequence[_Finished], request: Request, names: Sequence[str]) -> pa.Table:
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
        "engine": each(np.repeat(spoken, steps, axis=0).reshape(-1), names),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=schema)
