# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - The platforms' APIs.
      - Taken from the variable C(headroom_endpoints), which the inventory plugin P(headroom.fleet.fleet#inventory)
        sets for its hosts. A module about one VM asks only the endpoint that the variable C(headroom_endpoint) of its
        host names.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, which is part of the identifier of every VM. Do not rename an endpoint.
        type: str
        required: true
      uri:
        description: A libvirt URI such as V(qemu+ssh://hypervisor1/system).
        type: str
        required: true
      host_set:
        description: The host set of its hosts, within which VMs can take one another's room. By default the
          endpoint's name.
        type: str
        default: ''
      vcpus_reserved:
        description: Hardware threads that each host keeps for itself.
        type: int
        default: 0
      memory_reserved_mib:
        description: Memory in MiB that each host keeps for itself.
        type: int
        default: 0
      vcpus_allocation_ratio:
        description: How many vCPUs may be promised for each hardware thread that is not reserved.
        type: float
        default: 4.0
      memory_allocation_ratio:
        description: How much memory may be promised for each MiB that is not reserved.
        type: float
        default: 1.0
      read_only:
        description: Whether to observe through a read-only connection. Acts fail with it.
        type: bool
        default: false
requirements:
  - libvirt-python >= 9.0, for endpoints of libvirt
"""
