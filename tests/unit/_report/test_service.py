# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service and its price, the models that speak, and how good the bands were: in the forms of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.backtest import Backtest, Interval, Score
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import CANARY, CURRENT, OUTCOME
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Decision, Service
from ansible_collections.headroom.fleet.plugins.module_utils._report.facts import Facts
from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
from ansible_collections.headroom.fleet.plugins.module_utils._report.service import served
from ansible_collections.headroom.fleet.plugins.module_utils._report.trust import Measured, Scorecard, Speaking
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view

from .samples import DIGEST, action, moment, plan, small, vm

SERVICE = Service(
    model=DIGEST,
    lead_s=300,
    size=1500,
    violated_ppm=4_100,
    spent_ppm=3_000,
    budget_ppm=10_000,
    price_ppm=1_700_000,
    unit=250,
    more_ppm=620_000,
)
MODEL = Speaking(
    model=DIGEST,
    purpose=OUTCOME,
    metric="cpu_millicores",
    lead_s=300,
    status=CURRENT,
    share_percent="100",
    vms_now=4,
    since=moment(days=1),
    start=moment(days=29),
    end=moment(days=1),
    vms=39,
    rows=20_480,
)
BACK = Backtest(
    series=DIGEST,
    made_at=moment(),
    origins=(moment(hours=1), moment(hours=8)),
    target="maximum",
    horizon_s=3600,
    interval_s=300,
    lead_s=0,
    history_s=2_419_200,
    quantiles=("0.05", "0.5", "0.95"),
    engines=("naive",),
    table=DIGEST,
    rows=6,
    scores=(
        Score("cpu_millicores", "selected", "0.95", 5, 120, "3.1", "6.2", 948_000, "1", "9", 900_000),
        Score("cpu_millicores", "naive", "0.95", 5, 120, "6.2", "6.2", 931_000, "1", "9", 900_000),
        Score("memory_used_mib", "selected", "0.95", 5, 120, "0", "0", 1_000_000, "0", "0", 1_000_000),
    ),
    intervals=(
        Interval("cpu_millicores", "selected", "0.05", "0.95", 902_000),
        Interval("cpu_millicores", "naive", "0.05", "0.95", 500_000),
    ),
)


def part(html: str, identity: str) -> str:
    """One section of the page."""
    found = html[html.index(f'id="{identity}"') :]
    return found[: found.index("</section>")]


def limited(*served_by: tuple[str, Service]) -> Facts:
    """Small, with limits chosen by price."""
    facts = small()
    decisions = tuple(
        Decision(
            f"lab/{name}", name, "cpu_limit_millicores", "stay", "fits", "it fits", 14, 2000, 1500, service=service
        )
        for name, service in served_by
    )
    return replace(facts, plan=replace(facts.plan, decisions=(*facts.plan.decisions, *decisions)))


def test_the_page_says_what_is_spent_and_what_one_more_costs() -> None:
    found = part(page(build_view(limited(("web1", SERVICE)))), "service")
    for words in (
        "CPU limit",
        "1.5 vCPU (1500 millicores)",
        "0.41 %",
        "0.3 % of 1 %",
        "1.7 times",
        "have error budget left",
    ):
        assert words in found
    assert "0.25 vCPU more costs 0.62 of itself" in found


@pytest.mark.parametrize(
    ("more", "words"),
    [(None, "there is no more"), (-1_500_000, "0.25 vCPU more saves 1.5 of itself"), (0, "more costs 0 of itself")],
)
def test_the_price_of_one_more_has_a_sign_in_words(more: int | None, words: str) -> None:
    assert words in part(page(build_view(limited(("web1", replace(SERVICE, more_ppm=more))))), "service")


def test_who_spent_most_of_its_own_budget_comes_first() -> None:
    poor = replace(SERVICE, spent_ppm=2_000, budget_ppm=1_000)
    view = build_view(limited(("web1", SERVICE), ("web2", poor), ("db1", replace(SERVICE, budget_ppm=0, spent_ppm=0))))
    assert [one.row.vm_name for one in served(view)] == ["web2", "web1", "db1"]
    assert "1 of 3 have spent their error budget." in part(page(view), "service")


def test_without_a_model_sizes_follow_from_bounds() -> None:
    html = page(build_view(small()))
    assert "No model was asked" in part(html, "service")
    assert "No model speaks" in part(html, "models")
    assert "Service" not in markdown(build_view(small()))


def test_markdown_has_the_price_too() -> None:
    assert "0.3 % of 1 % spent" in markdown(build_view(limited(("web1", SERVICE))))


def test_models_tell_what_they_learnt_from_and_how_old_that_is() -> None:
    canary = replace(MODEL, status=CANARY, share_percent="5", vms_now=1, refused="It is stale. [model.stale]")
    lost = replace(MODEL, start="", end="", vms=0, rows=0, refused="It cannot be read. [json.invalid]")
    found = part(page(build_view(small(models=(MODEL, canary, lost)))), "models")
    for words in (
        "<code>abababababab</code>",
        "20,480 examples of 39 VMs",
        "current, 100 % of VMs",
        "canary, 5 % of VMs",
        "1 of 5",
    ):
        assert words in found
    for words in ("4 of 5", "1 d", "5 min ahead", "Not used: It is stale.", "not known"):
        assert words in found


def test_a_back_test_shows_how_good_the_bands_were_on_the_past() -> None:
    html = page(build_view(small(backtest=BACK)))
    for words in ("On the past", "2 moments from", "94.8 %", "90.2 %", "50 %", "not known"):
        assert words in part(html, "scorecard")
    assert "93.1 %" not in part(html, "scorecard")
    assert "the interval of 90 % held 90.2 % of CPU demand." in part(html, "charts")


def test_nothing_scored_yet_says_from_when_on() -> None:
    facts = small(scorecard=Scorecard(28, (), ()))
    assert "is scored from 2026-03-01 12:58 UTC on" in part(page(build_view(facts)), "scorecard")


def test_a_card_says_what_the_scorecard_measured() -> None:
    known = {
        ("lab/web1", "cpu_millicores"): Measured(9, 2_000, 1_830.0),
        ("lab/web2", "cpu_millicores"): Measured(1, 0, 0),
    }
    found = part(page(build_view(small(measured=known))), "charts")
    assert found.count("Scorecard: the interval of 90 % covered") == 1
    assert "91.5 % of 2,000 intervals, over 9 days" in found


def test_a_planned_limit_is_drawn_on_the_chart_of_its_size() -> None:
    limit = ("live.cpu_limit_millicores", "config.cpu_limit_millicores")
    act = action(9, "web2", "vcpus", 1, 2)
    values: dict[str, Any] = {
        "resource": "cpu_limit_millicores",
        "direction": "shrink",
        "size_before": 1000,
        "size_after": 600,
        "changes": tuple(replace(act.changes[0], field=field, before=0, after=600) for field in limit),
    }
    facts = small()
    decision = Decision(
        "lab/web2", "web2", "cpu_limit_millicores", "act", "shrink", "enough", 14, 1000, 600, action_id="a0009"
    )
    made = plan((*facts.plan.actions, replace(act, **values)), (*facts.plan.decisions, decision))
    html = page(build_view(replace(facts, plan=made)))
    assert html.count('class="limit after planned"') == 1
    assert "limit none, planned 0.6 vCPU." in html


def test_a_limit_that_stays_is_drawn_too() -> None:
    facts = small()
    has = {"live.cpu_limit_millicores": 700}
    vms = tuple(replace(one, fields=has) if one.name == "web2" else one for one in facts.snapshot.vms)
    html = page(build_view(replace(facts, snapshot=replace(facts.snapshot, vms=(*vms, vm("x"))))))
    assert "limit 0.7 vCPU." in html
