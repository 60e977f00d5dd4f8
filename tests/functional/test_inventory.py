# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin: names, groups, variables, cache."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import ACT, STAY, Decision
from ansible_collections.headroom.fleet.plugins.module_utils._store import references
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database

from .controller import Controller
from .fleets import Fleet, action, plan


def load(controller: Controller) -> InventoryManager:
    return InventoryManager(DataLoader(), sources=[str(controller.root / "headroom.yml")])


def names(manager: InventoryManager, group: str) -> list[str]:
    return sorted(host.name for host in manager.groups[group].get_hosts()) if group in manager.groups else []


def test_vms_and_hosts_with_their_groups_and_variables(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=2)
    fleet.change("u1", power="off", mode="auto", tenant="blue team", name="web 1")
    manager = load(Controller(tmp_path, fleet))
    assert names(manager, "headroom_vms") == ["vm0", "web_1"]
    assert names(manager, "headroom_hosts") == ["h0"]
    assert names(manager, "headroom_power_off") == names(manager, "headroom_mode_auto") == ["web_1"]
    assert names(manager, "headroom_tenant_blue_team") == ["web_1"]
    assert names(manager, "headroom_host_set_fake") == ["vm0", "web_1"]
    variables = manager.get_host("web_1").vars
    assert variables["headroom_unique_id"] == "fake/u1"
    assert variables["headroom_name"] == "web 1"
    assert variables["headroom_memory_mib"] == 1024
    assert not [name for host in manager.hosts.values() for name in host.vars if "." in name or name == "ansible_host"]
    (endpoint,) = manager.groups["headroom"].vars["headroom_endpoints"]
    assert endpoint == {"name": "fake", "uri": fleet.endpoint.uri}


def test_a_name_that_several_bear_is_told_apart_always_the_same_way(tmp_path: Path) -> None:
    one, two = Fleet(tmp_path / "1.json", vms=2, name="one"), Fleet(tmp_path / "2.json", vms=3, name="two")
    one.change("u1", name="h0")  # as the host of both
    two.change("u1", name="vm2")  # as another VM of its endpoint
    for order in ((one, two), (two, one)):
        (tmp_path / "root").mkdir()
        manager = load(Controller(tmp_path / "root", *order))
        hosts = ["h0@one-h0", "h0@one-u1", "h0@two", "vm0@one", "vm0@two", "vm2@two-u1", "vm2@two-u2"]
        assert sorted(manager.hosts) == hosts
        (tmp_path / "root").rename(tmp_path / f"root{order[0].endpoint.name}")


@pytest.mark.parametrize("name", ["localhost", "all", "headroom_vms", "ungrouped"])
def test_a_name_that_means_something_to_ansible_is_told_apart(tmp_path: Path, name: str) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    fleet.change("u0", name=name)
    assert names(load(Controller(tmp_path, fleet)), "headroom_vms") == [f"{name}@fake"]


def test_what_a_vm_is_called_is_never_a_template(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    fleet.change("u0", tenant="{{ lookup('pipe', 'id') }}", owner="{{ 6 * 7 }}")
    controller = Controller(tmp_path, fleet)
    done = controller.run("ansible", "vm0", "-m", "ansible.builtin.debug", "-a", "msg='{{ headroom_owner }}'")
    assert "{{ 6 * 7 }}" in done.stdout
    assert "uid=" not in done.stdout


def test_an_endpoint_that_fails_is_a_gap_with_a_warning(tmp_path: Path) -> None:
    one, two = Fleet(tmp_path / "1.json", vms=1, name="one"), Fleet(tmp_path / "2.json", vms=1, name="two")
    two.save({**two.load(), "down": True})
    done = Controller(tmp_path, one, two).run("ansible-inventory", "--list")
    assert json.loads(done.stdout)["headroom_vms"]["hosts"] == ["vm0"]
    assert "two, endpoint" in done.stderr


@pytest.mark.parametrize("endpoints", [[], [{"name": "x"}], [{"name": "x", "uri": "y", "hostset": "z"}]])
def test_wrong_endpoints_are_one_clear_error(tmp_path: Path, endpoints: list[Any]) -> None:
    controller = Controller(tmp_path, Fleet(tmp_path / "fleet.json", vms=1))
    controller.inventory(endpoints=endpoints)
    done = controller.run("ansible-inventory", "--list", ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1")
    assert done.returncode != 0
    assert "[endpoint." in done.stderr
    assert "Traceback" not in done.stderr


def test_the_uri_may_be_a_template(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    controller = Controller(tmp_path, fleet)
    controller.inventory(endpoints=[{"name": "fake", "uri": "{{ lookup('ansible.builtin.env', 'FLEET_URI') }}"}])
    done = controller.run("ansible-inventory", "--list", FLEET_URI=fleet.endpoint.uri)
    assert json.loads(done.stdout)["headroom_vms"]["hosts"] == ["vm0"]


def test_the_cache_answers_while_it_lasts(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=1)
    controller = Controller(tmp_path, fleet)
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    controller.inventory(**cache)
    first = controller.run("ansible-inventory", "--list").stdout
    fleet.change("u0", name="renamed")
    assert controller.run("ansible-inventory", "--list").stdout == first
    done = controller.run("ansible-inventory", "--list", "--flush-cache")
    assert json.loads(done.stdout)["headroom_vms"]["hosts"] == ["renamed"]


def test_expressions_of_ones_own(tmp_path: Path) -> None:
    controller = Controller(tmp_path, Fleet(tmp_path / "fleet.json", vms=2))
    controller.inventory(
        strict=True,
        compose={"gib": "headroom_memory_mib / 1024"},
        keyed_groups=[{"prefix": "on", "key": "headroom_endpoint"}],
        groups={"small": "headroom_vcpus < 4"},
    )
    manager = load(controller)
    assert manager.get_host("vm0").vars["gib"] == 1
    assert names(manager, "on_fake") == ["h0", "vm0", "vm1"]
    assert names(manager, "small") == ["vm0", "vm1"]


def test_figures_of_the_newest_plan(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "fleet.json", vms=3)
    controller = Controller(tmp_path, fleet)
    stores = {name: controller.variables[f"headroom_{name}"] for name in ("artifacts", "state")}
    decisions = (
        Decision("fake/u0", "vm0", "vcpus", ACT, "grow", "it needs more", 3, 2, 4, upper=2100, action_id="a0001"),
        Decision("fake/u0", "vm0", "memory_mib", STAY, "fits", "it fits", 4, 1024, 1024, upper=300),
        Decision("fake/u2", "vm2", "vcpus", STAY, "fits", "it fits", 3, 2, 2, upper=1600),
        Decision("fake/u2", "vm2", "memory_mib", STAY, "no_forecast", "no forecast", 0, 1024, 1024),
    )
    made = replace(plan(action(fleet, "u0", "vcpus.agent", 4)), decisions=decisions)
    digest = ArtifactStore(stores["artifacts"]).put(made)
    database = Database(stores["state"])
    with database.transaction() as connection:
        references.put(database, connection, "plan/sha256:x", digest)
    database.close()
    controller.inventory(figures=True, artifacts_url=stores["artifacts"], state_url=stores["state"])
    manager = load(controller)
    assert names(manager, "headroom_action_grow") == ["vm0"]
    assert names(manager, "headroom_pressure_over") == ["vm0"]
    assert names(manager, "headroom_pressure_high") == ["vm2"]
    assert manager.get_host("vm0").vars["headroom_vcpus_wanted"] == 4
    assert manager.get_host("vm0").vars["headroom_cpu_upper_millicores"] == 2100
    assert manager.get_host("vm0").vars["headroom_memory_upper_mib"] == 300
    assert "headroom_memory_upper_mib" not in manager.get_host("vm2").vars
    assert manager.get_host("vm0").vars["headroom_newest_plan"] == digest
    assert "headroom_newest_plan" not in manager.get_host("vm1").vars
