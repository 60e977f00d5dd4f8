#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: sizing_backtest
short_description: Tell how much sizing would have saved, and what it would have cost
version_added: 0.1.0
description:
  - Replays the stored telemetry of a snapshot's VMs, and lets Headroom set their sizes in a closed loop. Once a size is
    below what a VM has, only the use below it is seen; a decision knows nothing of what comes, and acts after
    O(lead_s).
  - A model is trained on what lies before the scored window, and used at the operating point that is shipped for the
    metric and O(lead_s), its prices raised where the service level was not kept before that window. Nothing is tuned
    on the days that are scored.
  - Beside it, three policies that anybody knows are replayed. V(now) leaves the VMs what they have, V(past_peak) gives
    them the largest use before the window and a fifth more, V(day_peak) that of the last day and a fifth more, decided
    anew each hour, with a guard.
  - Sizes follow demand as limits do, with a guard. What a policy says of holds, targets, steps, minima and its guard is
    not replayed.
  - Reclaimed is the share given back of what the VMs have now. A violation is an interval whose demand lies above the
    size while that is below what the VM has. Demand that was above what it has was never seen.
  - The service level SLO-4 is violations of at most 0.5 % of the intervals, at most 0.5 % of the demand not served, no
    VM above 2 %, and 90 % of the VMs within 1 %; a protocol may say otherwise.
  - Nothing is changed. It takes 13 days of telemetry of some 40 VMs, or 15 of two dozen; with less it fails and says
    what is missing. Some hundred VMs take minutes.
options:
  snapshot:
    description:
      - Digest of a snapshot whose VMs are replayed, with what it says that they have.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  metrics:
    description: What sizes are replayed for. Where one has too little telemetry, a warning says so.
    type: list
    elements: str
    choices: [cpu_millicores, memory_used_mib]
    default: [cpu_millicores, memory_used_mib]
  protocol:
    description:
      - File with the rules of the replay, as C(make bench) writes and reads it. It says which VMs and what time are
        scored, how often is decided, the least sizes and the service level.
      - Without it the last third of the telemetry is scored, and decided each hour. O(ids) then chooses among two
        sets of VMs that a hash of their identifiers makes.
      - A relative path starts at the playbook.
    type: path
  ids:
    description: Which VMs are scored. As nothing is tuned here, that may be all of them.
    type: str
    choices: [all, report, tune]
    default: all
  model:
    description:
      - Digest of a model to decide with, instead of one that is trained for this.
      - Its metric, target, lead, interval and time between decisions take the place of the options. It must have been
        learnt from telemetry before the scored window.
    type: str
  target:
    description: Whether demand is the mean or the maximum within each interval. Where no maximum is known the mean
      stands in.
    type: str
    choices: [mean, maximum]
    default: maximum
  lead_s:
    description: Seconds from a decision to when its size holds.
    type: int
    default: 300
  series_interval_s:
    description: Length in seconds of the intervals in the telemetry store.
    type: int
    default: 300
  history_s:
    description: How much of the past to read, in seconds.
    type: int
    default: 2419200
  most_vms:
    description: Of more VMs than this a sample is replayed, always the same one.
    type: int
    default: 500
  whole_vcpus:
    description: Whether CPU sizes are whole vCPUs, at least one, instead of limits of any size.
    type: bool
    default: false
  curve:
    description: Whether all sizes are replayed a little smaller and larger too. Without it the module takes half the
      time.
    type: bool
    default: true
  seed:
    description: Of all that is drawn by chance.
    type: int
    default: 0
  html:
    description: File for a page with the curve, the policies and the worst VMs. A relative path starts at the playbook.
    type: path
attributes:
  check_mode:
    support: full
    details:
      - All is replayed. The results go to the rehearsal that O(run_id) names, not to the artifact store; the page is
        written.
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
  - module: headroom.fleet.sizing_shadow
  - module: headroom.fleet.model_train
  - module: headroom.fleet.forecast_backtest
"""

EXAMPLES = r"""
- name: Look how much the last weeks would have saved
  headroom.fleet.sizing_backtest:
    snapshot: "{{ observed.snapshot }}"
    html: savings.html
  run_once: true
  register: backtest

- name: Show it
  ansible.builtin.debug:
    msg: "{{ backtest.msg.splitlines() }}"
  run_once: true

- name: Look what is left where an act takes an hour and vCPUs are whole
  headroom.fleet.sizing_backtest:
    snapshot: "{{ observed.snapshot }}"
    metrics: [cpu_millicores]
    lead_s: 3600
    whole_vcpus: true
    curve: false
  run_once: true
"""

RETURN = r"""
backtests:
  description: By metric, what came of it. Figures are decimal strings, empty where they are not known; C(low) and
    C(high) are the ends of a 90 % interval.
  returned: success
  type: dict
  contains:
    METRIC:
      description: One of O(metrics).
      type: dict
      contains:
        backtest:
          description: Digest of the record, which holds all that is below and what it was made from.
          type: str
        vms:
          description: How many VMs were scored.
          type: int
        scored_from:
          description: When the scored window begins.
          type: str
        scored_to:
          description: When it ends.
          type: str
        slo4:
          description: Whether the service level held.
          type: bool
        reclaimed:
          description: Percent of what the VMs have that was given back.
          type: dict
        violations:
          description: Percent of the intervals with a demand above the size.
          type: dict
        unserved_of_demand:
          description: Percent of the demand that lay above the size.
          type: dict
        worst_vm:
          description: Percent of the intervals of the VM with the most violations.
          type: dict
        vms_within_1pct:
          description: Percent of the VMs with violations in at most 1 % of their intervals.
          type: dict
        resizes_per_vm_day:
          description: Changes of size per VM and day.
          type: dict
        unit:
          description: Of the two amounts that follow, V(vCPU) or V(MiB).
          type: str
        provisioned:
          description: What the VMs have.
          type: str
        given_back:
          description: What of that was given back, on average over the window.
          type: dict
        others:
          description: The other policies, V(now), V(past_peak) and V(day_peak).
          type: dict
        curve:
          description: What came of all sizes times a factor.
          type: list
          elements: dict
        rejected:
          description: VMs that could not be replayed, with the reason.
          type: dict
        protocol:
          description: Digest of the rules of the replay.
          type: str
        table:
          description: Digest of the Parquet table with the figures of every VM.
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
      backtest: sha256:7d10...
      vms: 214
      scored_from: '2026-01-20T00:00:00Z'
      scored_to: '2026-01-29T00:00:00Z'
      slo4: true
      reclaimed: {value: '58.0599', low: '55.7356', high: '60.4886'}
      violations: {value: '0.3576', low: '0.2913', high: '0.4270'}
      unit: vCPU
      provisioned: '880.0000'
      given_back: {value: '510.9271', low: '490.4733', high: '532.2997'}
html:
  description: File of the page; empty if none was asked for.
  returned: success
  type: str
  sample: /srv/www/headroom/savings.html
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

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.replay import (
    progress_to,
    protocol_text,
)
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_backtest import backtest_sizes
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizing_case import Asked

METRICS = ["cpu_millicores", "memory_used_mib"]
ASKED = {
    "target": {"type": "str", "choices": ["mean", "maximum"], "default": "maximum"},
    "lead_s": {"type": "int", "default": 300},
    "series_interval_s": {"type": "int", "default": 300},
    "history_s": {"type": "int", "default": 2419200},
    "most_vms": {"type": "int", "default": 500},
    "ids": {"type": "str", "choices": ["all", "report", "tune"], "default": "all"},
    "whole_vcpus": {"type": "bool", "default": False},
    "curve": {"type": "bool", "default": True},
    "seed": {"type": "int", "default": 0},
}


def act(context: Context, params: dict[str, Any]) -> Result:
    return backtest_sizes(
        context,
        Asked(**{name: params[name] for name in ASKED}),
        snapshot=params["snapshot"],
        metrics=params["metrics"],
        protocol=protocol_text(params["protocol"] or ""),
        model=params["model"] or "",
        html=params["html"] or "",
        progress=progress_to(params["progress_file"] or ""),
    )


def main() -> None:
    spec = {
        **ASKED,
        "snapshot": {"type": "str", "required": True},
        "metrics": {"type": "list", "elements": "str", "choices": METRICS, "default": METRICS},
        "protocol": {"type": "path"},
        "model": {"type": "str"},
        "html": {"type": "path"},
        "progress_file": {"type": "path"},
    }
    run(act, spec)


if __name__ == "__main__":
    main()
