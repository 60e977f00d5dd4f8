# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions see what a VM is, and can do nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM

WEB = VM(
    unique_id="lab/1",
    endpoint="lab",
    name="web1",
    host_id="lab/h1",
    host_set="prod",
    power="running",
    vcpus=2,
    memory_mib=1024,
    generation="",
    fields={},
    tenant="shop",
    owner="Ada",
    tags=("web", "edge"),
)


def priority(when: str, vm: VM = WEB) -> Any:
    text = f"schema: headroom.sizing-policy/1\nrules:\n  - when: >-\n      {when}\n    set: {{priority: 1}}\n"
    return load_policy(text, name="p.yml").effective(vm).priority


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ("'web' in tags", True),
        ("'db' in tags", False),
        ("tenant == 'shop' and not owner == 'Bob'", True),
        ("tenant in ['shop', 'bank'] or host_set == 'x'", True),
        ("owner|lower == 'ada'", True),
        ("tags|length > 2", False),
        ("name is glob('web*')", True),
        ("name is not glob('web*')", False),
        ("power != 'running'", False),
        ("not devices", True),
        ("host == 'lab/h1' and endpoint == 'lab'", True),
    ],
)
def test_a_condition_chooses(when: str, fits: bool) -> None:
    assert priority(when) == (1 if fits else 100)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("name.__class__", "getattr"),
        ("name['x']", "getitem"),
        ("name.upper() == 'A'", "a call"),
        ("tags|map('upper')", "No filter named 'map'"),
        ("name|attr('x')", "No filter named 'attr'"),
        ("range(10**9)", "call"),
        ("name * 999999999", "mul"),
        ("name ~ name", "concat"),
        ("name if tags else owner", "condexpr"),
        ("lipsum", "the name 'lipsum'"),
        ("tenat == 'x'", "Did you mean 'tenant'?"),
        ("vcpus > 2", "the name 'vcpus'"),
        ("memory_mib > 2", "the name 'memory_mib'"),
        ("true", "names nothing of a VM"),
        ("name == ", "is no condition"),
        ("name == 'a' }}{{ name", "is no condition"),
        ("name %}{% set x = 1", "is no condition"),
        ("(" * 290 + "name", "is no condition"),
        ("name > 3", "cannot be evaluated"),
        ("name is divisibleby(3)", "No test named 'divisibleby'"),
        ("name == '" + "x" * 300 + "'", "1 to 300 characters"),
    ],
)
def test_a_condition_can_only_compare(when: str, words: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        priority(when)
    assert caught.value.code == "policy.invalid"
    assert caught.value.details["line"] == 3
    assert words in f"{caught.value.message} {caught.value.advice}"


def test_a_condition_that_fails_for_one_vm_stops_the_plan() -> None:
    when = "name == 'n' or owner > 3"  # the trial at load time does not get to the second half
    assert priority(when, replace(WEB, name="n")) == 1
    with pytest.raises(HeadroomError) as caught:
        priority(when)
    assert caught.value.code == "policy.condition"
    assert "web1" in caught.value.message
