# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import ENDPOINTS, ControllerAction


class ActionModule(ControllerAction):
    BYPASS_HOST_LOOP = True
    OPTIONS = {**ENDPOINTS, "receipt": ("headroom_receipt",), "plan": ("headroom_plan",)}

    def _arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(variables)
        if not self._task.args.get("receipt") and (self._task.args.get("plan") or not arguments.get("receipt")):
            arguments.pop("receipt", None)  # the plan was named
        elif not self._task.args.get("plan"):
            arguments.pop("plan", None)  # after a cycle both variables are there: the receipt is of its last run
        return arguments
