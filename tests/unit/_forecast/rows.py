# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interval rows, and what is forecast from them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.request import Request
from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import COLUMNS
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import interval_schema

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CPU, MEMORY = "cpu_millicores", "memory_used_mib"
REQUEST = Request(now=NOW, metrics=(CPU,))
WEEK = 7 * 288


def series(mean, *, unique_id="lab/a", metric=CPU, until=NOW, maximum=None, interval_s=300):
    """Rows that end at ``until``; a NaN mean is no row."""
    mean = np.asarray(mean, dtype=np.float64)
    maximum = np.full(len(mean), np.nan) if maximum is None else np.asarray(maximum, dtype=np.float64)
    end_us = int(until.timestamp()) * 1_000_000
    ds = end_us + np.arange(-len(mean), 0) * interval_s * 1_000_000
    rows = pa.table(
        {
            "unique_id": [unique_id] * len(mean),
            "metric": [metric] * len(mean),
            "ds": pa.array(ds, pa.timestamp("us", "UTC")),
            "interval_s": pa.array([interval_s] * len(mean), pa.int32()),
            "mean": mean,
            "p95": pa.nulls(len(mean), pa.float64()),
            "maximum": pa.array(maximum, mask=np.isnan(maximum)),
            "samples": pa.array([0] * len(mean), pa.int32()),
            "coverage_ppm": pa.array([10**6] * len(mean), pa.int32()),
        }
    )
    return rows.filter(pa.array(~np.isnan(mean))).cast(interval_schema())


def noisy(level=1000.0, spread=100.0, count=4 * WEEK, seed=0):
    return np.clip(np.random.default_rng(seed).normal(level, spread, count), 0, None)


def made(*tables, request=REQUEST, unique_ids=(), engines=ENGINES):
    table, choices, _unused = make_forecast(tables, request, unique_ids=unique_ids, engines=engines)
    assert table.column_names == list(COLUMNS)
    return table, {(choice.unique_id, choice.metric): choice for choice in choices}


def values(table, unique_id="lab/a"):
    """[steps, quantiles]"""
    rows = [row["value"] for row in table.to_pylist() if row["unique_id"] == unique_id]
    return np.array(rows).reshape(-1, len(REQUEST.quantiles))
