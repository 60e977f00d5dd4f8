#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_rollback
short_description: Undo what a run, or all that was done of a plan, did
version_added: 0.1.0
description:
  - Plans the inverse of every action that is done on a fresh snapshot, approves it as the caller, and applies it.
  - An action that is undone already, or whose VM changed since, is reported and left. A second run changes nothing.
options:
  receipt:
    description:
      - Digest of the receipt of the run to undo.
      - Taken from the variable C(headroom_receipt).
      - Either this or O(plan) is required.
    type: str
  plan:
    description:
      - Digest of a plan. All that the journal calls done of it is undone, whichever runs did it; so also what a run did
        that died before it wrote a receipt.
      - Taken from the variable C(headroom_plan) where there is no receipt.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.acts
  - headroom.fleet.acts.workers
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Undo an apply
  headroom.fleet.allocation_rollback:
    receipt: "{{ applied.receipt }}"
  run_once: true

- name: Undo all that was done of a plan
  headroom.fleet.allocation_rollback:
    plan: "{{ planned.plan }}"
  run_once: true
"""

RETURN = r"""
plan:
  description: Digest of the plan that undoes it.
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
left:
  description: Decisions about what was not undone, each with its C(code) and C(reason).
  returned: success
  type: list
  elements: dict
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.acts import WORKERS, run_acts
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import rollback


def main() -> None:
    which = ("receipt", "plan")
    run_acts(
        lambda context, params, stop, terms: rollback(
            context,
            **{name: params[name] or "" for name in which},
            stop=stop,
            terms=terms,
            workers=params["workers"],
        ),
        {**ENDPOINTS, **WORKERS, **{name: {"type": "str"} for name in which}},
        mutually_exclusive=[which],
        required_one_of=[which],
    )


if __name__ == "__main__":
    main()
