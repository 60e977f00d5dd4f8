# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a model: whether it may speak, for whom, when it takes over, when it must go, and when it has drifted.

A new model speaks for a share of the VMs first. It is compared with the current one on the same VMs and days. Models of
outcomes each in a closed loop: by the share of the time that a VM stands at its cap (demand above it is never seen, so
violations alone would flatter a model that starves its VMs), and by cost, the loss at the frozen operating point.
Models of quantiles by how often demand lay above the highest one, and by pinball loss. Whoever is certainly worse is
rolled back at once, whoever is not worse after enough days takes over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Optional

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import PPM, PPM_PER_PERCENT
from .._records.model import CANARY, CANDIDATE, CURRENT, OUTCOME, QUANTILE, RETIRED, ROLLED_BACK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from .._records.model import Model, Version

    Doubles = npt.NDArray[np.float64]

PROMOTE, ROLL_BACK, WAIT = "promote", "roll_back", "wait"
# Standard errors by which a model has to be worse to go at once (of those that are as good one in a hundred goes by
# chance), and to be kept waiting.
CERTAIN, LIKELY = 2.33, 1.0
TRIAL_VMS = 30  # on trial at the least, where a fleet has so many: fewer are not judged by, and some are silent
LEAST_DAYS = 1  # of a trial before anything is concluded: a day has every hour
PATIENCE = 3  # times the days of a trial after which a model that was not shown to be as good goes
# What is held and cost, and by how much a model may be worse: what is less matters to nobody.
MEASURES = {
    OUTCOME: (("time at the cap", 0.001), ("cost", 0.005)),  # shares of the time, and of capacity
    QUANTILE: (("time above the highest quantile", 0.01), ("loss", 0.02)),  # shares of the time, and of naive's loss
}

# CUSUM (Page, Biometrika 1954) on daily loss in standard deviations: half of one is slack, and at five it calls. That
# is once in some 900 days that do not depend on each other, and after about ten with a drift of one standard deviation
# (Montgomery, Introduction to Statistical Quality Control, chapter 9).
SLACK, CALLS = 0.5, 5.0
LEAST_DEVIATION = 0.02  # of the mean: what a few days said of it may be too little


@dataclass(frozen=True)
class Wanted:
    """What a model is wanted for, and what there is to use it with."""

    purpose: str
    metric: str
    target: str
    interval_s: int
    lead_s: int
    every_s: int
    features: tuple[str, ...]
    feature_version: int
    outcomes: int  # how many texts of trees
    libraries: Mapping[str, str]  # name -> version
    longest_s: int  # age of the newest telemetry learnt from, from which the model is stale


def refuse(model: Model, wanted: Wanted, *, now: datetime) -> None:
    """Raise ``model.foreign``, ``model.library`` or ``model.stale`` for a model that may not speak here and now."""
    for wrong, why in (
        (model.purpose != wanted.purpose, f"is one of {model.purpose}s"),
        (model.metric != wanted.metric or model.target != wanted.target, f"is for {model.target} {model.metric}"),
        (model.interval_s != wanted.interval_s, f"was trained for intervals of {model.interval_s} s"),
        (model.lead_s != wanted.lead_s, f"was trained for a lead of {model.lead_s} s"),
        (model.every_s != wanted.every_s, f"was trained for decisions every {model.every_s} s"),
        (model.feature_version != wanted.feature_version, f"has features of version {model.feature_version}"),
        (model.features != wanted.features, "was trained on other features"),
        (len(model.trees) != wanted.outcomes, f"foretells {len(model.trees)} outcomes"),
    ):
        if wrong:
            raise HeadroomError(
                "model.foreign", f"The model {why}.", advice="Train one for this use with model_train; see model_info."
            )
    for name in sorted({*model.libraries, *wanted.libraries}):
        version, here = model.libraries.get(name, ""), wanted.libraries.get(name, "")
        if _major(here) != _major(version):
            raise HeadroomError(
                "model.library",
                f"The model was trained with {name} {version or 'unknown'}; here is {here or 'none'}.",
                advice="Train anew with model_train, or install the version that it was trained with.",
            )
    age = now - parse_utc(model.end)
    if age > timedelta(seconds=wanted.longest_s):
        raise HeadroomError(
            "model.stale",
            f"The model knows nothing since {model.end}, {age.days} days ago.",
            advice="Train anew with model_train, on a schedule.",
        )


def _major(version: str) -> str:
    return version.partition(".")[0]


def on_trial(unique_id: str, model: str, share_ppm: int) -> bool:
    """Whether a canary of this digest and share speaks for a VM: always the same ones, and others for each model."""
    drawn = hashlib.sha256(f"{model} {unique_id}".encode()).digest()[:8]
    return int.from_bytes(drawn, "big") * PPM < share_ppm << 64


def trial_share(percent: int, vms: int) -> int:
    """Share in ppm of a fleet that a new model is to speak for: what is asked, and in a small fleet more."""
    return min(PPM, max(percent * PPM_PER_PERCENT, -(-TRIAL_VMS * PPM // max(vms, 1))))


def speakers(unique_ids: Sequence[str], versions: Sequence[Version]) -> list[str]:
    """The model that speaks for each VM, of the versions of one key; "" where none does."""
    canary, current = (of_status(versions, status) for status in (CANARY, CURRENT))
    others = current.model if current else ""
    if canary is None:
        return [others] * len(unique_ids)
    return [canary.model if on_trial(one, canary.model, canary.share_ppm) else others for one in unique_ids]


class Verdict(NamedTuple):
    """What is to become of a canary, and why."""

    step: str
    reason: str


@dataclass(frozen=True)
class Trial:
    """How V VMs fared, the same under both, by the MEASURES of the purpose."""

    purpose: str
    days: int  # whole ones
    held: Doubles  # [V] under the canary
    cost: Doubles
    reference_held: Doubles  # [V] under the current model, or what was expected of the canary
    reference_cost: Doubles


def judge(trial: Trial, *, days: int, least_vms: int) -> Verdict:
    """Promote a canary, roll it back, or wait. ``days``: of a trial that went well."""
    vms = len(trial.held)
    if trial.days < LEAST_DAYS or vms < least_vms:
        return Verdict(WAIT, f"{trial.days} days of {vms} VMs are too few: it takes {LEAST_DAYS} of {least_vms}")
    worse = []
    shown = True
    found = ((trial.held, trial.reference_held), (trial.cost, trial.reference_cost))
    for (name, tolerated), (ours, theirs) in zip(MEASURES[trial.purpose], found):
        more = ours - theirs
        mean = float(more.mean())
        error = float(more.std(ddof=1)) / vms**0.5 if vms > 1 else 0.0
        said = f"{name} {float(ours.mean()):.4f} against {float(theirs.mean()):.4f}"
        if mean - CERTAIN * error > tolerated:
            worse.append(said)
        shown = shown and mean - LIKELY * error <= tolerated
    if worse:
        return Verdict(ROLL_BACK, f"worse over {trial.days} days of {vms} VMs: {', '.join(worse)}")
    if shown and trial.days >= days:
        return Verdict(PROMOTE, f"not worse over {trial.days} days of {vms} VMs")
    if trial.days >= PATIENCE * days:
        return Verdict(ROLL_BACK, f"not shown to be as good over {trial.days} days of {vms} VMs")
    return Verdict(WAIT, f"no verdict after {trial.days} days of {vms} VMs")


def advanced(
    versions: Sequence[Version], verdict: Optional[Verdict], *, share_ppm: int, now_ms: int
) -> tuple[Version, ...]:
    """The versions of one key that change: the canary by its verdict, and the next candidate where nobody is on trial.

    A rollback leaves the current model as it is. Of several candidates the newest goes on trial, the others retire.
    """
    changed: list[Version] = []

    def move(version: Version, status: str, reason: str, *, share_ppm: int = 0) -> None:
        changed.append(replace(version, status=status, share_ppm=share_ppm, since_ms=now_ms, reason=reason))

    canary, current = (of_status(versions, status) for status in (CANARY, CURRENT))
    if canary and verdict and verdict.step == PROMOTE:
        move(canary, CURRENT, verdict.reason)
        if current:
            move(current, RETIRED, f"superseded by {canary.model}")
    if canary and verdict and verdict.step == ROLL_BACK:
        move(canary, ROLLED_BACK, verdict.reason)
    if canary and not changed:
        return ()
    waiting = sorted((one for one in versions if one.status == CANDIDATE), key=lambda one: (one.made_ms, one.model))
    for number, candidate in enumerate(reversed(waiting)):
        if number:
            move(candidate, RETIRED, f"superseded by {waiting[-1].model}")
        else:
            move(candidate, CANARY, f"on trial for {share_ppm / PPM_PER_PERCENT:g} % of the VMs", share_ppm=share_ppm)
    return tuple(changed)


class Drift(NamedTuple):
    """Whether the loss has left what was expected, on how many days' evidence, and how far."""

    alarm: bool
    days: int
    score: float  # CALLS and more: alarm
    mean: float  # loss
    expected: float


def drift(daily: Doubles, expected: Doubles) -> Drift:
    """Compare the daily loss [D] of a model in use, oldest first, with the one [E] of when it was trained."""
    with needs("numpy"):
        import numpy as np
    if len(daily) == 0 or len(expected) < 2:  # noqa: PLR2004 - a deviation takes two
        return Drift(alarm=False, days=len(daily), score=0.0, mean=0.0, expected=0.0)
    mean = float(expected.mean())
    deviation = max(float(expected.std(ddof=1)), LEAST_DEVIATION * abs(mean), 1 / PPM)
    # The sum since its lowest point so far is what CUSUM holds when it never falls below zero.
    path = np.concatenate([[0.0], np.cumsum((daily - mean) / deviation - SLACK)])
    scores = path - np.minimum.accumulate(path)
    return Drift(bool(scores.max() >= CALLS), len(daily), float(scores.max()), float(daily.mean()), mean)


def of_status(versions: Sequence[Version], status: str) -> Optional[Version]:
    """The one version of a key that is the canary or the current one."""
    return next((one for one in versions if one.status == status), None)
