# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The size a VM should have: a function of the forecast and the policy, in whole numbers.

Two sizes follow from the upper bound of demand: the *least*, at ``target_use_percent``, and the *most*, at the
stricter ``shrink_target_use_percent`` and never below what the VM really used. Below the least it grows to it, above
the most it shrinks to it, between them it stays. Neither depends on the size the VM has, so planning again after the
act, with the same forecast, finds it between the two: nothing to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Optional

from .._core.clock import parse_utc
from .._core.units import MILLICORES_PER_VCPU, PPM, ceil_div
from .._policy.settings import Settings, Sizing
from .._records.forecast import Choice
from .._records.series import CPU_MILLICORES, MEMORY_USED_MIB
from .._records.vm import GROW, MEMORY_MIB, SHRINK, VCPUS
from .bounds import BAD_VALUE, NO_VALUE, OVER_VALUE

SECONDS_PER_MINUTE = 60
SECONDS_PER_DAY = 86400
PPM_PER_PERCENT = PPM // 100


@dataclass(frozen=True)
class Demand:
    """What a resource's demand is measured in: the metric, and how much of it one unit of size serves."""

    metric: str
    per_unit: int
    unit: str  # of the size, for people


DEMANDS = {
    VCPUS: Demand(metric=CPU_MILLICORES, per_unit=MILLICORES_PER_VCPU, unit="vCPU"),
    MEMORY_MIB: Demand(metric=MEMORY_USED_MIB, per_unit=1, unit="MiB"),
}

_NO_BOUND = {
    NO_VALUE: ("no_forecast", "there is no forecast of"),
    BAD_VALUE: ("bad_forecast", "there is no usable number in the forecast of"),
    OVER_VALUE: ("forecast_over", "the past is all there is in the forecast of"),
}


class Wanted(NamedTuple):
    """The size wanted; ``direction`` "" with a code that says why the VM stays as it is."""

    size: int
    direction: str
    code: str
    reason: str
    line: int


@dataclass(frozen=True)
class Clock:
    """Ages of times as texts; most series end at the same moment."""

    now: datetime
    _known: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def age_s(self, text: str) -> int:
        """Whole seconds from then to now; negative in the future."""
        if text not in self._known:
            self._known[text] = int((self.now - parse_utc(text)).total_seconds())
        return self._known[text]


def wanted_size(
    resource: str, *, size: int, granule: int, upper: int, choice: Optional[Choice], settings: Settings, clock: Clock
) -> Wanted:
    """Decide for one resource of one VM.

    ``upper`` is the bound of demand in the metric's unit, ``choice`` what is known of the series, ``granule`` what
    every size is a multiple of. Source of the asymmetry: AWS predictive scaling and Kubernetes VPA, where a forecast
    may raise a size at once and lower it only against a full history.
    """
    sizing, demand = settings.sizing[resource], DEMANDS[resource]
    if upper < 0:
        code, what = _NO_BOUND[upper]
        return Wanted(size, "", code, f"{what} {demand.metric}", 0)
    floor = _up(sizing.minimum, granule)
    least = max(_size_for(upper, sizing.target_use_percent, demand, granule), floor)
    bound = f"P{_percentile(sizing.quantile)} of demand is at most {_amount(upper, demand)}"
    if size < least:
        return _grow(size, least, granule, sizing=sizing, demand=demand, bound=bound)
    most = max(_size_for(upper, sizing.shrink_target_use_percent, demand, granule), floor)
    if size <= most:
        line = sizing.lines["minimum" if most == floor else "target_use_percent"]
        return Wanted(size, "", "fits", f"{bound}: {least} to {most} {demand.unit} fit, it has {size}", line)
    return _shrink(
        size, most, granule, bound=bound, sizing=sizing, demand=demand, choice=choice, settings=settings, clock=clock
    )


def _grow(size: int, least: int, granule: int, *, sizing: Sizing, demand: Demand, bound: str) -> Wanted:
    ceiling = sizing.maximum // granule * granule or sizing.maximum
    takes = f"{bound}: at {sizing.target_use_percent} % use that takes {least} {demand.unit}, it has {size}"
    if least <= ceiling:
        return Wanted(least, GROW, GROW, takes, sizing.lines["target_use_percent"])
    limit = f"{takes}; the policy's maximum is {sizing.maximum}"
    if ceiling <= size:
        return Wanted(size, "", "policy_maximum", limit, sizing.lines["maximum"])
    return Wanted(ceiling, GROW, GROW, limit, sizing.lines["maximum"])


def _shrink(
    size: int,
    most: int,
    granule: int,
    *,
    bound: str,
    sizing: Sizing,
    demand: Demand,
    choice: Optional[Choice],
    settings: Settings,
    clock: Clock,
) -> Wanted:
    if choice is None:
        return Wanted(size, "", "no_history", f"it could shrink, but no history of {demand.metric} is known", 0)
    against = _why_not_shrink(choice, demand, settings, clock)
    if against is not None:
        return against._replace(size=size)
    used = choice.recent_maximum
    by_use = max(
        _size_for(used, sizing.shrink_target_use_percent, demand, granule),
        _up(ceil_div(used * (100 + sizing.guest_floor_percent), 100 * demand.per_unit), granule),
    )
    line = sizing.lines["shrink_target_use_percent"]
    lately = f"it lately used {_amount(used, demand)}"
    if by_use >= size:
        return Wanted(size, "", "recent_use", f"{bound}, but {lately}: that takes {by_use} {demand.unit}", line)
    wanted = max(most, by_use)
    reason = f"{bound} and {lately}: {wanted} {demand.unit} are enough, it has {size}"
    return Wanted(wanted, SHRINK, SHRINK, reason, line)


def _why_not_shrink(choice: Choice, demand: Demand, settings: Settings, clock: Clock) -> Optional[Wanted]:
    """The first thing that speaks against any shrink: what is not known cannot be given away."""
    history = settings.history_days * SECONDS_PER_DAY
    days = f"{choice.history_s / SECONDS_PER_DAY:.1f}"
    coverage = choice.coverage_ppm // PPM_PER_PERCENT
    fresh = settings.freshness_minutes * SECONDS_PER_MINUTE
    age = clock.age_s(choice.observed_until) if choice.observed_until else None
    metric = demand.metric
    for against, code, reason, key in (
        (
            choice.recent_maximum < 0 or age is None,
            "no_fresh_metric",
            f"it could shrink, but {metric} is not known",
            "freshness_minutes",
        ),
        (
            age is not None and abs(age) > fresh,
            "stale_telemetry",
            f"it could shrink, but the newest {metric} is {(age or 0) // SECONDS_PER_MINUTE} minutes old",
            "freshness_minutes",
        ),
        (
            choice.history_s < history,
            "short_history",
            f"it could shrink, but {metric} is known for {days} of {settings.history_days} days",
            "history_days",
        ),
        (
            choice.coverage_ppm < settings.coverage_percent * PPM_PER_PERCENT,
            "low_coverage",
            f"it could shrink, but {metric} is known for {coverage} % of its history",
            "coverage_percent",
        ),
    ):
        if against:
            return Wanted(0, "", code, reason, settings.lines[f"shrink.{key}"])
    return None


def _size_for(amount: int, percent: int, demand: Demand, granule: int) -> int:
    """Smallest size of which the amount is at most the percentage."""
    return _up(ceil_div(amount * 100, percent * demand.per_unit), granule)


def _up(size: int, granule: int) -> int:
    return ceil_div(size, granule) * granule


def _amount(value: int, demand: Demand) -> str:
    """In the unit of the size."""
    return f"{value / demand.per_unit:.2f} {demand.unit}" if demand.per_unit > 1 else f"{value} {demand.unit}"


def _percentile(quantile: str) -> str:
    """P95 for 0.95, P99.5 for 0.995."""
    return f"{float(quantile) * 100:g}"
