# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which setting holds for which VM, and which line said so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._policy.default import DEFAULT_POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._policy.explain import explain_settings
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import (
    SizingPolicy,
    default_policy,
    load_policy,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import (
    CPU_LIMIT_MILLICORES,
    MEMORY_MIB,
    VCPUS,
)
from tests.unit._policy.test_conditions import WEB

POLICY = """\
schema: headroom.sizing-policy/1
defaults:
  mode: approve
  vcpus:
    maximum: 16
rules:
  - name: web servers
    match:
      name: ["web*", "www*"]
      tags: edge
    set:
      priority: 500
      mode: {grow: auto}
      vcpus: {quantile: 0.990}
  - match: {tenant: shop, owner: "A*"}
    when: host_set == 'prod'
    set:
      vcpus: {maximum: 8}
      mode: {shrink: recommend}
"""


def policy(text: str = POLICY) -> SizingPolicy:
    if not text.startswith("schema:"):
        text = f"schema: headroom.sizing-policy/1\n{text}"
    return load_policy(text, name="p.yml")


def test_later_rules_override_setting_by_setting_and_lines_are_kept() -> None:
    found = policy().effective(WEB)
    assert (found.mode, found.priority) == ({"grow": "auto", "shrink": "recommend"}, 500)
    assert (found.lines["mode.grow"], found.lines["mode.shrink"], found.lines["priority"]) == (13, 19, 12)
    assert found.sizing[VCPUS].maximum == 8
    assert found.sizing[VCPUS].quantile == "0.99"
    assert found.sizing[VCPUS].lines["maximum"] == 18
    assert found.sizing[VCPUS].lines["target_use_percent"] == 0  # the shipped policy's
    assert found.sizing[MEMORY_MIB] == default_policy().effective(WEB).sizing[MEMORY_MIB].__class__(
        **{**default_policy().effective(WEB).sizing[MEMORY_MIB].__dict__, "lines": found.sizing[MEMORY_MIB].lines}
    )


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"name": "www9"}, True),
        ({"name": "db1"}, False),
        ({"name": "my-web1"}, False),
        ({"tags": ("web",)}, False),
        ({"tags": ()}, False),
    ],
)
def test_every_part_of_a_match_must_fit(changed: dict[str, object], fits: bool) -> None:
    assert (policy().effective(replace(WEB, **changed)).priority == 500) is fits


@pytest.mark.parametrize(
    ("field", "key"), [("endpoint", "endpoint"), ("host_set", "host_set"), ("tenant", "tenant"), ("owner", "owner")]
)
def test_each_key_of_match_looks_at_its_own_field(field: str, key: str) -> None:
    found = policy(f"rules:\n  - match: {{{key}: 'only-*'}}\n    set: {{priority: 1}}\n")
    assert found.effective(replace(WEB, **{field: "only-here"})).priority == 1
    assert found.effective(WEB).priority == 100


@pytest.mark.parametrize(("tags", "fits"), [(("web", "edge"), True), (("web",), False), (("web", "w2"), False)])
def test_every_pattern_of_tags_must_fit_some_tag(tags: tuple[str, ...], fits: bool) -> None:
    found = policy("rules:\n  - match: {tags: ['w*', edge]}\n    set: {priority: 1}\n")
    assert (found.effective(replace(WEB, tags=tags)).priority == 1) is fits


def test_vms_under_the_same_rules_share_one_object() -> None:
    found = policy()
    assert found.effective(WEB) is found.effective(replace(WEB, name="web2", unique_id="lab/2"))
    assert found.effective(WEB) is not found.effective(replace(WEB, name="db1"))


def test_a_quantile_is_text_and_needs_no_zeros() -> None:
    assert policy().quantiles(VCPUS) == ("0.95", "0.99")
    assert policy().quantiles(MEMORY_MIB) == ("0.98",)


def test_a_limit_is_planned_where_a_rule_says_so_and_asks_for_no_quantile_before() -> None:
    assert default_policy().quantiles(CPU_LIMIT_MILLICORES) == ()
    found = policy("rules:\n  - match: {tenant: shop}\n    set: {cpu_limit: {profile: elastic, quantile: 0.9}}\n")
    assert found.quantiles(CPU_LIMIT_MILLICORES) == ("0.9", "0.95")
    limit = found.effective(replace(WEB, tenant="shop")).sizing[CPU_LIMIT_MILLICORES]
    assert (limit.profile, limit.quantile, limit.lines["profile"]) == ("elastic", "0.9", 4)
    assert found.effective(replace(WEB, tenant="bank")).sizing[CPU_LIMIT_MILLICORES].profile == "none"
    assert found.effective(WEB).sizing[VCPUS].profile == "careful"


def test_service_class_and_error_budget_are_settings_of_a_vm() -> None:
    found = policy("rules:\n  - match: {tenant: shop}\n    set: {service: {error_budget_percent: 0.50}}\n")
    shop, bank = (found.effective(replace(WEB, tenant=tenant)) for tenant in ("shop", "bank"))
    for resource in (VCPUS, CPU_LIMIT_MILLICORES):
        assert (shop.slo, shop.sizing[resource].error_budget_percent) == ("slo4", "0.5")
        assert bank.sizing[resource].error_budget_percent == "1"
    assert "service.error_budget_percent: 0.5 (line 4)" in explain_settings(found, replace(WEB, tenant="shop"))


@pytest.mark.parametrize(
    ("text", "budget", "own"),
    [
        ("{priority: 1}", 0.0025, False),  # as a policy that was written before there was one
        ("{service: {error_budget_percent: 5}}", 0.0025, False),
        ("{memory: {error_budget_percent: 0.50}}", 0.005, True),
        ("{service: {error_budget_percent: 0.1}}", 0.001, True),  # who asked for a tighter one keeps it
        ("{memory: {error_budget_percent: 2}}", 0.01, False),
        ("{memory: {error_budget_percent: 1.4}, service: {error_budget_percent: 5}}", 0.014, True),
    ],
)
def test_memory_has_an_error_budget_of_its_own_and_never_a_larger_one(text: str, budget: float, own: bool) -> None:
    found = policy(f"rules:\n  - match: {{tenant: shop}}\n    set: {text}\n").effective(replace(WEB, tenant="shop"))
    assert found.sizing[MEMORY_MIB].error_budget == budget
    assert found.sizing[MEMORY_MIB].lines["error_budget_percent"] == (4 if own else 0)


@pytest.mark.parametrize(
    "line",
    [
        "cpu_limit: {profile: off}",
        "cpu_limit: {profile: fast}",
        "cpu_limit: {minimum_millicores: 0}",
        "cpu_limit: {minimum_percent: 101}",
        "cpu_limit: {maximum_millicores: 1000}",
        "cpu_limit: {step_limit: 5 %}",
        "cpu_limit: {shrink_target_use_percent: 71}",
        "vcpus: {profile: elastic}",
        "service: {slo: slo5}",
        "service: {error_budget_percent: 0}",
        "service: {error_budget_percent: 100.5}",
        "service: {error_budget_percent: 1e1}",
        "service: {error_budget_percent: '1'}",
        "memory: {error_budget_percent: 0}",
        "memory: {error_budget_percent: 100.5}",
        "memory: {error_budget_percent: none}",
        "vcpus: {error_budget_percent: 1}",
    ],
)
def test_a_slip_in_a_limit_or_a_service_class_is_one_error_with_its_line(line: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        policy(f"defaults:\n  priority: 1\n  {line}\n")
    assert (caught.value.code, caught.value.details["line"]) == ("policy.invalid", 4)


@pytest.mark.safety(rule=9)
def test_the_shipped_policy_only_recommends() -> None:
    assert default_policy().effective(WEB).mode == {"grow": "recommend", "shrink": "recommend"}


@pytest.mark.safety(rule=3)
def test_the_shipped_policy_says_every_number() -> None:
    shipped = default_policy()
    assert all(setting.line > 0 for setting in shipped.defaults.values())
    assert shipped.budget.window is not None
    assert shipped.reserve_of("any").hosts == 1
    for word in ("per_host:", "per_host_set:", "per_tenant:", "per_platform:"):
        assert DEFAULT_POLICY.count(word) == 2


@pytest.mark.safety(rule=3)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("budgets: {}", Budget(at_once=Limits(), window=Limits(), window_s=86_400)),
        (
            "budgets: {at_once: {per_host: 4}}",
            Budget(at_once=Limits(per_host=4), window=Limits(), window_s=86_400),
        ),
        (
            "budgets: {window: {hours: 6, per_tenant: 9}}",
            Budget(at_once=Limits(), window=Limits(per_tenant=9), window_s=21_600),
        ),
        ("budgets: {window: none}", Budget(at_once=Limits(), window=None)),
        ("defaults: {}", default_policy().budget),
    ],
)
def test_a_limit_left_out_is_one_and_no_limit_must_be_written(text: str, expected: Budget) -> None:
    assert policy(text).budget == expected


def test_the_last_host_set_that_fits_keeps_its_own_reserve() -> None:
    found = policy(
        "capacity: {ha_reserve_hosts: 2}\n"
        "host_sets:\n"
        "  - {match: 'lab*', ha_reserve_hosts: 0}\n"
        "  - {match: lab-b, ha_reserve_hosts: 3}\n"
    )
    assert [(one.hosts, one.line) for one in map(found.reserve_of, ("prod", "lab-a", "lab-b"))] == [
        (2, 2),
        (0, 4),
        (3, 5),
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("defaults:\n  vcpus: {minimum: 80}", 3, "the minimum is above the maximum"),
        ("defaults:\n  memory:\n    target_use_percent: 60", 4, "would grow again"),
        ("defaults:\n  vcpus:\n    minimum_change_percent: 60", 4, "no step would ever be large enough"),
        (
            "defaults:\n  memory:\n    minimum_mib: 300\n    maximum_mib: 500\n    granule_mib: 512",
            6,
            "fits the granule",
        ),
        ("rules:\n  - match: {name: a}\n    set: {vcpus: {maximum: 3, minimum: 4}}", 4, "minimum is above"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        policy(text)
    assert (caught.value.code, caught.value.details["line"]) == ("policy.invalid", line)
    assert words in caught.value.message


def test_rules_that_contradict_each_other_only_together_are_refused_when_they_meet() -> None:
    found = policy(
        "rules:\n"
        "  - {match: {name: 'web*'}, set: {vcpus: {minimum: 8}}}\n"
        "  - {match: {tenant: shop}, set: {vcpus: {maximum: 4}}}\n"
    )
    assert found.effective(replace(WEB, tenant="")).sizing[VCPUS].minimum == 8
    with pytest.raises(HeadroomError, match=r"p.yml:4: in vcpus, the minimum is above the maximum"):
        found.effective(WEB)


def test_the_policy_explains_itself_line_by_line() -> None:
    text = explain_settings(policy(), WEB)
    assert "rule 'web servers' fits (line 7)" in text
    assert "rule 'rules[1]' fits (line 15)" in text
    assert "mode.grow: auto (line 13)" in text
    assert "vcpus.target_use_percent: 70 (shipped policy)" in text
    assert "vcpus.step_limit.grow: none" in text
    assert "windows: always" in text
