# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - File that gets a line as each step begins.
      - On a terminal, or with C(-v), the steps are shown without it.
    type: path
"""
