#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_resize
short_description: Bring one VM to the sizes and settings asked for
version_added: 0.1.0
description:
  - A person's own request. It makes a plan for the one VM, approves it as the caller, and applies it.
  - The sizing policy's forecast, history, hold times and step limits are not asked. Everything else holds - its
    minimum and maximum, windows and the mode C(ignore), holds, capacity, and what the platform can do without a
    restart.
  - The receipt in the result undoes it, with M(headroom.fleet.allocation_rollback).
options:
  vm:
    description:
      - Name or identifier of the VM.
      - By default the VM of the host that the task runs for.
    type: str
    required: true
  vcpus:
    description: The vCPUs it should have.
    type: int
  memory_mib:
    description: The memory it should have, in MiB.
    type: int
  maximum_vcpus:
    description:
      - How many vCPUs it may have at most. In force from its next start.
      - More O(vcpus) than the present maximum are for a later request.
    type: int
  maximum_memory_mib:
    description: How much memory it may have at most, in MiB. In force from its next start.
    type: int
  cpu_limit_millicores:
    description:
      - How much CPU time the whole VM may use at most, in thousandths of a CPU; V(0) for no limit.
      - It does not depend on the number of vCPUs.
    type: int
  cpu_shares:
    description:
      - Its share of CPU time where its host has too little, in relation to that of others.
      - Refused where the VM has none yet, for libvirt cannot take it away again.
    type: int
  cpu_pinning:
    description:
      - The CPUs of its host that each of its vCPUs may run on, as V(0-3,8).
      - Refused where not every vCPU is pinned already, for libvirt cannot take a pin away again.
    type: str
  disk_iops:
    description: How many operations a second each of its disks may do, or O(disk) alone; V(0) for no limit.
    type: int
  disk_bytes_per_s:
    description: How many bytes a second each of its disks may read and write, or O(disk) alone; V(0) for no limit.
    type: int
  disk:
    description: Name of the one disk that the limits are for, as V(vda). By default all disks.
    type: str
  interface_inbound_bits_per_s:
    description:
      - How many bits a second each of its interfaces may receive, or O(interface) alone; V(0) for no limit.
      - On libvirt a multiple of 8000.
    type: int
  interface_outbound_bits_per_s:
    description:
      - How many bits a second each of its interfaces may send, or O(interface) alone; V(0) for no limit.
      - On libvirt a multiple of 8000.
    type: int
  interface:
    description: MAC address of the one interface that the limits are for. By default all interfaces.
    type: str
  memory_stats_period_s:
    description:
      - How often the guest tells how it uses its memory, in seconds; V(0) for never.
      - Without it nothing is known of the guest's memory, and no plan shrinks that.
    type: int
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.vm
  - headroom.fleet.acts
  - headroom.fleet.context
  - headroom.fleet.endpoints
  - headroom.fleet.policy
seealso:
  - module: headroom.fleet.vm_info
  - module: headroom.fleet.allocation_rollback
"""

EXAMPLES = r"""
- name: Give web1 four vCPUs and 2 GiB
  headroom.fleet.vm_resize:
    vm: web1
    vcpus: 4
    memory_mib: 2048
  register: resized

- name: Limit the first disk of batch1, and take the limit of its CPU time away
  headroom.fleet.vm_resize:
    vm: batch1
    disk: vda
    disk_iops: 500
    cpu_limit_millicores: 0

- name: Let the guest tell of its memory every five seconds
  headroom.fleet.vm_resize:
    vm: web1
    memory_stats_period_s: 5

# The same ad hoc:
# ansible web1 -m headroom.fleet.vm_resize -a "vcpus=4 memory_mib=2048" --check --diff
"""

RETURN = r"""
plan:
  description: Digest of the plan of the one VM.
  returned: success
  type: str
  sample: sha256:9b2e...
receipt:
  description:
    - Digest of the receipt, for M(headroom.fleet.allocation_verify) and M(headroom.fleet.allocation_rollback).
    - Empty in check mode.
  returned: success
  type: str
  sample: sha256:77aa...
stopped:
  description: Code of what stopped the run early; empty if nothing did.
  returned: when not in check mode
  type: str
  sample: ''
states:
  description: How many actions came to which end.
  returned: success
  type: dict
  sample: {done: 3, already_done: 1}
outcomes:
  description: What came of each action.
  returned: success
  type: list
  elements: dict
  contains:
    action_id:
      description: Name of the action within its plan.
      type: str
    unique_id:
      description: Identifier of the VM.
      type: str
    vm_name:
      description: Name of the VM.
      type: str
    operation:
      description: The way in which the platform does it.
      type: str
    state:
      description: V(done), V(already_done), V(skipped), V(reverted), V(owed), or V(begun) when the connection broke.
      type: str
    code:
      description: Stable code of the reason; empty for V(done).
      type: str
    message:
      description: The reason.
      type: str
    finished_at:
      description: When it ended.
      type: str
  sample:
    - action_id: a0001
      unique_id: lab/6b1f
      vm_name: web1
      operation: vcpus.agent
      state: done
      code: ''
      message: ''
      finished_at: '2026-01-31T12:00:04Z'
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.acts import run_acts
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.policy import read_policy
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS, POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.resize import resize

SIZES = {"vcpus": {"type": "int"}, "memory_mib": {"type": "int"}}
SETTINGS = {
    "maximum_vcpus": {"type": "int"},
    "maximum_memory_mib": {"type": "int"},
    "cpu_limit_millicores": {"type": "int"},
    "cpu_shares": {"type": "int"},
    "cpu_pinning": {"type": "str"},
    "disk_iops": {"type": "int"},
    "disk_bytes_per_s": {"type": "int"},
    "interface_inbound_bits_per_s": {"type": "int"},
    "interface_outbound_bits_per_s": {"type": "int"},
    "memory_stats_period_s": {"type": "int"},
}
TARGETS = {"disk": {"type": "str"}, "interface": {"type": "str"}}


def main() -> None:
    run_acts(
        lambda context, params, stop, terms: resize(
            context,
            vm=params["vm"],
            **{name: params[name] for name in SIZES},
            settings={name: params[name] for name in SETTINGS},
            targets={name: params[name] for name in TARGETS},
            stop=stop,
            terms=terms,
            **read_policy(params),
        ),
        {**ENDPOINTS, **POLICY, "vm": {"type": "str", "required": True}, **SIZES, **SETTINGS, **TARGETS},
        required_one_of=[(*SIZES, *SETTINGS)],
    )


if __name__ == "__main__":
    main()
