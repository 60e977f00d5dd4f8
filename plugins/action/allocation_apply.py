# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.plugin_utils.progress import FollowedAction


class ActionModule(FollowedAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = {**ENDPOINTS, "plan": ("headroom_plan",)}
