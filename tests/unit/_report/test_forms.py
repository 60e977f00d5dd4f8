# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Curves from tables, charts, Markdown and metrics."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._report.chart import chart, time_ticks, value_ticks
from ansible_collections.headroom.fleet.plugins.module_utils._report.curves import Curve, Observed, read_curves, thin
from ansible_collections.headroom.fleet.plugins.module_utils._report.markdown import markdown, plain
from ansible_collections.headroom.fleet.plugins.module_utils._report.metrics import last_success, metrics
from ansible_collections.headroom.fleet.plugins.module_utils._report.view import build_view

from .samples import NOW, curve, receipt, small

SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? [0-9.e+]+')


def test_curves_come_from_the_tables_of_series_and_forecast() -> None:
    pa = pytest.importorskip("pyarrow")
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
    curves = read_curves(series, forecast, interval_s=3600, unique_ids=frozenset({"lab/a"}))
    assert set(curves) == {("lab/a", "cpu_millicores")}
    found = curves["lab/a", "cpu_millicores"]
    assert found.observed == (Observed(1772365800, 100.0, 150.0), Observed(1772366100, 200.0, None))
    assert found.expected == ((1772366400, 100.0, 200.0, 500.0),)


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


def test_everything_drawn_lies_within_the_picture() -> None:
    drawn = str(chart(curve(4000, 2.0), resource="vcpus", label="x", size_now=4, size_after=12))
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
        "| web1 | grows | 1 → 2 vCPU |",
        "| refused | vCPU | 1 | no\\_history |",
        "- Rollbacks owed: 1",
        "| CPU demand | 99 % | 4 of 4 | 4 min ago |",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("a|b", "a\\|b"),
        ("<script>", "&lt;script&gt;"),
        ("[x](http://e)", "\\[x\\](http&#58;//e)"),
        ("# top\n- item", "\\# top - item"),
        ("@channel `x` *y*", "&#64;channel \\`x\\` \\*y\\*"),
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
    assert found["headroom_run_duration_seconds"] == 142
    assert found['headroom_acts{result="done",reason=""}'] == 3
    assert found['headroom_decisions{resource="vcpus",verdict="refused",reason="no_history"}'] == 1
    assert found['headroom_telemetry_staleness_seconds{metric="cpu_millicores"}'] == 240
    assert found['headroom_telemetry_coverage_ratio{metric="memory_used_mib"}'] == 0.998
    assert found["headroom_rollbacks_owed"] == 1


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
