# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.telemetry import TELEMETRY
from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import ENDPOINTS
from ansible_collections.headroom.fleet.plugins.plugin_utils.progress import TimedAction


class ActionModule(TimedAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = ENDPOINTS
    PATHS = ("file", "sampler")
    DURATION = ("duration_s", TELEMETRY["duration_s"]["default"])
    NOT_WITH = ("prometheus", "file", "sampler")
