# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scorecard in every form of the report."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown
from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import metrics
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
from ansible_collections.headroom.fleet.plugins.module_utils._report.trust import Demoted, Scorecard, Trust
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view

from .samples import small

CPU = Trust("cpu_millicores", 2, 16_128, 32, 5, 80.0, 160.0, 14_600.0, 16_000)
REASON = "violated 1.4 % of 28 days, more than 1 %"
CARD = Scorecard(
    28, (Demoted("lab/web1", "cpu_millicores", "2026-02-20", "2026-02-27", REASON),), (CPU, Trust("other", *[0] * 8))
)


def view(card):
    return build_view(replace(small(), scorecard=card))


def test_the_page_says_who_is_demoted_why_and_when_it_may_return() -> None:
    html = page(view(CARD))
    section = html[html.index('id="scorecard"') :]
    section = section[: section.index("</section>")]
    for words in ("web1", REASON, "2026-02-20", "2026-02-27", "0.198 %", "50 %", "91.2 %", "16,128", "not known"):
        assert words in section
    assert "1 VM only recommended for: their forecasts did badly." in html
    assert '<a href="#scorecard">Scorecard</a>' in html


def test_without_figures_or_demotions_it_says_so() -> None:
    for card in (None, Scorecard(28, (), ())):
        assert "No forecast is old enough" in page(view(card))
        assert "Scorecard" not in markdown(view(card))
    html = page(view(replace(CARD, demoted=())))
    assert "Nobody is demoted." in html
    assert "only recommended for:" not in html


def test_markdown_has_both_tables() -> None:
    text = markdown(view(CARD))
    assert f"| web1 | CPU demand | {REASON} | 2026-02-20 | 2026-02-27 |" in text
    assert "| CPU demand | 16,128 | 0.198 % | 50 % | 91.2 % |" in text
    assert "| other | 0 | not known | not known | not known |" in text


def test_metrics_are_of_the_fleet_and_of_no_vm() -> None:
    lines = metrics(view(CARD)).splitlines()
    for line in (
        'headroom_scorecard_vms{metric="cpu_millicores"} 2',
        'headroom_scorecard_demoted_vms{metric="cpu_millicores"} 1',
        'headroom_scorecard_demoted_vms{metric="other"} 0',
        'headroom_scorecard_loss_ratio{metric="cpu_millicores"} 0.5',
        'headroom_scorecard_coverage_ratio{metric="cpu_millicores"} 0.9125',
        'headroom_scorecard_missed_intervals{metric="cpu_millicores"} 5',
    ):
        assert line in lines
    assert not any("web1" in line for line in lines if "scorecard" in line)
    assert not any("loss_ratio" in line and "other" in line for line in lines)
