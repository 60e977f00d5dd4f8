# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a sampler's files: what the module found on the hypervisor becomes files here, and no variable."""

from __future__ import annotations

import base64
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._telemetry.sampler import FILES, NAME, folder_of
from ansible_collections.headroom.fleet.plugins.plugin_utils.controller_action import ENDPOINT_OF_HOST

HISTORY_S = 3600  # as the module has it


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        variables: dict[str, Any] = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        arguments = dict(self._task.args)
        endpoint = arguments.get("endpoint") or self._templar.template(variables.get(ENDPOINT_OF_HOST) or "")
        if not endpoint or not arguments.get("dest"):
            raise AnsibleActionFail("Say which endpoint this hypervisor is (endpoint), and where its files go (dest).")
        folder = Path(self._loader.path_dwim(arguments["dest"])) / folder_of(str(endpoint))
        first = (utc_now() - timedelta(seconds=int(arguments.get("history_s") or HISTORY_S))).strftime(NAME)
        after = arguments.get("after") or max((first, *_names(folder)))
        files = size = 0
        more = True
        while more:
            found = self._execute_module(module_args={**arguments, "after": after}, task_vars=variables)
            if found.get("failed") or found.get("skipped"):
                return {**result, **found}
            more = found["more"] and bool(found["found"])
            for one in found["found"]:
                before, after = after, str(one["name"])
                if not FILES.fullmatch(after) or after <= before:
                    raise AnsibleActionFail(f"The hypervisor gives a file {after!r} where no sampler would.")
                content = base64.b64decode(one["content"], validate=True)
                if not self._task.check_mode:
                    _write(folder / after, content)
                files, size = files + 1, size + len(content)
        if not self._task.check_mode:
            for name in _names(folder):
                if name < first:
                    (folder / name).unlink()
        return {**result, "changed": False, "files": files, "bytes": size, "path": str(folder)}


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if FILES.fullmatch(path.name)] if folder.is_dir() else []


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_bytes(content)
    new.replace(path)
