# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._policy.kinds import Integer, PerDirection
from ansible_collections.headroom.fleet.plugins.module_utils._policy.settings import SETTINGS
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import default_policy, load_policy

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs/guides/sizing-policy.md").read_text()
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", GUIDE, re.MULTILINE))


def keys(schema: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, kind in schema.items():
        found.update(keys(kind, f"{prefix}{name}.") if isinstance(kind, dict) else {f"{prefix}{name}": kind})
    return found


def test_the_example_of_the_guide_is_a_policy() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    policy = load_policy(example, name="guide")
    assert [rule.name for rule in policy.rules] == [
        "the shop comes first",
        "databases follow the month, and people decide",
        "what is only tried out is never touched in the test room",
    ]


def test_every_setting_is_in_the_guide_with_its_default() -> None:
    shipped = {name: setting.value for name, setting in default_policy().defaults.items()}
    expected = {}
    for name, kind in keys(SETTINGS).items():
        if isinstance(kind, PerDirection):
            ways = [shipped[f"{name}.{way}"] for way in ("grow", "shrink")]
            words = ["none" if one is None else f"{one} %" if isinstance(one, int) else one for one in ways]
            expected[name] = words[0] if words[0] == words[1] else f"grow: {words[0]}, shrink: {words[1]}"
        else:
            expected[name] = "always" if shipped[name] == () else str(shipped[name])
    assert expected == ROWS


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, kind in keys(SETTINGS).items() if isinstance(kind, Integer)]
)
def test_the_range_of_each_number_is_in_the_guide(name: str, kind: Integer) -> None:
    most = "10^9" if kind.maximum == 10**9 else kind.maximum
    assert f"| `{name}` | {ROWS[name]} | {kind.minimum} to {most} |" in GUIDE


def test_every_code_of_a_decision_is_in_the_guide() -> None:
    folder = ROOT / "plugins/module_utils/_plan"
    text = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    codes = set(re.findall(r'Against\(\s*"([a-z_]+)"', text)) | set(re.findall(r'code="([a-z_]+)"', text))
    codes |= set(re.findall(r'Wanted\(size, "", "([a-z_]+)"', text))
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in GUIDE and f"`resize.{code}`" not in GUIDE} == set()


@pytest.mark.parametrize("name", ["example", "lab"])
def test_the_policies_that_come_with_the_collection_are_read(name: str) -> None:
    path = ROOT / f"inventories/policies/{name}.yml"
    assert load_policy(path.read_bytes(), name=path.name).name == path.name
