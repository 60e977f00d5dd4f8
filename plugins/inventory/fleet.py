# Copyright: (c) 2026, Headroom contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: The VMs and hosts of every endpoint
version_added: 0.1.0
author:
  - Headroom contributors (@headroom)
description:
  - Looks at every endpoint once and makes an inventory host of each VM and each hypervisor. The source is a file whose
    name ends in C(headroom.yml) or C(headroom.yaml).
  - VMs are in the group C(headroom_vms), hypervisors in C(headroom_hosts), both in C(headroom). VMs are also in groups
    by power, host set, tenant and mode, for example C(headroom_power_running).
  - With O(figures) each VM of the newest plan also has the plan's and its forecast's figures, and is in groups by what
    the plan does, for example C(headroom_action_grow), and by the pressure that the forecast's upper bound puts on its
    present size, C(headroom_pressure_over) from 100 percent, C(headroom_pressure_high) from 80,
    C(headroom_pressure_normal) from 40 and C(headroom_pressure_low) below.
  - A name that several of them share gets the endpoint's name appended, as in C(web1@lab). Characters other than
    letters, digits, dots, underscores and dashes become underscores; C(headroom_name) is the name as it is.
  - The group C(headroom) carries the endpoints in C(headroom_endpoints), so that the modules of this collection find
    them. No variable says how to connect to a VM; that is up to you.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Says that the file is meant for this plugin.
    type: str
    required: true
    choices: [headroom.fleet.fleet]
  endpoints:
    description:
      - The platforms' APIs, each with O(ignore:name), O(ignore:uri) and what else the modules of this collection know,
        for example M(headroom.fleet.fleet_snapshot). Values may be templates.
    type: list
    elements: dict
    required: true
  figures:
    description:
      - Whether to read from the stores what the newest plan wants for each VM and why, for example
        C(headroom_vcpus_wanted) and C(headroom_vcpus_why), and the forecast's upper bound that it went by,
        C(headroom_cpu_upper_millicores) and C(headroom_memory_upper_mib). Where the policy has CPU limits planned,
        C(headroom_cpu_limit_millicores_wanted) and C(headroom_cpu_limit_millicores_why) as well, and so for
        C(cpu_shares). Of limits of disks and interfaces these variables, and C(headroom_disk_iops),
        C(headroom_disk_bytes_per_s), C(headroom_interface_inbound_bits_per_s) and
        C(headroom_interface_outbound_bits_per_s), are mappings by the disk's name or the interface's MAC address.
    type: bool
    default: false
  artifacts_url:
    description: URL or path of the artifact store, for O(figures).
    type: str
    env:
      - name: HEADROOM_ARTIFACTS
  state_url:
    description: URL or path of the state store, for O(figures).
    type: str
    env:
      - name: HEADROOM_STATE
requirements:
  - libvirt-python >= 9.0, for endpoints of libvirt
"""

EXAMPLES = r"""
# inventories/production/headroom.yml
plugin: headroom.fleet.fleet
endpoints:
  - name: rack1
    uri: qemu+ssh://hypervisor1/system
    read_only: true
  - name: rack2
    uri: "{{ lookup('ansible.builtin.env', 'RACK2_URI') }}"
    host_set: rack2
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/headroom/inventory
cache_timeout: 300
# Groups of one's own. They are evaluated for each VM, so leave them out where the fleet is large.
keyed_groups:
  - prefix: owner
    key: headroom_owner
"""

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.headroom.fleet.plugins.module_utils._ansible.endpoints import read_endpoints
from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.inventory import fleet

GROUP = "headroom"
VMS = "headroom_vms"
HOSTS = "headroom_hosts"
# Names that Ansible would take for something else.
RESERVED = frozenset({"all", "ungrouped", "localhost", "127.0.0.1", "::1", GROUP, VMS, HOSTS})
# Variable of a VM -> prefix of the groups by its value.
GROUPS_BY = {
    "headroom_power": "headroom_power_",
    "headroom_host_set": "headroom_host_set_",
    "headroom_tenant": "headroom_tenant_",
    "headroom_mode": "headroom_mode_",
    "headroom_pressure": "headroom_pressure_",
}
# Variables of the group of all VMs; a VM has its own where it differs. It spares a large fleet a good part of the time.
DEFAULTS = {
    "headroom_tenant": "",
    "headroom_owner": "",
    "headroom_mode": "",
    "headroom_refused": "",
    "headroom_tags": [],
}
ACTIONS = "headroom_actions"
GROUP_BY_ACTION = "headroom_action_"


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "headroom.fleet.fleet"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("headroom.yml", "headroom.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: FBT001, FBT002
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        endpoints = self.templar.template(self.get_option("endpoints"))
        try:
            found = self._cached(path, endpoints, use=cache)
        except HeadroomError as error:
            raise AnsibleParserError(str(error)) from error
        for gap in found["gaps"]:
            self.display.warning(gap)
        for group in (GROUP, VMS, HOSTS):
            inventory.add_group(group)
        inventory.add_child(GROUP, VMS)
        inventory.add_child(GROUP, HOSTS)
        inventory.set_variable(GROUP, "headroom_endpoints", endpoints)
        for key, value in DEFAULTS.items():
            inventory.set_variable(VMS, key, value)
        groups: dict[str, str] = {}
        for group, rows in ((VMS, found["vms"]), (HOSTS, found["hosts"])):
            for name, variables in rows.items():
                inventory.add_host(name, group)
                # Not one by one through set_variable: it looks at each name again, a quarter of the whole time.
                inventory.hosts[name].vars.update(
                    {key: value for key, value in variables.items() if key not in DEFAULTS or value != DEFAULTS[key]}
                )
                if group == VMS:
                    self._add_to_groups(name, variables, groups)
        self._construct(found)

    def _cached(self, path: str, endpoints: Any, *, use: bool) -> dict[str, Any]:
        """What the fleet is, from the cache where it may and can be."""
        key = self.get_cache_key(path)
        wanted = bool(self.get_option("cache"))
        if wanted and use and key in self._cache:
            return dict(self._cache[key])
        context = Context(
            now=utc_now(),
            who="",
            endpoints=read_endpoints(endpoints),
            urls={name: value for name in ("artifacts", "state") if (value := self.get_option(f"{name}_url"))},
        )
        found = fleet(context, figures=self.get_option("figures"), reserved=RESERVED)
        if wanted:
            self._cache[key] = found
        return found

    def _add_to_groups(self, host: str, variables: dict[str, Any], groups: dict[str, str]) -> None:
        """Groups by value; ``groups`` remembers those made."""
        names = [f"{prefix}{value}" for key, prefix in GROUPS_BY.items() if (value := variables.get(key))]
        names += [f"{GROUP_BY_ACTION}{action}" for action in sorted(set(variables.get(ACTIONS, ())))]
        for name in names:
            if name not in groups:
                groups[name] = self.inventory.add_group(self._sanitize_group_name(name))
            self.inventory.add_child(groups[name], host)

    def _construct(self, found: dict[str, Any]) -> None:
        """What the user's own expressions add, if there are any."""
        compose, groups, keyed = (self.get_option(name) for name in ("compose", "groups", "keyed_groups"))
        if not (compose or groups or keyed):
            return
        strict = self.get_option("strict")
        for rows in (found["vms"], found["hosts"]):
            for host, variables in rows.items():
                self._set_composite_vars(compose, variables, host, strict=strict)
                self._add_host_to_composed_groups(groups, variables, host, strict=strict)
                self._add_host_to_keyed_groups(keyed, variables, host, strict=strict)
