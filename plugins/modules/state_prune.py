#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: state_prune
short_description: Forget what is old and nothing needs
version_added: 0.1.0
description:
  - Removes from the stores what is older than a stated age - settled rows of the journal, approvals, holds and leases
    that ran out, references that nobody renewed, days of the scorecard, what was wanted of VMs that no plan asks about
    any more, artifacts that nothing kept refers to, telemetry - and the overlays of rehearsals that were left behind on
    this controller.
  - Rewrites days of telemetry that lie in many small files as few files, and removes files that no version in use
    names, and of the table's log what no such version is read from. What readers and writers under way may need stays
    for a day. Of a long log at most 5000 files go in one run, the oldest, and the rest in the next ones.
  - Never removed, however old, is what an act needs that is unsettled or owed, the newest act on each VM, what keeps a
    VM held, an approval that has not run out, what a rolling budget counts, whatever a kept artifact refers to, and
    the version of the telemetry that a kept series header names.
  - The audit log is never pruned. It is one chain from its first row to its last, and M(headroom.fleet.audit_verify)
    walks all of it.
  - Run it on a schedule, once a day. It can run while other stages do. One state store must stand for all that is in
    the artifact store. What only another state store refers to counts as forgotten.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
options:
  records_days:
    description: Days for which rows of the state store and artifacts stay after they last counted. At least 31, for so
      long a rolling budget may count acts.
    type: int
    default: 90
  telemetry_days:
    description: Days of telemetry to keep, at least 1. Shrinking needs the whole cycle of history that the sizing
      policy names.
    type: int
    default: 400
  rehearsal_days:
    description: Days after which a rehearsal that nobody has touched since is dropped, at least 1.
    type: int
    default: 1
seealso:
  - module: headroom.fleet.audit_verify
  - module: headroom.fleet.rehearsal_drop
"""

EXAMPLES = r"""
- name: See what would go
  headroom.fleet.state_prune:
  check_mode: true
  register: foreseen

- name: Keep half a year of records and two years of telemetry
  headroom.fleet.state_prune:
    records_days: 180
    telemetry_days: 730
"""

RETURN = r"""
removed:
  description: How much of each kind was removed, or would be in check mode.
  returned: success
  type: dict
  contains:
    journal:
      description: Acts that are settled.
      type: int
    released:
      description: Notes of who let go of a VM that was reverted twice.
      type: int
    approval:
      description: Approvals that ran out.
      type: int
    hold:
      description: Holds that ran out.
      type: int
    lease:
      description: Leases of endpoints that nobody wrote to.
      type: int
    reference:
      description: Names of newest plans that nobody renewed.
      type: int
    issued:
      description: Notes of which forecasts plans were made from.
      type: int
    score:
      description: Days of the scorecard, one for each VM and metric.
      type: int
    standing:
      description: Verdicts of the scorecard on VMs that are gone.
      type: int
    wish:
      description: What was wanted of VMs that no plan asked about since, one for each VM and resource.
      type: int
    model:
      description: Versions of models that were retired or rolled back.
      type: int
    artifact:
      description: Artifacts that nothing kept refers to.
      type: int
    telemetry_row:
      description: Intervals older than O(telemetry_days).
      type: int
    telemetry_file:
      description: Files of the telemetry table that no version in use names.
      type: int
    rehearsal:
      description: Rehearsals that were left behind.
      type: int
  sample: {"journal": 1200, "released": 0, "approval": 14, "hold": 0, "lease": 0, "reference": 2, "model": 1,
           "issued": 288, "score": 400, "standing": 0, "wish": 2, "artifact": 310, "telemetry_row": 86400,
           "telemetry_file": 288, "rehearsal": 1}
compacted_days:
  description: Days of telemetry that were rewritten as few files.
  returned: success
  type: int
  sample: 1
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.prune import prune

AGES = {"records_days": 90, "telemetry_days": 400, "rehearsal_days": 1}
SPEC = {name: {"type": "int", "default": days} for name, days in AGES.items()}


def main() -> None:
    run(lambda context, params: prune(context, **{name: params[name] for name in AGES}), SPEC)


if __name__ == "__main__":
    main()
