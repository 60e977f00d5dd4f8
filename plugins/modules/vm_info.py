#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: vm_info
short_description: Show one VM, what may be done to it, what not and why
version_added: 0.1.0
description:
  - Looks at the VM, or reads it from a stored snapshot.
options:
  vm:
    description:
      - Name or identifier of the VM.
      - By default the VM of the host that the task runs for.
    type: str
    required: true
  snapshot:
    description: Digest of a snapshot to read it from. By default its endpoint is looked at afresh.
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
  - module: headroom.fleet.vm_resize
  - module: headroom.fleet.vm_hold
"""

EXAMPLES = r"""
- name: What may be done to web1?
  headroom.fleet.vm_info:
    vm: web1
  register: web1

# The same ad hoc:
# ansible web1 -m headroom.fleet.vm_info
"""

RETURN = r"""
vm:
  description: The VM.
  returned: success
  type: dict
  contains:
    unique_id:
      description: Its identifier, the endpoint's name and the platform's UUID.
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
    host_id:
      description: Its host.
      type: str
    host_set:
      description: The host set of its host.
      type: str
    mode:
      description: The mode that the VM itself asks for, if any.
      type: str
    refused:
      description: Why nothing at all may be done to it; empty if nothing speaks against.
      type: str
    allowed:
      description: What may be done to it, each with the operation, its bounds and when its inverse takes effect.
      type: list
      elements: dict
    impossible:
      description: What may not be done, each with a stable code and the reason.
      type: list
      elements: dict
hold:
  description: Who holds it and why; empty if nobody does.
  returned: success
  type: dict
  sample: {who: ann, reason: an audit}
last_acts:
  description: For each resource that Headroom changed, the direction and time of the newest act.
  returned: success
  type: dict
  sample: {vcpus: {direction: grow, finished_at: '2026-01-31T12:00:04Z'}}
scorecard:
  description:
    - How the forecasts of the VM did over the last 28 days, by resource; empty where none is old enough to tell.
    - C(demoted) says whether Headroom only recommends for it, C(since) and C(may_return) from which day on, C(reason)
      why.
    - C(days) and C(intervals) were scored, C(missed) intervals could not be. The share of them in which use was at the
      size is C(violated_percent), the pinball loss as a share of the size C(loss_percent), that of the last value
      carried on C(naive_loss_percent), and what the interval of 90 % covered C(covered_percent).
  returned: success
  type: dict
  sample:
    vcpus: {demoted: true, since: '2026-03-08', may_return: '2026-03-15',
            reason: 'violated 1.4 % of 28 days, more than 1 %', days: 28, intervals: 8064, missed: 0,
            violated_percent: 1.4, loss_percent: 0.31, naive_loss_percent: 2.1, covered_percent: 91.2}
taken_at:
  description: When it was looked at.
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
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import vm_info


def main() -> None:
    spec = {"vm": {"type": "str", "required": True}, "snapshot": {"type": "str"}}
    run(
        lambda context, params: vm_info(context, vm=params["vm"], snapshot=params["snapshot"] or ""),
        {**ENDPOINTS, **spec},
    )


if __name__ == "__main__":
    main()
