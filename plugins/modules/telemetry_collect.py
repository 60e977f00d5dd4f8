#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: telemetry_collect
short_description: Sample what the VMs of every endpoint use
version_added: 0.1.0
description:
  - Reads the counters of all running VMs again and again for a while, turns them into rates, and stores these as
    intervals with mean, 95th percentile and maximum.
  - What a platform or a guest does not tell is unknown, never 0. It works on a read-only connection.
options:
  duration_s:
    description: For how many seconds to sample.
    type: int
    default: 60
  step_s:
    description: Seconds between two samples.
    type: int
    default: 5
  interval_s:
    description: Length in seconds of the intervals stored. It divides the day.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    details:
      - The intervals go to the rehearsal that O(run_id) names, not to the telemetry store.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
  - headroom.fleet.endpoints
seealso:
  - module: headroom.fleet.demand_forecast
"""

EXAMPLES = r"""
- name: Sample the fleet for a minute
  headroom.fleet.telemetry_collect:
    duration_s: 60
  run_once: true
"""

RETURN = r"""
started_at:
  description: When the first sample was taken.
  returned: success
  type: str
  sample: '2026-01-31T11:59:00Z'
finished_at:
  description: When the last sample was taken.
  returned: success
  type: str
  sample: '2026-01-31T12:00:00Z'
vms:
  description: How many VMs gave a sample.
  returned: success
  type: int
  sample: 214
samples:
  description: How many samples were taken of all VMs together.
  returned: success
  type: int
  sample: 2782
rows:
  description: How many intervals were stored.
  returned: success
  type: int
  sample: 642
silent:
  description: For each metric of which some VMs said nothing, how many.
  returned: success
  type: dict
  sample: {memory_used_mib: 3}
gaps:
  description: What could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    endpoint:
      description: Name of the endpoint.
      type: str
    subject:
      description: V(endpoint), or the name of the VM or host.
      type: str
    code:
      description: Stable code of the error.
      type: str
    message:
      description: The reason.
      type: str
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._ansible.specs import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.telemetry import collect_telemetry


def main() -> None:
    spec = {
        "duration_s": {"type": "int", "default": 60},
        "step_s": {"type": "int", "default": 5},
        "interval_s": {"type": "int", "default": 300},
    }
    run(
        lambda context, params: collect_telemetry(context, **{name: params[name] for name in spec}),
        {**ENDPOINTS, **spec},
    )


if __name__ == "__main__":
    main()
