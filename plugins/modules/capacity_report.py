#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: capacity_report
short_description: Write the report of a run as a page, as Markdown and as metrics
version_added: 0.1.0
description:
  - Tells who grows, who shrinks, who stays and why, with the forecast against recent use, what that gives back and
    costs, what of each error budget is spent and what service is priced at, where use ran into a limit, how good the
    forecasts were, which models speak, how the last apply ended, which rollbacks are owed, what is left of the budget,
    and how much of the fleet is known.
  - The page is one HTML file that loads nothing from anywhere. The metrics are for the textfile collector of
    Prometheus' node_exporter; the time of the last success outlives a run that failed, for it is carried over from
    the file of the run before.
  - A report can be made again from its digests at any time. Made after the time that was forecast, it holds the
    forecast against what came true.
options:
  plan:
    description:
      - Digest of the plan. By default that of O(receipt).
      - Taken from the variable C(headroom_plan).
    type: str
  receipt:
    description:
      - Digest of the receipt of an apply.
      - Taken from the variable C(headroom_receipt).
    type: str
  snapshot:
    description:
      - Digest of a snapshot, for a run that made no plan.
      - Taken from the variable C(headroom_snapshot).
    type: str
  backtest:
    description:
      - Digest of a back-test, as M(headroom.fleet.forecast_backtest) returned it, to show how good forecasts of the
        past were beside the scorecard, which knows only what was forecast in earnest.
      - Taken from the variable C(headroom_backtest).
    type: str
  html:
    description: File for the page. A relative path starts at the playbook.
    type: path
  markdown:
    description: File for the Markdown. A relative path starts at the playbook.
    type: path
  metrics:
    description: File for the metrics; the collector reads files that end in C(.prom). A relative path starts at the
      playbook.
    type: path
  started_at:
    description: When the run began, as V(2026-01-31T12:00:00Z). Without it nothing is said of how long the run took.
    type: str
attributes:
  check_mode:
    support: full
    details:
      - The report is written also in check mode, for a rehearsal is worth one; it says that nothing was changed.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.forecast_backtest
  - module: headroom.fleet.allocation_plan
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Report on an apply
  headroom.fleet.capacity_report:
    receipt: "{{ applied.receipt }}"
    html: /srv/www/headroom/index.html
    markdown: /srv/www/headroom/report.md
    metrics: /var/lib/prometheus/node-exporter/headroom.prom
  run_once: true
"""

RETURN = r"""
html:
  description: File of the page; empty if none was asked for.
  returned: success
  type: str
  sample: /srv/www/headroom/index.html
markdown:
  description: File of the Markdown; empty if none was asked for.
  returned: success
  type: str
  sample: /srv/www/headroom/report.md
metrics:
  description: File of the metrics; empty if none was asked for.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/headroom.prom
state:
  description: V(observed), V(planned), V(applied), or V(stopped) if the apply ended early.
  returned: success
  type: str
  sample: applied
vms:
  description: VMs in the snapshot.
  returned: success
  type: int
  sample: 214
grow:
  description: VMs that grow.
  returned: success
  type: int
  sample: 12
shrink:
  description: VMs that shrink.
  returned: success
  type: int
  sample: 31
stay:
  description: VMs that nothing is planned for and nothing was refused to.
  returned: success
  type: int
  sample: 168
refused:
  description: VMs to which a change was refused.
  returned: success
  type: int
  sample: 3
owed:
  description: Rollbacks that are owed, or failed.
  returned: success
  type: int
  sample: 0
given_back:
  description: What the acts that were done gave back, in vCPU and MiB; without a receipt, what the plan would.
  returned: success
  type: dict
  sample: {vcpus: 40, memory_mib: 81920}
handed_out:
  description: What the acts that were done handed out, in vCPU and MiB; without a receipt, what the plan would.
  returned: success
  type: dict
  sample: {vcpus: 14, memory_mib: 16384}
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.report import Files, report

FORMS = ("html", "markdown", "metrics")
DIGESTS = ("plan", "receipt", "snapshot", "backtest")


def make(context: Context, params: dict[str, Any]) -> Result:
    return report(
        context,
        files=Files(**{form: params[form] or "" for form in FORMS}),
        **{name: params[name] or "" for name in (*DIGESTS, "started_at")},
    )


def main() -> None:
    spec = {
        **{name: {"type": "str"} for name in DIGESTS},
        **{form: {"type": "path"} for form in FORMS},
        "started_at": {"type": "str"},
    }
    run(make, spec, required_one_of=[FORMS])


if __name__ == "__main__":
    main()
