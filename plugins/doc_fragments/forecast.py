# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  horizon_s:
    description: How far to look ahead, in seconds; with O(lead_s) 8064 intervals at most, four weeks of five minutes.
    type: int
    default: 3600
  interval_s:
    description: Length in seconds of the intervals forecast.
    type: int
    default: 300
  lead_s:
    description: Seconds from now, or from an origin, to the first interval that matters, the time an act takes to have
      its effect.
    type: int
    default: 0
  history_s:
    description: How much of the past a forecast looks at, in seconds; and an hour more, for the newest interval known
      may be late.
    type: int
    default: 2419200
  series_interval_s:
    description: Length in seconds of the intervals in the telemetry store.
    type: int
    default: 300
  target:
    description: Whether to forecast the mean or the maximum within each interval.
    type: str
    choices: [mean, maximum]
    default: maximum
  engines:
    description:
      - Engines to choose from, for each VM and each quantile the one that served it best at past origins.
      - V(naive) is always among them, as the yardstick and the fallback.
      - V(ets) works on one VM after the other and is bounded by O(costly_vms); the others take all VMs at once.
    type: list
    elements: str
    choices:
      - naive
      - last_hour_maximum
      - trailing_quantile_3h
      - trailing_quantile_1d
      - trailing_quantile_7d
      - seasonal_naive_1d
      - seasonal_naive_7d
      - ets
    default:
      - naive
      - last_hour_maximum
      - trailing_quantile_3h
      - trailing_quantile_1d
      - trailing_quantile_7d
      - seasonal_naive_1d
      - seasonal_naive_7d
  costly_vms:
    description:
      - For how many VMs, the first by unique_id, an engine like V(ets) is tried.
      - A VM takes it about 0.2 seconds for each metric. How many were left out is a warning.
    type: int
    default: 50
"""
