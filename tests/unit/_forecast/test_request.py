# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forecast import make_forecast

from .rows import REQUEST, made, noisy, series

BAD = {
    "quantile above one": {"quantiles": ("0.5", "1.5")},
    "quantiles descend": {"quantiles": ("0.9", "0.5")},
    "quantile twice": {"quantiles": ("0.5", "0.50")},
    "no number": {"quantiles": ("p95",)},
    "NaN": {"quantiles": ("nan",)},
    "none": {"quantiles": ()},
    "unknown metric": {"metrics": ("cpu",)},
    "no metric": {"metrics": ()},
    "unknown target": {"target": "median"},
    "horizon": {"horizon_s": 400},
    "no horizon": {"horizon_s": 0},
    "interval finer than telemetry": {"interval_s": 60},
    "interval and day": {"interval_s": 1500 * 7, "horizon_s": 1500 * 7},
    "interval zero": {"interval_s": 0},
    "lead": {"lead_s": 100},
    "negative lead": {"lead_s": -300},
    "history": {"history_s": 0},
    "history beyond all time": {"history_s": 10**12},
    "lead beyond all time": {"lead_s": 300 * 10**9},
    "a step too far": {"horizon_s": 28 * 86400, "lead_s": 300},
    "fewer than no VMs": {"costly_vms": -1},
    "naive time": {"now": datetime(2026, 3, 2)},  # noqa: DTZ001
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_a_request_that_makes_no_sense_is_one_error(change):
    with pytest.raises(HeadroomError) as caught:
        made(series(noisy()), request=replace(REQUEST, **change))
    assert caught.value.code == "forecast.request"


def test_more_values_than_memory_holds_are_refused_before_anything_is_read():
    request = replace(REQUEST, horizon_s=28 * 86400, interval_s=3600)
    with pytest.raises(HeadroomError, match="100000 VMs these are 201600000 values") as caught:
        make_forecast(iter(lambda: pytest.fail("a table was taken"), None), request, unique_ids=["lab/a"] * 100_000)
    assert caught.value.code == "forecast.request"
