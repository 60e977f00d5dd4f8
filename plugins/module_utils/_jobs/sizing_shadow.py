# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shadow mode: what the model in use would have decided on the days since it was trained, and what came.

The model, its operating point and its features are frozen; each decision knows what was known then. Nothing was
enforced, so that the demand is the one that was recorded under the sizes that VMs really had: where it stood at such a
size it may have been more, and how often is told. The model is asked with what a VM may have at most, as in a plan;
beyond what it had nothing can be judged, and nothing is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .._core.canonical import digest
from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._forecast.features import HOUR_S, PAST_DAYS
from .._forecast.model_life import of_status
from .._forecast.realised import Frame
from .._records.candidates import SATURATED
from .._records.model import CURRENT, METRICS, OUTCOME, Key
from .._records.series import DAY_S
from .._records.sizing_shadow import COLUMNS, SHADOW, SizingShadow
from .._records.snapshot import Snapshot
from .._replay.baselines import replay_within
from .._replay.loop import decisions_table
from .._replay.protocol import Slo
from .._replay.score import score_with_intervals, sums_by_vm
from .._replay.trace import carried
from .._store import issued, models
from .._store.tables import table_bytes
from .context import Result
from .models import load
from .recorded import MEASURES, newest_end, read_recorded
from .scorecard import fleet_of
from .sizer import Sizer, Standing
from .sizes import sizes_between, snapshot_before
from .sizing_case import decimal, figures_told, policy_score, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .._records.vm import VM
    from .._replay.trace import Trace
    from .context import Context
    from .models import Loaded

    Doubles = npt.NDArray[np.float64]

MOST_DAYS = 28
# One metric of which there is nothing to look at is told, where another one has a result.
TOO_LITTLE = ("shadow.no_model", "shadow.young", "replay.nothing_scored")


@dataclass(frozen=True)
class Watched:
    """What is looked back on."""

    days: int = 0  # 0: all whole days since the model's last telemetry, MOST_DAYS at most
    lead_s: int = 300  # of the model in use
    most_vms: int = 500

    def check(self) -> None:
        """Raise ``model.request`` for what makes no sense."""
        if not 0 <= self.days <= MOST_DAYS or self.most_vms < 1 or self.lead_s < 0:
            raise HeadroomError(
                "model.request", f"{self.days} days of {self.most_vms} VMs cannot be looked at.", advice="Correct them."
            )


def shadow_sizes(
    context: Context,
    watched: Watched,
    *,
    snapshot: str,
    metrics: Sequence[str] = METRICS,
    model: str = "",
    progress: Callable[[str], None] = lambda _line: None,
) -> Result:
    """Look back, for each metric. ``model``: a digest, which brings its metric and lead; else the current ones.

    Raises ``shadow.*``, ``model.*``, ``artifact.*``, ``series.*``, ``store.*``.
    """
    watched.check()
    known = context.artifacts.get(Snapshot, snapshot)
    vms = sorted(known.vms, key=lambda vm: digest(vm.unique_id))[: watched.most_vms]
    if model:
        metrics = (load(context.artifacts, model, now=context.now).header.metric,)
    found: dict[str, SizingShadow] = {}
    failed: list[HeadroomError] = []
    warnings: list[str] = []
    for metric in dict.fromkeys(metrics):
        try:
            name = model or _in_use(context, metric, watched.lead_s)
            one = _Shadow(context, known, vms, name, load(context.artifacts, name, now=context.now))
            progress(f"{metric}: {len(vms)} VMs by {name}")
            found[metric] = one.record(snapshot, watched.days)
        except HeadroomError as error:
            if error.code not in TOO_LITTLE:
                raise
            failed.append(error)
    if not found:
        raise failed[0]
    warnings += [str(error) for error in failed]
    for metric, record in found.items():
        if record.rejected:
            warnings.append(f"{len(record.rejected)} of {len(vms)} VMs could not be looked at for {metric}.")
        if not record.before:
            warnings.append(
                f"No plan tells what VMs had on {record.since}: who was not acted on counts as unchanged ({metric})."
            )
    if len(known.vms) > len(vms):
        warnings.append(f"{len(vms)} of {len(known.vms)} VMs were looked at, always the same sample.")
    shadows = {metric: _told(context, context.artifacts.put(record), record) for metric, record in found.items()}
    msg = "\n".join(_text(record) for record in found.values())
    return Result(changed=False, values={"shadows": shadows, "msg": msg}, warnings=tuple(warnings))


def _in_use(context: Context, metric: str, lead_s: int) -> str:
    """The current model's digest. Raises ``shadow.no_model``."""
    with context.database.transaction() as connection:
        current = of_status(models.of(connection, Key(OUTCOME, metric, lead_s)), CURRENT)
    if current is None:
        raise HeadroomError(
            "shadow.no_model",
            f"No model for {metric} with a lead of {lead_s} s is in use.",
            advice="Train one with model_train and let model_review promote it, or name one in model.",
        )
    return current.model


class _Sizes(NamedTuple):
    """Over the time looked at, [V, T]; NaN in held: not known, and not scored."""

    demand: Doubles
    held: Doubles
    shadow: Doubles
    least: Doubles


class _Shadow:
    """One metric."""

    def __init__(self, context: Context, known: Snapshot, vms: Sequence[VM], model: str, loaded: Loaded) -> None:
        self._context, self._known, self._vms = context, known, vms
        self._model, self._loaded, self._header = model, loaded, loaded.header

    def record(self, snapshot: str, days: int) -> SizingShadow:
        """Read, replay, score, and store the tables."""
        with needs("numpy"):
            import numpy as np
        context, header = self._context, self._header
        start, end = self._span(days)
        trace, rejected, rows_digest = self._read(start, end)
        if not trace.unique_ids:
            raise HeadroomError(
                "shadow.young", f"No VM has telemetry for {header.metric}.", advice="Collect some for a day."
            )
        before, held = self._held(trace, start)
        first = trace.column(start)
        had = _had(trace, held, first)
        sizer = Sizer(
            self._loaded.point, model=self._loaded.outcomes, standing=Standing.new(len(trace.unique_ids)),
            start=trace.start, first=first,
        )  # fmt: skip
        lead, every = header.lead_s // trace.step_s, header.every_s // trace.step_s
        done = replay_within(sizer, trace, had, first=first, last=trace.steps, lead=lead, every=every)
        cut = slice(first, None)
        demand = np.minimum(trace.demand, had)[:, cut]
        sizes = _Sizes(
            demand=demand,
            held=held,
            shadow=done.allocation[:, cut],
            least=least_that_served(demand, had[:, cut], trace.floor[:, cut], lead=lead, every=every),
        )
        table = self._by_vm(trace.unique_ids, sizes)
        totals = {name: float(np.nansum(table[name].to_numpy())) for name in COLUMNS[1:]}
        slots = (sizes.held.shape[1] * trace.step_s) / HOUR_S
        scored = score_with_intervals(sizes.demand, sizes.shadow, sizes.held, slo=Slo(), step_s=trace.step_s)
        decisions = decisions_table(trace, done, lead=lead)
        day = DAY_S // trace.step_s
        known = np.any(~np.isnan(sizes.demand + sizes.held), axis=0).reshape(-1, day)

        def share(name: str, of: str) -> str:
            return decimal(100 * totals[name] / totals[of]) if totals[of] else ""

        return SizingShadow(
            made_at=format_utc(context.now),
            snapshot=snapshot,
            before=before,
            rows_digest=rows_digest,
            metric=header.metric,
            model=self._model,
            lead_s=header.lead_s,
            every_s=header.every_s,
            since=format_utc(start),
            until=format_utc(end),
            days=len(known),
            days_known=int(known.any(axis=1).sum()),
            vms=int((table["intervals"].to_numpy() > 0).sum()),
            unit=unit_of(header.metric),
            **{name: decimal(totals[f"{name}_h"] / slots) for name in ("held", "shadow", "least")},
            score=policy_score(SHADOW, scored),
            at_limit_pct=share("at_limit", "intervals"),
            regret_pct=share("regret_h", "held_h"),
            regret_held_pct=share("regret_held_h", "held_h"),
            rejected=rejected,
            table=context.artifacts.put_bytes(table_bytes(table)),
            rows=table.num_rows,
            decisions=context.artifacts.put_bytes(table_bytes(decisions)),
            decided=decisions.num_rows,
        )

    def _span(self, days: int) -> tuple[datetime, datetime]:
        """Whole days that end with the newest interval that is over. Raises ``shadow.young``, ``shadow.look_ahead``."""
        end = newest_end(self._context.now, self._header.interval_s)
        learnt_to = parse_utc(self._header.end)
        since = (end - learnt_to) // timedelta(days=1)
        if days == 0 and since < 1:
            raise HeadroomError(
                "shadow.young",
                f"The model for {self._header.metric} was learnt from telemetry up to {self._header.end}: there is no "
                "whole day yet that it has not seen.",
                advice="Wait a day, or name an older model.",
            )
        start = end - timedelta(days=days or min(since, MOST_DAYS))
        if learnt_to > start:
            raise HeadroomError(
                "shadow.look_ahead",
                f"The model was learnt from telemetry up to {self._header.end}, and would be asked about the time from "
                f"{format_utc(start)} on: it has seen what came.",
                advice=f"Look at {max(since, 0)} days at most, or name an older model.",
            )
        return start, end

    def _read(self, start: datetime, end: datetime) -> tuple[Trace, dict[str, str], str]:
        """The days looked at, after the past that a decision looks at."""
        header, begin = self._header, start - timedelta(days=PAST_DAYS)
        found, rows_digest = read_recorded(
            self._context, self._vms, metric=header.metric, target=header.target, start=begin, end=end,
            step_s=header.interval_s,
        )  # fmt: skip
        return found.trace, found.rejected, rows_digest

    def _held(self, trace: Trace, start: datetime) -> tuple[str, Doubles]:
        """What the trace's VMs really had from the start on, [V, T] in units of size, and the snapshot that tells.

        Without a snapshot that is old enough, who was not acted on since counts as having had what it has.
        """
        context, measure = self._context, MEASURES[self._header.metric]
        start_ms = round(start.timestamp()) * 1000
        with context.database.transaction() as connection:
            known = issued.reaching(connection, since_ms=0)
        fleet = fleet_of(self._known)
        early = [one for one in known if one.made_ms <= start_ms and one.fleet == fleet]
        old = max(early, key=lambda one: one.made_ms, default=None)
        by_id = {vm.unique_id: vm for vm in self._known.vms}
        after = replace(self._known, vms=tuple(by_id[name] for name in trace.unique_ids))
        before = replace(after, taken_at=format_utc(start))
        if old is not None:
            before = snapshot_before(context, old.snapshot, now=self._known)
        frame = Frame(
            trace.unique_ids,
            self._header.metric,
            start_us=start_ms * 1000,
            interval_s=trace.step_s,
            columns=trace.steps - trace.column(start),
        )
        held = sizes_between(context, before, after, frame=frame, resource=measure.resource) / measure.unit
        return old.snapshot if old else "", held

    def _by_vm(self, unique_ids: Sequence[str], sizes: _Sizes) -> pa.Table:
        """The rows of COLUMNS."""
        with needs("numpy", "pyarrow"):
            import numpy as np
            import pyarrow as pa
        point, hours = self._loaded.point, self._header.interval_s / HOUR_S
        shadow = sums_by_vm(sizes.demand, sizes.shadow, sizes.held)
        least = sums_by_vm(sizes.demand, sizes.least, sizes.held)
        with np.errstate(invalid="ignore"):
            at_limit = (sizes.demand >= SATURATED * sizes.held).sum(axis=1)
        root = np.sqrt(np.nan_to_num(shadow.capacity / np.maximum(shadow.intervals, 1)))
        paid = point.violation * root * shadow.violated + point.unserved * shadow.unserved
        columns = {
            "unique_id": pa.array(unique_ids, pa.string()),
            "intervals": shadow.intervals.astype(np.int64),
            "held_h": shadow.capacity * hours,
            "shadow_h": shadow.size * hours,
            "least_h": least.size * hours,
            "demand_h": shadow.demand * hours,
            "unserved_h": shadow.unserved * hours,
            "violated": shadow.violated.astype(np.int64),
            "at_limit": at_limit.astype(np.int64),
            "given_back_h": (shadow.capacity - shadow.size) * hours,
            "regret_h": (shadow.size - least.size + paid) * hours,
            "regret_held_h": (shadow.capacity - least.size) * hours,
        }
        return pa.table({name: columns[name] for name in COLUMNS})


def _had(trace: Trace, held: Doubles, first: int) -> Doubles:
    """What VMs really had [V, T]: where that is not known, the last or first that is.

    A VM whose size is known at no time had its capacity, and is not scored.
    """
    with needs("numpy"):
        import numpy as np
    known = carried(held, limit=held.shape[1])
    began = np.argmax(~np.isnan(known), axis=1)
    earliest = np.take_along_axis(known, began[:, None], axis=1)
    known = np.where(np.isnan(known), earliest, known)
    had = np.concatenate([np.repeat(known[:, :1], first, axis=1), known], axis=1)
    return np.where(np.isnan(trace.capacity) | np.isnan(had), trace.capacity, had)


def least_that_served(demand: Doubles, capacity: Doubles, floor: Doubles, *, lead: int, every: int) -> Doubles:
    """The least size [V, T] for the time of each decision that would have served all demand in it, by hindsight.

    Until the first decision lands, VMs have what they had.
    """
    with needs("numpy"):
        import numpy as np
    landed = demand[:, lead:]
    starts = np.arange(0, landed.shape[1], every)
    peaks = np.fmax.reduceat(landed, starts, axis=1).repeat(every, axis=1)[:, : landed.shape[1]]
    found = capacity.copy()
    found[:, lead:] = np.fmin(np.fmax(peaks, floor[:, lead:]), capacity[:, lead:])
    return found


def _told(context: Context, name: str, record: SizingShadow) -> dict[str, Any]:
    """What a program would act on."""
    plain = ("model", "since", "until", "days", "days_known", "vms", "unit", "held", "shadow", "least")
    return {
        "shadow_record": name,
        **{field: getattr(record, field) for field in plain},
        "slo4": record.score.slo4,
        **figures_told(record.score),
        "at_limit_pct": record.at_limit_pct,
        "regret_pct": record.regret_pct,
        "regret_held_pct": record.regret_held_pct,
        "rejected": record.rejected,
        "table": record.table,
        "table_url": context.artifacts.url(record.table),
        "decisions": record.decisions,
        "decisions_url": context.artifacts.url(record.decisions),
    }


def _text(record: SizingShadow) -> str:
    def percent(value: str) -> str:
        return f"{float(value):.2f} %" if value else "unknown"

    value = record.score.value
    amounts = [f"{float(of):,.1f}" for of in (record.held, record.shadow, record.least)]
    return (
        f"{record.metric}: {record.days_known} of {record.days} days of {record.vms} VMs, {record.since} to "
        f"{record.until}\n"
        f"  held {amounts[0]} {record.unit}, the model would have held {amounts[1]}, hindsight {amounts[2]}\n"
        f"  given back {percent(value('reclaimed'))}, violations {percent(value('violations'))}, unserved "
        f"{percent(value('unserved_of_demand'))}, worst VM {percent(value('worst_vm'))}\n"
        f"  regret {percent(record.regret_pct)} of what was held; of the sizes held {percent(record.regret_held_pct)}\n"
        f"  use stood at what VMs had in {percent(record.at_limit_pct)} of the intervals"
    )
