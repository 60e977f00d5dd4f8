#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_hold
short_description: Keep hands off VMs, or let go of them
version_added: 0.1.0
description:
  - Nothing is planned for or done to a VM that is held, but for a rollback.
  - A VM of which a resource was changed and reverted twice within a week is held as well, until somebody looks at it
    and lets go of it with O(state=absent).
options:
  unique_ids:
    description:
      - Identifiers of the VMs. They need not exist yet.
      - By default the VM of the host that the task runs for.
    type: list
    elements: str
    required: true
  state:
    description: Whether there is to be a hold.
    type: str
    choices: [present, absent]
    default: present
  reason:
    description: Why, for those who meet the hold. Required with O(state=present).
    type: str
  until:
    description: When the hold ends by itself, as V(2026-01-31T12:00:00Z), a time to come. By default somebody must end
      it.
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
seealso:
  - module: headroom.fleet.vm_info
  - module: headroom.fleet.kill_switch
"""

EXAMPLES = r"""
- name: Hold the databases over the audit
  hosts: db*
  gather_facts: false
  tasks:
    - name: Hold
      headroom.fleet.vm_hold:
        reason: an audit
        until: '2026-02-15T00:00:00Z'

# The same ad hoc:
# ansible db1 -m headroom.fleet.vm_hold -a "reason='an audit'"
# ansible db1 -m headroom.fleet.vm_hold -a "state=absent"
"""

RETURN = r"""
held:
  description: The VMs that are held.
  returned: with O(state=present)
  type: list
  elements: str
  sample: [lab/6b1f]
released:
  description: The VMs that were held until now.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: [lab/6b1f]
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import hold, release


def act(context: Context, params: dict[str, Any]) -> Result:
    if params["state"] == "absent":
        return release(context, unique_ids=params["unique_ids"])
    return hold(context, unique_ids=params["unique_ids"], reason=params["reason"], until=params["until"] or "")


def main() -> None:
    spec = {
        "unique_ids": {"type": "list", "elements": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "reason": {"type": "str"},
        "until": {"type": "str"},
    }
    run(act, spec, required_if=[("state", "present", ["reason"])])


if __name__ == "__main__":
    main()
