# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.headroom.fleet.plugins.plugin_utils.progress import NotedAction


class ActionModule(NotedAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = {"snapshot": ("headroom_snapshot",)}
    PATHS = ("protocol", "html", "progress_file")
