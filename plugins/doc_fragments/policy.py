# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  policy:
    description:
      - File of the sizing policy on the controller; a relative path starts at the playbook.
      - Taken from the variable C(headroom_policy). By default the policy that the collection ships, which only
        recommends.
    type: path
"""
