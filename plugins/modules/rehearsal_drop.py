#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: rehearsal_drop
short_description: Forget a rehearsal
version_added: 0.1.0
description:
  - The stages of a cycle in check mode share a private copy of what they would store, by O(run_id). This removes the
    copy.
  - What is not there is gone already. Nothing else is touched, also out of check mode.
attributes:
  check_mode:
    support: full
    details:
      - The copy is removed in check mode too, for that is when there is one.
  diff_mode:
    support: none
extends_documentation_fragment:
  - headroom.fleet.attributes
  - headroom.fleet.attributes.fleet
  - headroom.fleet.context
seealso:
  - module: headroom.fleet.allocation_plan
"""

EXAMPLES = r"""
- name: Forget the rehearsal
  headroom.fleet.rehearsal_drop:
    run_id: "{{ headroom_run_id }}"
  run_once: true
"""

RETURN = r"""
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context, Result, drop_rehearsal


def act(context: Context) -> Result:
    drop_rehearsal(context.run)
    return Result(changed=False, values={})


def main() -> None:
    run(lambda context, _: act(context))


if __name__ == "__main__":
    main()
