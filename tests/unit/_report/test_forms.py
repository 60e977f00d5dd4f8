# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves from tables, charts, Markdown and metrics."""

from __future__ import annotations

import re
import subprocess
import textwrap
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits
from ansible_collections.headroom.fleet.plugins.module_utils._report.chart import (
    Limit,
    chart,
    describe,
    time_ticks,
    value_ticks,
)
from ansible_collections.headroom.fleet.plugins.module_utils._report.curves import (
    Curve,
    Expectation,
    Observed,
    band,
    read_curves,
    thin,
)
from ansible_collections.headroom.fleet.plugins.module_utils._report.facts import BudgetUse, Facts, Held
from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown, plain
from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import last_success, metrics
from ansible_collections.headroom.fleet.plugins.module_utils._report.page import page
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view
from ansible_collections.headroom.fleet.plugins.module_utils._report.violations import (
    Violation,
    Violations,
    find_violations,
)

from .samples import NOW, curve, large, receipt, small, vm

SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? [0-9.e+]+')


VIOLATIONS = Violations(
    "2026-02-28T12:00:00Z",
    "2026-03-01T12:00:00Z",
    300,
    (Violation("lab/web1", "cpu_millicores", 288, 20, 3, 1100.0),),
)
HEADER = small().forecast  # of intervals of an hour
# The last success is at 0: too old after 26 hours, not before.
ALERTS_TEST = """\
rule_files: [rules.yml]
tests:
  - interval: 1h
    input_series:
      - {series: headroom_last_success_timestamp_seconds, values: 0x40}
      - {series: headroom_rollbacks_failed, values: 0x30 1x10}
    alert_rule_test:
      - {eval_time: 25h, alertname: HeadroomSilent, exp_alerts: []}
      - eval_time: 28h
        alertname: HeadroomSilent
        exp_alerts:
          - {exp_labels: {severity: warning}, exp_annotations: {summary: Headroom has not succeeded for a day}}
      - {eval_time: 30h, alertname: HeadroomRollbackFailed, exp_alerts: []}
      - eval_time: 32h
        alertname: HeadroomRollbackFailed
        exp_alerts: [{exp_labels: {severity: critical}, exp_annotations: {summary: An act could not be set back}}]
"""


def test_curves_come_from_the_tables_of_series_and_forecast() -> None:
    import pyarrow as pa

    series = pa.table(
        {
            "unique_id": ["lab/a", "lab/a", "lab/b"],
            "metric": ["cpu_millicores"] * 3,
            "ds": pa.array([NOW - timedelta(minutes=10), NOW - timedelta(minutes=5), NOW], pa.timestamp("us", "UTC")),
            "interval_s": pa.array([300] * 3, pa.int32()),
            "mean": [100.0, 200.0, 300.0],
            "maximum": [150.0, None, 350.0],
        }
    )
    forecast = pa.table(
        {
            "unique_id": ["lab/a"] * 4,
            "metric": ["cpu_millicores"] * 4,
            "ds": pa.array([NOW] * 4, pa.timestamp("us", "UTC")),
            "quantile": ["0.5", "0.95", "0.05", "0.98"],
            "value": [200.0, 400.0, 100.0, 500.0],
        }
    )
    curves = read_curves(series, Expectation(HEADER, forecast), unique_ids=frozenset({"lab/a"}))
    assert set(curves) == {("lab/a", "cpu_millicores")}
    found = curves["lab/a", "cpu_millicores"]
    assert found.observed == (Observed(1772365800, 100.0, 150.0), Observed(1772366100, 200.0, None))
    assert found.expected == ((1772366400, 100.0, 200.0, 400.0),)  # the interval of 90 %


def test_a_forecast_is_held_against_what_came_true() -> None:
    import pyarrow as pa

    hours = [NOW + timedelta(hours=n) for n in range(3)]
    used = [NOW - timedelta(minutes=5), NOW, NOW + timedelta(minutes=55), NOW + timedelta(minutes=60)]
    series = pa.table(
        {
            "unique_id": ["lab/a"] * 4,
            "metric": ["cpu_millicores"] * 4,
            "ds": pa.array(used, pa.timestamp("us", "UTC")),
            "interval_s": pa.array([300] * 4, pa.int32()),
            "mean": [900.0, 100.0, 100.0, 100.0],  # the first is before the forecast
            "maximum": [900.0, 200.0, 600.0, None],
        }
    )
    forecast = pa.table(
        {
            "unique_id": ["lab/a"] * 3,
            "metric": ["cpu_millicores"] * 3,
            "ds": pa.array(hours, pa.timestamp("us", "UTC")),
            "quantile": ["0.95"] * 3,
            "value": [500.0] * 3,
        }
    )

    def checked(target: str) -> tuple[int, int]:
        ids = frozenset({"lab/a"})
        expected = Expectation(replace(HEADER, target=target), forecast)
        found = read_curves(series, expected, unique_ids=ids)["lab/a", "cpu_millicores"]
        return found.checked, found.missed

    assert checked("maximum") == (2, 1)
    assert checked("mean") == (2, 0)


def test_violations_are_counted_against_the_size() -> None:
    import pyarrow as pa

    rows = [
        ("lab/a", "cpu_millicores", 500.0, 1899.0),  # of 2 vCPUs: below 95 %
        ("lab/a", "cpu_millicores", 500.0, 1900.0),  # at the limit
        ("lab/a", "cpu_millicores", 2100.0, None),  # above the size, by its mean
        ("lab/a", "memory_used_mib", 250.0, 256.0),  # all of 256 MiB, and not above
        ("lab/a", "cpu_delay_millicores", 199.0, 900.0),  # the mean counts
        ("lab/b", "cpu_delay_millicores", 200.0, 900.0),
        ("lab/gone", "cpu_millicores", 9000.0, 9000.0),
    ]
    columns = dict(zip(("unique_id", "metric", "mean", "maximum"), map(list, zip(*rows, strict=True)), strict=True))
    found = find_violations([pa.table(columns)], vms=[vm("a"), vm("b")])
    assert found == (
        Violation("lab/a", "cpu_millicores", 3, 2, 1, 2100.0),
        Violation("lab/a", "memory_used_mib", 1, 1, 0, 256.0),
        Violation("lab/b", "cpu_delay_millicores", 1, 1, 0, 200.0),
    )


def test_thinning_keeps_the_largest_maximum_and_the_gaps() -> None:
    points = [Observed(at * 300, 1.0, 9.0 if at == 7 else 2.0) for at in range(1000) if at not in range(500, 520)]
    width_s, thinned = thin(points, interval_s=300, most=100)
    assert width_s == 3000
    assert len(thinned) == 98
    assert max(point.maximum for point in thinned) == 9.0


def test_a_gap_in_the_past_is_not_drawn_over() -> None:
    past = tuple(Observed(at * 300, 100.0, 120.0) for at in (0, 1, 5, 6))
    drawn = chart(Curve(past), resource="vcpus", label="x", size_now=1)
    line = re.search(r'class="line-past" d="([^"]*)"', str(drawn)).group(1)
    assert line.count("M") == 2


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart(Curve(), resource="vcpus", label="x", size_now=1) is None


def test_the_band_is_the_interval_of_90_percent_or_as_wide_as_there_is() -> None:
    assert band(("0.05", "0.5", "0.9", "0.95", "0.98")) == ("0.05", "0.95")
    assert band(("0.98", "0.5", "0.95")) == ("0.5", "0.98")


@pytest.mark.parametrize(
    ("limit", "lines", "words"),
    [
        (Limit(None, None, done=False), 0, "size 4 vCPU"),
        (Limit(1.5, 1.5, done=False), 1, "limit 1.5 vCPU"),
        (Limit(None, 0.25, done=True), 1, "limit none, now 0.25 vCPU"),
        (Limit(1.5, 2.5, done=False), 2, "limit 1.5 vCPU, planned 2.5 vCPU"),
        (Limit(1.5, None, done=True), 1, "limit 1.5 vCPU, now none"),
    ],
)
def test_a_limit_is_drawn_below_its_size_and_told(limit: Limit, lines: int, words: str) -> None:
    drawn = str(chart(curve(4000, 0.2), resource="vcpus", label="x", size_now=4, limit=limit))
    assert len(re.findall('class="limit', drawn)) == lines
    for label_y in re.findall(r'class="label" x="\d+" y="([\d.]+)"', drawn):
        assert 0 < float(label_y) < 216
    told = describe(curve(4000, 0.2), resource="vcpus", size_now=4, size_after=None, done=False, limit=limit)
    assert told.rstrip(".").endswith(words)


def test_everything_drawn_lies_within_the_picture() -> None:
    limit = Limit(0.1, 11.9, done=True)
    drawn = str(chart(curve(4000, 2.0), resource="vcpus", label="x", size_now=4, size_after=12, limit=limit))
    _unused, _unused, width, height = (float(one) for one in re.search(r'viewBox="([^"]*)"', drawn).group(1).split())
    for x, y in re.findall(r"M([-0-9.]+) ([-0-9.]+)", drawn):
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height
    for y in re.findall(r'y1="([-0-9.]+)"', drawn):
        assert 0 <= float(y) <= height


@pytest.mark.parametrize(
    ("top", "binary", "ticks"),
    [
        (2.2, False, [0, 0.5, 1, 1.5, 2, 2.5]),
        (1, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]),
        (384, True, [0, 128, 256, 384, 512]),
        (0, True, [0, 1]),
    ],
)
def test_value_ticks_are_round(top: float, binary: bool, ticks: list[float]) -> None:
    found, end = value_ticks(top, binary=binary)
    assert found == pytest.approx(ticks)
    assert end == pytest.approx(ticks[-1])


def test_time_ticks_are_round_utc_times() -> None:
    first = int(NOW.timestamp()) - 3600 * 24 + 17
    found = time_ticks(first, first + 86400)
    assert 3 <= len(found) <= 7
    assert all(tick % step == 0 for tick, step in found)


def test_markdown_says_the_same() -> None:
    text = markdown(build_view(small()))
    for words in (
        "**Applied.**",
        "- Given back: 1 vCPU, 128 MiB",
        "| web1 | ▲ grows | 1 → 2 vCPU | done | 0.95 quantile 1.21 vCPU is 121 % of 1 vCPU, more than 70 % |",
        "| refused | no\\_history | 1 | db1: 3 days",
        "> **1 rollback owed: waits for a restart of its VM, or for a person.**\n> - web2 (CPU)",
        "- Rollbacks owed: 1",
        "| lab | CPU demand | 99 % | 4 of 4 | 4 min ago |",
    ):
        assert words in text


def test_markdown_of_any_fleet_fits_a_comment() -> None:
    facts = large(5000, acted=300)
    text = markdown(build_view(replace(facts, held=tuple(Held(f"lab/{n}", "ada", "x" * 500, "") for n in range(99)))))
    assert len(text.encode()) < 65_536
    assert "260 more are on the page and in the plan." in text
    assert "and 91 more" in text


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a|b", "a\\|b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](http://e)", "\\[x\\](http&#58;//e)"),
        ("# top\n- item", "\\# top - item"),
        ("@channel `x` *y*", "&#64;channel \\`x\\` \\*y\\*"),
        ("x" * 500, "x" * 159 + "…"),
    ],
)
def test_words_in_markdown_mean_nothing(hostile: str, harmless: str) -> None:
    assert plain(hostile) == harmless


def read_metrics(text: str) -> dict[str, float]:
    """Check the format line by line; return the samples."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) headroom_[a-z_]+ .+", line)
        else:
            assert SAMPLE.fullmatch(line), line
            name, _unused, value = line.rpartition(" ")
            assert name not in found
            found[name] = float(value)
    return found


def test_metrics_of_a_run() -> None:
    found = read_metrics(metrics(build_view(small())))
    assert found["headroom_last_success_timestamp_seconds"] == NOW.timestamp() - 10
    assert found["headroom_last_run_duration_seconds"] == 142
    assert found["headroom_last_run_success"] == 1
    assert found["headroom_plan_timestamp_seconds"] == NOW.timestamp() - 60
    assert found['headroom_moved_vcpus{direction="shrink",state="done"}'] == 1
    assert found['headroom_moved_memory_bytes{direction="shrink",state="done"}'] == 128 * 2**20
    assert found['headroom_acts{result="done",reason=""}'] == 3
    assert found['headroom_decisions{resource="vcpus",verdict="refused",reason="no_history"}'] == 1
    assert found['headroom_telemetry_staleness_seconds{endpoint="lab",metric="cpu_millicores"}'] == 240
    assert found['headroom_telemetry_coverage_ratio{endpoint="lab",metric="memory_used_mib"}'] == 0.998
    assert found["headroom_rollbacks_owed"] == 1


def test_a_rehearsal_is_no_success() -> None:
    before = "headroom_last_success_timestamp_seconds 5\n"
    found = read_metrics(metrics(build_view(replace(small(), rehearsal=True)), before=before))
    assert found["headroom_last_success_timestamp_seconds"] == 5


@pytest.mark.parametrize("started_at", ["", "2030-01-01T00:00:00Z"])
def test_without_a_beginning_before_the_end_nothing_is_said_of_how_long_it_took(started_at: str) -> None:
    view = build_view(replace(small(), started_at=started_at))
    assert "headroom_last_run_duration_seconds" not in read_metrics(metrics(view))
    assert "took" not in markdown(view) + page(view)


def test_budget_left_is_that_of_the_fullest_place() -> None:
    facts = small()
    window = Limits(per_host=3, per_host_set=4, per_tenant=5, per_platform=6)
    used = (
        BudgetUse("per_host", "lab/h", 1, 3),
        BudgetUse("per_host", "lab/i", 2, 3),
        BudgetUse("per_tenant", "t", 9, 5),
    )
    budget = Budget(at_once=Limits(), window=window, window_s=86400)
    found = read_metrics(metrics(build_view(replace(facts, plan=replace(facts.plan, budget=budget), budget_used=used))))
    left = {scope: found[f'headroom_budget_acts_left{{scope="{scope}"}}'] for scope in vars(window)}
    assert left == {"per_host": 1, "per_host_set": 4, "per_tenant": 0, "per_platform": 6}
    assert found['headroom_budget_acts{scope="per_platform"}'] == 6


@pytest.mark.parametrize("facts", [small(), small(plan=None, forecast=None, receipt=None), large(20, acted=5)])
def test_promtool_finds_nothing_to_say(facts: Facts) -> None:
    text = metrics(build_view(replace(facts, violations=VIOLATIONS)))
    checked = promtool("check", "metrics", text=text)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    wrong = promtool("check", "metrics", text=text.replace("# HELP headroom_vms ", "# HELP headroom_other "))
    assert "headroom_vms no help text" in wrong.stdout + wrong.stderr


def test_the_alerts_of_the_guide_are_rules_that_fire(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/docsite/rst/guide_report.rst").read_text()
    blocks = re.findall(r"\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", guide)
    (tmp_path / "rules.yml").write_text(next(textwrap.dedent(one) for one in blocks if "alert:" in one))
    checked = promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = read_metrics(metrics(build_view(small())))
    assert set(re.findall(r"headroom_\w+", (tmp_path / "rules.yml").read_text())) <= {
        name.partition("{")[0] for name in found
    }
    (tmp_path / "test.yml").write_text(ALERTS_TEST)
    tested = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True, check=False)


def test_the_last_success_outlives_a_run_that_failed() -> None:
    before = metrics(build_view(small()))
    stopped = small(receipt=receipt((), finished_at="2026-03-02T12:00:00Z", stopped="kill_switch.on"))
    found = read_metrics(metrics(build_view(stopped), before=before))
    assert found["headroom_last_success_timestamp_seconds"] == NOW.timestamp() - 10
    assert found["headroom_last_run_timestamp_seconds"] == NOW.timestamp() + 86400
    assert last_success(metrics(build_view(stopped))) is None


def test_labels_are_escaped() -> None:
    facts = small()
    outcomes = (replace(facts.receipt.outcomes[0], code='a"b\\c\nd'),)
    text = metrics(build_view(replace(facts, receipt=receipt(outcomes))))
    read_metrics(text)
    assert r'reason="a\"b\\c\nd"' in text
