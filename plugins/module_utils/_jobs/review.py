# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every model in use: promote a canary or roll it back, start the next trial, and say what has drifted.

All is replayed on the telemetry since, for a sample of the VMs that a model speaks for, with the operating point as it
was frozen: nothing is tuned here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional, Union

from .._core.canonical import digest
from .._core.clock import EPOCH
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM
from .._forecast.features import PAST_DAYS
from .._forecast.model_life import (
    LEAST_DAYS,
    ROLL_BACK,
    WAIT,
    Trial,
    Verdict,
    advanced,
    drift,
    judge,
    of_status,
    on_trial,
    trial_share,
)
from .._forecast.quantile_features import Clock
from .._records.model import CANARY, CURRENT, QUANTILE, Version
from .._records.series import DAY_S
from .._records.snapshot import Snapshot
from .._replay.loop import replay
from .._store import models
from .context import Result
from .loss import Loss, realised_loss
from .models import STALE_DAYS, Loaded, LoadedQuantiles, load, load_quantiles, shown, wrong_share
from .quantiles import foretold_loss
from .recorded import read_recorded
from .sizer import Sizer, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._records.vm import VM
    from .._replay.trace import Trace
    from .context import Context

    Model = Union[Loaded, LoadedQuantiles]

DRIFT_DAYS = 28  # looked back at most


@dataclass(frozen=True)
class Terms:
    """On which models are judged."""

    canary_days: int = 3  # of a trial that goes well
    least_vms: int = 20
    most_vms: int = 200  # replayed of each model
    share_percent: int = 10  # of the next trial
    stale_days: int = STALE_DAYS

    def check(self) -> None:
        """Raise ``model.request`` for what makes no sense."""
        for wrong, why in (
            (self.canary_days < 1, f"A trial of {self.canary_days} days is none."),
            (self.least_vms < 1, f"{self.least_vms} VMs are none to judge by."),
            (self.most_vms < self.least_vms, f"Of at most {self.most_vms} VMs there are never {self.least_vms}."),
            wrong_share(self.share_percent),
            (self.stale_days < 1, f"{self.stale_days} days make every model stale."),
        ):
            if wrong:
                raise HeadroomError("model.request", why, advice="Correct the options.")


def review(context: Context, terms: Terms, *, snapshot: str) -> Result:
    """Review all models by the VMs of a snapshot. Raises ``model.request``, ``artifact.*``, ``series.*``, ``store.*``.

    A model that is refused is no failure: a canary is rolled back, of a current one it is told.
    """
    terms.check()
    vms = sorted(context.artifacts.get(Snapshot, snapshot).vms, key=lambda vm: digest(vm.unique_id))
    with context.database.transaction() as connection:
        known = models.every(connection)
    now_ms = round(context.now.timestamp() * 1000)
    told: list[dict[str, Any]] = []
    warnings: list[str] = []
    changed = False
    for key in dict.fromkeys(version.key for version in known):
        versions = [version for version in known if version.key == key]
        canary, current = (of_status(versions, status) for status in (CANARY, CURRENT))
        in_use, refused = _loaded(context, current, terms)
        verdict = _verdict(context, terms, vms, canary, in_use)
        drifted = _drift(context, terms, vms, current, in_use)
        with context.database.transaction() as connection:
            fresh = models.of(connection, key)
            # Another controller was quicker: what was found is about another trial.
            stands = canary is None or canary in fresh
            changes = advanced(
                fresh,
                verdict if stands else None,
                share_ppm=trial_share(terms.share_percent, len(vms)),
                now_ms=now_ms,
            )
            for version in changes:
                models.put(context.database, connection, version, run_id=context.run, who=context.who)
        changed |= bool(changes)
        told.append(
            {
                "purpose": key.purpose,
                "metric": key.metric,
                "lead_s": key.lead_s,
                "canary": canary.model if canary else "",
                "verdict": verdict._asdict() if verdict else {},
                "current": current.model if current else "",
                "refused": refused,
                "drift": drifted,
                "changes": [shown(version) for version in changes],
            }
        )
        late = canary is not None and canary.since_ms <= now_ms - terms.canary_days * DAY_S * 1000
        warnings += _warnings(key.metric, verdict, refused, drifted, late=late)
    return Result(changed=changed, values={"reviewed": told}, warnings=tuple(warnings))


def _warnings(
    metric: str, verdict: Optional[Verdict], refused: str, drifted: dict[str, Any], *, late: bool
) -> Iterator[str]:
    if verdict and verdict.step == ROLL_BACK:
        yield f"The canary for {metric} was rolled back: {verdict.reason}."
    elif verdict and verdict.step == WAIT and late:
        yield f"The canary for {metric} is still on trial: {verdict.reason}."
    if refused:
        yield f"The current model for {metric} does not speak. {refused}"
    if drifted.get("alarm"):
        yield (
            f"The current model for {metric} has drifted: a daily loss of {drifted['loss']} where "
            f"{drifted['expected']} was expected. Train anew; if that does not help, tune the operating point anew."
        )


def _loaded(context: Context, version: Optional[Version], terms: Terms) -> tuple[Optional[Model], str]:
    """A model, or why it is refused."""
    if version is None:
        return None, ""
    try:
        read = load_quantiles if version.key.purpose == QUANTILE else load
        return read(context.artifacts, version.model, now=context.now, longest_s=terms.stale_days * DAY_S), ""
    except HeadroomError as error:
        if error.code.startswith(("store.", "library.")):
            raise
        return None, str(error)


def _verdict(
    context: Context, terms: Terms, vms: Sequence[VM], canary: Optional[Version], current: Optional[Model]
) -> Optional[Verdict]:
    """What is to become of a canary; None where there is none."""
    if canary is None:
        return None
    model, refused = _loaded(context, canary, terms)
    if model is None:
        return Verdict(ROLL_BACK, refused)
    some = [vm for vm in vms if on_trial(vm.unique_id, canary.model, canary.share_ppm)][: terms.most_vms]
    trial = _trial(context, some, canary, model, current)
    least_vms = terms.least_vms
    if canary.share_ppm == PPM:  # there are no more VMs to wait for; some never have telemetry
        least_vms = min(least_vms, -(-len(some) // 2))
    return judge(trial, days=terms.canary_days, least_vms=least_vms)


def _trial(context: Context, vms: Sequence[VM], canary: Version, model: Model, current: Optional[Model]) -> Trial:
    """The canary against the current model on the same VMs; where there is none, against what its training expects.

    So it is where the current one is for another use, of which this telemetry says nothing. A model of quantiles is
    then held against what is forecast without any.
    """
    with needs("numpy"):
        import numpy as np
    purpose = canary.key.purpose
    since, days = _since(context, canary, model)
    if days < LEAST_DAYS or not vms:
        nothing = np.zeros(0)
        return Trial(purpose, days, nothing, nothing, nothing, nothing)
    trace = _trace(context, vms, model, since=since, days=days)
    held, cost = _fared(trace, model).by_vm()
    if current is not None and current.header.use == model.header.use:
        return Trial(purpose, days, held, cost, *_fared(trace, current).by_vm())
    if isinstance(model, LoadedQuantiles):  # it has to better what speaks without any
        return Trial(purpose, days, held, cost, *_fared(trace, model, trained=False).by_vm())
    expected = model.header.expected
    reference = [
        np.full(len(held), sum(of) / max(len(of), 1) / PPM)
        for of in ([day.held_ppm for day in expected], [day.cost_ppm for day in expected])
    ]
    return Trial(purpose, days, held, cost, *reference)


def _drift(
    context: Context, terms: Terms, vms: Sequence[VM], current: Optional[Version], model: Optional[Model]
) -> dict[str, Any]:
    """Loss of the current model since it is that, against what its training expects; empty before its first day."""
    with needs("numpy"):
        import numpy as np
    if current is None or model is None:
        return {}
    since, days = _since(context, current, model)
    some = vms[: terms.most_vms]
    if days < 1 or not some:
        return {}
    _held, cost = _fared(_trace(context, some, model, since=since, days=days), model).by_day()
    found = drift(cost, np.array([day.cost_ppm for day in model.header.expected]) / PPM)
    return {
        "alarm": found.alarm,
        "days": found.days,
        "score": f"{found.score:.2f}",
        "loss": f"{found.mean:.4f}",
        "expected": f"{found.expected:.4f}",
    }


def _since(context: Context, version: Version, model: Model) -> tuple[int, int]:
    """The interval since the epoch from which a version is looked at, and whole days from there, DRIFT_DAYS at most."""
    step_s = model.header.interval_s
    now = (context.now - EPOCH) // timedelta(seconds=step_s)
    begun = -(-version.since_ms // (step_s * 1000))
    per_day = DAY_S // step_s
    days = min(max(now - begun, 0) // per_day, DRIFT_DAYS)
    return now - days * per_day if days == DRIFT_DAYS else begun, days


def _trace(context: Context, vms: Sequence[VM], model: Model, *, since: int, days: int) -> Trace:
    """The telemetry of the days looked at, after the past that a decision looks at."""
    header = model.header
    begin = EPOCH + timedelta(seconds=since * header.interval_s)
    start, end = begin - timedelta(seconds=_looked_back(model) * header.interval_s), begin + timedelta(days=days)
    found, _digest = read_recorded(
        context, vms, metric=header.metric, target=header.target, start=start, end=end, step_s=header.interval_s
    )
    return found.trace


def _looked_back(model: Model) -> int:
    """Intervals that a decision or a forecast looks at."""
    if isinstance(model, LoadedQuantiles):
        return Clock(model.header.interval_s).columns
    return PAST_DAYS * DAY_S // model.header.interval_s


def _fared(trace: Trace, model: Model, *, trained: bool = True) -> Loss:
    """How forecasts, or sizes, by this model did on the days after the past that they look at; or those without it."""
    if isinstance(model, LoadedQuantiles):
        first, metric = _looked_back(model), model.header.metric
        return foretold_loss(trace, model.quantiles, metric, first=first, trained=trained)
    return _replayed(trace, model)


def _replayed(trace: Trace, model: Loaded) -> Loss:
    """What sizes by this model come to; each VM starts without headroom and with nothing spent."""
    with needs("numpy"):
        pass
    header, vms = model.header, len(trace.unique_ids)
    first = _looked_back(model)
    standing = Standing.new(vms)
    sizer = Sizer(model.point, model=model.outcomes, standing=standing, start=trace.start, first=first)
    lead, every = header.lead_s // header.interval_s, header.every_s // header.interval_s
    done = replay(sizer, trace, first=first, last=trace.steps, lead=lead, every=every)
    return realised_loss(trace, done.allocation, model.point, first=first)
