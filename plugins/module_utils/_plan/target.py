# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The size a VM should have: a function of the forecast and the policy, in whole numbers.

Two sizes follow from the upper bound of demand: the *least*, at ``target_use_percent``, and the *most*, at the
stricter ``shrink_target_use_percent`` and never below what the VM really used. Below the least it grows to it, above
the most it shrinks to it, between them it stays. Neither depends on the size the VM has, so planning again after the
act, with the same forecast, finds it between the two: nothing to do.

Where an outcome model speaks for the VM, its cheapest size is known too: what the VM has, where a change would not pay.
It then grows to the larger of the least and the cheapest, and shrinks to the larger of the most and the cheapest. An
elastic limit, which can be lifted within seconds, goes to the cheapest alone, up to all of the size that it limits.

A VM that is not known for a full history yet, and whose workload is said to need so much, is given no less than that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Optional

from .._core.clock import parse_utc
from .._core.units import PERCENT, PPM, PPM_PER_PERCENT, ceil_div
from .._policy.settings import PROFILE_CAREFUL, PROFILE_ELASTIC, Settings, Sizing
from .._records.demand import DEMANDS, Demand
from .._records.forecast import NO_HISTORY, Choice
from .._records.plan import Service, Signalled
from .._records.vm import GROW, LIMITS, SHRINK
from .bounds import BAD_VALUE, NO_VALUE, OVER_VALUE
from .pressure import Pressed

SECONDS_PER_MINUTE = 60
SECONDS_PER_DAY = 86400


_NO_BOUND = {
    NO_VALUE: ("no_forecast", "there is no forecast of"),
    BAD_VALUE: ("bad_forecast", "there is no usable number in the forecast of"),
    OVER_VALUE: ("forecast_over", "the past is all there is in the forecast of"),
}


NOT_KNOWN = -1  # of a bound


class Wanted(NamedTuple):
    """The size wanted; ``direction`` "" with a code that says why the VM stays as it is."""

    size: int
    direction: str
    code: str
    reason: str
    line: int
    upper: int = NOT_KNOWN  # demand that says so, in the metric's unit; below 0: none is known
    service: Optional[Service] = None  # the cheapest size, where an outcome model spoke
    signals: tuple[Signalled, ...] = ()  # that the guard was given
    wished: Optional[int] = None  # the size by demand alone, whatever speaks against it; None: it is not known


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


class Span(NamedTuple):
    """Below ``least`` a VM grows to it, above ``most`` it shrinks to it; ``floor``: the policy's minimum."""

    least: int
    most: int
    floor: int


def by_price(resource: str, span: Span, service: Service, *, sizing: Sizing) -> Span:
    """The sizes that are wanted where an outcome model spoke: of an elastic limit the cheapest one alone."""
    if _is_elastic(resource, sizing):
        at = min(max(service.size, span.floor), sizing.maximum)
        return Span(at, at, span.floor)
    least = max(service.size, span.least)
    least = min(least, sizing.maximum) if resource in LIMITS else least
    return Span(least, max(least, span.most), span.floor)


def _is_elastic(resource: str, sizing: Sizing) -> bool:
    """Whether use below it is free to rise, so that a bound on it says nothing."""
    return resource in LIMITS and sizing.profile == PROFILE_ELASTIC


def told(resource: str, service: Service) -> str:
    """What is spent of the error budget, and what one more would cost, for people."""
    return f"{spent_text(service)}; {more_text(resource, service)}"


def spent_text(service: Service) -> str:
    """What is spent of the error budget: "0.3 of 1 % spent"."""
    return f"{percent_text(service.spent_ppm)} of {percent_text(service.budget_ppm)} % spent"


def more_text(resource: str, service: Service) -> str:
    """What one more would cost beyond what it saves: "one more vCPU costs 0.8 of itself"."""
    if service.more_ppm is None:
        return "no more would fit"
    demand, cost = DEMANDS[resource], service.more_ppm / PPM
    one = service.unit * demand.per_unit == demand.per_told > 1
    unit = f"one more {demand.unit}" if one else f"{demand.size(service.unit)} more"
    much = f"{abs(cost):.2g}" if abs(cost) < 10 else f"{abs(cost):.0f}"  # noqa: PLR2004 - no exponents
    return f"{unit} {'costs' if cost >= 0 else 'saves'} {much} of itself"


def sizes_for(resource: str, upper: int, *, sizing: Sizing, granule: int) -> Span:
    """The sizes that serve an upper bound of demand, in the metric's unit. A limit ends at what it limits."""
    demand, end = DEMANDS[resource], sizing.maximum if resource in LIMITS else None
    floor = up(sizing.minimum, granule)
    least, most = (
        max(_size_for(upper, percent, demand, granule), floor)
        for percent in (sizing.target_use_percent, sizing.shrink_target_use_percent)
    )
    return Span(least, most, floor) if end is None else Span(min(least, end), min(most, end), min(floor, end))


def wanted_size(
    resource: str,
    *,
    size: int,
    granule: int,
    upper: int,
    choice: Optional[Choice],
    sizing: Sizing,
    settings: Settings,
    clock: Clock,
    service: Optional[Service] = None,
    short: Optional[Pressed] = None,
) -> Wanted:
    """Decide for one resource or limit of one VM.

    ``upper`` is the bound of demand in the metric's unit, ``choice`` what is known of the series, ``granule`` what
    every size is a multiple of, ``sizing`` how the resource of this VM is sized, ``service`` its cheapest size,
    ``short`` why its memory is not to shrink. Source of the asymmetry: AWS predictive scaling and Kubernetes VPA, where
    a forecast may raise a size at once and lower it only against a full history.
    """
    demand = DEMANDS[resource]
    need = _declared(resource, choice, granule, sizing=sizing, settings=settings)
    if upper < 0 and need <= size:
        code, what = _NO_BOUND[upper]
        return Wanted(size, "", code, f"{what} {demand.metric}", 0)
    if upper < 0:
        why = _by_declaration(need, choice, sizing=sizing, settings=settings, demand=demand)
        return _grow(size, need, granule, sizing=sizing, demand=demand, why=why)
    span = sizes_for(resource, upper, sizing=sizing, granule=granule)
    why = _by_bound(span, upper, sizing=sizing, demand=demand)
    if service is not None:
        priced = by_price(resource, span, service, sizing=sizing)
        why = _by_price(resource, span, priced, why, service, sizing=sizing)
        span = priced
    if need > span.least:
        why = _by_declaration(need, choice, sizing=sizing, settings=settings, demand=demand)
        span = Span(need, max(span.most, need), span.floor)
    if size < span.least:
        return _grow(size, span.least, granule, sizing=sizing, demand=demand, why=why)
    if size <= span.most:
        fits = f"{why.fits}, it has {demand.size(size, unit=False)}"
        return Wanted(size, "", "fits", fits, why.fits_line, wished=size)
    return _shrink(
        size,
        span.most,
        granule,
        why=why,
        sizing=sizing,
        demand=demand,
        choice=choice,
        settings=settings,
        clock=clock,
        short=short,
    )


class _Why(NamedTuple):
    """What sizes rest on, for people, and the lines of the policy that say so."""

    grow: str
    fits: str
    shrink: str
    grow_line: int
    fits_line: int
    shrink_line: int
    use_percent: int  # what was used lately is at most so much of a smaller size
    sized: bool = False  # ``shrink`` says to which size


def _by_bound(span: Span, upper: int, *, sizing: Sizing, demand: Demand) -> _Why:
    bound = f"P{_percentile(sizing.quantile)} of demand is at most {demand.amount(upper)}"
    lines = sizing.lines
    return _Why(
        grow=f"{bound}: at {sizing.target_use_percent} % use that takes {demand.size(span.least)}",
        fits=f"{bound}: {demand.size(span.least, unit=False)} to {demand.size(span.most)} fit",
        shrink=bound,
        grow_line=lines["target_use_percent"],
        fits_line=lines["minimum" if span.most == span.floor else "target_use_percent"],
        shrink_line=lines["shrink_target_use_percent"],
        use_percent=sizing.shrink_target_use_percent,
    )


def _by_price(resource: str, span: Span, priced: Span, why: _Why, service: Service, *, sizing: Sizing) -> _Why:
    """Of all but an elastic limit the upper bound still says the least, and how far to shrink."""
    demand, elastic = DEMANDS[resource], _is_elastic(resource, sizing)
    text, at = f"cheapest {demand.size(service.size)}", priced.least
    line = sizing.lines["error_budget_percent"]
    if elastic:
        bound = "at most" if at < service.size else "at least"
        text = text if at == service.size else f"{text}, {bound} {demand.size(at)}"
    elif service.size < span.least:
        text = f"P{_percentile(sizing.quantile)} at {sizing.target_use_percent} % use takes {demand.size(span.least)}"
        line = sizing.lines["target_use_percent"]
    text = f"{told(resource, service)}; {text}"
    use_percent, sized = PERCENT if elastic else why.use_percent, priced.most == priced.least
    shrink_line = line if sized else why.shrink_line
    return _Why(text, text, text, line, line, shrink_line, use_percent=use_percent, sized=sized)


def _declared(resource: str, choice: Optional[Choice], granule: int, *, sizing: Sizing, settings: Settings) -> int:
    """The size that is said to be needed of a VM that is not known for long enough; else 0.

    A VM whose telemetry was rejected may be known for years.
    """
    if choice is not None:
        rejected = not choice.engine and choice.reason != NO_HISTORY
        if rejected or choice.history_s >= settings.history_days * SECONDS_PER_DAY:
            return 0
    need = up(sizing.declared, granule)
    return min(need, sizing.maximum) if resource in LIMITS else need


def _by_declaration(need: int, choice: Optional[Choice], *, sizing: Sizing, settings: Settings, demand: Demand) -> _Why:
    days = (choice.history_s if choice else 0) * 10 // SECONDS_PER_DAY / 10  # rounded down: a full history is enough
    text = f"declared to need {demand.size(need)}, known for {days:.1f} of {settings.history_days} days"
    line = sizing.lines["declared"]
    return _Why(text, text, text, line, line, line, use_percent=sizing.shrink_target_use_percent, sized=True)


def _grow(size: int, least: int, granule: int, *, sizing: Sizing, demand: Demand, why: _Why) -> Wanted:
    ceiling = sizing.maximum // granule * granule or sizing.maximum
    takes = f"{why.grow}, it has {demand.size(size, unit=False)}"
    if least <= ceiling:
        return Wanted(least, GROW, GROW, takes, why.grow_line, wished=least)
    limit = f"{takes}; the policy's maximum is {sizing.maximum}"
    if ceiling <= size:
        return Wanted(size, "", "policy_maximum", limit, sizing.lines["maximum"], wished=least)
    return Wanted(ceiling, GROW, GROW, limit, sizing.lines["maximum"], wished=least)


def _shrink(
    size: int,
    most: int,
    granule: int,
    *,
    why: _Why,
    sizing: Sizing,
    demand: Demand,
    choice: Optional[Choice],
    settings: Settings,
    clock: Clock,
    short: Optional[Pressed],
) -> Wanted:
    if choice is None:
        reason = f"it could shrink, but no history of {demand.metric} is known"
        return Wanted(size, "", "no_history", reason, 0, wished=most)
    against = _why_not_shrink(choice, demand, sizing, settings, clock, short=short)
    if against is not None:
        return against._replace(size=size, wished=most)
    used = choice.recent_maximum
    by_use = max(
        _size_for(used, why.use_percent, demand, granule),
        up(ceil_div(used * (100 + sizing.guest_floor_percent), 100 * demand.per_unit), granule),
    )
    lately = f"it lately used {demand.amount(used)}"
    if by_use >= size:
        reason = f"{why.shrink}, but {lately}: that takes {demand.size(by_use)}"
        return Wanted(size, "", "recent_use", reason, why.shrink_line, wished=by_use)
    wanted = max(most, by_use)
    enough = "" if why.sized and wanted == most else f": {demand.size(wanted)} are enough"
    reason = f"{why.shrink} and {lately}{enough}, it has {demand.size(size, unit=False)}"
    return Wanted(wanted, SHRINK, SHRINK, reason, why.shrink_line, wished=wanted)


def _why_not_shrink(
    choice: Choice, demand: Demand, sizing: Sizing, settings: Settings, clock: Clock, *, short: Optional[Pressed]
) -> Optional[Wanted]:
    """The first thing that speaks against any shrink: what is not known cannot be given away.

    The elastic profile asks for no history: what it takes it gives back within seconds.
    """
    careful = sizing.profile == PROFILE_CAREFUL
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
            "shrink.freshness_minutes",
        ),
        (
            age is not None and abs(age) > fresh,
            "stale_telemetry",
            f"it could shrink, but the newest {metric} is {(age or 0) // SECONDS_PER_MINUTE} minutes old",
            "shrink.freshness_minutes",
        ),
        (
            careful and choice.history_s < history,
            "short_history",
            f"it could shrink, but {metric} is known for {days} of {settings.history_days} days",
            "shrink.history_days",
        ),
        (
            careful and choice.coverage_ppm < settings.coverage_percent * PPM_PER_PERCENT,
            "low_coverage",
            f"it could shrink, but {metric} is known for {coverage} % of its history",
            "shrink.coverage_percent",
        ),
        (short is not None, "memory_pressure", short.reason if short else "", short.setting if short else ""),
    ):
        if against:
            return Wanted(0, "", code, reason, settings.lines[key])
    return None


def _size_for(amount: int, percent: int, demand: Demand, granule: int) -> int:
    """Smallest size of which the amount is at most the percentage."""
    return up(ceil_div(amount * 100, percent * demand.per_unit), granule)


def up(size: int, granule: int) -> int:
    """The next multiple of the granule."""
    return ceil_div(size, granule) * granule


def percent_text(ppm: int) -> str:
    """A share in percent: 0.3 for 3000."""
    return f"{ppm / PPM_PER_PERCENT:.3g}"


def _percentile(quantile: str) -> str:
    """P95 for 0.95, P99.5 for 0.995."""
    return f"{float(quantile) * 100:g}"
