#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Show hypervisors, what their VMs have and what room is left
version_added: 0.1.0
description:
  - Looks at the hypervisors of the endpoints, or reads them from a stored snapshot.
  - What may be allocated on a hypervisor is its capacity, less what is reserved, times the allocation ratio, as in
    OpenStack Placement. What is allocated are the sizes of its VMs, those that are off included.
options:
  host:
    description:
      - Name or identifier of one hypervisor; empty for every hypervisor of the endpoints.
      - By default the hypervisor that the task runs for, or that the VM is on that it runs for; for other hosts every
        hypervisor.
    type: str
  snapshot:
    description: Digest of a snapshot to read them from. By default their endpoints are looked at afresh.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.vm
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.vm_info
  - module: headroom.fleet.fleet_snapshot
"""

EXAMPLES = r"""
- name: What room is left, anywhere?
  headroom.fleet.host_info:
    host: ''
  run_once: true
  register: fleet

- name: Name the hypervisors with room for 8 GiB more
  ansible.builtin.debug:
    msg: "{{ fleet.hosts | selectattr('memory_mib.left', 'ge', 8192) | map(attribute='name') }}"

# One hypervisor ad hoc:
# ansible host1 -m headroom.fleet.host_info
"""

RETURN = r"""
hosts:
  description: The hypervisors, by identifier.
  returned: success
  type: list
  elements: dict
  contains:
    host_id:
      description: Its identifier, the endpoint's name and the platform's own.
      type: str
    name:
      description: Its name.
      type: str
    endpoint:
      description: Its endpoint.
      type: str
    host_set:
      description: Its host set.
      type: str
    vcpus:
      description: Its processors, in hardware threads and vCPUs.
      type: dict
      contains: &resource
        capacity:
          description: What it has.
          type: int
        reserved:
          description: What it keeps for itself.
          type: int
        allocation_ratio_ppm:
          description: How many times over the rest may be allocated, in millionths.
          type: int
        allocatable:
          description: How much may be allocated to VMs.
          type: int
        allocated:
          description: How much its VMs have.
          type: int
        left:
          description: How much more may be allocated; below zero where too much was.
          type: int
    memory_mib:
      description: Its memory, in MiB.
      type: dict
      contains: *resource
    numa:
      description: Its NUMA cells, each with C(cell_id), C(cpus) and C(memory_mib); empty where the platform tells none.
      type: list
      elements: dict
    vms:
      description: The VMs on it, by name.
      type: list
      elements: dict
      contains:
        unique_id:
          description: Its identifier.
          type: str
        name:
          description: Its name.
          type: str
        power:
          description: V(running), V(off) or another state of the platform.
          type: str
        vcpus:
          description: vCPUs that the guest can use now.
          type: int
        memory_mib:
          description: Memory that the guest can use now, in MiB.
          type: int
  sample:
    - host_id: rack1/4c4c4544-0050-4a10-8036-b4c04f4e3132
      name: host1
      endpoint: rack1
      host_set: rack1
      vcpus: {capacity: 32, reserved: 2, allocation_ratio_ppm: 4000000, allocatable: 120, allocated: 87, left: 33}
      memory_mib: {capacity: 257000, reserved: 4096, allocation_ratio_ppm: 1000000, allocatable: 252904,
                   allocated: 196608, left: 56296}
      numa: [{cell_id: 0, cpus: 32, memory_mib: 257000}]
      vms: [{unique_id: rack1/0d3ff4e5-9c1b-4a34-8b53-0a8d7a0d6b3f, name: web1, power: running, vcpus: 4,
             memory_mib: 8192}]
gaps:
  description: What could not be seen; the figures lack it.
  returned: success
  type: list
  elements: dict
  sample: [{endpoint: rack2, subject: endpoint, code: endpoint.unreachable}]
taken_at:
  description: When they were looked at.
  returned: success
  type: str
  sample: '2026-01-31T12:00:00Z'
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import host_info


def main() -> None:
    spec = {"host": {"type": "str"}, "snapshot": {"type": "str"}}
    run(
        lambda context, params: host_info(context, host=params["host"] or "", snapshot=params["snapshot"] or ""),
        {**ENDPOINTS, **spec},
    )


if __name__ == "__main__":
    main()
