#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: allocation_apply
short_description: Carry out a stored plan, or settle what an earlier run left open
version_added: 0.1.0
description:
  - Carries out the actions of a plan that the sizing policy lets go ahead by itself (mode C(auto)) and those that
    somebody approved. Each is checked against the VM as it is now, written, and read back; what goes wrong is set
    back.
  - An action that is already done, or whose VM changed since the plan was made, is reported and left.
    A second run changes nothing.
  - First of all it settles what an earlier run that was killed left open on the same endpoints.
  - On a terminal, and with C(-v), it shows each action as it goes on.
options:
  plan:
    description:
      - Digest of the plan.
      - Taken from the variable C(headroom_plan).
      - Required with O(recover=first).
    type: str
  recover:
    description:
      - V(first) settles what earlier runs left open and then applies the plan.
      - V(only) settles what earlier runs left open on all of O(endpoints) and does nothing else.
    type: str
    choices: [first, only]
    default: first
attributes:
  check_mode:
    support: full
    details:
      - Says for each action what would come of it at this moment, through read-only connections.
        With O(recover=only) nothing is looked at.
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
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.allocation_rollback
  - module: headroom.fleet.allocation_verify
"""

EXAMPLES = r"""
- name: Apply a plan
  headroom.fleet.allocation_apply:
    plan: "{{ planned.plan }}"
  run_once: true
  register: applied

- name: Settle what a run that was killed left open
  headroom.fleet.allocation_apply:
    recover: only
  run_once: true
"""

RETURN = r"""
plan:
  description: Digest of the plan; empty with O(recover=only).
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

import threading
from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.acts import WORKERS, run_acts
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, recover_only
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result


def act(context: Context, params: dict[str, Any], stop: threading.Event, terms: LeaseTerms) -> Result:
    if params["recover"] == "only":
        return recover_only(context, stop=stop, terms=terms)
    return apply(
        context,
        plan=params["plan"],
        stop=stop,
        terms=terms,
        workers=params["workers"],
        pinned_clock=bool(params["now"]),
    )


def main() -> None:
    spec = {
        "plan": {"type": "str"},
        "recover": {"type": "str", "choices": ["first", "only"], "default": "first"},
    }
    run_acts(act, {**ENDPOINTS, **WORKERS, **spec}, required_if=[("recover", "first", ["plan"])])


if __name__ == "__main__":
    main()
