# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import POLICY, ControllerAction


class ActionModule(ControllerAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = {**POLICY, "snapshot": ("headroom_snapshot",), "series": ("headroom_series",)}
    PATHS = ("policy",)
