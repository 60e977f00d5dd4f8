# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One metric of a fleet laid out for a replay of sizes: who is replayed, when, and what must be known before."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._forecast.features import HOUR_S, PAST_DAYS
from .._records.demand import DEMANDS
from .._records.forecast import TARGET_MAXIMUM
from .._records.series import CPU_MILLICORES, DAY_S
from .._records.sizing_backtest import Figure, PolicyScore
from .._replay.baselines import Scaled, Whole, replay_within
from .._replay.protocol import derive_protocol
from .._replay.score import Score, score
from .recorded import MEASURES, known_part, newest_end, read_recorded
from .sizer_training import SETTLE_DAYS
from .train import Course

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from .._records.model import Model
    from .._records.vm import VM
    from .._replay.loop import Policy, Replayed
    from .._replay.protocol import ReplayProtocol
    from .._replay.score import Scored
    from .._replay.trace import Trace
    from .context import Context

    Doubles = npt.NDArray[np.float64]

LEAST_DAYS = 3  # without training: a day to know a VM by, and two to score
TRAINED_DAYS = PAST_DAYS + SETTLE_DAYS  # before the first moment that can be learnt from


@dataclass(frozen=True)
class Asked:
    """What is replayed."""

    target: str = TARGET_MAXIMUM
    lead_s: int = 300
    series_interval_s: int = 300
    history_s: int = 28 * DAY_S
    most_vms: int = 500
    ids: str = "all"
    whole_vcpus: bool = False
    curve: bool = True
    seed: int = 0

    def check(self, *, every_s: int) -> None:
        """Raise ``model.request`` for what makes no sense."""
        names = ("target", "lead_s", "series_interval_s", "history_s", "most_vms", "seed")
        Course(every_s=every_s, **{name: getattr(self, name) for name in names}).check()


@dataclass(frozen=True)
class Case:
    """One metric of the fleet, laid out, and when it is scored.

    Policies decide with what a VM may have at most, as a plan does; what they may save is of what it has.
    """

    trace: Trace  # every VM; capacity is what it may have at most
    chosen: Trace  # those that are scored
    has: Doubles  # [V, T], what those have
    protocol: ReplayProtocol
    first: int
    last: int
    lead: int
    every: int
    whole: bool

    def run(self, policy: Policy, *, factor: float = 1.0) -> Replayed:
        """Let a policy decide over the window."""
        wanted = policy if factor == 1 else Scaled(policy, factor)
        return replay_within(
            Whole(wanted) if self.whole else wanted,
            self.chosen, self.has, first=self.first, last=self.last, lead=self.lead, every=self.every,
        )  # fmt: skip

    def window(self, done: Replayed) -> tuple[Any, Any, Any]:
        """Demand, sizes and what there is over the scored time, [V, T]."""
        with needs("numpy"):
            import numpy as np
        cut = slice(self.first, self.last)
        has = self.has[:, cut]
        return np.minimum(self.chosen.demand[:, cut], has), done.allocation[:, cut], has

    def score(self, done: Replayed) -> Score:
        """The figures alone."""
        return score(*self.window(done), slo=self.protocol.slo4, step_s=self.trace.step_s)

    def moment(self, column: int) -> str:
        """When an interval begins."""
        return format_utc(self.trace.start + timedelta(seconds=column * self.trace.step_s))


@dataclass(frozen=True)
class Past:
    """What was read."""

    trace: Trace  # from the first interval that is known
    has: dict[str, float]  # unique_id -> size
    rejected: dict[str, str]  # unique_id -> why
    rows_digest: str


def read_past(context: Context, asked: Asked, vms: Sequence[VM], *, metric: str) -> Past:
    """The whole intervals that are over."""
    step = timedelta(seconds=asked.series_interval_s)
    end = newest_end(context.now, asked.series_interval_s)
    start = end - timedelta(seconds=asked.history_s) // step * step
    found, rows_digest = read_recorded(
        context, vms, metric=metric, target=asked.target, start=start, end=end, step_s=asked.series_interval_s
    )
    has = {vm.unique_id: float(vm.size(MEASURES[metric].resource)) for vm in vms}
    return Past(known_part(found.trace), has, found.rejected, rows_digest)


def lay(
    past: Past, asked: Asked, *, metric: str, every_s: int, rules: Optional[ReplayProtocol], model: Optional[Model]
) -> Case:
    """Lay the scored window over what was read; without a ``model`` there must be enough before it to train one.

    Raises ``backtest.young``, ``backtest.look_ahead``, ``backtest.nobody``.
    """
    with needs("numpy"):
        import numpy as np
    trace = past.trace
    before_s = 0 if model else TRAINED_DAYS * DAY_S + asked.lead_s + every_s
    if rules is None:
        known_s = trace.steps * trace.step_s if trace.unique_ids else 0
        needed_s = max(LEAST_DAYS * DAY_S, (before_s + HOUR_S) * 3 // 2)  # a third of it is scored
        if known_s < needed_s:
            raise _young(metric, known_s, needed_s)
        end = trace.start + timedelta(seconds=known_s)
        protocol = replace(derive_protocol(trace.unique_ids, start=trace.start, end=end), decide_every_s=every_s)
    else:
        protocol = rules
    first, last = trace.column(protocol.scored_from), trace.column(protocol.scored_to)
    if not 0 < first < last or first * trace.step_s <= before_s:
        raise _young(metric, first * trace.step_s, before_s + trace.step_s, where=" before the scored window")
    if model and parse_utc(model.end) > protocol.scored_from:
        raise HeadroomError(
            "backtest.look_ahead",
            f"The model was learnt from telemetry up to {model.end}, after {format_utc(protocol.scored_from)}, when "
            "the scored window begins.",
            advice="Leave the model out, to train one on what lies before the window, or score a later one.",
        )
    floor = protocol.floor(MEASURES[metric].target)
    with np.errstate(invalid="ignore"):
        trace = replace(trace, floor=np.minimum(floor.least, floor.share * trace.capacity))
    chosen = trace.only(protocol.ids(asked.ids) or trace.unique_ids)
    if not chosen.unique_ids:
        raise HeadroomError(
            "backtest.nobody", f"None of the VMs ({asked.ids}) has telemetry.", advice="Look at ids and protocol."
        )
    has = np.array([past.has[name] for name in chosen.unique_ids])[:, None]
    has = np.where(np.isnan(chosen.capacity), np.nan, has)
    return Case(
        trace, chosen, has, protocol, first, last, lead=asked.lead_s // trace.step_s, every=every_s // trace.step_s,
        whole=asked.whole_vcpus and metric == CPU_MILLICORES,
    )  # fmt: skip


def policy_score(name: str, scored: Scored) -> PolicyScore:
    """The figures of a policy, as they are stored."""
    unknown = (math.nan, math.nan)
    figures = tuple(
        Figure(
            one.name, decimal(getattr(scored.score, one.name)), *map(decimal, scored.intervals.get(one.name, unknown))
        )
        for one in fields(Score)
        if one.name not in ("vms", "slo4")
    )
    return PolicyScore(name, figures, scored.score.slo4)


def figures_told(score: PolicyScore) -> dict[str, dict[str, str]]:
    """Each figure by its name, for a program."""
    return {one.name: {"value": one.value, "low": one.low, "high": one.high} for one in score.figures}


def unit_of(metric: str) -> str:
    """The unit of sizes."""
    return DEMANDS[MEASURES[metric].resource].unit


def decimal(number: float) -> str:
    """Four digits behind the point; "" for what is not known."""
    return f"{number:.4f}" if math.isfinite(number) else ""


def _young(metric: str, known_s: float, needed_s: float, *, where: str = "") -> HeadroomError:
    return HeadroomError(
        "backtest.young",
        f"There are {known_s / DAY_S:.1f} days of telemetry for {metric}{where}; it takes "
        f"{math.ceil(needed_s / DAY_S)}.",
        advice="Collect for longer, import what another monitor has kept, or give a longer history_s.",
    )
