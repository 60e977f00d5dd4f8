#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: demand_forecast
short_description: Forecast the demand of every VM of a snapshot
version_added: 0.1.0
description:
  - Forecasts CPU and memory demand of all VMs at once from the telemetry store, with quantiles that are calibrated on
    past errors.
  - For each VM and quantile the engine speaks that would have served best at past origins; the reason is recorded.
  - It never refuses a VM - where there is little history it falls back to a simpler engine and says so.
options:
  snapshot:
    description:
      - Digest of the snapshot whose VMs are forecast.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  series:
    description:
      - Digest of a series, as an earlier forecast returned it - the forecast then rests on exactly the same telemetry.
      - Taken from the variable C(headroom_series).
    type: str
  horizon_s:
    description: How far to look ahead, in seconds.
    type: int
    default: 3600
  interval_s:
    description: Length in seconds of the intervals forecast.
    type: int
    default: 300
  lead_s:
    description: Seconds from now to the first interval that matters, the time an act takes to have its effect.
    type: int
    default: 0
  history_s:
    description: How much of the past to look at, in seconds.
    type: int
    default: 2419200
  series_interval_s:
    description: Length in seconds of the intervals in the telemetry store.
    type: int
    default: 300
  quantiles:
    description: Quantiles to forecast, as decimal strings. The sizing policy needs those that it names.
    type: list
    elements: str
    default: ['0.5', '0.9', '0.95', '0.98']
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
attributes:
  check_mode:
    support: full
    details:
      - The forecast goes to the rehearsal that O(run_id) names, not to the artifact store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.forecast_backtest
  - module: headroom.fleet.telemetry_collect
  - module: headroom.fleet.allocation_plan
"""

EXAMPLES = r"""
- name: Forecast the next hour
  headroom.fleet.demand_forecast:
    snapshot: "{{ observed.snapshot }}"
  run_once: true
  register: forecast
"""

RETURN = r"""
forecast:
  description: Digest of the forecast.
  returned: success
  type: str
  sample: sha256:0c4d...
series:
  description: Digest of the series it rests on.
  returned: success
  type: str
  sample: sha256:55e0...
rows:
  description: How many rows the forecast has.
  returned: success
  type: int
  sample: 20544
engines:
  description:
    - For how many series (of one VM and metric) each engine speaks, at one quantile or more.
    - The empty name stands for those without any history.
  returned: success
  type: dict
  sample: {naive: 310, trailing_quantile_1d: 402, "": 2}
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import COSTLY, DEFAULT_ENGINES, ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand


def main() -> None:
    spec = {
        "snapshot": {"type": "str", "required": True},
        "series": {"type": "str"},
        "horizon_s": {"type": "int", "default": 3600},
        "interval_s": {"type": "int", "default": 300},
        "lead_s": {"type": "int", "default": 0},
        "history_s": {"type": "int", "default": 2419200},
        "series_interval_s": {"type": "int", "default": 300},
        "quantiles": {"type": "list", "elements": "str", "default": ["0.5", "0.9", "0.95", "0.98"]},
        "target": {"type": "str", "choices": ["mean", "maximum"], "default": "maximum"},
        "engines": {
            "type": "list",
            "elements": "str",
            "choices": [engine.name for engine in (*ENGINES, *COSTLY)],
            "default": list(DEFAULT_ENGINES),
        },
        "costly_vms": {"type": "int", "default": 50},
    }
    run(lambda context, params: forecast_demand(context, **{name: params[name] for name in spec}), spec)


if __name__ == "__main__":
    main()
