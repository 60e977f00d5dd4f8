#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: List models, how they stand and why
version_added: 0.1.0
description:
  - Lists every version of every model that the state store knows, the newest of each purpose, metric and lead first.
  - Changes nothing.
options:
  snapshot:
    description:
      - Digest of a snapshot for whose VMs to say which model speaks.
      - Taken from the variable C(headroom_snapshot).
    type: str
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
  - module: headroom.fleet.model_review
"""

EXAMPLES = r"""
- name: Look at the models
  headroom.fleet.model_info:
  run_once: true
  register: known

- name: Show those in use
  ansible.builtin.debug:
    msg: "{{ known.models | selectattr('status', 'in', ['canary', 'current']) }}"
  run_once: true
"""

RETURN = r"""
models:
  description: The versions.
  returned: success
  type: list
  elements: dict
  contains:
    model:
      description: Digest of the model.
      type: str
    purpose:
      description: What it foretells; V(outcome) or V(quantile).
      type: str
    metric:
      description: For which metric.
      type: str
    lead_s:
      description: For which lead, in seconds.
      type: int
    status:
      description: V(candidate), V(canary), V(current), V(retired) or V(rolled_back).
      type: str
    share_percent:
      description: Of the VMs that it speaks for as the canary.
      type: str
    since:
      description: When it came to its status.
      type: str
    reason:
      description: Why it did.
      type: str
    refused:
      description: Why it may not speak now, with a stable code; empty if it may.
      type: str
    start:
      description: START of the first interval it was learnt from.
      type: str
    end:
      description: End of the last one.
      type: str
    vms:
      description: How many VMs it was learnt from.
      type: int
    rows:
      description: How many examples it was learnt from.
      type: int
    seed:
      description: Its seed.
      type: int
    libraries:
      description: What it was trained with, and in which version.
      type: dict
    vms_now:
      description: For how many VMs of O(snapshot) it speaks.
      returned: with O(snapshot)
      type: int
  sample:
    - model: sha256:7d10...
      purpose: outcome
      metric: cpu_millicores
      lead_s: 300
      status: current
      share_percent: '0'
      since: '2026-02-01T03:00:00Z'
      reason: not worse over 3 days of 40 VMs
      refused: ''
      start: '2026-01-01T00:00:00Z'
      end: '2026-01-29T00:00:00Z'
      vms: 412
      rows: 1318400
      seed: 0
      libraries: {lightgbm: 4.6.0, numpy: 2.2.0}
      vms_now: 428
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.models import model_info


def main() -> None:
    spec = {"snapshot": {"type": "str"}, "stale_days": {"type": "int", "default": 35}}
    run(lambda context, params: model_info(context, **{name: params[name] for name in spec}), spec)


if __name__ == "__main__":
    main()
