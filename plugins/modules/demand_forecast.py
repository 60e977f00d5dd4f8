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
    past errors. Disks and networks as well, where the sizing policy has their limits planned.
  - For each VM and quantile the engine speaks that would have served best at past origins; the reason is recorded.
  - It never refuses a VM - where there is little history it falls back to a simpler engine and says so.
  - Where a model of outcomes speaks for a VM, the sizing policy says from where on its use, or a signal of contention,
    counts as held back.
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
  quantiles:
    description: Quantiles to forecast, as decimal strings. The sizing policy needs those that it names.
    type: list
    elements: str
    default: ['0.5', '0.9', '0.95', '0.98']
  trained:
    description:
      - Whether the models of quantiles that M(headroom.fleet.model_train) trained speak for the VMs that they stand
        for.
      - A model speaks first, and gives way where the engine chosen did clearly better. One that cannot say what is
        asked for, is stale or foreign, is left out with a warning.
      - The current model also brings the errors of the fleet that it learnt from. They correct VMs with too few errors
        of their own; without one those of the fleet as it is now do.
    type: bool
    default: true
  workers:
    description:
      - Address of a Dask scheduler, such as C(tcp://10.0.0.5:8786). Its workers read the telemetry in partitions of
        VMs and ask the models of outcomes about them.
      - The result has the same bytes as without, if workers have the controller's libraries and reach its telemetry
        store.
      - Empty - in this process.
    type: str
    default: ''
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
  - headroom.fleet.forecast
  - headroom.fleet.policy
seealso:
  - module: headroom.fleet.forecast_backtest
  - module: headroom.fleet.telemetry_collect
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.model_train
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
    - For how many series (of one VM and metric) each engine speaks, at one quantile or more. V(quantile_trees) and
      V(recurrent) are trained models, V(mix) is the mean of a trained model and the engine chosen.
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

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.forecast import FORECAST
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.policy import read_policy
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import forecast_demand


def main() -> None:
    spec = {
        **FORECAST,
        "snapshot": {"type": "str", "required": True},
        "series": {"type": "str"},
        "trained": {"type": "bool", "default": True},
        "workers": {"type": "str", "default": ""},
        "quantiles": {"type": "list", "elements": "str", "default": ["0.5", "0.9", "0.95", "0.98"]},
    }
    run(
        lambda context, params: forecast_demand(
            context, **{name: params[name] for name in spec}, **read_policy(params)
        ),
        {**POLICY, **spec},
    )


if __name__ == "__main__":
    main()
