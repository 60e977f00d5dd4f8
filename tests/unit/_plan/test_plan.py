# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan as a record: its header, its bytes, and what people read of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import digest, parse_json
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._plan.diff import (
    after_text,
    before_text,
    plan_table,
    size_text,
    summary_line,
)
from ansible_collections.headroom.fleet.plugins.module_utils._plan.explain import explain
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Limits
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import MEMORY_MIB, VCPUS
from tests.unit._plan.fleets import FREE, forecast, host, plan, snapshot, vm

SEEN = snapshot([vm("a", vcpus=4), vm("b", vcpus=4, memory_mib=4096), vm("c")], [host(vcpus=10)])
MADE = forecast({("a", VCPUS): 100, ("b", VCPUS): 3500, ("b", MEMORY_MIB): 1000})


def test_the_header_names_what_the_plan_was_made_from() -> None:
    made = plan(SEEN, MADE, FREE + "budgets: {at_once: {per_host: 3}, window: none}\nplan: {expires_hours: 2}\n")
    assert (made.snapshot, made.forecast, made.policy) == ("sha256:1", "sha256:2", "sha256:3")
    assert (made.made_at, made.expires_at) == ("2026-03-01T12:00:00Z", "2026-03-01T14:00:00Z")
    assert (made.purpose, made.scope, made.undoes) == ("size", ("e/a", "e/b", "e/c"), "")
    assert made.budget.at_once == Limits(per_host=3)
    assert made.budget.window is None


@pytest.mark.safety(rule=13)
def test_every_vm_in_scope_has_a_decision_per_resource() -> None:
    made = plan(SEEN, MADE)
    assert [(one.unique_id, one.resource) for one in made.decisions] == [
        (f"e/{name}", resource) for name in "abc" for resource in (VCPUS, MEMORY_MIB)
    ]
    assert all(one.reason and one.code for one in made.decisions)
    by_id = {one.action_id: one for one in made.actions}
    acts = [one for one in made.decisions if one.action_id]
    assert {one.action_id for one in acts} == set(by_id)
    assert all(
        (one.unique_id, one.resource) == (by_id[one.action_id].unique_id, by_id[one.action_id].resource) for one in acts
    )


def test_a_plan_survives_its_canonical_form() -> None:
    made = plan(SEEN, MADE)
    assert digest(parse_json(_bytes(made))) == digest(encode_artifact(made))
    assert digest(encode_artifact(plan(SEEN, MADE))) == digest(encode_artifact(made))


def _bytes(made: object) -> bytes:
    from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes

    return canonical_bytes(encode_artifact(made))


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(HeadroomError) as caught:
        plan(SEEN, MADE, scope=[])
    assert caught.value.code == "scope.empty"


def test_a_forecast_of_means_is_warned_of() -> None:
    header, table = MADE
    means = table.set_column(2, "target", [["mean"] * table.num_rows])
    made = plan(SEEN, (replace(header, target="mean"), means))
    assert "the forecast is of means: peaks inside an interval are not in it" in made.warnings
    assert len(made.actions) == 3


def test_action_ids_sort_as_the_plan_does() -> None:
    made = plan(SEEN, MADE)
    assert [one.action_id for one in made.actions] == ["a0001", "a0002", "a0003"]


def test_the_diff_is_the_plan() -> None:
    made = plan(SEEN, MADE)
    assert before_text(made) == ("a (e/a)\n  vcpus: 4 vCPU\nb (e/b)\n  vcpus: 4 vCPU\n  memory_mib: 4096 MiB (4 GiB)\n")
    after = after_text(made).splitlines()
    assert after[:2] == [
        "a (e/a)",
        "  vcpus: 1 vCPU",
    ]
    assert after[2].startswith("    # a0001: vcpus.agent, auto, without a restart: P95 of demand is at most 0.10 vCPU")
    assert "  vcpus: 5 vCPU" in after
    assert any(line.startswith("    # a0002: vcpus.agent, auto, without a restart, after a0001: ") for line in after)
    assert "  memory_mib: 1280 MiB (1.25 GiB)" in after


def test_the_diff_of_some_acts_leaves_the_others_out() -> None:
    made = plan(SEEN, MADE)
    assert before_text(made, only=["a0001"]) == "a (e/a)\n  vcpus: 4 vCPU\n"
    assert before_text(made, only=[]) == after_text(made, only=[]) == ""


def test_the_table_has_a_line_per_act_and_a_summary() -> None:
    lines = plan_table(plan(SEEN, MADE)).splitlines()
    assert lines[0].split() == ["ID", "VM", "RESOURCE", "NOW", "PLANNED", "MODE", "RESTART", "AFTER", "WHY"]
    assert lines[2].split()[:2] == ["a0002", "b"]
    assert len(lines) == 5
    assert lines[4] == "3 acts (1 grow, 2 shrink): -2 vCPU, -2816 MiB; 3 stay, 0 refused"
    assert summary_line(plan(SEEN, MADE, FREE.replace("auto", "recommend"))) == (
        "3 acts (1 grow, 2 shrink, 3 of them recommended only): -2 vCPU, -2816 MiB; 3 stay, 0 refused"
    )
    assert plan_table(plan(SEEN, None)) == "0 acts (0 grow, 0 shrink): +0 vCPU, +0 MiB; 6 stay, 0 refused\n"


@pytest.mark.parametrize(
    ("resource", "size", "text"),
    [(VCPUS, 4, "4 vCPU"), (MEMORY_MIB, 512, "512 MiB"), (MEMORY_MIB, 1536, "1536 MiB (1.5 GiB)")],
)
def test_a_size_has_its_unit(resource: str, size: int, text: str) -> None:
    assert size_text(resource, size) == text


@pytest.mark.safety(rule=13)
def test_why_and_why_not() -> None:
    made = plan(SEEN, MADE)
    acts, stays = explain(made, "b"), explain(made, "e/c")
    assert "vcpus: act (grow; shipped or built in)" in acts
    assert "has 4 vCPU, wanted 5 vCPU" in acts
    assert "upper bound that counted: 3500 cpu_millicores" in acts
    assert (
        "a0002: vcpus.agent to 5 vCPU, mode auto, without a restart, undone by vcpus.agent, live, after a0001" in acts
    )
    assert "because there is no forecast of cpu_millicores" in stays


def test_a_vm_that_the_plan_does_not_know_is_an_error() -> None:
    made = plan(snapshot([vm("web1"), replace(vm("web1"), unique_id="e/other")]), None)
    for name, code in (("web2", "plan.vm_unknown"), ("web1", "plan.vm_ambiguous")):
        with pytest.raises(HeadroomError) as caught:
            explain(made, name)
        assert caught.value.code == code
    assert "web1" in explain(made, "e/other")
