# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much would I save? Replay sizes on stored telemetry, in a closed loop, beside policies that anybody knows.

What there is to save is what the VMs have now. Models learn and are asked with what they may have at most, as in plans.
A model is trained on what lies before the scored window, at the operating point that is shipped; nothing is tuned, so
that every VM may be scored.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Callable, Optional

from .._core.canonical import digest
from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._forecast.features import HOUR_S
from .._forecast.model_life import refuse
from .._records.model import METRICS
from .._records.series import DAY_S
from .._records.sizing_backtest import (
    COLUMNS,
    DAY_PEAK,
    HEADROOM,
    NOW,
    PAST_PEAK,
    CurvePoint,
    Figure,
    PolicyScore,
    SizingBacktest,
)
from .._records.snapshot import Snapshot
from .._replay.baselines import DayPeak, Kept, StaticPeak
from .._replay.loop import decisions_table
from .._replay.protocol import read_protocol, write_protocol
from .._replay.score import Score, score_with_intervals, sums_by_vm
from .._report.savings import savings_page, savings_text
from .._store.tables import table_bytes, table_from_bytes
from .context import Result
from .models import decimals, libraries, load, wanted_here
from .points import AT_ONCE, WHOLE, shipped
from .recorded import MEASURES
from .report import write_file
from .sizer import Sizer, Standing
from .sizer_training import LEARNT_WITH, careful, freed, train_sizer
from .sizes import held_back
from .sizing_case import Asked, Case, decimal, figures_told, lay, policy_score, read_past, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from .._forecast.outcome_model import OutcomeModel
    from .._records.vm import VM
    from .._replay.loop import Replayed
    from .._replay.protocol import ReplayProtocol
    from .._replay.score import Scored
    from .context import Context
    from .models import Loaded
    from .sizer import OperatingPoint

    Tell = Callable[[str], None]

FACTORS = ("0.85", "0.92", "1.0", "1.15", "1.3")  # of all sizes: the points of the curve
IDS = ("all", "report", "tune")
LONGEST_S = 366 * DAY_S
# One metric of which too little is known is told, where another one has a result.
TOO_LITTLE = ("backtest.young", "forecast.untrained", "replay.nothing_scored")


def backtest_sizes(
    context: Context,
    asked: Asked,
    *,
    snapshot: str,
    metrics: Sequence[str] = METRICS,
    protocol: str = "",
    model: str = "",
    html: str = "",
    progress: Callable[[str], None] = lambda _line: None,
) -> Result:
    """Replay and score each metric. ``protocol``: the text of a protocol file; ``model``: a digest; ``html``: a file.

    A model brings its metric, target, lead, interval and time between decisions. Raises ``backtest.*``, ``model.*``,
    ``protocol.invalid``, ``forecast.untrained``, ``report.unwritable``, ``artifact.*``, ``series.*``.
    """
    rules = read_protocol(protocol) if protocol else None
    given = load(context.artifacts, model, now=context.now, longest_s=LONGEST_S) if model else None
    if given:
        header = given.header
        asked = replace(
            asked, target=header.target, lead_s=header.lead_s, series_interval_s=header.interval_s, seed=header.seed
        )
        metrics = (header.metric,)
    if not metrics or set(metrics) - set(METRICS) or asked.ids not in IDS:
        raise HeadroomError(
            "model.request", f"Sizes are replayed for {' and '.join(METRICS)}.", advice="Correct the options."
        )
    every_s = _every_s(rules, given)
    asked.check(every_s=every_s)
    known = context.artifacts.get(Snapshot, snapshot)
    vms = sorted(known.vms, key=lambda vm: digest(vm.unique_id))
    made: dict[str, str] = {}
    records: list[SizingBacktest] = []
    failed: list[HeadroomError] = []
    for metric in dict.fromkeys(metrics):

        def tell(line: str, metric: str = metric) -> None:
            progress(f"{metric}: {line}")

        try:
            one = _Backtest(context, asked, metric=metric, snapshot=snapshot, model=model, given=given, tell=tell)
            record = one.done(vms[: asked.most_vms], rules, every_s=every_s)
        except HeadroomError as error:
            if error.code not in TOO_LITTLE:
                raise
            failed.append(error)
            continue
        made[metric] = context.artifacts.put(record)
        records.append(record)
    if not records:
        raise failed[0]
    warnings = [str(error) for error in failed]
    warnings += [
        f"{len(one.rejected)} of {len(vms[: asked.most_vms])} VMs could not be replayed for {one.metric}."
        for one in records
        if one.rejected
    ]
    if len(vms) > asked.most_vms:
        warnings.append(f"{asked.most_vms} of {len(vms)} VMs were replayed, always the same sample.")
    if html:
        names = {vm.unique_id: vm.name for vm in known.vms}
        rows = [table_from_bytes(context.artifacts.get_bytes(one.table)).to_pylist() for one in records]
        write_file(html, savings_page(list(zip(records, rows)), names))
    values = {
        "backtests": {one.metric: _told(context, made[one.metric], one) for one in records},
        "html": html,
        "msg": "\n\n".join(savings_text(one) for one in records),
    }
    return Result(changed=False, values=values, warnings=tuple(warnings))


def _every_s(rules: Optional[ReplayProtocol], given: Optional[Loaded]) -> int:
    """From one decision to the next. Raises ``model.foreign`` where protocol and model say otherwise."""
    if given is None:
        return rules.decide_every_s if rules else HOUR_S
    every_s = rules.decide_every_s if rules else given.header.every_s
    refuse(given.header, replace(wanted_here(given.header), every_s=every_s), now=parse_utc(given.header.end))
    return every_s


class _Backtest:
    """One metric."""

    def __init__(
        self,
        context: Context,
        asked: Asked,
        *,
        metric: str,
        snapshot: str,
        model: str,
        given: Optional[Loaded],
        tell: Tell,
    ) -> None:
        self._context, self._asked, self._metric, self._snapshot = context, asked, metric, snapshot
        self._model, self._given, self._tell = model, given, tell

    def done(self, vms: Sequence[VM], rules: Optional[ReplayProtocol], *, every_s: int) -> SizingBacktest:
        """Read, train where no model is given, replay, score, and store the tables."""
        with needs("numpy"):
            import numpy as np
        context, asked = self._context, self._asked
        self._tell(f"reading the telemetry of {len(vms)} VMs")
        past = read_past(context, asked, vms, metric=self._metric)
        header = self._given.header if self._given else None
        case = lay(past, asked, metric=self._metric, every_s=every_s, rules=rules, model=header)
        trace, began = case.trace, case.moment(case.first)
        days = (case.last - case.first) * trace.step_s / DAY_S
        outcomes, point, standing = self._learnt(case, vms)
        self._tell(f"replaying {days:.1f} days of {len(case.chosen.unique_ids)} VMs")

        def sizer() -> Sizer:
            granule = 1.0 if case.whole else 0.0
            return Sizer(point, model=outcomes, standing=standing, start=trace.start, first=case.first, granule=granule)

        done = case.run(sizer())
        scored = self._scored(case, done)
        policies = [policy_score(HEADROOM, scored)]
        day = DAY_S // trace.step_s
        for name, policy in (
            (NOW, Kept()),
            (PAST_PEAK, StaticPeak()),
            (DAY_PEAK, DayPeak(day)),
        ):
            self._tell(f"replaying {name} beside it")
            policies.append(policy_score(name, self._scored(case, case.run(policy))))
        curve = []
        for factor in FACTORS if asked.curve else ():
            self._tell(f"all sizes times {factor}")
            found = scored.score if float(factor) == 1 else case.score(case.run(sizer(), factor=float(factor)))
            curve.append(_curve_point(factor, found))
        table = _by_vm(case, done)
        decisions = decisions_table(case.chosen, done, lead=case.lead)
        provisioned = float(np.nansum(case.has[:, case.last - 1]))
        return SizingBacktest(
            made_at=format_utc(context.now),
            snapshot=self._snapshot,
            rows_digest=past.rows_digest,
            metric=self._metric,
            target=asked.target,
            interval_s=trace.step_s,
            lead_s=asked.lead_s,
            every_s=every_s,
            seed=asked.seed,
            protocol=context.artifacts.put_bytes(write_protocol(case.protocol).encode()),
            ids=asked.ids,
            scored_from=began,
            scored_to=case.moment(case.last),
            model=self._model,
            learnt_from=header.start if header else case.moment(0),
            learnt_to=header.end if header else began,
            point=decimals(asdict(point)),
            libraries=libraries(),
            vms=len(case.chosen.unique_ids),
            unit=unit_of(self._metric),
            provisioned=decimal(provisioned),
            given_back=_given_back(policies[0], provisioned),
            slo=decimals(asdict(case.protocol.slo4)),
            policies=tuple(policies),
            curve=tuple(curve),
            rejected=past.rejected,
            table=context.artifacts.put_bytes(table_bytes(table)),
            rows=table.num_rows,
            decisions=context.artifacts.put_bytes(table_bytes(decisions)),
            decided=decisions.num_rows,
        )

    def _learnt(self, case: Case, vms: Sequence[VM]) -> tuple[OutcomeModel, OperatingPoint, Standing]:
        """The model that was given, or one trained on every VM that was there before the window."""
        with needs("numpy"):
            import numpy as np
        ids = case.chosen.unique_ids
        if self._given:
            return self._given.outcomes, self._given.point, Standing.new(len(ids))
        past = case.trace.before(case.first)
        there = np.any(~np.isnan(past.capacity), axis=1)
        past = past.only([name for name, is_there in zip(past.unique_ids, there.tolist()) if is_there])
        self._tell(f"training on {case.first * past.step_s / DAY_S:.1f} days of {len(past.unique_ids)} VMs")
        held = held_back(self._context, past, vms, metric=self._metric)
        learnt_with = LEARNT_WITH[MEASURES[self._metric].target]
        trained = train_sizer(freed(past, held), learnt_with, lead=case.lead, every=case.every, seed=self._asked.seed)
        point = shipped(self._metric, self._asked.lead_s, follows=WHOLE if case.whole else AT_ONCE)
        self._tell("finding prices that keep the service level in that past")
        return trained.model, careful(trained, point, slo=case.protocol.slo4)[0], trained.standing_of(ids)

    def _scored(self, case: Case, done: Replayed) -> Scored:
        with needs("numpy"):
            import numpy as np
        rng = np.random.default_rng(self._asked.seed)
        return score_with_intervals(*case.window(done), slo=case.protocol.slo4, rng=rng, step_s=case.trace.step_s)


def _by_vm(case: Case, done: Replayed) -> pa.Table:
    """The rows of COLUMNS, by VM."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    sums = sums_by_vm(*case.window(done))
    hours = case.trace.step_s / HOUR_S
    with np.errstate(invalid="ignore", divide="ignore"):
        reclaimed = 100 * (1 - sums.size / sums.capacity)
        violations = 100 * sums.violated / sums.intervals
    columns = (
        pa.array(case.chosen.unique_ids, pa.string()),
        pa.array(sums.intervals.astype(np.int64)),
        *(pa.array(of * hours) for of in (sums.capacity, sums.size, sums.demand, sums.unserved)),
        *(pa.array(of.astype(np.int64)) for of in (sums.violated, sums.resized)),
        *(pa.array(of, from_pandas=True) for of in (reclaimed, violations)),  # nothing scored: null
    )
    return pa.table(dict(zip(COLUMNS, columns)))


def _curve_point(factor: str, found: Score) -> CurvePoint:
    return CurvePoint(
        factor,
        reclaimed=decimal(found.reclaimed),
        violations=decimal(found.violations),
        unserved=decimal(found.unserved_of_demand),
        slo4=found.slo4,
    )


def _given_back(ours: PolicyScore, provisioned: float) -> Figure:
    """Reclaimed as an amount of what there is."""
    share = next(figure for figure in ours.figures if figure.name == "reclaimed")
    amounts = (decimal(float(one) / 100 * provisioned) for one in (share.value, share.low, share.high))
    return Figure("given_back", *amounts)


def _told(context: Context, name: str, record: SizingBacktest) -> dict[str, Any]:
    """What a program would act on."""
    ours = record.policies[0]
    return {
        "backtest": name,
        "vms": record.vms,
        "scored_from": record.scored_from,
        "scored_to": record.scored_to,
        "slo4": ours.slo4,
        **figures_told(ours),
        "unit": record.unit,
        "provisioned": record.provisioned,
        "given_back": {name: getattr(record.given_back, name) for name in ("value", "low", "high")},
        "others": {
            one.policy: {name: one.value(name) for name in ("reclaimed", "violations", "unserved_of_demand")}
            | {"slo4": one.slo4}
            for one in record.policies[1:]
        },
        "curve": [asdict(point) for point in record.curve],
        "rejected": record.rejected,
        "protocol": record.protocol,
        "table": record.table,
        "table_url": context.artifacts.url(record.table),
        "decisions": record.decisions,
        "decisions_url": context.artifacts.url(record.decisions),
    }
