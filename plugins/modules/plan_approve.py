#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: plan_approve
short_description: Let actions of a stored plan go ahead
version_added: 0.1.0
description:
  - Writes an approval, a row of the state store that says who let which actions of which plan go ahead, and until when.
  - Actions of mode C(recommend) cannot be approved.
  - To approve again what the same person approved changes nothing, unless it is for longer (another O(ttl_s), and a
    later end). The longer approval is added then.
options:
  plan:
    description:
      - Digest of the plan.
      - Taken from the variable C(headroom_plan).
    type: str
    required: true
  actions:
    description: The actions that are approved. By default all that may be.
    type: list
    elements: str
  ttl_s:
    description: For how many seconds, at least 1, the approval holds.
    type: int
    default: 86400
attributes:
  check_mode:
    support: full
    details:
      - The approval goes to the rehearsal that O(run_id) names, not to the state store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.allocation_plan_info
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Approve one action for two hours
  headroom.fleet.plan_approve:
    plan: "{{ planned.plan }}"
    actions: [a0001]
    ttl_s: 7200
  run_once: true
"""

RETURN = r"""
plan:
  description: Digest of the plan.
  returned: success
  type: str
  sample: sha256:9b2e...
approved:
  description: The actions that are approved.
  returned: success
  type: list
  elements: str
  sample: [a0001]
who:
  description: Who approved them.
  returned: success
  type: str
  sample: ann
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve


def main() -> None:
    spec = {
        "plan": {"type": "str", "required": True},
        "actions": {"type": "list", "elements": "str"},
        "ttl_s": {"type": "int", "default": 86400},
    }
    run(lambda context, params: approve(context, **{name: params[name] for name in spec}), spec)


if __name__ == "__main__":
    main()
