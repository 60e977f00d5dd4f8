# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every example, of a module or in a guide, gives modules options that they have, and choices that these allow."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FQCN = "headroom.fleet."
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
GUIDES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs/docsite/rst").glob("*.rst"))]
YAML_BLOCK = re.compile(r"^\.\. code-block:: yaml\n\n((?: {4}.*\n|\n)+)", re.MULTILINE)
AD_HOC = re.compile(rf'-m {re.escape(FQCN)}(\w+) -a "([^"]+)"')


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What ansible-doc says of every module."""
    command = [Path(sys.executable).with_name("ansible-doc"), "--json", *(FQCN + name for name in MODULES)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def tasks(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every use of one of our modules, wherever it stands."""
    if isinstance(data, list):
        for item in data:
            yield from tasks(item)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key.removeprefix(FQCN) in MODULES and key.startswith(FQCN):
                yield key, value or {}
            else:
                yield from tasks(value)


def mistakes(given: dict[str, Any], options: dict[str, Any], path: str) -> Iterator[str]:
    for name, value in given.items():
        option = options.get(name)
        if option is None:
            yield f"{path}.{name}: there is no such option"
            continue
        for one in value if isinstance(value, list) else [value]:
            if "choices" in option and one not in option["choices"] and "{{" not in str(one):
                yield f"{path}.{name}: {one} is no choice"
            if isinstance(one, dict) and "suboptions" in option:
                yield from mistakes(one, option["suboptions"], f"{path}.{name}")


def ad_hoc(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for module, arguments in AD_HOC.findall(text):
        yield FQCN + module, dict(one.split("=", 1) for one in shlex.split(arguments))


def check(uses: list[tuple[str, dict[str, Any]]], told: dict[str, Any]) -> list[str]:
    return [one for name, given in uses for one in mistakes(given, told[name]["doc"]["options"], name)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_fit_its_options(told: dict[str, Any], name: str) -> None:
    examples = told[FQCN + name]["examples"]
    uses = [*tasks(yaml.safe_load(examples)), *ad_hoc(examples)]
    assert FQCN + name in {module for module, _unused in uses}
    assert check(uses, told) == []


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_examples_of_a_guide_fit_the_modules(told: dict[str, Any], path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = [yaml.safe_load(textwrap.dedent(block)) for block in YAML_BLOCK.findall(text)]
    assert check([*tasks(blocks), *ad_hoc(text)], told) == []


def test_a_mistake_is_noticed(told: dict[str, Any]) -> None:
    uses = [
        *ad_hoc('ansible web1 -m headroom.fleet.vm_resize -a "vcpu=4"'),
        *tasks([{"headroom.fleet.kill_switch": {"state": "of"}}]),
        *tasks([{"headroom.fleet.fleet_snapshot": {"endpoints": [{"name": "a", "url": "b"}]}}]),
    ]
    assert check(uses, told) == [
        "headroom.fleet.vm_resize.vcpu: there is no such option",
        "headroom.fleet.kill_switch.state: of is no choice",
        "headroom.fleet.fleet_snapshot.endpoints.url: there is no such option",
    ]
