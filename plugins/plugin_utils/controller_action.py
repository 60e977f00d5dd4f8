# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of every action plugin here: it runs the module of the same name on the controller, whatever the host is.

The host's connection, interpreter and become settings do not count: the module is a local process of the controller's
own interpreter, since that is where the platforms' APIs and the stores are reached from.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.constants import LOCALHOST
from ansible.errors import AnsibleActionFail
from ansible.inventory.manager import split_host_pattern
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import connection_loader

# Options of every module -> the variables that give them when the task does not; the first that is defined counts.
# awx_user_name is what an automation controller says about who launched the job.
CONTEXT: Mapping[str, tuple[str, ...]] = {
    "artifacts_url": ("headroom_artifacts",),
    "state_url": ("headroom_state",),
    "telemetry_url": ("headroom_telemetry",),
    "run_id": ("headroom_run_id",),
    "now": ("headroom_now",),
    "who": ("headroom_who", "awx_user_name"),
}
ENDPOINTS: Mapping[str, tuple[str, ...]] = {"endpoints": ("headroom_endpoints",)}
POLICY: Mapping[str, tuple[str, ...]] = {"policy": ("headroom_policy",)}

ENDPOINT_OF_HOST = "headroom_endpoint"
UNIQUE_ID_OF_HOST = "headroom_unique_id"
HOST_ID_OF_HOST = "headroom_host_id"


class ControllerAction(ActionBase):
    """Subclasses are one table row: what their module takes from variables, the host and the play."""

    _connection: Any
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = True

    # Option -> variables, beside CONTEXT.
    OPTIONS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # Options that name a file on the controller, relative to the playbook.
    PATHS: ClassVar[tuple[str, ...]] = ()
    # The option that is the VM of the host the task runs for. A list takes unique_ids alone: it looks up no name.
    VM: ClassVar[str] = ""
    VM_IS_LIST: ClassVar[bool] = False
    # The option that is the hypervisor that the task runs for, or that its VM is on. For other hosts it stays empty.
    HYPERVISOR: ClassVar[str] = ""
    # The option that gets the VMs of the play. Such a module is about the fleet and runs once for all hosts.
    SCOPE: ClassVar[str] = ""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fill in what the task left out, and run the module."""
        variables: dict[str, Any] = {} if task_vars is None else task_vars  # Ansible's own copy for this one task
        result: dict[str, Any] = super().run(tmp, variables)
        self._check_play(variables)
        arguments = self._arguments(variables)
        wrap_async = self._go_local(variables)
        result.update(self._run_module(arguments, variables, wrap_async=wrap_async))
        return result

    def _run_module(self, arguments: dict[str, Any], variables: dict[str, Any], *, wrap_async: bool) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(
            module_name=self._task.action, module_args=arguments, task_vars=variables, wrap_async=wrap_async
        )
        return found

    def _check_play(self, variables: dict[str, Any]) -> None:
        limit = variables.get("ansible_limit")
        if limit is not None and _is_empty(str(limit)):
            raise AnsibleActionFail(
                "The limit is given and empty, which to Ansible means every host. Leave it out, or name hosts."
            )
        if self.BYPASS_HOST_LOOP and variables.get("ansible_play_batch") != variables.get("ansible_play_hosts"):
            raise AnsibleActionFail(
                f"{self._task.action} is about the whole fleet: a play with 'serial' would run it on one batch after "
                "another. Remove 'serial'; what may happen at once is a matter of the sizing policy's budgets."
            )

    def _arguments(self, variables: dict[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = dict(self._task.args)
        subject = self.VM or self.HYPERVISOR
        own = bool(subject) and arguments.get(subject) is None
        for option, names in {**CONTEXT, **self.OPTIONS}.items():
            value = next((found for name in names if (found := self._variable(variables, name)) is not None), None)
            if value is None or arguments.get(option) is not None:
                continue
            if option == "endpoints" and own:
                value = self._own_endpoint(variables, value)
            arguments[option] = value
        if self.HYPERVISOR and own:
            arguments[self.HYPERVISOR] = self._variable(variables, HOST_ID_OF_HOST)
        if self.VM and own:
            unique_id = self._variable(variables, UNIQUE_ID_OF_HOST)
            if self.VM_IS_LIST:
                arguments[self.VM] = [unique_id] if unique_id else None
            else:
                arguments[self.VM] = unique_id or variables["inventory_hostname"]
        if self.SCOPE and arguments.get(self.SCOPE) is None:
            arguments[self.SCOPE] = _scope(variables)
        for option in self.PATHS:
            if arguments.get(option):
                arguments[option] = self._loader.path_dwim(arguments[option])
        return arguments

    def _variable(self, variables: dict[str, Any], name: str) -> Any:
        """A variable's final value; None where it is not defined, or defined as nothing."""
        value = variables.get(name)
        return None if value in (None, "") else self._templar.template(value)

    def _own_endpoint(self, variables: dict[str, Any], endpoints: Any) -> Any:
        """The endpoint of the host, where it is known: no other need be asked."""
        name = self._variable(variables, ENDPOINT_OF_HOST)
        return [one for one in endpoints if one.get("name") == name] or endpoints

    def _go_local(self, variables: dict[str, Any]) -> bool:
        """Put a local connection and our interpreter in place of the host's; returns whether the task is detached."""
        if self._task.async_val and self._connection.transport != "local":
            raise AnsibleActionFail(
                f"{self._task.action} runs on the controller, but Ansible would look for the detached job through the "
                f"host's own connection ({self._connection.transport}). Add 'delegate_to: localhost' to the task."
            )
        # A new one also where the host's is local: that one may carry a become plugin or another shell.
        connection = connection_loader.get("ansible.builtin.local", self._play_context)
        connection.set_options()
        connection._shell.set_options()  # noqa: SLF001 - plugins reach their shell no other way
        self._connection = connection
        variables["ansible_python_interpreter"] = sys.executable  # in place: Ansible polls a detached job with it
        if self._task.delegate_to:
            delegated = variables["ansible_delegated_vars"]
            host = self._task.delegate_to
            variables["ansible_delegated_vars"] = {
                **delegated,
                host: {**delegated[host], "ansible_python_interpreter": sys.executable},
            }
        return bool(self._task.async_val) and not connection.has_native_async


def _scope(variables: dict[str, Any]) -> list[str] | None:
    """The VMs among the play's hosts; None, the whole fleet, only where the play is about the controller itself."""
    hosts = variables["ansible_play_hosts_all"]
    if all(host in LOCALHOST for host in hosts):
        return None
    hostvars = variables["hostvars"]
    found = [str(of_host[UNIQUE_ID_OF_HOST]) for host in hosts if UNIQUE_ID_OF_HOST in (of_host := hostvars[host])]
    if not found:
        raise AnsibleActionFail(
            "No host of this play is a VM that Headroom knows. Run it on headroom_vms, or name VMs in 'scope'."
        )
    return found


def _is_empty(limit: str) -> bool:
    """Whether no host pattern is left in it; a pattern that begins with @ names a file of patterns."""
    for pattern in split_host_pattern(limit):
        if pattern.startswith("@"):
            path = Path(os.path.expanduser(pattern[1:]))  # noqa: PTH111 - expanduser of Path raises on unknown users
            if not path.is_file() or path.read_text(encoding="utf-8").split():
                return False
        elif pattern.strip():
            return False
    return True
