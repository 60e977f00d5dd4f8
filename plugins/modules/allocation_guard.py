#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_guard
short_description: Plan what is short of something now, from the newest telemetry
version_added: 0.1.0
description:
  - Looks at the newest telemetry of every VM in scope for signals that it is short of CPU or memory, and stores a plan
    that lets it grow at once. Made to run every few minutes, between plans by forecast.
  - The signals are use of nearly all it has, CPU time it was ready for and not given under its limit, and for memory
    OOM kills, swapping and major faults. What counts, and how far a VM grows, is the block C(guard) of the sizing
    policy.
  - It only grows. Modes, holds, hold times, windows, step limits, the policy's maximum, room and reserve hold as for
    every plan, and it is approved and applied like every plan.
  - A signal whose interval began before the last act on the same resource says nothing any more, so that the same
    telemetry is not answered twice.
  - Nothing is changed. RV(ignore:changed) says whether there are actions that the guard's last plan of the same scope
    and policy had not.
options:
  snapshot:
    description:
      - Digest of the snapshot. It must be new, or acts are superseded at the gate.
      - Taken from the variable C(headroom_snapshot).
    type: str
    required: true
  series_interval_s:
    description: Length in seconds of the intervals in the telemetry store.
    type: int
    default: 300
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
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.plan_approve
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Plan what is short now, and show the plan with --diff
  headroom.fleet.allocation_guard:
    snapshot: "{{ observed.snapshot }}"
    policy: policy.yml
  run_once: true
  register: guarded
"""

RETURN = r"""
plan:
  description: Digest of the plan.
  returned: success
  type: str
  sample: sha256:9b2e...
purpose:
  description: V(guard).
  returned: success
  type: str
  sample: guard
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
      description: V(grow).
      type: str
    resource:
      description:
        - V(vcpus), V(memory_mib), or a limit that the policy has planned, V(cpu_limit_millicores) or with the name of
          the disk or interface, such as C(disk_iops/vda).
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
      operation: cpu.limit
      direction: grow
      resource: cpu_limit_millicores
      before: 1000
      after: 2400
      mode: auto
      restart: false
      reason: it used 99.1 % of its limit; it has 1 vCPU and used 0.99 vCPU at most in a day
      changes: [{field: live.cpu_limit_millicores, before: 1000, after: 2400}]
decisions:
  description: How many resources of VMs were decided in which way, by stable code.
  returned: success
  type: dict
  sample: {grow: 1, no_signal: 2}
short:
  description: Identifiers of the VMs that gave a signal; the plan decides about them alone.
  returned: success
  type: list
  elements: str
  sample: [lab/6b1f]
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.policy import read_policy
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.guard import guard


def main() -> None:
    spec = {
        "snapshot": {"type": "str", "required": True},
        "series_interval_s": {"type": "int", "default": 300},
        "scope": {"type": "list", "elements": "str"},
    }
    run(
        lambda context, params: guard(context, **{name: params[name] for name in spec}, **read_policy(params)),
        {**POLICY, **spec},
    )


if __name__ == "__main__":
    main()
