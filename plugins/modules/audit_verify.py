#!/usr/bin/python
# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: audit_verify
short_description: Check that the audit log was not changed
version_added: 0.1.0
description:
  - Walks the chain of hashes of the audit log from its first row to its last, and fails where it is broken.
  - A log that was cut short at its end is whole in itself. Keep the number of rows and the last hash elsewhere and
    compare.
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
  - module: headroom.fleet.allocation_apply
"""

EXAMPLES = r"""
- name: Check the audit log
  headroom.fleet.audit_verify:
  register: audited
"""

RETURN = r"""
rows:
  description: How many rows it has.
  returned: success
  type: int
  sample: 3120
last_hash:
  description: Hash of the last row.
  returned: success
  type: str
  sample: sha256:aa01...
run_id:
  description: Name of the run.
  returned: success
  type: str
  sample: 20260131T120000-1f2e3d4c
"""

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.run import run
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.info import audit_verify


def main() -> None:
    run(lambda context, _: audit_verify(context))


if __name__ == "__main__":
    main()
