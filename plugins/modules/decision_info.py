#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: decision_info
short_description: Say why, or why not, for one VM
version_added: 0.1.0
description:
  - Tells what a plan decided about a VM. Which numbers counted, which line of the sizing policy, who approved the act
    and what came of it, and what is held or owed.
  - Reads the stores only; no platform is asked.
options:
  vm:
    description:
      - Name or identifier of the VM.
      - By default the VM of the host that the task runs for.
    type: str
    required: true
  plan:
    description: Digest of the plan. By default the newest plan that says anything about the VM.
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
  - module: headroom.fleet.allocation_plan_info
  - module: headroom.fleet.vm_info
"""

EXAMPLES = r"""
- name: Why does web1 stay as it is?
  headroom.fleet.decision_info:
    vm: web1
  register: web1

- name: Show the answer
  ansible.builtin.debug:
    msg: "{{ web1.text.splitlines() }}"

# The same ad hoc:
# ansible web1 -m headroom.fleet.decision_info
"""

RETURN = r"""
text:
  description: The answer for people.
  returned: success
  type: str
vm:
  description: The VM, its C(unique_id) and C(name).
  returned: success
  type: dict
  sample: {unique_id: lab/6b1f, name: web1}
plan:
  description: The plan that decided.
  returned: success
  type: dict
  contains:
    digest:
      description: Its digest.
      type: str
    purpose:
      description:
        - V(size) for a plan by forecast and policy, V(guard) for one by the newest telemetry, V(resize) for a person's
          own request, V(rollback).
      type: str
    made_at:
      description: When it was made.
      type: str
    expires_at:
      description: Until when it can be applied.
      type: str
    policy:
      description: Digest of the sizing policy.
      type: str
    policy_name:
      description: Name of the policy's file.
      type: str
resources:
  description: The decisions, one for each resource.
  returned: success
  type: list
  elements: dict
  contains:
    resource:
      description: V(vcpus), V(memory_mib), or the name of a setting.
      type: str
    verdict:
      description: V(act), V(stay) or V(refused).
      type: str
    code:
      description: Stable code of the reason.
      type: str
    reason:
      description: The reason, with its numbers.
      type: str
    size_now:
      description: The size that the VM had.
      type: int
    size_wanted:
      description: The size that the forecast and the policy want.
      type: int
    policy:
      description: The C(line) of the policy that decided, as C(place) (file and line) and with its C(text).
        C(line) is V(0) where that is a shipped setting or a built-in rule.
      type: dict
    demand:
      description: The C(metric) and C(quantile), the C(upper) bound that counted (of the guard the largest use of the
        last day, and no quantile), the C(engine) of the forecast and its C(engine_reason), C(history_s) and
        C(coverage_percent) of what is known, C(observed_until), and the C(recent_maximum) of its last hour.
      type: dict
    service:
      description: Of a size chosen by price, the C(size), the C(model) that spoke and the C(lead_s) of its acts. The
        share of time with too little, in millionths, is C(violated_ppm) as expected of that size, C(spent_ppm) in the
        past, and C(budget_ppm) as the policy allows. C(price_ppm) says how dear service is by now, in millionths of
        what it costs a VM at ease, and C(more_ppm) what one C(unit) more costs beyond what it saves, in millionths of
        that unit. Empty where no model spoke.
      type: dict
    signals:
      description: What told the guard that the VM is short - the C(code) of each signal, its C(metric) and C(value),
        and the interval of telemetry that gave it, C(interval_s) seconds from C(start). Empty in plans by forecast.
      type: list
      elements: dict
    action:
      description: The act; empty where there is none.
      type: dict
    approvals:
      description: Who approved the act, when and until when, and whether that has expired.
      type: list
      elements: dict
    journal:
      description: What came of the act, once for each time that it was begun.
      type: list
      elements: dict
  sample:
    - resource: vcpus
      verdict: act
      code: grow
      reason: 'P95 of demand is at most 2.40 vCPU: at 70 % use that takes 4 vCPU, it has 2'
      size_now: 2
      size_wanted: 4
      policy: {line: 7, place: 'policy.yml:7', text: 'vcpus: {target_use_percent: 70}'}
hold:
  description: Who holds the VM, why, and until when; empty where nobody does.
  returned: success
  type: dict
  sample: {who: ann, reason: an audit, until: ''}
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
owed:
  description: Acts on the VM that could not be undone yet.
  returned: success
  type: list
  elements: dict
acts:
  description: The newest acts on the VM by any plan, the newest first.
  returned: success
  type: list
  elements: dict
  contains:
    run_id:
      description: The run that began it.
      type: str
    plan:
      description: Digest of its plan.
      type: str
    action_id:
      description: Name of the action within that plan.
      type: str
    resource:
      description: What it changed.
      type: str
    direction:
      description: V(grow), V(shrink), or V(set) for a setting.
      type: str
    state:
      description: How it stands.
      type: str
    code:
      description: Stable code of the reason; empty for V(done).
      type: str
    message:
      description: The reason.
      type: str
    begun_at:
      description: When it was begun.
      type: str
    updated_at:
      description: When it came to its state.
      type: str
settings:
  description: Which rules of the policy fit the VM, and every setting with its value and the line that decided it.
  returned: success
  type: str
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision


def main() -> None:
    spec = {"vm": {"type": "str", "required": True}, "plan": {"type": "str"}}
    run(lambda context, params: decision(context, vm=params["vm"], plan=params["plan"] or ""), spec)


if __name__ == "__main__":
    main()
