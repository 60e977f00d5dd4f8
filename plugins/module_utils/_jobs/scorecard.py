# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the scorecard: hold earlier forecasts against what came since, and judge by it who is only recommended for.

An interval is scored once its telemetry can be expected to be there, an hour after its end, and never again: how far a
VM was looked at stands in the row that the figures are added to, and both are one transaction. So it does no harm to
run twice, or for several controllers at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.clock import EPOCH, parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import US_PER_MS
from .._forecast.realised import Foretold, Frame, Scores, score, truth_of
from .._forecast.request import LATE_S
from .._forecast.scorecard import NEVER, WINDOW_DAYS, Daily, judge
from .._policy.kinds import normal_quantile
from .._records.codec import decode_artifact
from .._records.demand import DEMANDS
from .._records.forecast import Forecast
from .._records.snapshot import Snapshot
from .._records.vm import CPU_LIMIT_MILLICORES, RESOURCES, VCPUS, VM
from .._store import issued, scores, standings
from .._store.issued import Issued
from .._store.scores import Score
from .._store.standings import Standing
from .._store.tables import table_from_bytes
from .shortage import full_share, laid, told
from .sizes import at_times, bounds_between, in_force, least_of, snapshot_before

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
    from sqlalchemy import Connection

    from .._policy.sizing import SizingPolicy
    from .._store.scan import Scan
    from .context import Context

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
BACK_MS = 2 * DAY_MS  # what was not scored for so long, as nothing ran, is left
MOST_VM_HOURS = 600_000  # looked at in one go: some gigabytes
VMS_AT_ONCE = 500  # in one transaction: acts wait meanwhile


def issue(connection: Connection, *, forecast: Forecast, table: pa.Table, digests: tuple[str, str], fleet: str) -> None:
    """Note that plans are made from this forecast; ``digests``: its own, and that of the snapshot it is about."""
    if not table.num_rows:
        return
    first_ms = _ms(forecast.cutoff) + int(table["lead_s"][0].as_py()) * 1000
    until_ms = first_ms + forecast.horizon_s * 1000
    made_ms, interval_s = _ms(forecast.made_at), forecast.interval_s
    issued.note(connection, Issued(*digests, fleet, made_ms, first_ms, until_ms, interval_s))


def fleet_of(snapshot: Snapshot) -> str:
    """What forecasts of one fleet have in common."""
    return "\n".join(sorted(snapshot.endpoints))


def keep_scorecard(context: Context, *, snapshot: Snapshot, policy: SizingPolicy) -> tuple[str, ...]:
    """Score what can be scored by now, and return what is to be said about it.

    Where the past cannot be read it says so: nothing else depends on it. Raises ``store.unreachable``.
    """
    late_ms = _ms_of(context.now) - LATE_S * 1000
    with context.database.transaction() as connection:
        known = issued.reaching(connection, since_ms=late_ms - BACK_MS)
        looked = scores.looked_until(connection, since_day=(late_ms - BACK_MS) // DAY_MS) if known else {}
    if not known:
        return ()
    # An interval that begins before is over, and its telemetry there.
    settled_ms = (late_ms - max(one.interval_s for one in known) * 1000) // HOUR_MS * HOUR_MS
    ids = {vm.unique_id for vm in snapshot.vms}
    begun = [until_ms for (unique_id, _unused), until_ms in looked.items() if unique_id in ids]
    first_ms = min(begun) if begun else min(one.first_ms for one in known) // HOUR_MS * HOUR_MS
    missed = 0
    try:
        card = _Card(context, snapshot, policy, _speaking(known, snapshot))
        round_ms = max(1, MOST_VM_HOURS // max(1, len(ids))) * HOUR_MS
        for start_ms in range(max(first_ms, settled_ms - BACK_MS), settled_ms, round_ms):
            missed += card.round(start_ms, min(start_ms + round_ms, settled_ms))
    except HeadroomError as error:
        return (f"The scorecard is not up to date: {error}",)
    return (
        (f"Scorecard: {missed} intervals were forecast, and their telemetry or size is not known.",) if missed else ()
    )


def demoted(connection: Connection) -> dict[tuple[str, str], str]:
    """Who is only recommended for, by (unique_id, resource), and why."""
    resources = {DEMANDS[resource].metric: resource for resource in RESOURCES}
    return {
        (one.unique_id, resources[one.metric]): f"scorecard: {one.reason}"
        for one in standings.standings(connection).values()
        if one.demoted and one.metric in resources
    }


class _Speaking(NamedTuple):
    """A forecast, and where a newer one of the same fleet begins to speak."""

    issued: Issued
    end_ms: int


def _speaking(known: Sequence[Issued], snapshot: Snapshot) -> tuple[_Speaking, ...]:
    """Of any endpoint of this snapshot, the newest first."""
    ours = set(snapshot.endpoints)
    newer: dict[str, int] = {}
    found = []
    for one in known:
        if ours & set(one.fleet.split("\n")):
            end_ms = min(one.until_ms, newer.get(one.fleet, one.until_ms))
            newer[one.fleet] = one.first_ms
            if end_ms > one.first_ms:
                found.append(_Speaking(one, end_ms))
    return tuple(found)


@dataclass(frozen=True)
class _Scored:
    """One frame's scores, and the START of each of its intervals in ms."""

    scores: Scores
    starts_ms: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Kind:
    """Forecasts whose intervals are the same stretches of time."""

    interval_s: int
    series_interval_s: int
    target: str
    quantiles: tuple[str, ...]
    phase_ms: int


class _Limits:
    """The CPU limits of a frame's VMs, from what bounded them."""

    def __init__(self, frame: Frame, bounds: Mapping[str, Doubles]) -> None:
        self._frame, self._bounds = frame, bounds
        self._row = {unique_id: row for row, unique_id in enumerate(frame.unique_ids)}

    def limited(self, vms: Sequence[VM]) -> list[VM]:
        """Who had one in force at some time."""
        with needs("numpy"):
            import numpy as np
        return [vms[row] for row in np.flatnonzero(np.isfinite(self._in_force(vms)).any(axis=1)).tolist()]

    def limits(self, vms: Sequence[VM], starts_us: Integers) -> Doubles:
        """In millicores [V, T], in intervals that began then; else infinite."""
        return at_times(self._in_force(vms), starts_us, frame=self._frame)

    def _in_force(self, vms: Sequence[VM]) -> Doubles:
        rows = [self._row[vm.unique_id] for vm in vms]
        return in_force(*(self._bounds[bound][rows] for bound in (CPU_LIMIT_MILLICORES, VCPUS)))


@dataclass(frozen=True)
class _Card:
    """What the rounds of one job share."""

    context: Context
    snapshot: Snapshot
    policy: SizingPolicy
    speaking: tuple[_Speaking, ...]

    def round(self, start_ms: int, end_ms: int) -> int:
        """Score the intervals that begin in this stretch; returns how many were forecast and cannot be."""
        spoke = [one for one in self.speaking if one.issued.first_ms < end_ms and one.end_ms > start_ms]
        if not spoke:
            return 0
        oldest = min(spoke, key=lambda one: one.issued.made_ms).issued
        before = snapshot_before(self.context, oldest.snapshot, now=self.snapshot)
        scored: dict[str, list[_Scored]] = {resource: [] for resource in RESOURCES}
        for kind, of_kind in self._kinds(spoke).items():
            for resource, foretold in self._foretold(kind, of_kind, start_ms=start_ms, end_ms=end_ms).items():
                scored[resource].append(self._score(foretold, kind, resource=resource, before=before))
        return sum(self._keep(resource, found, start_ms=start_ms, end_ms=end_ms) for resource, found in scored.items())

    def _kinds(self, spoke: Sequence[_Speaking]) -> dict[_Kind, list[tuple[_Speaking, Forecast]]]:
        """Sort them by kind, the newest first; one that is lost by now, or of another release, says nothing."""
        found: dict[_Kind, list[tuple[_Speaking, Forecast]]] = defaultdict(list)
        for one in spoke:
            try:
                # Without its choices, of which a large fleet has many.
                header = decode_artifact(
                    Forecast, {**self.context.artifacts.get_json(one.issued.forecast), "choices": []}
                )
                series_interval_s = int(self.context.artifacts.get_json(header.series)["interval_s"])
            except HeadroomError as error:
                if error.code not in ("artifact.missing", "schema.older", "schema.newer"):
                    raise
                continue
            quantiles = tuple(normal_quantile(text) for text in header.quantiles)
            phase_ms = one.issued.first_ms % (header.interval_s * 1000)
            found[_Kind(header.interval_s, series_interval_s, header.target, quantiles, phase_ms)].append((one, header))
        return found

    def _foretold(
        self, kind: _Kind, of_kind: Sequence[tuple[_Speaking, Forecast]], *, start_ms: int, end_ms: int
    ) -> dict[str, Foretold]:
        """What was said of each resource in this stretch; nothing where no interval of this kind begins in it."""
        step_ms = kind.interval_s * 1000
        first_ms = start_ms + (kind.phase_ms - start_ms) % step_ms
        columns = -(-(end_ms - first_ms) // step_ms)
        if columns <= 0:
            return {}
        ids = [vm.unique_id for vm in self.snapshot.vms]
        found = {
            resource: Foretold(
                Frame(ids, DEMANDS[resource].metric, first_ms * US_PER_MS, kind.interval_s, columns), kind.quantiles
            )
            for resource in RESOURCES
        }
        for one, header in of_kind:
            table = table_from_bytes(self.context.artifacts.get_bytes(header.table))
            for foretold in found.values():
                foretold.add(
                    table,
                    target=kind.target,
                    spelled={text: normal_quantile(text) for text in header.quantiles},
                    issued_us=one.issued.made_ms * US_PER_MS,
                    end_us=one.end_ms * US_PER_MS,
                )
        return found

    def _score(self, foretold: Foretold, kind: _Kind, *, resource: str, before: Snapshot) -> _Scored:
        with needs("numpy"):
            import numpy as np
        context, frame, vms = self.context, foretold.frame, self.snapshot.vms
        # What was known when the oldest of these forecasts was made, which may be long before the stretch.
        since_us = min(foretold.oldest_us, frame.start_us)
        table = context.series.read(
            list(frame.unique_ids),
            metrics=(frame.metric,),
            start=_time(since_us // US_PER_MS) - timedelta(seconds=LATE_S + kind.interval_s),
            end=_time((frame.start_us + frame.columns * frame.step_us) // US_PER_MS),
            interval_s=kind.series_interval_s,
        )
        bounds = bounds_between(context, before, self.snapshot, frame=frame, resource=resource)
        found = score(
            foretold,
            truth_of(table, foretold, target=kind.target, series_interval_s=kind.series_interval_s, late_s=LATE_S),
            size=least_of(bounds),
            quantile=[self.policy.effective(vm).sizing[resource].quantile for vm in vms],
            share=full_share(frame.metric, vms, self.policy),
            short=self._short(frame, bounds, series_interval_s=kind.series_interval_s),
        )
        starts_us = frame.start_us + np.arange(frame.columns) * frame.step_us
        return _Scored(found, starts_us // US_PER_MS)

    def _short(self, frame: Frame, bounds: Mapping[str, Doubles], *, series_interval_s: int) -> Flags:
        """The intervals [V, T] in which signals of contention told that there was too little."""

        def read(unique_ids: Sequence[str], metric: str) -> Scan:
            return self.context.series.scan(
                unique_ids, metrics=(metric,), start=start, end=end, interval_s=series_interval_s
            )

        start, end = (_time(us // US_PER_MS) for us in (frame.start_us, frame.start_us + frame.columns * frame.step_us))
        limits = _Limits(frame, bounds)
        heard = told(read, self.snapshot.vms, self.policy, metric=frame.metric, limits=limits)
        return laid(heard, frame.unique_ids, start_us=frame.start_us, step_us=frame.step_us, columns=frame.columns)

    def _keep(self, resource: str, scored: Sequence[_Scored], *, start_ms: int, end_ms: int) -> int:
        """Add the figures of each VM as far as it was not looked at yet, and judge it where a day is over."""
        metric, vms, missed = DEMANDS[resource].metric, self.snapshot.vms, 0
        for first in range(0, len(vms), VMS_AT_ONCE):
            some = vms[first : first + VMS_AT_ONCE]
            ids = [vm.unique_id for vm in some]
            with self.context.database.transaction() as connection:
                looked = scores.looked_until(connection, ids, since_day=(start_ms - BACK_MS) // DAY_MS)
                since = [max(start_ms, looked.get((one, metric), start_ms)) for one in ids]
                rows = list(_rows(metric, ids, scored, first=first, since=since, end_ms=end_ms))
                scores.add(connection, rows)
                missed += sum(row.missed for row in rows)
                until = [looked.get((one, metric), start_ms) for one in ids]
                over = [vm for vm, until_ms in zip(some, until) if until_ms // DAY_MS < end_ms // DAY_MS]
                if over:
                    self._judge(connection, resource, over, last_day=end_ms // DAY_MS - 1)
        return missed

    def _judge(self, connection: Connection, resource: str, vms: Sequence[VM], *, last_day: int) -> None:
        with needs("numpy"):
            import numpy as np
        metric, ids = DEMANDS[resource].metric, [vm.unique_id for vm in vms]
        first_day = last_day - WINDOW_DAYS + 1
        known = scores.days(connection, ids, metrics=[metric], first_day=first_day, last_day=last_day)
        standing = standings.standings(connection, ids)
        stand = [standing.get((one, metric)) for one in ids]
        flips = judge(
            daily_of(known, ids, last_day=last_day),
            demoted=np.array([one is not None and one.demoted for one in stand]),
            since=np.array([NEVER if one is None else one.since_day for one in stand], dtype=np.int64),
            budget=np.array([self.policy.effective(vm).sizing[resource].error_budget for vm in vms]),
        )
        changed = [Standing(ids[one.row], metric, one.demoted, last_day, one.code, one.reason) for one in flips]
        standings.change(self.context.database, connection, changed, run_id=self.context.run, who=self.context.who)


def daily_of(known: Sequence[Score], ids: Sequence[str], *, last_day: int) -> Daily:
    """Lay the figures of one metric of these VMs out, day by day."""
    with needs("numpy"):
        import numpy as np
    place = {unique_id: row for row, unique_id in enumerate(ids)}
    at = ([place[one.unique_id] for one in known], [one.day - last_day + WINDOW_DAYS - 1 for one in known])

    def grid(figure: str, kind: type[Any]) -> npt.NDArray[Any]:
        cells = np.zeros((len(ids), WINDOW_DAYS), dtype=kind)
        cells[at] = [getattr(one, figure) for one in known]
        return cells

    whole = {name: grid(name, np.int64) for name in ("scored", "violated", "banded")}
    return Daily(
        last_day=last_day, **whole, **{name: grid(name, np.float64) for name in ("loss", "naive_loss", "covered")}
    )


def _rows(
    metric: str, ids: Sequence[str], scored: Sequence[_Scored], *, first: int, since: Sequence[int], end_ms: int
) -> Iterator[Score]:
    """Sum the intervals of these VMs (rows from ``first`` on) that begin in [since, end), day by day."""
    with needs("numpy"):
        import numpy as np
    begin = np.array(since, dtype=np.int64)
    mine = slice(first, first + len(ids))
    for day in range(int(begin.min()) // DAY_MS, -(-end_ms // DAY_MS)):
        until_ms = min(end_ms, (day + 1) * DAY_MS)
        sums = {name: np.zeros(len(ids)) for name in Scores._fields}
        for one in scored:
            on_day = (one.starts_ms >= day * DAY_MS) & (one.starts_ms < until_ms)
            counts = on_day[None, :] & (one.starts_ms[None, :] >= begin[:, None])
            for name, figure in one.scores._asdict().items():
                sums[name] += np.where(counts, figure[mine], 0).sum(axis=1)
        for row in np.flatnonzero(begin < until_ms).tolist():
            yield Score(
                unique_id=ids[row],
                metric=metric,
                day=day,
                scored=int(sums["scored"][row]),
                violated=int(sums["violated"][row]),
                missed=int(sums["missed"][row]),
                loss=float(sums["loss"][row]),
                naive_loss=float(sums["naive_loss"][row]),
                covered=float(sums["covered"][row]),
                banded=int(sums["banded"][row]),
                until_ms=until_ms,
            )


def _ms(text: str) -> int:
    return _ms_of(parse_utc(text))


def _ms_of(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _time(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)
