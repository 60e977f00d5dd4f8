#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_snapshot
short_description: Observe hosts and VMs of every endpoint and keep what was seen
version_added: 0.1.0
description:
  - Looks once at each endpoint and stores a snapshot - hosts with their capacity, VMs with their sizes, and for each VM
    what may be done to it, what not and why.
  - An endpoint, host or VM that cannot be read is a gap in the snapshot, never guessed.
attributes:
  check_mode:
    support: full
    details:
      - The snapshot goes to the rehearsal that O(run_id) names, not to the artifact store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.telemetry_collect
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.vm_info
"""

EXAMPLES = r"""
- name: Observe the fleet
  headroom.fleet.fleet_snapshot:
    endpoints:
      - name: lab
        uri: qemu+ssh://hypervisor1/system
  run_once: true
  register: observed
"""

RETURN = r"""
snapshot:
  description: Digest of the snapshot.
  returned: success
  type: str
  sample: sha256:3f1c...
taken_at:
  description: When it was taken.
  returned: success
  type: str
  sample: '2026-01-31T12:00:00Z'
vms:
  description: How many VMs were seen.
  returned: success
  type: int
  sample: 214
hosts:
  description: How many hosts were seen.
  returned: success
  type: int
  sample: 12
gaps:
  description: What could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    endpoint:
      description: Name of the endpoint.
      type: str
    subject:
      description: V(endpoint), or the name of the VM or host.
      type: str
    code:
      description: Stable code of the error.
      type: str
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import observe


def main() -> None:
    run(lambda context, _: observe(context), ENDPOINTS)


if __name__ == "__main__":
    main()
