# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the collection fit: modules, their actions and group, roles and their options, playbooks by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
FQCN = "headroom.fleet."
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
HOST_SIDE = {"sampler_fetch"}  # run on hypervisors: endpoints, stores and policy are not theirs
PLAYBOOKS = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))


def load(name: str) -> Any:
    path = CHECKOUT / name
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def run(command: str, *arguments: str) -> str:
    done = subprocess.run([BIN / command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_action_group_is_every_module_of_the_controller_and_each_has_its_action() -> None:
    runtime = load("meta/runtime.yml")
    assert runtime["action_groups"]["headroom"] == sorted(set(MODULES) - HOST_SIDE)
    assert sorted(path.stem for path in (CHECKOUT / "plugins/action").glob("*.py")) == MODULES
    assert re.fullmatch(r">=2\.\d+\.0", runtime["requires_ansible"])


def test_the_roles_want_no_other_ansible_than_the_collection() -> None:
    wanted = load("meta/runtime.yml")["requires_ansible"].removeprefix(">=").removesuffix(".0")
    assert {load(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] for role in ROLES} == {wanted}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_documents_every_variable_it_reads(role: str) -> None:
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    assert set(defaults) <= set(options)
    tasks = (CHECKOUT / f"roles/{role}/tasks/main.yml").read_text(encoding="utf-8")
    registered = set(re.findall(r"register: (\w+)", tasks))
    read = set(re.findall(rf"\b(?:{role}|headroom)_\w+\b", re.sub(r"headroom\.fleet\.\w+", "", tasks)))
    assert read - registered <= set(options)
    for name, value in defaults.items():
        if "default" in options[name]:
            assert options[name]["default"] == value, name


@pytest.mark.parametrize("role", ROLES)
def test_a_readme_names_its_role_and_what_it_needs(role: str) -> None:
    text = (CHECKOUT / f"roles/{role}/README.md").read_text(encoding="utf-8")
    assert f"# {FQCN}{role}\n" in text
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    for name in (name for name, option in options.items() if option.get("required")):
        assert f"`{name}`" in text
    known = set(options) | set(re.findall(r"register: (\w+)", (CHECKOUT / f"roles/{role}/tasks/main.yml").read_text()))
    assert set(re.findall(rf"`({role}_\w+)`", text)) <= known


def test_every_role_has_a_playbook() -> None:
    assert set(ROLES) <= set(PLAYBOOKS)


def test_the_readme_of_the_collection_names_every_module_but_the_cycles_own() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert {name for name in MODULES if f"`{name}`" not in text} <= {"rehearsal_drop"}


def test_every_plugin_and_role_is_documented() -> None:
    for kind, names in (("module", MODULES), ("inventory", ["fleet"]), ("role", ROLES)):
        told = json.loads(run("ansible-doc", "--json", "--type", kind, *(FQCN + name for name in names)))
        assert sorted(told) == sorted(FQCN + name for name in names)


def test_every_playbook_is_found_by_its_name() -> None:
    run("ansible-playbook", "-i", "localhost,", "--syntax-check", *(FQCN + name for name in PLAYBOOKS))


def test_nothing_but_its_endpoints_is_an_inventory_in_the_example() -> None:
    """None of them answers."""
    told = json.loads(run("ansible-inventory", "-i", str(CHECKOUT / "inventories/example"), "--list"))
    assert sorted(told["all"]["children"]) == ["headroom", "ungrouped"]


@pytest.mark.parametrize("name", ["example", "lab"])
def test_an_inventory_names_a_policy_that_is_there(name: str) -> None:
    named = load(f"inventories/{name}/group_vars/all.yml")["headroom_policy"]
    assert Path(named.replace("{{ inventory_dir | dirname }}", str(CHECKOUT / "inventories"))).is_file()
