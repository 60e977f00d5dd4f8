# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import ControllerAction


class ActionModule(ControllerAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = {
        "plan": ("headroom_plan",),
        "receipt": ("headroom_receipt",),
        "snapshot": ("headroom_snapshot",),
        "backtest": ("headroom_backtest",),
    }
    PATHS = ("html", "markdown", "metrics")
