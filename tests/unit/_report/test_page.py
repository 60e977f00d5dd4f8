# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: whole, self-contained, escaped, and of bearable size for a large fleet."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import FAILED
from ansible_collections.headroom.fleet.plugins.module_utils._report.cards import MOST_CARDS
from ansible_collections.headroom.fleet.plugins.module_utils._report.facts import BudgetUse, Held, Owed
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import SECTIONS, page
from ansible_collections.headroom.fleet.plugins.module_utils._report.parts import MOST_ROWS
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view
from ansible_collections.headroom.fleet.plugins.module_utils._report.violations import Violation, Violations

from .samples import action, large, outcome, plan, receipt, small, vm

HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x00"
VOID = {"meta", "input", "br"}


class Reader(HTMLParser):
    """Checks that elements nest, and collects what a test asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of this name."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(" ".join(self.words).split())


def read(document: str) -> Reader:
    """Parse; fails when elements do not nest."""
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert reader.open == []
    return reader


def ids_of(reader: Reader) -> set[str]:
    return {str(attributes["id"]) for _unused, attributes in reader.tags if "id" in attributes}


@pytest.fixture(scope="module")
def shown() -> Reader:
    return read(page(build_view(small())))


def test_every_vm_stands_there_with_size_and_reason(shown: Reader) -> None:
    for words in (
        "0.95 quantile 1.21 vCPU is 121 % of 1 vCPU, more than 70 %",
        "1 → 2 vCPU",
        "384 → 256 MiB",
        "3 days of history are known, 7 are needed to shrink",
        "tmpl is managed by OpenStack Nova",
        "Given back 1 vCPU 128 MiB",
        "Handed out 1 vCPU",
    ):
        assert words in shown.text


def test_what_a_person_must_know_comes_first(shown: Reader) -> None:
    begin = shown.text[: shown.text.index("3 acts on 2 VMs")]
    for words in ("5 VMs on 1 host", "1 rollback owed", "web2 (CPU)", "lab, old-vm: Its definition has no memory."):
        assert words in begin
    loud = [attributes for tag, attributes in shown.tags if attributes.get("class") == "notice bad"]
    assert [one["role"] for one in loud] == ["alert"]


def test_a_failed_act_is_the_loudest() -> None:
    facts = small()
    act = facts.plan.actions[0]
    broken = receipt((outcome(act, FAILED, "apply.failed", "stands at 3"),), stopped="failed")
    reader = read(page(build_view(replace(facts, receipt=broken))))
    first = next(attributes for tag, attributes in reader.tags if "notice" in (attributes.get("class") or ""))
    assert first["role"] == "alert"
    assert "web1 , vcpus.agent: stands at 3" in reader.text


def test_one_chart_per_resource_with_words_for_those_who_do_not_see_it(shown: Reader) -> None:
    charts = [attributes for attributes in shown.all("svg") if attributes.get("role") == "img"]
    room, charts = charts[-1], charts[:-1]
    assert str(room["aria-label"]).startswith("CPU of lab. Usable 8.00 vCPU, expected 5.00 vCPU, full: 30 d")
    assert len(charts) == 8
    assert all(re.search(r"Observed at most .*, expected between .*, size ", str(one["aria-label"])) for one in charts)
    assert sum(", now " in str(one["aria-label"]) for one in charts) == 3
    only_planned = read(page(build_view(small(receipt=None)))).all("svg")
    assert sum(", planned " in str(one.get("aria-label")) for one in only_planned) == 3


def test_nothing_is_loaded_from_anywhere(shown: Reader) -> None:
    document = page(build_view(small()))
    assert not re.search(r"(src|url|@import|https?:)\s*[=(:]", re.sub(r"default-src.*?form-action", "", document))
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _unused in shown.tags}


def test_the_policy_allows_exactly_the_style_and_script_there_are() -> None:
    document = page(build_view(small()))
    for kind in ("style", "script"):
        source = re.search(rf"<{kind}>(.*?)</{kind}>", document, re.DOTALL).group(1)
        hashed = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src &#x27;sha256-{hashed}&#x27;" in document
    assert " style=" not in document


def test_links_lead_somewhere_and_ids_are_unique(shown: Reader) -> None:
    ids = [str(attributes["id"]) for _unused, attributes in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(one["href"]).removeprefix("#") for one in shown.all("a")}
    assert {where for where, _unused in SECTIONS} <= targets <= set(ids)


def test_tables_scroll_by_keyboard_in_frames_of_their_own(shown: Reader) -> None:
    frames = [attributes for _unused, attributes in shown.tags if attributes.get("class") == "scroll"]
    assert len(frames) == len(shown.all("table"))
    assert all(one["tabindex"] == "0" and one["aria-label"] for one in frames)


def test_no_name_or_reason_becomes_markup() -> None:
    facts = small()
    name = f"a{HOSTILE}"
    hostile = replace(
        facts,
        run_id=HOSTILE,
        snapshot=replace(facts.snapshot, endpoints=(HOSTILE,), vms=(vm(name, unique_id="lab/web1", tenant=HOSTILE),)),
        plan=replace(
            facts.plan,
            warnings=(HOSTILE,),
            decisions=tuple(replace(one, vm_name=name, reason=HOSTILE, code=HOSTILE) for one in facts.plan.decisions),
        ),
        receipt=receipt(tuple(replace(one, vm_name=name, message=HOSTILE) for one in facts.receipt.outcomes)),
        kill_switch=HOSTILE,
        digests={HOSTILE: HOSTILE},
        budget_used=(BudgetUse("per_host", HOSTILE, 1, 1),),
        held=(Held(HOSTILE, HOSTILE, HOSTILE, ""),),
        owed=(Owed(HOSTILE, HOSTILE, HOSTILE, HOSTILE, facts.owed[0].since, HOSTILE, failed=False),),
    )
    document = page(build_view(hostile))
    reader = read(document)
    assert {tag for tag, _unused in reader.tags} <= {tag for tag, _unused in read(page(build_view(facts))).tags}
    assert len(reader.all("script")) == 1
    assert "alert(1)" in reader.text
    assert not any(attribute.startswith("on") for _unused, attributes in reader.tags for attribute in attributes)
    assert "\u202e" not in document
    assert "\x00" not in document


def test_a_run_that_only_observed_has_a_report() -> None:
    facts = small(plan=None, forecast=None, receipt=None, curves={}, owed=(), held=(), digests={})
    words = read(page(build_view(facts))).text
    assert "Headroom report Observed lab" in words
    assert "Nothing was planned." in words
    assert "No forecast was made" in words
    assert "There is nothing to draw." in words


def test_an_act_without_a_decision_is_shown() -> None:
    asked = action(1, "web1", "vcpus", 1, 4, reason="asked for by ada")
    words = read(page(build_view(small(plan=plan((asked,), purpose="resize"), receipt=None)))).text
    assert "1 → 4 vCPU asked for by ada" in words


def test_a_large_fleet_is_cut_where_the_page_says_so() -> None:
    vms = MOST_ROWS + 1000
    document = page(build_view(large(vms, acted=300)))
    assert document.count(" data-is=") == MOST_ROWS
    assert "1,000 more are not listed here" in document
    assert document.count("<article") == MOST_CARDS
    assert f"{vms:,} VMs on 1 host" in document
    assert "240 more VMs change" in document
    assert len(document) < 6_000_000


@pytest.mark.parametrize("vms", [0, 1])
def test_the_smallest_fleets_have_a_page(vms: int) -> None:
    reader = read(page(build_view(large(vms, acted=1))))
    assert f"{vms} VM" in reader.text
    assert {str(one["href"])[1:] for one in reader.all("a")} <= ids_of(reader)


def test_every_vm_has_an_address_of_its_own_that_says_why() -> None:
    facts = small()
    odd = "lab/a b<ü>"
    decisions = tuple(replace(one, unique_id=odd) if one.vm_name == "web2" else one for one in facts.plan.decisions)
    reader = read(page(build_view(replace(facts, plan=replace(facts.plan, decisions=decisions)))))
    assert {"vm:lab/db1", "vm:lab/tmpl", "vm:lab/a%20b%3C%C3%BC%3E", "chart:lab/web1"} <= ids_of(reader)
    reached = {str(one["href"])[1:] for one in reader.all("a")}
    assert {"vm:lab/db1", "chart:lab/web1", "vm:lab/a%20b%3C%C3%BC%3E"} <= reached <= ids_of(reader)


def test_violations_budget_and_holds_are_told() -> None:
    facts = small()
    found = Violations(
        "2026-02-28T12:00:00Z",
        "2026-03-01T12:00:00Z",
        300,
        (Violation("lab/web1", "cpu_millicores", 288, 144, 3, 1100.0),),
    )
    budget = Budget(at_once=Limits(), window=Limits(per_host=3), window_s=86400)
    used = (BudgetUse("per_host", "lab/h", 2, 3),)
    plan_ = replace(facts.plan, budget=budget)
    words = read(page(build_view(replace(facts, plan=plan_, violations=found, budget_used=used)))).text
    assert "1 VM ran into a limit between 2026-02-28 12:00 UTC and 2026-03-01 12:00 UTC." in words
    assert "web1 CPU demand 144 of 288 (50 %) 3 of 288 (1 %) 1.10 vCPU 1 vCPU" in words
    assert "lab/h host 2 of 3 1" in words
    assert "db1 ada being migrated by hand until released" in words
    assert "policy line 14" in words


def test_a_forecast_that_came_true_says_how_it_did() -> None:
    facts = small()
    curves = {key: replace(one, checked=6, missed=1) for key, one in facts.curves.items()}
    words = read(page(build_view(replace(facts, curves=curves)))).text
    assert "Use was above the interval in 1 of 6 steps forecast and known." in words
