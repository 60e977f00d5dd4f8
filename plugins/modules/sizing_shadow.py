#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sizing_shadow
short_description: Tell what the model in use would have decided, beside what VMs had
version_added: 0.1.0
description:
  - Looks back over whole days that a model has not seen, and asks it at each decision, with what was known then, what
    size it would have given. Model and operating point are frozen. Nothing is changed.
  - Sizes follow demand as limits do, with a guard. What a policy says of holds, targets, steps, minima and its guard is
    not looked at.
  - The sizes are compared with what each VM really had by the snapshots and the journal, and with those of hindsight,
    which are the least that would have served all demand in the time of each decision.
  - Regret is what sizes cost more than those of hindsight, by the prices of the operating point. It counts capacity
    above them, intervals in violation and demand not served. That of the sizes that VMs really had stands beside it.
  - As nothing was enforced, demand is what telemetry has. Where use stood at what a VM had it may have been more; how
    often that was is told, and nothing beyond what a VM had is judged.
  - A model that was learnt from any part of the time is refused.
options:
  snapshot:
    description:
      - Digest of a snapshot whose VMs are looked at, with what it says that they have now.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  metrics:
    description: What sizes are looked at. Where one has no model or no telemetry, a warning says so.
    type: list
    elements: str
    choices: [cpu_millicores, memory_used_mib]
    default: [cpu_millicores, memory_used_mib]
  model:
    description:
      - Digest of the model to ask, which brings its metric and lead.
      - Without it that of M(headroom.fleet.model_info) which is V(current).
    type: str
  lead_s:
    description: The lead of the model in use.
    type: int
    default: 300
  days:
    description: How many days to look back, 28 at most. With V(0) all whole days since the newest telemetry that the
      model was learnt from.
    type: int
    default: 0
  most_vms:
    description: Of more VMs than this a sample is looked at, always the same one.
    type: int
    default: 500
attributes:
  check_mode:
    support: full
    details:
      - All is looked at. The results go to the rehearsal that O(run_id) names, not to the artifact store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.progress
requirements:
  - lightgbm >= 4
seealso:
  - module: headroom.fleet.sizing_backtest
  - module: headroom.fleet.model_train
  - module: headroom.fleet.model_info
"""

EXAMPLES = r"""
- name: Look what the models in use would have decided since they were trained
  headroom.fleet.sizing_shadow:
    snapshot: "{{ observed.snapshot }}"
  run_once: true
  register: shadow

- name: Look at the last week of an older model
  headroom.fleet.sizing_shadow:
    snapshot: "{{ observed.snapshot }}"
    model: sha256:7d10a3bb7cd7b0d7d7d9f0ad6f4bff2bb4d5ae0a6a0c0f4fcfc4a1e2a3f7c001
    days: 7
  run_once: true
"""

RETURN = r"""
shadows:
  description: By metric, what came of it. Figures are decimal strings, empty where they are not known; those with
    C(low) and C(high) have a 90 % interval.
  returned: success
  type: dict
  contains:
    METRIC:
      description: One of O(metrics).
      type: dict
      contains:
        shadow_record:
          description: Digest of the record, which holds all that is below and what it was made from.
          type: str
        model:
          description: Digest of the model that was asked.
          type: str
        since:
          description: When the time looked at begins.
          type: str
        until:
          description: When it ends.
          type: str
        days:
          description: How many days that is.
          type: int
        days_known:
          description: On how many of them demand and size of a VM are known.
          type: int
        vms:
          description: How many VMs were scored.
          type: int
        unit:
          description: Of the three amounts that follow, V(vCPU) or V(MiB).
          type: str
        held:
          description: What those VMs had together, on average.
          type: str
        shadow:
          description: What the model would have given them.
          type: str
        least:
          description: What hindsight would have given them.
          type: str
        slo4:
          description: Whether the service level would have held.
          type: bool
        reclaimed:
          description: Percent of what the VMs had that would have been given back.
          type: dict
        violations:
          description: Percent of the intervals with a demand above the size.
          type: dict
        at_limit_pct:
          description: Percent of the intervals in which use stood at what the VM had.
          type: str
        regret_pct:
          description: Regret, in percent of what was held.
          type: str
        regret_held_pct:
          description: That of the sizes that were really held.
          type: str
        rejected:
          description: VMs that could not be looked at, with the reason.
          type: dict
        table:
          description: Digest of the Parquet table with the figures and the regret of every VM.
          type: str
        table_url:
          description: Where that table lies.
          type: str
        decisions:
          description: Digest of the Parquet table of decisions, with C(unique_id), C(issued_at), C(effective_at) and
            C(allocation).
          type: str
        decisions_url:
          description: Where that table lies.
          type: str
  sample:
    cpu_millicores:
      shadow_record: sha256:7d10...
      model: sha256:91ce...
      since: '2026-01-24T00:00:00Z'
      until: '2026-01-31T00:00:00Z'
      days: 7
      days_known: 7
      vms: 214
      unit: vCPU
      held: '880.0000'
      shadow: '371.2040'
      least: '240.9310'
      slo4: true
      regret_pct: '19.1120'
      regret_held_pct: '72.6215'
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

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.replay import progress_to
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_shadow import Watched, shadow_sizes

METRICS = ["cpu_millicores", "memory_used_mib"]
WATCHED = {
    "days": {"type": "int", "default": 0},
    "lead_s": {"type": "int", "default": 300},
    "most_vms": {"type": "int", "default": 500},
}


def act(context: Context, params: dict[str, Any]) -> Result:
    return shadow_sizes(
        context,
        Watched(**{name: params[name] for name in WATCHED}),
        snapshot=params["snapshot"],
        metrics=params["metrics"],
        model=params["model"] or "",
        progress=progress_to(params["progress_file"] or ""),
    )


def main() -> None:
    spec = {
        **WATCHED,
        "snapshot": {"type": "str", "required": True},
        "metrics": {"type": "list", "elements": "str", "choices": METRICS, "default": METRICS},
        "model": {"type": "str"},
        "progress_file": {"type": "path"},
    }
    run(act, spec)


if __name__ == "__main__":
    main()
