# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Train models on stored telemetry, where a new one is due, and put them on trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.canonical import digest
from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._forecast.features import HOUR_S, VERSION
from .._forecast.model_life import advanced, refuse, trial_share
from .._forecast.outcome_model import ROUNDS, TREES
from .._forecast.request import ascending
from .._forecast.tree_text import essential
from .._records.forecast import TARGET_MAXIMUM, TARGETS
from .._records.model import (
    CANDIDATE,
    METRICS,
    OUTCOME,
    PURPOSES,
    QUANTILE,
    ROLLED_BACK,
    Day,
    Key,
    Model,
    Version,
    read_model,
)
from .._records.series import DAY_S
from .._records.snapshot import Snapshot
from .._store import models
from .context import Result
from .loss import realised_loss
from .models import decimals, libraries, wanted_here, wrong_share
from .points import replaced, shipped
from .quantiles import TRAINERS, Lesson, Teaching, expected, learnt, libraries_of, parameters_of, parts_of, prior_of
from .quantiles import TREES as QUANTILE_TREES
from .recorded import MEASURES, known_part, newest_at, newest_end, read_recorded
from .sizer import OperatingPoint
from .sizer_training import LEARNT_WITH, SERVICE, careful, freed, train_sizer
from .sizes import held_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._records.vm import VM
    from .context import Context
    from .recorded import Recorded

UNTRAINED = ("forecast.untrained", "forecast.model")  # a young or small fleet is no failure of a schedule
_NOTHING: dict[str, Any] = {"model": "", "status": "", "vms": 0, "rows": 0, "start": "", "end": "", "rejected": {}}


@dataclass(frozen=True)
class Course:
    """What is learnt, from how much, and when anew."""

    purpose: str = OUTCOME
    engine: str = QUANTILE_TREES  # of a model of quantiles
    target: str = TARGET_MAXIMUM
    lead_s: int = 300
    every_s: int = 3600  # from one decision to the next
    series_interval_s: int = 300
    history_s: int = 28 * DAY_S
    most_vms: int = 500
    seed: int = 0
    due_days: int = 7
    share_percent: int = 10  # of the VMs that a canary speaks for
    quantiles: tuple[str, ...] = ("0.5", "0.9", "0.95", "0.98")  # decimal strings, ascending
    minute: Optional[int] = None  # of the hour, at which forecasts are made; None: that of the training

    def check(self) -> None:
        """Raise ``model.request`` for what makes no sense."""
        interval_s = max(self.series_interval_s, 1)
        for wrong, why in (
            (self.purpose not in PURPOSES, f"The purpose {self.purpose!r} is none of {', '.join(PURPOSES)}."),
            (self.engine not in TRAINERS, f"The engine {self.engine!r} is none of {', '.join(TRAINERS)}."),
            (
                self.engine != QUANTILE_TREES and self.purpose != QUANTILE,
                f"Models of {self.purpose}s are {QUANTILE_TREES} and no {self.engine} ones.",
            ),
            (not ascending(self.quantiles), f"The quantiles {self.quantiles} do not ascend between 0 and 1."),
            (self.minute not in (None, *range(60)), f"An hour has no minute {self.minute}."),
            (self.target not in TARGETS, f"The target {self.target!r} is none of {', '.join(TARGETS)}."),
            (
                self.series_interval_s < 1 or HOUR_S % interval_s != 0,
                f"An interval of {self.series_interval_s} s does not divide the hour.",
            ),
            (
                self.lead_s < 0 or self.lead_s % interval_s != 0,
                f"The lead of {self.lead_s} s is no multiple of the interval.",
            ),
            (
                self.every_s < 1 or self.every_s % interval_s != 0,
                f"Decisions every {self.every_s} s are at no multiple of the interval.",
            ),
            (
                not DAY_S <= self.history_s <= 366 * DAY_S,
                f"The history of {self.history_s} s is not between a day and a year.",
            ),
            (self.most_vms < 1, f"{self.most_vms} VMs are none to learn from."),
            (not 0 <= self.seed < 2**31, f"The seed {self.seed} is not between 0 and 2^31 - 1."),
            (self.due_days < 0, f"{self.due_days} days are fewer than none."),
            wrong_share(self.share_percent),
        ):
            if wrong:
                raise _bad(why)


def train(
    context: Context,
    course: Course,
    *,
    snapshot: str,
    metrics: Sequence[str] = METRICS,
    point: Optional[Mapping[str, float]] = None,
) -> Result:
    """Train a model for each metric whose newest is ``due_days`` old, or foreign by now, and register it.

    Of more than ``most_vms`` a sample is learnt from, always the same one. A model of outcomes is to be used at the
    point that is shipped for its metric and lead, of which ``point`` replaces numbers; unless it names prices of
    service, the point is made ``careful`` for this fleet. The same telemetry, options and libraries give the same
    digest. Too little telemetry is told, not raised. Raises ``model.request``, ``artifact.*``, ``series.*``,
    ``store.*``.
    """
    course.check()
    if not metrics or set(metrics) - set(METRICS):
        raise _bad(f"Models are for {' and '.join(METRICS)}.")
    asked = point or {}
    points = {metric: replaced(shipped(metric, course.lead_s), asked) for metric in metrics}
    care = not asked.keys() & set(SERVICE)  # a person's own prices stay
    vms = sorted(context.artifacts.get(Snapshot, snapshot).vms, key=lambda vm: digest(vm.unique_id))
    some = vms[: course.most_vms]
    trained: dict[str, Any] = {}
    warnings: list[str] = []
    changed = False
    for metric in dict.fromkeys(metrics):
        key = Key(course.purpose, metric, course.lead_s if course.purpose == OUTCOME else 0)
        with context.database.transaction() as connection:
            known = models.of(connection, key)
        if not _due(context, known, course):
            trained[metric] = {**_NOTHING, "reason": f"none is due: the newest is less than {course.due_days} days old"}
            continue
        found, rows_digest = _past(context, course, some, metric=metric)
        try:
            header = _trained(
                context, course, found, points[metric], some, metric=metric, rows_digest=rows_digest, care=care
            )
        except HeadroomError as error:
            if error.code not in UNTRAINED:
                raise
            trained[metric] = {**_NOTHING, "reason": error.message, "rejected": found.rejected}
            warnings.append(f"No model was trained for {metric}. {error.message} {error.advice}")
            continue
        name = context.artifacts.put(header)
        version, new = _registered(context, key, name, course, known=known, vms=len(vms))
        changed |= new
        if version.model != name:
            trained[metric] = {**_NOTHING, "reason": f"another controller trained {version.model} meanwhile"}
            continue
        trained[metric] = {
            "model": version.model,
            "status": version.status,
            "reason": version.reason,
            "vms": header.vms,
            "rows": header.rows,
            "start": header.start,
            "end": header.end,
            "rejected": found.rejected,
        }
        if found.rejected:
            warnings.append(f"{len(found.rejected)} of {len(some)} VMs were not learnt from for {metric}.")
    return Result(changed=changed, values={"trained": trained}, warnings=tuple(warnings))


def _past(context: Context, course: Course, vms: Sequence[VM], *, metric: str) -> tuple[Recorded, str]:
    """The whole intervals that are over, and the digest of the rows read."""
    step = timedelta(seconds=course.series_interval_s)
    end = newest_end(context.now, course.series_interval_s)
    start = end - timedelta(seconds=course.history_s) // step * step
    return read_recorded(
        context, vms, metric=metric, target=course.target, start=start, end=end, step_s=course.series_interval_s
    )


def _trained(
    context: Context,
    course: Course,
    found: Recorded,
    point: OperatingPoint,
    vms: Sequence[VM],
    *,
    metric: str,
    rows_digest: str,
    care: bool,
) -> Model:
    """Train, and store the trees. Raises one of UNTRAINED."""
    past = known_part(found.trace)
    if not past.unique_ids:
        raise HeadroomError(UNTRAINED[0], "No VM has telemetry to learn from.", advice="Collect some for nine days.")
    lesson = Lesson(past, metric, held_back(context, past, vms, metric=metric))
    quantiles = course.purpose == QUANTILE
    made = _of_quantiles(course, lesson) if quantiles else _of_outcomes(course, lesson, point, care=care)
    return Model(
        purpose=course.purpose,
        metric=metric,
        target=course.target,
        interval_s=past.step_s,
        lead_s=made.lead_s,
        every_s=made.every_s,
        start=format_utc(past.start),
        end=format_utc(past.start + timedelta(seconds=past.steps * past.step_s)),
        rows_digest=rows_digest,
        vms=len(past.unique_ids),
        rows=made.rows,
        features=made.features,
        feature_version=made.feature_version,
        libraries=made.libraries,
        seed=course.seed,
        parameters=decimals(made.parameters),
        point=decimals(made.point),
        trees=tuple(context.artifacts.put_bytes(part) if part else "" for part in made.parts),
        expected=made.expected,
    )


@dataclass(frozen=True)
class _Made:
    """What differs between the purposes."""

    lead_s: int
    every_s: int
    rows: int
    features: tuple[str, ...]
    feature_version: int
    parameters: dict[str, Any]
    point: dict[str, Any]
    parts: tuple[bytes, ...]  # texts of trees, b"" of an outcome that was never seen; or weights
    libraries: dict[str, str]
    expected: tuple[Day, ...]


def _of_outcomes(course: Course, lesson: Lesson, point: OperatingPoint, *, care: bool) -> _Made:
    step_s = lesson.trace.step_s
    lead, every = (of // step_s for of in (course.lead_s, course.every_s))
    newest = newest_at(lesson.trace, course.minute, cycle=HOUR_S // step_s)
    past, held = lesson.trace.before(newest), lesson.censored[:, :newest]
    learnt_with = LEARNT_WITH[MEASURES[lesson.metric].target]
    done = train_sizer(freed(past, held), learnt_with, lead=lead, every=every, seed=course.seed)
    point, allocation = careful(done, point) if care else (point, done.sized(point))
    loss = realised_loss(past, allocation, point, first=done.first)
    return _Made(
        lead_s=course.lead_s,
        every_s=course.every_s,
        rows=done.model.rows,
        features=done.model.features,
        feature_version=VERSION,
        parameters={**TREES, "rounds": ROUNDS},
        point=asdict(point),
        parts=tuple(essential(text).encode() if text else b"" for text in done.model.trees),
        libraries=libraries(),
        expected=loss.expected(),
    )


def _of_quantiles(course: Course, lesson: Lesson) -> _Made:
    teaching = Teaching(course.quantiles, course.minute, course.seed, course.engine)
    model = learnt(lesson, teaching)
    return _Made(
        lead_s=0,
        every_s=lesson.trace.step_s,
        rows=model.rows,
        features=model.features,
        feature_version=model.feature_version,
        parameters=parameters_of(model, prior_of(lesson, model)),
        point={},
        parts=parts_of(model),
        libraries=libraries_of(model),
        expected=expected(lesson, teaching),
    )


def _registered(
    context: Context, key: Key, name: str, course: Course, *, known: Sequence[Version], vms: int
) -> tuple[Version, bool]:
    """Put a model among the versions, and on trial where nobody is; where it, or one not ``known``, is there: that."""
    now_ms = round(context.now.timestamp() * 1000)
    fresh = Version(key, name, CANDIDATE, 0, made_ms=now_ms, since_ms=now_ms, reason="trained")
    share_ppm = trial_share(course.share_percent, vms)
    with context.database.transaction() as connection:
        there = {version.model: version for version in models.of(connection, key)}
        quicker = there.keys() - {version.model for version in known}
        if name in there or quicker:
            return there[name if name in there else min(quicker)], False
        steps = (fresh, *advanced([*there.values(), fresh], None, share_ppm=share_ppm, now_ms=now_ms))
        for version in steps:
            models.put(context.database, connection, version, run_id=context.run, who=context.who)
    return next(version for version in reversed(steps) if version.model == name), True


def _due(context: Context, known: Sequence[Version], course: Course) -> bool:
    """Whether the newest version is that old, is for another use, or would be refused by now for more than its age.

    One that was rolled back counts by its age and use alone: what it was learnt from has not changed much since.
    """
    if not known:
        return True
    newest = known[0]
    if context.now.timestamp() * 1000 - newest.made_ms >= course.due_days * DAY_S * 1000:
        return True
    try:
        header = read_model(context.artifacts.get_bytes(newest.model))
        if _is_for_another_use(header, course):
            return True
        if newest.status == ROLLED_BACK:
            return False
        refuse(header, wanted_here(header), now=parse_utc(header.end))
    except HeadroomError as error:
        if error.code.startswith("store."):
            raise
        return True
    return False


def _is_for_another_use(header: Model, course: Course) -> bool:
    """Whether a forecast as the course wants it would refuse the model."""
    every_s = course.every_s if course.purpose == OUTCOME else course.series_interval_s
    if header.use != (course.series_interval_s, course.target, every_s):
        return True
    if course.purpose == OUTCOME:
        return False
    said = (header.parameters.get("engine", QUANTILE_TREES), header.parameters["levels"])
    return said != (course.engine, " ".join(course.quantiles))


def _bad(why: str) -> HeadroomError:
    return HeadroomError("model.request", why, advice="Correct the options.")
