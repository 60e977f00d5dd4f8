#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_review
short_description: Promote models, roll them back, and tell of drift
version_added: 0.1.0
description:
  - Replays each model in use on the telemetry since it came into use, at its frozen operating point, and compares.
  - A canary is compared with the current model on the same VMs and days, by the share of the time that VMs stand at
    their cap and by the cost of sizes; models of quantiles by how often demand lay above the highest, and by pinball
    loss as a share of naive's. Where there is no current one, with what its training expects; one of quantiles with
    what is forecast without a model. Who is certainly worse is rolled back after a day, who is not worse after
    O(canary_days) takes over.
  - A canary that is refused, since it is stale or of other features or libraries, is rolled back as well. Of a current
    one it is a warning.
  - For the current model an alarm is raised where its daily loss left what was expected. Nothing is tuned anew.
  - Run it once a day.
options:
  snapshot:
    description:
      - Digest of a snapshot whose VMs the models are reviewed by.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  canary_days:
    description: Whole days of a trial that goes well. After three times as many a model that was not shown to be as
      good is rolled back.
    type: int
    default: 3
  least_vms:
    description: Nothing is concluded from fewer VMs.
    type: int
    default: 20
  most_vms:
    description: Of more VMs than this a sample is replayed, always the same one.
    type: int
    default: 200
  share_percent:
    description: For how many of the VMs, in percent, the next model speaks while it is on trial; for thirty at the
      least, or all there are.
    type: int
    default: 10
  stale_days:
    description: Age in days of the newest telemetry learnt from, above which this calls a model stale. Forecasts
      always refuse one above 35.
    type: int
    default: 35
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
requirements:
  - lightgbm >= 4
seealso:
  - module: headroom.fleet.model_train
  - module: headroom.fleet.model_info
  - ref: ansible_collections.headroom.fleet.docsite.guide_models
    description: The life of a model.
"""

EXAMPLES = r"""
- name: Review the models
  headroom.fleet.model_review:
    snapshot: "{{ observed.snapshot }}"
  run_once: true
  register: review

- name: Stop where one has drifted
  ansible.builtin.assert:
    that: not (review.reviewed | map(attribute='drift.alarm', default=false) | select)
  run_once: true
"""

RETURN = r"""
reviewed:
  description: One for each purpose, metric and lead.
  returned: success
  type: list
  elements: dict
  contains:
    purpose:
      description: What the models foretell, V(outcome) or V(quantile).
      type: str
    metric:
      description: For which metric.
      type: str
    lead_s:
      description: For which lead, in seconds.
      type: int
    canary:
      description: Digest of the model that was on trial; empty where none was.
      type: str
    verdict:
      description: The C(step), V(promote), V(roll_back) or V(wait), and its C(reason); empty without a canary.
      type: dict
    current:
      description: Digest of the model that was current; empty where none was.
      type: str
    refused:
      description: Why the current model may not speak; empty if it may.
      type: str
    drift:
      description:
        - Whether there is an C(alarm), over how many C(days), the C(score) (5 and more is an alarm), the mean daily
          C(loss), and the one C(expected).
        - Empty without a current model, and on its first day.
      type: dict
    changes:
      description: The versions that came to another status, as M(headroom.fleet.model_info) shows them.
      type: list
      elements: dict
  sample:
    - purpose: outcome
      metric: cpu_millicores
      lead_s: 300
      canary: sha256:7d10...
      verdict: {step: roll_back, reason: 'worse over 1 days of 40 VMs: time at the cap 0.0610 against 0.0071'}
      current: sha256:0c4d...
      refused: ''
      drift: {alarm: false, days: 12, score: '1.20', loss: '0.2410', expected: '0.2398'}
      changes: []
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.review import Terms, review

TERMS = {
    "canary_days": {"type": "int", "default": 3},
    "least_vms": {"type": "int", "default": 20},
    "most_vms": {"type": "int", "default": 200},
    "share_percent": {"type": "int", "default": 10},
    "stale_days": {"type": "int", "default": 35},
}


def act(context: Context, params: dict[str, Any]) -> Result:
    return review(context, Terms(**{name: params[name] for name in TERMS}), snapshot=params["snapshot"])


def main() -> None:
    run(act, {**TERMS, "snapshot": {"type": "str", "required": True}})


if __name__ == "__main__":
    main()
