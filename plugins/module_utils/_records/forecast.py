# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A forecast: a Parquet table of quantiles, named by its digest, and the header that says how it came to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .hostset import Joint

TARGET_MEAN = "mean"
TARGET_MAXIMUM = "maximum"  # of each interval
TARGETS = (TARGET_MEAN, TARGET_MAXIMUM)
JOINED_BY = "+"  # names of engines that speak for different quantiles of one series

# Columns of the table, in this order. cutoff: end of what was known; lead_s: from cutoff to the act's effect;
# ds: START of the interval forecast; quantile as a decimal string ("0.95"); value in the metric's unit.
COLUMNS = ("unique_id", "metric", "target", "cutoff", "lead_s", "ds", "quantile", "value", "engine")


NO_HISTORY = "no history"  # the reason where nothing is known of a series


@dataclass(frozen=True)
class Choice:
    """Which engines speak for one series, and why. The rows of the table name the engine of each quantile."""

    unique_id: str
    metric: str
    engine: str  # "naive", or "naive+trailing_quantile_1d" in the order of the quantiles; "": none speaks
    reason: str
    history_s: int  # from the first to the last known interval
    coverage_ppm: int  # share of intervals in that history that have a value
    observed_until: str  # end of the newest interval with a value; "" if none
    recent_maximum: int  # largest value of the last hour known, rounded up in the metric's unit; -1 if none


@dataclass(frozen=True)
class Forecast:
    """The header; ``table`` is the digest of the Parquet bytes."""

    KIND: ClassVar[str] = "forecast"
    VERSION: ClassVar[int] = 1

    series: str  # digest of the series header
    made_at: str
    cutoff: str
    target: str
    horizon_s: int
    interval_s: int
    quantiles: tuple[str, ...]
    engines: tuple[str, ...]
    table: str
    rows: int
    choices: tuple[Choice, ...]
    places: tuple[Joint, ...] = ()  # hosts and host sets of the snapshot that it was made for, sorted
    outcomes: str = ""  # digest of the Parquet bytes of ``_records.outcomes``; "": no outcome model spoke
    models: tuple[str, ...] = ()  # digests of the trained models that were asked or stood ready to correct, sorted
