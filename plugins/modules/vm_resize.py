#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_resize
short_description: Bring one VM to the sizes asked for
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


def main() -> None:
    spec = {"vm": {"type": "str", "required": True}, "vcpus": {"type": "int"}, "memory_mib": {"type": "int"}}
    run_acts(
        lambda context, params, stop, terms: resize(
            context, **{name: params[name] for name in spec}, stop=stop, terms=terms, **read_policy(params)
        ),
        {**ENDPOINTS, **POLICY, **spec},
        required_one_of=[("vcpus", "memory_mib")],
    )


if __name__ == "__main__":
    main()
