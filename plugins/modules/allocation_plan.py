#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_plan
short_description: Plan who gets what, from a snapshot, a forecast and the sizing policy
version_added: 0.1.0
description:
  - Decides for every VM in scope whether it grows, shrinks or stays, and why, and stores the decisions and actions as
    a plan.
  - Where a model of outcomes speaks for a VM, its elastic limit goes to the cheapest size; its sizes and a careful
    limit have at least what the upper bound of demand takes.
  - Holds earlier forecasts against what came since, which is the scorecard. For a VM whose forecasts did badly over the
    last 28 days it only recommends; the decision says so with the code V(demoted).
  - VMs outside of the scope count for capacity and are not acted on.
  - Nothing is changed. RV(ignore:changed) says whether the actions differ from the last plan of the same scope and
    policy.
options:
  snapshot:
    description:
      - Digest of the snapshot.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  forecast:
    description:
      - Digest of the forecast.
      - Taken from the variable C(headroom_forecast).
    type: str
    required: true
  scope:
    description:
      - VMs that may be acted on, by name or identifier.
      - By default the VMs among the hosts of the play, so that C(--limit) does what it says; an empty list is refused.
      - In a play whose only host is C(localhost), the whole fleet.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
    details:
      - The plan goes to the rehearsal that O(run_id) names, not to the stores.
  diff_mode:
    support: full
    details:
      - The diff is the plan, the sizes before and after.
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.policy
seealso:
  - module: headroom.fleet.allocation_plan_info
  - module: headroom.fleet.plan_approve
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Plan, and show the plan with --diff
  headroom.fleet.allocation_plan:
    snapshot: "{{ observed.snapshot }}"
    forecast: "{{ forecast.forecast }}"
    policy: policy.yml
  run_once: true
  register: planned
"""

RETURN = r"""
plan:
  description: Digest of the plan.
  returned: success
  type: str
  sample: sha256:9b2e...
purpose:
  description: V(size) for a plan by forecast and policy, V(resize) for a person's own request, V(rollback).
  returned: success
  type: str
  sample: size
made_at:
  description: When it was made.
  returned: success
  type: str
  sample: '2026-01-31T12:00:00Z'
expires_at:
  description: Until when it can be applied.
  returned: success
  type: str
  sample: '2026-02-01T12:00:00Z'
actions:
  description: What the plan wants to do.
  returned: success
  type: list
  elements: dict
  contains:
    action_id:
      description: Name of the action within the plan, for M(headroom.fleet.plan_approve).
      type: str
    vm:
      description: Name of the VM.
      type: str
    unique_id:
      description: Identifier of the VM.
      type: str
    operation:
      description: The way in which the platform does it.
      type: str
    direction:
      description: V(grow) or V(shrink).
      type: str
    resource:
      description:
        - V(vcpus), V(memory_mib), or a limit that the policy has planned, V(cpu_limit_millicores) or V(cpu_shares).
        - Of a disk or interface with its name, such as C(disk_iops/vda).
      type: str
    before:
      description: Size before; of a limit of a disk or interface 0 is none.
      type: int
    after:
      description: Size after; of a limit of a disk or interface 0 is none.
      type: int
    mode:
      description: V(recommend), V(approve) or V(auto), by the sizing policy.
      type: str
    restart:
      description: Whether the VM must restart for it.
      type: bool
    reason:
      description: Why, with the numbers.
      type: str
    changes:
      description: The platform's fields, before and after.
      type: list
      elements: dict
  sample:
    - action_id: a0001
      vm: web1
      unique_id: lab/6b1f
      operation: vcpus.agent
      direction: grow
      resource: vcpus
      before: 2
      after: 4
      mode: auto
      restart: false
      reason: 'P95 of demand is at most 2.40 vCPU: at 70 % use that takes 4 vCPU, it has 2'
      changes: [{field: guest.vcpus, before: 2, after: 4}]
decisions:
  description: How many resources of VMs were decided in which way, by stable code.
  returned: success
  type: dict
  sample: {grow: 1, fits: 7}
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.policy import read_policy
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan


def main() -> None:
    spec = {
        "snapshot": {"type": "str", "required": True},
        "forecast": {"type": "str", "required": True},
        "scope": {"type": "list", "elements": "str"},
    }
    run(
        lambda context, params: plan(context, **{name: params[name] for name in spec}, **read_policy(params)),
        {**POLICY, **spec},
    )


if __name__ == "__main__":
    main()
