# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to forecast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from .._core.clock import EPOCH
from .._core.errors import HeadroomError
from .._records.forecast import TARGET_MAXIMUM, TARGETS
from .._records.series import DAY_S, METRICS

LATE_S = 3600  # by so much the newest interval known may lag behind the cutoff
MOST_STEPS = 28 * 288  # intervals ahead: four weeks of five minutes; every engine's forecast of them is held at once
MOST_VALUES = 50_000_000  # of one forecast, VMs times metrics, steps and quantiles: about 4 GB while its table is made
LONGEST_S = 3650 * DAY_S  # ten years, from the oldest interval looked at to the last one forecast: no past is longer


@dataclass(frozen=True)
class Request:
    """What to forecast. Times in seconds; ``interval_s`` is a multiple of the telemetry's and divides the day."""

    now: datetime
    metrics: tuple[str, ...]
    horizon_s: int = 3600
    interval_s: int = 300
    lead_s: int = 0  # from the cutoff to the first interval of interest: the time an act takes to have its effect
    quantiles: tuple[str, ...] = ("0.5", "0.9", "0.95")  # decimal strings, ascending
    target: str = TARGET_MAXIMUM
    history_s: int = 28 * DAY_S
    series_interval_s: int = 300
    costly_vms: int = 50  # most VMs for which a costly engine is tried

    @property
    def cutoff(self) -> datetime:
        """End of what was known: of the telemetry interval around ``now``, which counts as far as it is sampled.

        It is the newest to forecast from, and no truth to score by: its maximum may yet come.
        """
        step = timedelta(seconds=self.series_interval_s)
        return EPOCH - (EPOCH - self.now) // step * step

    @property
    def columns(self) -> int:
        """Forecast intervals looked at: the history, and a little more.

        The newest interval known is one or a few before the cutoff. A look-back of a policy's whole cycle, to the
        second, would never know all of it.
        """
        return self.history_s // self.interval_s + -(-LATE_S // self.interval_s)

    @property
    def start(self) -> datetime:
        """START of the oldest interval looked at."""
        return self.cutoff - timedelta(seconds=self.columns * self.interval_s)

    def check(self, *, vms: int = 0) -> None:
        """Raise ``forecast.request`` for what makes no sense, or is too much for so many VMs."""
        interval_s, series_interval_s = self.interval_s, self.series_interval_s
        unknown = sorted(set(self.metrics) - set(METRICS))
        whole = interval_s > 0 and series_interval_s > 0
        values = vms * len(self.metrics) * len(self.quantiles) * (self.horizon_s // interval_s if whole else 0)
        for wrong, why in (
            (not ascending(self.quantiles), f"The quantiles {self.quantiles} do not ascend between 0 and 1."),
            (not self.metrics, "No metric is given."),
            (bool(unknown), f"Unknown metric: {', '.join(unknown)}; known are {', '.join(METRICS)}."),
            (self.target not in TARGETS, f"The target {self.target!r} is none of {', '.join(TARGETS)}."),
            (not whole, "An interval is not positive."),
            (whole and DAY_S % interval_s != 0, f"The interval of {interval_s} s does not divide the day."),
            (
                whole and interval_s % series_interval_s != 0,
                f"The interval of {interval_s} s is no multiple of the telemetry's {series_interval_s} s.",
            ),
            (
                whole and (self.horizon_s < interval_s or self.horizon_s % interval_s != 0),
                f"The horizon of {self.horizon_s} s is no multiple of the interval of {interval_s} s.",
            ),
            (
                whole and (self.lead_s < 0 or self.lead_s % interval_s != 0),
                f"The lead of {self.lead_s} s is no multiple of the interval of {interval_s} s.",
            ),
            (
                whole and self.lead_s + self.horizon_s > MOST_STEPS * interval_s,
                f"Lead and horizon hold more than {MOST_STEPS} intervals of {interval_s} s.",
            ),
            (
                values > MOST_VALUES,
                f"For {vms} VMs these are {values} values, more than {MOST_VALUES}: look less far ahead, or coarser.",
            ),
            (self.costly_vms < 0, f"{self.costly_vms} VMs for the costly engines are fewer than none."),
            (self.history_s < interval_s, f"The history of {self.history_s} s is shorter than an interval."),
            (
                self.history_s + self.lead_s + self.horizon_s > LONGEST_S,
                f"History, lead and horizon together span more than {LONGEST_S // DAY_S} days.",
            ),
            (self.now.tzinfo is None, f"The time {self.now} has no zone."),
        ):
            if wrong:
                raise HeadroomError("forecast.request", why, advice="Correct the options of the forecast.")


def ascending(quantiles: tuple[str, ...]) -> bool:
    """Whether these are decimal strings that ascend between 0 and 1."""
    try:
        levels = [Decimal(quantile) for quantile in quantiles]
        return bool(levels) and levels == sorted(set(levels)) and 0 < levels[0] <= levels[-1] < 1
    except InvalidOperation:  # no number, or NaN, which has no order
        return False
