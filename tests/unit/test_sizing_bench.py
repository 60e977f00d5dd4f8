# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the sizing bench (tests/bench/sizing): peers against figures by hand, wrappers, tuner, oracle, page."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.points import shipped
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import OperatingPoint
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES, MEMORY_USED_MIB
from ansible_collections.headroom.fleet.plugins.module_utils._replay.baselines import StaticPeak, Whole
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed, replay
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo, read_protocol
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import score
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace
from tests.bench.sizing import bench, ours, tune
from tests.bench.sizing.histogram import Histogram
from tests.bench.sizing.oracle import oracle
from tests.bench.sizing.peers import Autopilot, Trailing
from tests.bench.sizing.policy import Careful, Context, Guarded, Span, Sparing
from tests.bench.sizing.run import operating_points, point_of
from tests.bench.sizing.shipped import SHIPPED, shipped_text
from tests.bench.sizing.table import ENTRIES, ROWS, VARIANTS, entries, spans
from tests.bench.sizing.vpa import PUBLISHED, Vpa

START = datetime(2026, 1, 1, tzinfo=UTC)
NAN = float("nan")


def fleet(demand, capacity=10.0, floor=0.1):
    demand = np.atleast_2d(np.asarray(demand, dtype=float))
    had = np.full(demand.shape, float(capacity))
    return Trace(tuple(f"vm{n}" for n in range(len(demand))), START, demand, had, np.full(demand.shape, floor))


def context(trace, first, *, target="cpu", lead=0, slo=None, **more):
    past = trace.before(first)
    return Context(target, first, trace.steps, lead, 12, slo or Slo(), past, past, **more)


def observed(seen, *, ordered=10.0, held=False, capacity=10.0, hourly=True):
    seen = np.atleast_2d(np.asarray(seen, dtype=float))
    each = np.ones(len(seen))
    saturated = np.zeros(seen.shape, dtype=bool)
    saturated[:, -1] = held
    return Observed(
        seen.shape[1], hourly, seen, saturated, np.full(seen.shape, float(ordered)), capacity * each, 0.1 * each,
        ordered * each,
    )  # fmt: skip


class Wants:
    def __init__(self, size):
        self.size = size

    def decide(self, observed):
        return np.full(observed.capacity.shape, float(self.size))


# --- histograms and peers ---------------------------------------------------------------------------------------------


def test_buckets_are_those_of_the_vertical_pod_autoscaler():
    histogram = Histogram(1, first_bucket=0.01, largest=10, half_life=288)
    assert histogram.starts[:4] == pytest.approx([0, 0.01, 0.0205, 0.031525])
    values = np.array([0, 0.0099, 0.0101, 0.02, 0.03])
    assert [int(histogram.bucket(np.array([value]))[0]) for value in values] == [0, 0, 1, 1, 2]


def test_a_weight_halves_with_its_age():
    histogram = Histogram(1, first_bucket=0.01, largest=10, half_life=100)
    histogram.add(np.array([1.0]), np.array([2.1]), 0)
    histogram.add(np.array([5.0]), np.array([1.0]), 100)
    (low, high) = (float(histogram.percentiles((level,))[0][0]) for level in (0.51, 0.52))
    assert low == pytest.approx(1.0, rel=0.06)
    assert high == pytest.approx(5.0, rel=0.06)


def test_the_past_is_counted_as_if_it_had_been_seen():
    rng = np.random.default_rng(1)
    values = rng.uniform(0, 5, (3, 50))
    values[1, 4] = NAN
    at_once, one_by_one = (Histogram(3, first_bucket=0.01, largest=10, half_life=20, by_load=True) for _unused in "ab")
    at_once.add_past(values, np.full(values.shape, 2.0))
    for t in range(50):
        one_by_one.add(values[:, t], np.full(3, 2.0), t)
    np.testing.assert_allclose(at_once.weights, one_by_one.weights)


def test_vpa_recommends_the_ninetieth_percentile_with_a_margin():
    past = np.tile(np.arange(1, 11) / 10, 288 // 10 + 1)[:288]
    policy = Vpa({**PUBLISHED, "half_life_h": 1e9}, context(fleet(past), 288))
    size = float(policy.decide(observed(past))[0])
    assert 0.9 * 1.15 <= size <= 0.9 * 1.15 * 1.05


def test_vpa_leaves_what_lies_within_its_bounds_for_twelve_hours():
    past = np.full(288, 1.0)
    policy = Vpa(PUBLISHED, context(fleet(past), 288))
    assert float(policy.decide(observed(past))[0]) == pytest.approx(1.2, rel=0.05)  # the first is no resize ago
    soon = observed(np.full(289, 1.0), ordered=1.5)
    assert np.isnan(policy.decide(soon)[0])
    later = observed(np.full(288 + 144, 1.0), ordered=1.5)
    assert float(policy.decide(later)[0]) == pytest.approx(1.2, rel=0.05)


def test_vpa_grows_what_lies_below_its_bounds_at_any_tick():
    past = np.full(288, 5.0)
    policy = Vpa(PUBLISHED, context(fleet(past), 288))
    assert float(policy.decide(observed(past, ordered=1.0, hourly=False))[0]) > 5
    assert np.isnan(policy.decide(observed(past, ordered=10.0, hourly=False))[0])


def test_vpa_takes_a_saturated_memory_for_a_kill():
    past = np.full(288, 1000.0)
    policy = Vpa(PUBLISHED, context(fleet(past, 4000, 250), 288, target="memory"))
    policy.decide(observed(past, capacity=4000, ordered=4000))
    held = np.full(289, 1000.0)
    size = policy.decide(observed(held, capacity=4000, ordered=1000, held=True))
    assert float(size[0]) == pytest.approx(1000 * 1.2 * 1.15, rel=1e-6)


def test_autopilot_keeps_the_largest_of_the_last_hour():
    point = {"level": 1.0, "margin": 1.1, "half_life_h": 12.0, "window_h": 1 / 12}
    policy = Autopilot(point, context(fleet(np.full(20, 2.0)), 20))
    uses = [2.0] * 20
    sizes = []
    for use in [5.0, *[1.0] * 12]:
        sizes.append(float(policy.decide(observed(uses))[0]))
        uses.append(use)
    sizes.append(float(policy.decide(observed(uses))[0]))
    assert sizes == pytest.approx([2.2, *[5.5] * 12, 1.1])


def test_autopilot_weighs_by_load():
    past = np.array([0.5] * 90 + [4.5] * 10)
    point = {"level": 0.49, "margin": 1.0, "half_life_h": 1e9, "window_h": 24.0}
    assert float(Autopilot(point, context(fleet(past), 100)).decide(observed(past))[0]) == pytest.approx(0.5, rel=0.06)
    point["level"] = 0.6
    assert float(Autopilot(point, context(fleet(past), 100)).decide(observed(past))[0]) == pytest.approx(4.5, rel=0.06)


def test_trailing_and_static():
    past = [9.0, *range(1, 6), NAN]
    assert float(Trailing(1.0, 3, 2.0).decide(observed(past))[0]) == 10
    assert float(Trailing(0.5, 4, 1.0).decide(observed([4, 1, 3, 2]))[0]) == 3
    assert np.isnan(Trailing(1.0, 3, 2.0).decide(observed(past, hourly=False))[0])
    policy = StaticPeak(1.0)
    assert [float(policy.decide(observed(seen))[0]) for seen in (past, [99])] == [9, 9]
    assert np.isnan(policy.decide(observed(past, hourly=False))[0])


# --- wrappers ---------------------------------------------------------------------------------------------------------


def test_a_guard_grows_what_is_held_back():
    assert float(Guarded(Wants(1), 2).decide(observed([1], ordered=3, held=True))[0]) == 6
    assert float(Guarded(Wants(1), 2).decide(observed([1], ordered=3))[0]) == 1


@pytest.mark.parametrize(("size", "whole"), [(0.2, 1), (1.0, 1), (1.01, 2), (NAN, NAN)])
def test_whole_vcpus(size, whole):
    np.testing.assert_array_equal(Whole(Wants(size)).decide(observed([1])), [whole])


def test_careful_waits_from_the_last_time_its_size_was_wanted():
    inner = Wants(5)
    policy = Careful(inner, hold=3)

    def decided(t, size, ordered):
        inner.size = size
        return float(policy.decide(observed([1] * t, ordered=ordered))[0])

    assert np.isnan(decided(1, 3, 4))  # it has wanted nothing yet
    assert decided(1, 5, 4) == 5
    assert np.isnan(decided(2, 3, 5))
    assert np.isnan(decided(3, 3, 5))
    assert decided(4, 3, 5) == 3


@pytest.mark.parametrize(("size", "asked"), [(4.5, NAN), (3.9, 3.9), (6, 9), (5, 5)])
def test_sparing_leaves_small_shrinks_and_grows_by_more(size, asked):
    np.testing.assert_array_equal(Sparing(Wants(size), 0.1, 0.5).decide(observed([1], ordered=5)), [asked])


# --- oracle -----------------------------------------------------------------------------------------------------------


def solved(trace, first, slo, **more):
    known = context(trace, first, slo=slo, future=trace, **more)
    done = replay(oracle({}, known), trace, first=first, last=trace.steps, lead=known.lead, every=12)
    cut = slice(first, None)
    return score(trace.demand[:, cut], done.allocation[:, cut], trace.capacity[:, cut], slo=slo)


def test_the_oracle_keeps_the_service_level_and_beats_every_hours_largest():
    rng = np.random.default_rng(5)
    trace = fleet(rng.gamma(1, 1, (40, 12 + 288)).clip(0, 10))
    found = solved(trace, 12, Slo())
    largest = np.repeat(trace.demand[:, 12:].reshape(40, 24, 12).max(axis=2), 12, axis=1)
    assert found.slo4
    assert found.reclaimed > 100 * (1 - largest.mean() / 10) + 0.1


def test_the_oracle_spends_the_budget_it_has():
    rng = np.random.default_rng(5)
    trace = fleet(rng.gamma(1, 1, (60, 12 + 288)).clip(0, 10))
    strict, loose = (solved(trace, 12, Slo(share, share, 100, 0)) for share in (0.01, 0.5))
    assert strict.slo4
    assert loose.slo4
    assert loose.reclaimed > strict.reclaimed


def test_the_oracle_of_whole_vcpus():
    rng = np.random.default_rng(5)
    trace = fleet(rng.gamma(1, 1, (20, 60)).clip(0, 10))
    known = context(trace, 12, future=trace, whole=True, lead=3)
    done = replay(oracle({}, known), trace, first=12, last=60, lead=3, every=12)
    np.testing.assert_array_equal(done.size, np.round(done.size))
    assert done.size.min() >= 1


def test_the_oracle_needs_the_future():
    with pytest.raises(ValueError, match="future"):
        oracle({}, context(fleet(np.ones(24)), 12))


# --- tables, tuner, bench ---------------------------------------------------------------------------------------------


def test_names_are_there_once():
    for row in ROWS:
        names = [entry.name for entry in entries(row)]
        assert len(names) == len(set(names))
        assert row.variant in VARIANTS
        assert not row.tuned_as or row.tuned_as in {other.name for other in ROWS}


def test_a_first_guess_lies_where_the_tuner_looks():
    for entry in ENTRIES:
        assert set(entry.start) == set(entry.spans)
        for name, span in entry.spans.items():
            assert span.low <= entry.start[name] <= span.high, (entry.name, name)


@pytest.mark.parametrize("span", [Span(1, 4), Span(1, 4, log=True), Span(1, 12, whole=True)])
def test_a_span_goes_both_ways(span):
    assert (span.at(-1), span.at(0), span.at(1), span.at(2)) == (span.low, span.low, span.high, span.high)
    assert span.at(span.share(3)) == pytest.approx(3, rel=1e-3)


def test_committed_points_fit_the_tables():
    points = operating_points()
    for row in ROWS:
        for entry in entries(row):
            point = point_of(entry, row, points)
            if point is not None and entry.published is None:
                assert set(point) == set(spans(entry, row)), (row.name, entry.name)


def test_the_product_carries_the_points_that_the_bench_plays_at():
    assert SHIPPED.read_text() == shipped_text(operating_points())
    entry = next(entry for entry in ENTRIES if entry.name == ours.NAME)
    for row in ROWS:
        if row.variant not in {"sparing", "careful"}:
            metric = {"cpu": CPU_MILLICORES, "memory": MEMORY_USED_MIB}[row.target]
            played_at = OperatingPoint.of(point_of(entry, row, operating_points()))
            assert shipped(metric, row.lead_s, follows=row.variant) == played_at, row.name


def test_what_keeps_the_service_level_is_worth_more_than_what_breaks_it():
    capacity, row = np.full((4, 288), 10.0), ROWS[0]
    demand = np.full(capacity.shape, 2.0)
    demand[0, :5] = 8
    kept, broken = (score(demand, np.full(capacity.shape, size), capacity, slo=Slo()) for size in (8.1, 7.0))
    assert tune.worth(kept, row, Slo()) == kept.reclaimed
    assert tune.worth(broken, row, Slo()) < kept.reclaimed < broken.reclaimed


@pytest.fixture
def recorded(tmp_path):
    """A fleet of 25 VMs over four days, as a file."""
    rng = np.random.default_rng(2)
    vms, steps = 25, 4 * 288
    percent = np.clip(rng.gamma(1, 10, (vms, 1)) * rng.gamma(4, 1 / 4, (vms, steps)), 0, 100)
    ds = np.tile(int(START.timestamp()) * 1_000_000 + np.arange(steps) * 300_000_000, vms)
    columns = {
        "unique_id": np.repeat([f"<vm&{n}>" for n in range(vms)], steps),
        "ds": pa.array(ds, pa.timestamp("us")),
        "vcpus": np.full(vms * steps, 4, dtype=np.int16),
        "cpu_pct": percent.ravel().astype("f4"),
    }
    pq.write_table(pa.table(columns), tmp_path / "fleet.parquet")
    return tmp_path / "fleet.parquet"


def benched(monkeypatch, recorded, *words):
    out = recorded.parent / "out"
    monkeypatch.setattr(sys, "argv", ["bench", "--traces", str(recorded), "--out", str(out), *words])
    bench.main()
    return out


def test_the_bench_derives_a_protocol_and_writes_all_it_found(monkeypatch, recorded, capsys):
    words = ("--quick", "--rows", "cpu, lead 0", "--policies", "autopilot p98*")
    benched(monkeypatch, recorded, *words)
    out = benched(monkeypatch, recorded, *words)
    assert "scored 2 times" in capsys.readouterr().out
    protocol = read_protocol((out / "protocol.json").read_text())
    (result,) = json.loads((out / "results.json").read_text())["results"]
    decisions = pq.read_table(out / "decisions" / result["decisions"])
    assert decisions.column_names == ["unique_id", "issued_at", "effective_at", "allocation"]
    assert set(decisions["unique_id"].to_pylist()) <= set(protocol.report_ids)
    low, high = result["intervals"]["reclaimed"]
    assert low <= result["score"]["reclaimed"] <= high
    page = (out / "page.html").read_text()
    assert "<svg" in page
    assert "http" not in page


def test_the_bench_says_what_is_wrong_with_a_trace(monkeypatch, recorded):
    pq.write_table(pq.read_table(recorded).drop_columns("vcpus"), recorded)
    with pytest.raises(SystemExit, match=r"trace\.columns"):
        benched(monkeypatch, recorded)


def test_the_tuner_never_sees_the_report_vms(monkeypatch, recorded):
    """With the report VMs' samples ruined, the same point is found."""
    out = benched(monkeypatch, recorded, "--quick", "--policies", "oracle")
    tune_ids = read_protocol((out / "protocol.json").read_text()).tune_ids
    samples = pq.read_table(recorded)
    keep = np.isin(samples["unique_id"].to_numpy(), tune_ids)
    ruined = samples.set_column(3, "cpu_pct", pa.array(np.where(keep, samples["cpu_pct"].to_numpy(), 99), pa.float32()))
    pq.write_table(ruined, recorded.parent / "ruined.parquet")
    found = []
    table = SHIPPED.read_bytes()
    for traces in (recorded, recorded.parent / "ruined.parquet"):
        points = recorded.parent / f"{traces.stem}.json"
        words = ["--traces", str(traces), "--protocol", str(out / "protocol.json"), "--out", str(points)]
        monkeypatch.setattr(
            sys, "argv", ["tune", *words, "--trials", "8", "--policies", "p98*", "--rows", "cpu, lead 60*"]
        )
        tune.main()
        found.append(operating_points(points))
    assert found[0] == found[1]
    assert SHIPPED.read_bytes() == table  # points that go elsewhere are not those that are shipped
    assert found[0]["cpu, lead 60 min"]["p98 of 24 h + guard"]
