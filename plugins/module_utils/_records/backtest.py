# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A back-test: how good the forecasts of past origins were, in a Parquet table per VM and a header for the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

SELECTED = "selected"  # in the place of an engine: the choice per VM and quantile, as demand_forecast makes it

# Columns of the table, in this order; one row per VM, metric, engine and quantile that has a scored point. points: on
# how many forecast values the rest is based; pinball, naive_pinball: mean loss of the engine, and of naive on the same
# points, in the metric's unit; coverage: share of the truth at or below the forecast; bias: mean forecast less truth.
COLUMNS = ("unique_id", "metric", "engine", "quantile", "points", "pinball", "naive_pinball", "coverage", "bias")


@dataclass(frozen=True)
class Score:
    """One engine at one quantile, over all VMs. Amounts are decimal strings in the metric's unit."""

    metric: str
    engine: str
    quantile: str
    vms: int
    points: int
    pinball: str  # mean over all points
    naive_pinball: str  # of naive on the same points
    coverage_ppm: int
    bias: str  # mean of forecast less truth
    worst_pinball: str  # mean over the tenth of the VMs where it is highest
    worst_coverage_ppm: int  # mean over the tenth of the VMs where it is lowest


@dataclass(frozen=True)
class Interval:
    """How often the truth lay between two quantiles that are as far from either end."""

    metric: str
    engine: str
    lower: str
    upper: str
    coverage_ppm: int


@dataclass(frozen=True)
class Backtest:
    """The header; ``table`` is the digest of the Parquet bytes."""

    KIND: ClassVar[str] = "backtest"
    VERSION: ClassVar[int] = 1

    series: str  # digest of the series header
    made_at: str
    origins: tuple[str, ...]  # the cutoffs, newest first
    target: str
    horizon_s: int
    interval_s: int
    lead_s: int
    history_s: int
    quantiles: tuple[str, ...]
    engines: tuple[str, ...]
    table: str
    rows: int
    scores: tuple[Score, ...]
    intervals: tuple[Interval, ...]
