#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kill_switch
short_description: Stop all acts at once, or see whether they are stopped
version_added: 0.1.0
description:
  - While the kill switch is on, no act begins anywhere that shares the state store; a run that is under way begins no
    further one.
options:
  state:
    description: What it is to be. Without it, it is only read.
    type: str
    choices: ['on', 'off']
  reason:
    description: Why. Required with O(state=on).
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.vm_hold
"""

EXAMPLES = r"""
- name: Stop everything
  headroom.fleet.kill_switch:
    state: 'on'
    reason: storage is failing

- name: Go on
  headroom.fleet.kill_switch:
    state: 'off'
"""

RETURN = r"""
'on':
  description: Whether it is on.
  returned: success
  type: bool
  sample: true
who:
  description: Who set it last.
  returned: success
  type: str
  sample: ann
reason:
  description: Why.
  returned: success
  type: str
  sample: storage is failing
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.hold import kill_switch

STATES = {"on": True, "off": False, None: None}


def main() -> None:
    spec = {"state": {"type": "str", "choices": ["on", "off"]}, "reason": {"type": "str"}}
    run(
        lambda context, params: kill_switch(context, on=STATES[params["state"]], reason=params["reason"] or ""),
        spec,
        required_if=[("state", "on", ["reason"])],
    )


if __name__ == "__main__":
    main()
