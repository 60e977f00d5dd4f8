#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: forecast_backtest
short_description: Score the forecasts of past moments by what came
version_added: 0.1.0
description:
  - Forecasts from a number of past moments (origins) as M(headroom.fleet.demand_forecast) would have then, and
    compares with the telemetry that followed. At each origin all is learnt and chosen anew, from its past alone.
  - Scores each engine and the selection among them by the pinball loss and the coverage of each quantile, for every VM
    and for the fleet.
  - Trained models of quantiles take no part, for most past moments lie within what they were learnt from. How they did
    on what came after it is told by M(headroom.fleet.model_review), and by the scorecard of what was forecast.
  - Changes nothing.
options:
  snapshot:
    description:
      - Digest of a snapshot whose VMs are tested; without it, those that the telemetry store knows.
      - Taken from the variable C(headroom_snapshot).
    type: str
  origins:
    description: From how many moments to forecast, 1000 at most, the newest first whose truth is known in full.
    type: int
    default: 24
  step_s:
    description: Seconds from one origin to the one before; with the default 24 origins visit each hour of the day.
    type: int
    default: 25200
  quantiles:
    description:
      - Quantiles to score, as decimal strings.
      - Two that are as far from 0 as from 1 are an interval, whose coverage is told.
    type: list
    elements: str
    default: ['0.05', '0.1', '0.5', '0.9', '0.95', '0.98']
  most_vms:
    description: Of more VMs than this a sample is tested, always the same one.
    type: int
    default: 1000
attributes:
  check_mode:
    support: full
    details:
      - The scores go to the rehearsal that O(run_id) names, not to the artifact store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.forecast
seealso:
  - module: headroom.fleet.demand_forecast
  - ref: ansible_collections.headroom.fleet.docsite.guide_forecast
    description: How engines are chosen, and how to read a back-test.
"""

EXAMPLES = r"""
- name: Look how good the forecasts of the last week were
  headroom.fleet.forecast_backtest:
  run_once: true
  register: backtest

- name: Show it
  ansible.builtin.debug:
    msg: "{{ backtest.msg.splitlines() }}"
  run_once: true

- name: Compare exponential smoothing with the others, on twenty VMs
  headroom.fleet.forecast_backtest:
    most_vms: 20
    engines: [trailing_quantile_3h, trailing_quantile_1d, ets]
"""

RETURN = r"""
backtest:
  description: Digest of the back-test, with the scores of every engine.
  returned: success
  type: str
  sample: sha256:7d10...
table:
  description: Digest of the Parquet table with the scores of every VM.
  returned: success
  type: str
  sample: sha256:91ce...
table_url:
  description: Where that table lies.
  returned: success
  type: str
  sample: file:///srv/headroom/artifacts/91/91ce...
series:
  description: Digest of the series it rests on.
  returned: success
  type: str
  sample: sha256:55e0...
rows:
  description: How many rows the table has.
  returned: success
  type: int
  sample: 41088
selected:
  description:
    - By metric, how the selection did. C(of_naive) is its pinball loss as a share of that of the naive engine.
    - C(worst_pinball) and C(worst_coverage) are means over the tenth of the VMs where they are worst.
  returned: success
  type: dict
  sample:
    cpu_millicores:
      vms: 428
      quantiles:
        '0.95': {pinball: '18.562', of_naive: '0.642', coverage: '0.9590', bias: '210.114',
                 worst_pinball: '131.205', worst_coverage: '0.8420'}
      intervals: {0.05-0.95: '0.9012'}
msg:
  description: A table for people.
  returned: success
  type: str
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.forecast import FORECAST
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.backtest import backtest_forecast


def main() -> None:
    spec = {
        **FORECAST,
        "snapshot": {"type": "str"},
        "origins": {"type": "int", "default": 24},
        "step_s": {"type": "int", "default": 25200},
        "quantiles": {"type": "list", "elements": "str", "default": ["0.05", "0.1", "0.5", "0.9", "0.95", "0.98"]},
        "most_vms": {"type": "int", "default": 1000},
    }
    run(lambda context, params: backtest_forecast(context, **{name: params[name] for name in spec}), spec)


if __name__ == "__main__":
    main()
