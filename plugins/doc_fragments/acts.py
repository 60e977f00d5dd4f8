# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  lease_s:
    description: For how many seconds, at least 1, an endpoint stays with this run after its last sign of life. Another
      run waits that long after a crash.
    type: int
    default: 30
  lease_wait_s:
    description: How many seconds to wait for an endpoint that another run has in hand. Longer than O(lease_s), so that
      what a dead run had in hand is waited out.
    type: int
    default: 45
notes:
  - When it is asked to stop (SIGTERM, Ctrl-C), it ends or reverts the acts in flight, begins no other and says so.
  - After a crash the next act on an endpoint first settles what the dead run left open there.
"""

    # Modules with acts on many VMs.
    WORKERS = r"""
options:
  workers:
    description: How many acts of one endpoint may be under way at once, at least 1. The budgets of the sizing policy
      bound them further.
    type: int
    default: 4
"""
