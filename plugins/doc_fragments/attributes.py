# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    # What holds for every module here; each says itself what it does in check mode and whether it has a diff.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and say what it would change without changing it.
  diff_mode:
    description: Says what changed, or would change, in diff mode.
  platform:
    description: Where the module can run.
    support: full
    platforms: posix
  action_group:
    description:
      - Is part of the action group R(headroom.fleet.headroom, ansible_collections.headroom.fleet.docsite.guide_use),
        so that C(module_defaults) carries endpoints, stores and policy once.
    support: full
    membership:
      - headroom.fleet.headroom
  action:
    description: Has an action plugin, which runs the module on the controller with the controller's own Python
      interpreter.
    support: full
  async:
    description: Can be used with the C(async) keyword.
    support: partial
    details:
      - The host's connection must be local, or the task delegated to C(localhost).
  become:
    description: Can be used with the C(become) keywords.
    support: none
  connection:
    description: Uses the connection of the host it is called for.
    support: none
  delegation:
    description: Can be used with C(delegate_to).
    support: full
"""

    # Modules about the whole fleet.
    FLEET = r"""
attributes:
  bypass_host_loop:
    description: Runs once for all hosts of a play, which must not use C(serial).
    support: full
"""

    # Modules about one VM.
    VM = r"""
attributes:
  bypass_host_loop:
    description: Runs once for all hosts of a play.
    support: none
"""

    # Modules that run on a hypervisor, instead of the attributes above.
    HOST = r"""
attributes:
  check_mode:
    description: Can run in check mode and say what it would change without changing it.
    support: full
  diff_mode:
    description: Says what changed, or would change, in diff mode.
    support: none
  platform:
    description: Where the module can run.
    support: full
    platforms: posix
  async:
    description: Can be used with the C(async) keyword.
    support: none
  become:
    description: Can be used with the C(become) keywords.
    support: full
  connection:
    description: Uses the connection of the host it is called for.
    support: full
  delegation:
    description: Can be used with C(delegate_to).
    support: full
"""
