# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import score, score_with_intervals

NAN = float("nan")
DAY = 288


def days(*values, of=DAY):
    """[V, T]: each VM's values in turn, then its first again until the day is full."""
    filled = [np.concatenate([vm, np.full(of - len(vm), vm[0])]) for vm in values]
    return np.array(filled, dtype=float)


def figures(demand, allocation, capacity, slo=None):
    return score(demand, allocation, capacity, slo=slo or Slo())


def test_figures_of_two_vms():
    capacity = days([10], [2])
    allocation = days([5], [2])
    demand = days([4, 6, 7, 4, 9], [1, 2, 2])
    said = figures(demand, allocation, capacity)
    demanded = demand.sum()
    assert asdict(said) == pytest.approx(
        {
            "vms": 2,
            "reclaimed": 100 * 5 / 12,
            "violations": 100 * 3 / 576,
            "violations_by_capacity": 100 * 30 / (12 * DAY),
            "unserved_of_demand": 100 * (1 + 2 + 4) / demanded,
            "worst_vm": 100 * 3 / DAY,
            "p99_vm": 100 * 0.99 * 3 / DAY,
            "vms_within_half_pct": 50,
            "vms_within_1pct": 50,
            "longest_run_min": 10,
            "vms_with_run_over_30min": 0,
            "resizes_per_vm_day": 0,
            "slo4": False,
        },
        abs=1e-12,
    )


def test_at_capacity_and_by_rounding_there_is_no_violation():
    said = figures(days([10], [5 * (1 + 1e-5)]), days([10], [5]), days([10], [10]))
    assert (said.violations, said.slo4) == (0, True)


def test_what_is_not_known_is_not_scored():
    demand, allocation, capacity = days([NAN, 9, 1], [1]), days([5], [5]), days([10], [NAN])
    demand[0, 3:] = NAN
    said = figures(demand, allocation, capacity)
    assert (said.violations, said.worst_vm, said.reclaimed) == (50, 50, 50)
    assert said.unserved_of_demand == 40


@pytest.mark.parametrize(
    ("run", "longest", "over"), [([9] * 6, 30, 0), ([9] * 7, 35, 1), ([9] * 4 + [1] + [9] * 4, 20, 0)]
)
def test_runs_of_violations(run, longest, over):
    said = figures(days([1, *run, 1]), days([5]), days([10]))
    assert (said.longest_run_min, said.vms_with_run_over_30min) == (longest, over)


@pytest.mark.parametrize(
    ("sizes", "capacity", "resizes"),
    [
        ([5, 6, 6, 5], [10], 2),
        ([5, 5.008, 5.016, 5.016], [10], 2),  # creeps past the least change, and falls back at the end
        ([5, 5.009, 5.001], [10], 0),
        ([10, 8, 10], [10, 8, 10], 0),  # others changed the capacity
    ],
)
def test_resizes(sizes, capacity, resizes):
    assert figures(days([1]), days(sizes), days(capacity)).resizes_per_vm_day == resizes


@pytest.mark.parametrize(
    ("slo", "meets"),
    [
        (Slo(2, 5, 2, 0), True),
        (Slo(1, 5, 2, 0), False),
        (Slo(2, 1, 2, 0), False),
        (Slo(2, 5, 1, 0), False),
        (Slo(2, 5, 2, 1), False),
    ],
)
def test_each_limit_counts(slo, meets):
    assert figures(days([4, 9, 9, 9, 9]), days([5]), days([10]), slo).slo4 is meets


def test_intervals_hold_the_figures():
    rng = np.random.default_rng(3)
    capacity = np.full((40, 10 * DAY), 10.0)
    demand = np.clip(rng.gamma(2, 1, capacity.shape) * rng.uniform(0.5, 1.5, (40, 1)), 0, 10)
    scored = score_with_intervals(demand, np.full_like(capacity, 6), capacity, slo=Slo())
    for name in ("violations", "unserved_of_demand", "worst_vm", "vms_within_1pct"):
        low, high = scored.intervals[name]
        assert low <= getattr(scored.score, name) <= high
        assert high > low
    assert scored.intervals["reclaimed"] == pytest.approx((40, 40))
    assert scored.score.violations == pytest.approx(np.mean(scored.intervals["violations"]), rel=0.02)


def test_an_interval_narrows_with_the_blocks():
    rng = np.random.default_rng(3)

    def width(vms):
        capacity = np.full((vms, 2 * DAY), 10.0)
        demand = np.where(rng.random((vms, 1)) < 0.5, 9.0, 1.0) * np.ones_like(capacity)
        low, high = score_with_intervals(demand, np.full_like(capacity, 6), capacity, slo=Slo()).intervals["violations"]
        return high - low

    assert width(400) < 0.5 * width(40)


def test_nothing_to_score_is_an_error():
    with pytest.raises(HeadroomError) as raised:
        figures(days([NAN]), days([5]), days([10]))
    assert raised.value.code == "replay.nothing_scored"
