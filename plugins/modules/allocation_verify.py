#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_verify
short_description: Check that what a receipt calls done still holds
version_added: 0.1.0
description:
  - Looks at the platforms and says for each action of a receipt whether the VM is as the action left it.
options:
  receipt:
    description:
      - Digest of the receipt.
      - Taken from the variable C(headroom_receipt).
    type: str
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Does it still hold?
  headroom.fleet.allocation_verify:
    receipt: "{{ applied.receipt }}"
  run_once: true
  register: checked
  failed_when: not checked.verified
"""

RETURN = r"""
receipt:
  description: Digest of the receipt.
  returned: success
  type: str
  sample: sha256:77aa...
verified:
  description: Whether every one of them holds.
  returned: success
  type: bool
  sample: true
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
      description: V(done) where it holds, else V(skipped) with the code V(drift) or the reason.
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

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import verify_receipt


def main() -> None:
    spec = {"receipt": {"type": "str", "required": True}}
    run(lambda context, params: verify_receipt(context, receipt=params["receipt"]), {**ENDPOINTS, **spec})


if __name__ == "__main__":
    main()
