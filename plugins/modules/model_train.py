#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: model_train
short_description: Train models of what sizes come to, and of quantiles, where they are due
version_added: 0.1.0
description:
  - Learns from the telemetry store, for each metric, what holding a candidate size comes to, or the quantiles of
    demand, with one model for the whole fleet. A model is an artifact that names its telemetry, features, libraries,
    seed and operating point.
  - The same telemetry, options and libraries give the same digest.
  - A new model is a candidate. Where none is on trial it speaks for a share of the VMs, as the canary, until
    M(headroom.fleet.model_review) lets it take over or rolls it back.
  - Nothing is trained while the newest model is younger than O(due_days), unless this release or its libraries could
    not use it. Run it on a schedule of its own, not in each cycle.
  - Series that cannot be learnt from are left out, each with its reason. Too little telemetry altogether is a warning.
options:
  snapshot:
    description:
      - Digest of a snapshot whose VMs are learnt from, with what it says that they may have at most.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  metrics:
    description: What to train models for.
    type: list
    elements: str
    choices: [cpu_millicores, memory_used_mib]
    default: [cpu_millicores, memory_used_mib]
  purpose:
    description:
      - What the models foretell. Models of V(outcome) choose sizes. Models of V(quantile) speak in
        M(headroom.fleet.demand_forecast); what was seen at a VM's own size they learn as a lower bound.
    type: str
    choices: [outcome, quantile]
    default: outcome
  engine:
    description:
      - What a model of V(quantile) is, V(trees) or V(recurrent), one network for the whole fleet.
      - Both are models of the same purpose. A network goes on trial against the trees in use, and they against it.
      - It takes the library C(jax) to train a network, but not to use it.
    type: str
    choices: [trees, recurrent]
    default: trees
  quantiles:
    description: Quantiles that a model of V(quantile) foretells, as decimal strings. It speaks where a forecast asks
      for no other.
    type: list
    elements: str
    default: ['0.5', '0.9', '0.95', '0.98']
  minute:
    description:
      - Minute of the hour at which forecasts are made. Models learn most from that minute of past hours, and so know
        the jobs that start then.
      - By default that of the training.
    type: int
  target:
    description: Whether demand is the mean or the maximum within each interval. Where no maximum is known the mean
      stands in.
    type: str
    choices: [mean, maximum]
    default: maximum
  lead_s:
    description: Seconds from a decision to when its size holds. There are models of their own for each lead, but of
      V(quantile) one for all.
    type: int
    default: 300
  every_s:
    description: Seconds from one decision to the next.
    type: int
    default: 3600
  series_interval_s:
    description: Length in seconds of the intervals in the telemetry store.
    type: int
    default: 300
  history_s:
    description: How much of the past to learn from, in seconds. It takes nine days at least.
    type: int
    default: 2419200
  most_vms:
    description: Of more VMs than this a sample is learnt from, always the same one.
    type: int
    default: 500
  seed:
    description: Of all that is drawn by chance.
    type: int
    default: 0
  due_days:
    description: Age in days from which on the newest model is followed by another. With V(0) always.
    type: int
    default: 7
  share_percent:
    description: For how many of the VMs, in percent, the model speaks while it is on trial; for thirty at the least, or
      all there are. They are chosen by a hash of their identifier and the model's digest.
    type: int
    default: 10
  operating_point:
    description:
      - Numbers to replace, by name, of the operating point that is shipped for the metric and O(lead_s). What they mean
        stands in the guide on models.
      - Where neither C(violation) nor C(unserved) is among them, these two prices are raised, up to sixteenfold, until
        the service level is kept in the past that is learnt from, on VMs that the models had not seen.
      - The point says how a model is used, not what it learns. It is frozen in the model. Models of V(quantile) have
        none.
    type: dict
attributes:
  check_mode:
    support: full
    details:
      - The model is trained in full. It goes to the rehearsal that O(run_id) names, not to the stores.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
requirements:
  - lightgbm >= 4
  - jax >= 0.5, only for O(engine=recurrent)
seealso:
  - module: headroom.fleet.model_review
  - module: headroom.fleet.model_info
  - ref: ansible_collections.headroom.fleet.docsite.guide_models
    description: The life of a model.
"""

EXAMPLES = r"""
- name: Train where a model is due
  headroom.fleet.model_train:
    snapshot: "{{ observed.snapshot }}"
  run_once: true
  register: trained

- name: Train models of quantiles where they are due, for forecasts at ten to the hour
  headroom.fleet.model_train:
    snapshot: "{{ observed.snapshot }}"
    purpose: quantile
    minute: 50
  run_once: true

- name: Train one for acts that take an hour, now
  headroom.fleet.model_train:
    snapshot: "{{ observed.snapshot }}"
    metrics: [cpu_millicores]
    lead_s: 3600
    due_days: 0
  run_once: true
"""

RETURN = r"""
trained:
  description: By metric, what came of it.
  returned: success
  type: dict
  contains:
    METRIC:
      description: One of O(metrics).
      type: dict
      contains:
        model:
          description: Digest of the model; empty where none was trained.
          type: str
        status:
          description: How it stands, V(candidate) or V(canary).
          type: str
        reason:
          description: Why it stands so, or why none was trained.
          type: str
        vms:
          description: How many VMs it was learnt from.
          type: int
        rows:
          description: How many examples it was learnt from.
          type: int
        start:
          description: START of the first interval it was learnt from.
          type: str
        end:
          description: End of the last one.
          type: str
        rejected:
          description: VMs that were not learnt from, with the reason.
          type: dict
  sample:
    cpu_millicores:
      model: sha256:7d10...
      status: canary
      reason: on trial for 10 % of the VMs
      vms: 412
      rows: 1318400
      start: '2026-01-01T00:00:00Z'
      end: '2026-01-29T00:00:00Z'
      rejected: {lab/6b1f: less than a day known}
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.train import Course, train

COURSE = {
    "purpose": {"type": "str", "choices": ["outcome", "quantile"], "default": "outcome"},
    "engine": {"type": "str", "choices": ["trees", "recurrent"], "default": "trees"},
    "quantiles": {"type": "list", "elements": "str", "default": ["0.5", "0.9", "0.95", "0.98"]},
    "minute": {"type": "int"},
    "target": {"type": "str", "choices": ["mean", "maximum"], "default": "maximum"},
    "lead_s": {"type": "int", "default": 300},
    "every_s": {"type": "int", "default": 3600},
    "series_interval_s": {"type": "int", "default": 300},
    "history_s": {"type": "int", "default": 2419200},
    "most_vms": {"type": "int", "default": 500},
    "seed": {"type": "int", "default": 0},
    "due_days": {"type": "int", "default": 7},
    "share_percent": {"type": "int", "default": 10},
}
METRICS = ["cpu_millicores", "memory_used_mib"]


def act(context: Context, params: dict[str, Any]) -> Result:
    return train(
        context,
        Course(**{**{name: params[name] for name in COURSE}, "quantiles": tuple(params["quantiles"])}),
        snapshot=params["snapshot"],
        metrics=params["metrics"],
        point=params["operating_point"],
    )


def main() -> None:
    spec = {
        **COURSE,
        "snapshot": {"type": "str", "required": True},
        "metrics": {"type": "list", "elements": "str", "choices": METRICS, "default": METRICS},
        "operating_point": {"type": "dict"},
    }
    run(act, spec)


if __name__ == "__main__":
    main()
