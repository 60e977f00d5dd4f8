#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_plan_info
short_description: Show a stored plan, and why or why not for one VM
version_added: 0.1.0
description:
  - Reads a plan from the artifact store, with who approved which of its actions.
options:
  plan:
    description:
      - Digest of the plan.
      - Taken from the variable C(headroom_plan).
    type: str
    required: true
  vm:
    description: Name or identifier of a VM about which the plan is asked.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff is the plan, the sizes before and after.
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.plan_approve
"""

EXAMPLES = r"""
- name: Why does web1 stay as it is?
  headroom.fleet.allocation_plan_info:
    plan: "{{ planned.plan }}"
    vm: web1
  run_once: true
  register: asked
"""

RETURN = r"""
plan:
  description: Digest of the plan.
  returned: success
  type: str
  sample: sha256:9b2e...
purpose:
  description:
    - V(size) for a plan by forecast and policy, V(guard) for one by the newest telemetry, V(resize) for a person's
      own request, V(rollback).
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
      description: V(grow), V(shrink), or V(set) for a setting.
      type: str
    resource:
      description: V(vcpus), V(memory_mib), or the name of a setting.
      type: str
    before:
      description: Size before, or value of the setting, which may be text.
      type: raw
    after:
      description: Size after, or value of the setting.
      type: raw
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
approved:
  description: Each action that is approved, and by whom.
  returned: success
  type: dict
  sample: {a0001: ann}
table:
  description: The actions as a table for people.
  returned: success
  type: str
explanation:
  description: Why, or why not, in the words of the plan.
  returned: when O(vm) is given
  type: str
vm_decisions:
  description: The decisions about the VM, one for each resource, with the numbers and the line of the policy that
    decided.
  returned: when O(vm) is given
  type: list
  elements: dict
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import plan_info


def main() -> None:
    spec = {"plan": {"type": "str", "required": True}, "vm": {"type": "str"}}
    run(lambda context, params: plan_info(context, plan=params["plan"], vm=params["vm"] or ""), spec)


if __name__ == "__main__":
    main()
