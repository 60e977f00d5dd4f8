# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the models that speak what each candidate size of each VM is expected to come to, from a forecast's telemetry.

Everything is as of the forecast's clock: intervals that are over, acts and versions of models of before. Which model
speaks for a VM hangs on nothing but its versions, and what it says on nothing but that VM's own past.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Optional

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import SECOND_US
from .._forecast.features import PAST_DAYS
from .._forecast.outcome_model import curves
from .._plan.guard import GuardRule, kept_free
from .._records.model import CANARY, CURRENT, OUTCOME
from .._records.outcomes import (
    CAPACITY,
    HEADROOM,
    LEAD_S,
    METRIC,
    MODEL,
    PRICES,
    SPENT,
    UNIQUE_ID,
    Outcomes,
    joined,
)
from .._store import models
from .models import load, loaded_speakers
from .recorded import MEASURES, newest_end, recorded
from .shortage import at_size, full_share, laid, told
from .sizer import believed, moment_of, spent_of
from .sizes import Had

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .._forecast.request import Request
    from .._policy.sizing import SizingPolicy
    from .._records.snapshot import Snapshot
    from .._replay.trace import Trace
    from .._store.scan import Scan
    from .context import Context
    from .models import Loaded
    from .shortage import Told

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

UNSPOKEN = "no model speaks for them yet"
SILENT = "no telemetry"
STALE = "no interval of the last half hour is known"
NO_NUMBER = "what the model said is no number [model.damaged]"


@dataclass(frozen=True)
class _Speaker:
    """A model, and whom it speaks for."""

    digest: str
    model: Loaded
    unique_ids: frozenset[str]


class _One(NamedTuple):
    """One table of a scan."""

    rows: pa.Table

    def tables(self) -> Iterator[pa.Table]:
        """It alone."""
        yield self.rows


class _Held(NamedTuple):
    """Where [V, T] use was at the size; where it was, or signals told of a want; where there could have been more."""

    saturated: Flags
    violated: Flags
    below: Flags


class Said(NamedTuple):
    """What models said of some VMs."""

    parts: list[Outcomes]
    spoken: dict[str, set[str]]  # by metric: the VMs that have a row
    silent: dict[str, dict[str, str]]  # by metric: why others have none


class OutcomeRows:
    """Gathers rows while a forecast reads its telemetry. ``policy`` says what counts as held back."""

    def __init__(self, context: Context, snapshot: Snapshot, request: Request, policy: SizingPolicy) -> None:
        self._policy = policy
        self._end = newest_end(context.now, request.series_interval_s)
        self._start = self._end - timedelta(days=PAST_DAYS)
        self._step_s = request.series_interval_s
        self._vms = {vm.unique_id: vm for vm in snapshot.vms}
        self._spoken: dict[str, set[str]] = {}  # by metric, of which a model is in use: the VMs that have a row
        self._silent: dict[str, dict[str, str]] = {}  # by metric: why other VMs have none
        self._parts: list[Outcomes] = []
        self._speakers = {metric: self._speaking(context, metric) for metric in request.metrics if metric in MEASURES}
        self._sizes = {metric: self._had(context, metric) for metric, found in self._speakers.items() if found}
        self._told: dict[str, Told] = {}  # by metric: when signals told of a want

    def hear(self, scan: Scan) -> None:
        """Read the signals of contention beside this scan, of the same version of the telemetry. Raises ``store.*``."""

        def read(unique_ids: Sequence[str], metric: str) -> Scan:
            return scan.beside(unique_ids, (metric,), start=self._start, end=self._end)

        for metric, found in self._speakers.items():
            spoken_for = frozenset().union(*(one.unique_ids for one in found))
            vms = [vm for one, vm in self._vms.items() if one in spoken_for]
            if vms:
                self._told[metric] = told(read, vms, self._policy, metric=metric, limits=self._sizes[metric])

    def watched(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables of whole VMs; each is looked at as it passes."""
        for table in tables:
            for metric, found in self._speakers.items():
                if found:
                    self._learn(table, metric, found)
            yield table

    def table(self) -> Optional[pa.Table]:
        """All rows; None where there is none."""
        return joined(self._parts).table() if self._parts else None

    def warnings(self) -> tuple[str, ...]:
        """Why some VMs have no row, once for each metric that a model is in use for."""
        told = []
        for metric, spoken in self._spoken.items():
            why = Counter(self._silent[metric][one] for one in self._vms.keys() - spoken)
            if why:
                reasons = "; ".join(f"{reason} ({count})" for reason, count in sorted(why.items()))
                told.append(
                    f"{metric}: {sum(why.values())} of {len(self._vms)} VMs are not sized by price, their upper bound "
                    f"decides alone: {reasons}."
                )
        return tuple(told)

    def only(self, unique_ids: Iterable[str]) -> OutcomeRows:
        """The same models, for some of the VMs, and nothing said yet."""
        vms = {one: self._vms[one] for one in unique_ids if one in self._vms}
        spoken: dict[str, set[str]] = {metric: set() for metric in self._spoken}
        silent = {metric: {one: why[one] for one in vms} for metric, why in self._silent.items()}
        heard = {metric: {one: of[one] for one in vms if one in of} for metric, of in self._told.items()}
        some = copy(self)
        vars(some).update(_vms=vms, _parts=[], _spoken=spoken, _silent=silent, _told=heard)
        return some

    def said(self) -> Said:
        """What was said so far."""
        return Said(self._parts, self._spoken, self._silent)

    def add(self, said: Said) -> None:
        """Take over what was said elsewhere of VMs of which nothing was said here."""
        self._parts += said.parts
        for metric, spoken in said.spoken.items():
            self._spoken[metric] |= spoken
            self._silent[metric].update(said.silent[metric])

    def _speaking(self, context: Context, metric: str) -> list[_Speaker]:
        """The models that speak for anyone, of all lead times."""
        now_ms = round(context.now.timestamp() * 1000)
        with context.database.transaction() as connection:
            known = [
                one
                for one in models.every(connection)
                if (one.key.purpose, one.key.metric) == (OUTCOME, metric)
                and one.status in (CANARY, CURRENT)
                and one.since_ms <= now_ms  # later ones know what this clock does not
            ]
        if not known:
            return []
        ids = list(self._vms)
        silent = self._silent.setdefault(metric, dict.fromkeys(ids, UNSPOKEN))
        self._spoken.setdefault(metric, set())
        found = []
        for key in dict.fromkeys(one.key for one in known):
            versions = [one for one in known if one.key == key]
            said, loaded, refused = loaded_speakers(ids, versions, partial(self._loaded, context))
            for digest, model in loaded.items():
                mine = frozenset(one for one, by in said.items() if by == digest)
                found.append(_Speaker(digest, model, mine))
                silent.update(dict.fromkeys(mine, SILENT))
            silent.update(
                {one: f"{refused[by].message} [{refused[by].code}]" for one, by in said.items() if by in refused}
            )
        return found

    def _loaded(self, context: Context, digest: str) -> Loaded:
        model = load(context.artifacts, digest, now=context.now)
        if model.header.interval_s != self._step_s:
            raise HeadroomError(
                "model.foreign",
                f"The model was trained for intervals of {model.header.interval_s} s.",
                advice="Train one for this use with model_train; see model_info.",
            )
        return model

    def _had(self, context: Context, metric: str) -> Had:
        """The sizes over the past looked at."""
        start_us = round(self._start.timestamp()) * SECOND_US
        steps = (self._end - self._start) // timedelta(seconds=self._step_s)
        return Had(context, self._vms, metric=metric, start_us=start_us, step_s=self._step_s, steps=steps)

    def _learn(self, table: pa.Table, metric: str, found: Sequence[_Speaker]) -> None:
        rows = _rows_of(table, metric, self._start, self._step_s)
        present = rows["unique_id"].unique().to_pylist()
        names = [one for one in present if one in self._vms]
        if len(names) < len(present):  # a pinned series may know more
            rows = rows.filter(_among(rows["unique_id"], names))
        if not names:
            return
        vms = [self._vms[one] for one in names]
        for target in dict.fromkeys(one.model.header.target for one in found):
            past = recorded(
                _One(rows), vms, metric=metric, target=target, start=self._start, end=self._end, step_s=self._step_s
            )
            self._silent[metric].update(past.rejected)
            trace = self._fresh(past.trace, metric)
            if not trace.unique_ids:
                continue
            held = self._held_back(trace, metric)
            for speaker in found:
                if speaker.model.header.target == target:
                    self._ask(speaker, trace, held, metric)

    def _held_back(self, trace: Trace, metric: str) -> _Held:
        mine = [self._vms[one] for one in trace.unique_ids]
        sizes = self._sizes[metric].over(mine, trace.demand)
        share = full_share(metric, mine, self._policy)
        saturated, below = at_size(sizes, trace.demand, trace.capacity, share)
        start_us = round(trace.start.timestamp()) * SECOND_US
        short = laid(
            self._told.get(metric, {}), trace.unique_ids, start_us=start_us, step_us=trace.step_s * SECOND_US,
            columns=trace.steps,
        )  # fmt: skip
        return _Held(saturated, saturated | (short & below), below)

    def _fresh(self, trace: Trace, metric: str) -> Trace:
        """The VMs of which the newest interval is known, or one shortly before it."""
        with needs("numpy"):
            import numpy as np
        known = (~np.isnan(trace.demand[:, -1])).tolist()
        late = [one for one, there in zip(trace.unique_ids, known) if not there]
        self._silent[metric].update(dict.fromkeys(late, STALE))
        return trace.only([one for one, there in zip(trace.unique_ids, known) if there]) if late else trace

    def _ask(self, speaker: _Speaker, trace: Trace, held_back: _Held, metric: str) -> None:
        """What the model makes of demand, a lower bound where use was at the size, and of all violations so far."""
        with needs("numpy"):
            import numpy as np
        mine = [row for row, one in enumerate(trace.unique_ids) if one in speaker.unique_ids]
        if not mine:
            return
        header, point, outcomes = speaker.model.header, speaker.model.point, speaker.model.outcomes
        held, missed, below = (flags[mine] for flags in held_back)
        capacity = trace.capacity[mine, -1]
        demand = believed(trace.demand[mine], held, capacity, point.beyond)
        moment = moment_of(demand, held, capacity, step_s=self._step_s, lead=outcomes.lead, now=self._end)
        said = curves(outcomes, moment, trace.floor[mine, -1])
        settled = slice(0, trace.steps - outcomes.lead)
        prices = asdict(point)
        count = len(mine)
        rows = Outcomes(
            texts={
                UNIQUE_ID: [trace.unique_ids[row] for row in mine],
                METRIC: [metric] * count,
                MODEL: [speaker.digest] * count,
            },
            numbers={
                LEAD_S: np.full(count, float(header.lead_s)),
                CAPACITY: capacity,
                SPENT: spent_of(missed[:, settled], below[:, settled], step_s=self._step_s),
                HEADROOM: _headroom(point.rule(self._step_s), missed),
            },
            prices=np.tile([prices[name] for name in PRICES], (count, 1)),
            curves=said,
        )
        sound = np.isfinite(said.violated + said.unserved + said.added).all(axis=1)
        names = np.array(rows.texts[UNIQUE_ID], dtype=object)
        self._silent[metric].update(dict.fromkeys(names[~sound].tolist(), NO_NUMBER))
        self._spoken[metric].update(names[sound].tolist())
        if sound.any():
            self._parts.append(rows if sound.all() else rows.only(np.flatnonzero(sound)))


def _headroom(rule: GuardRule, violated: Flags) -> Doubles:
    """What each VM [V] keeps free after the intervals [V, T]."""
    with needs("numpy"):
        import numpy as np
    headroom = np.zeros(len(violated))
    ever = np.flatnonzero(violated.any(axis=1))
    if len(ever):
        some = headroom[ever]
        for column in np.ascontiguousarray(violated[ever].T):
            some = kept_free(rule, some, column)
        headroom[ever] = some
    return headroom


def _rows_of(table: pa.Table, metric: str, start: datetime, step_s: int) -> pa.Table:
    """The rows of one metric from then on; those of a pinned series may be of other intervals."""
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    newer = table.filter(
        pc.and_(
            pc.greater_equal(table["ds"], pa.scalar(start, table["ds"].type)), pc.equal(table["interval_s"], step_s)
        )
    )
    return newer.filter(_among(newer["metric"], [metric]))


def _among(column: pa.ChunkedArray, words: Sequence[str]) -> pa.ChunkedArray:
    with needs("pyarrow"):
        import pyarrow as pa
        import pyarrow.compute as pc
    return pc.is_in(column.cast(pa.string()), value_set=pa.array(list(words), pa.string()))
