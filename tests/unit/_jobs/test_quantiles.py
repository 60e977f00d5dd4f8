# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of quantiles: what is expected of them, what a forecast came to, and what was seen at a size."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.conformal import FleetErrors
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.engines import ENGINES
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.grid import level_of
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import Clock
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.realised import Frame, Point
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.select import Shape, attempt
from ansible_collections.headroom.fleet.plugins.module_utils._jobs import quantiles, sizes
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.quantiles import (
    EXPECTED_DAYS,
    Lesson,
    Teaching,
    expected,
    foretold_loss,
    learnt,
    prior_of,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.series import CPU_MILLICORES
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

STEP_S = 900
CLOCK = Clock(STEP_S)
START = datetime(2026, 3, 1, tzinfo=UTC)
VMS, DAYS = 60, 14
TEACHING = Teaching(("0.5", "0.9"), None, 0)


def trace(*, vms=VMS, days=DAYS, seed=4):
    """Noise around a level in vCPU, and a job of each VM's own at a minute of every hour."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.2, 1.0, (vms, 1))
    beat = np.arange(days * CLOCK.day)[None, :] % CLOCK.cycle == rng.integers(0, CLOCK.cycle, (vms, 1))
    demand = np.clip(level * (1 + 2 * beat) + 0.1 * level * rng.normal(0, 1, beat.shape), 0, 4)
    names = tuple(f"lab/{number:02}" for number in range(vms))
    return Trace(names, START, demand, np.full(demand.shape, 4.0), np.full(demand.shape, 0.1), step_s=STEP_S)


def lesson(of):
    return Lesson(of, CPU_MILLICORES, np.zeros(of.demand.shape, dtype=bool))


def test_what_is_expected_is_of_vms_that_a_model_had_not_seen_and_far_better_than_naive():
    days = expected(lesson(trace()), TEACHING)
    assert len(days) == min(EXPECTED_DAYS, DAYS - 8)
    assert all(0 < day.cost_ppm < 500_000 for day in days)
    assert 40_000 < np.mean([day.held_ppm for day in days]) < 200_000  # above the quantile .9
    assert expected(lesson(trace(vms=6)), TEACHING) == ()


@pytest.mark.parametrize("minute", [None, 0, 15, 50])
def test_a_model_learns_at_the_minute_of_the_forecasts(monkeypatch, minute):
    asked = []
    monkeypatch.setitem(quantiles.TRAINERS, quantiles.TREES, lambda _past, ends, **_options: asked.extend(ends))
    learnt(lesson(trace(vms=2)), Teaching(("0.5",), minute, 0))
    of_hour = np.bincount([end % CLOCK.cycle for end in asked], minlength=CLOCK.cycle)
    assert of_hour.argmax() == (0 if minute is None else -(-minute * 60 // STEP_S) % CLOCK.cycle)


class Says:
    interval_s, steps, levels = STEP_S, 4, ("0.5", "0.9")


def test_the_errors_of_the_fleet_are_those_that_a_forecast_without_a_model_would_find():
    of = lesson(trace())
    of.censored[:, -200:] = of.past[:, -200:] > np.float32(600)
    levels = np.array([0.5, 0.9])
    trials = attempt(of.past, Shape(STEP_S, 0, Says.steps, levels), engines=ENGINES, bound=of.censored)
    fleet = FleetErrors()
    fleet.add(trials[0].naive_errors, level_of(of.past))
    found = prior_of(of, Says)
    np.testing.assert_array_equal(np.array([float(one) for one in found], dtype=np.float32), fleet.offsets(levels))
    assert found != prior_of(lesson(trace()), Says)
    assert prior_of(lesson(trace()), Says) == prior_of(lesson(trace()), Says)


def test_a_fleet_without_errors_has_none_to_store():
    of = trace(vms=2)
    of.demand[:] = np.nan
    assert prior_of(lesson(of), Says) == ()


def test_a_loss_is_in_units_of_naives_and_tells_what_lay_above(monkeypatch):
    of = trace(vms=3, days=10)

    def perfect(_model, known, *, end):
        return np.repeat(known[:, end : end + 4, None], 2, axis=2)

    monkeypatch.setattr(quantiles, "predict", perfect)
    found = foretold_loss(of, Says, CPU_MILLICORES, first=CLOCK.columns)
    assert found.days == 2
    assert (found.cost == 0).all()
    assert (found.held == 0).all()
    monkeypatch.setattr(quantiles, "predict", lambda *_asked, **_options: np.zeros((3, 4, 2)))
    low = foretold_loss(of, Says, CPU_MILLICORES, first=CLOCK.columns)
    assert (low.held == 1).all()
    assert (low.cost > 0).all()
    monkeypatch.setattr(
        quantiles, "predict", lambda _model, known, *, end: np.repeat(known[:, end - 1, None, None], 4, 1).repeat(2, 2)
    )
    naive = foretold_loss(of, Says, CPU_MILLICORES, first=CLOCK.columns)
    np.testing.assert_allclose(naive.cost.mean(axis=0), 1, rtol=1e-3)


def vm(name, vcpus):
    return VM(
        unique_id=name, endpoint="e", name=name, host_id="h", host_set="s", power="running", vcpus=vcpus,
        memory_mib=1024, generation="g", fields={},
    )  # fmt: skip


def test_sizes_follow_the_acts_and_are_unknown_while_one_is_under_way():
    start_us = int(START.timestamp()) * 10**6
    at = [start_us + column * STEP_S * 10**6 for column in range(11)]
    acts = {"vcpus": {"lab/a": [Point(at[6], at[7], 2000.0, 1000.0), Point(at[2], at[2] + 1, 4000.0, 2000.0)]}}
    frame = Frame(("lab/a", "lab/b"), CPU_MILLICORES, start_us, STEP_S, 10)
    found = sizes.sizes_by(acts, [vm("lab/a", 1), vm("lab/b", 3)], frame=frame, resource="vcpus")
    nan = np.nan
    np.testing.assert_array_equal(found[0], [4000, 4000, nan, 2000, 2000, 2000, nan, 1000, 1000, 1000])
    np.testing.assert_array_equal(found[1], [3000] * 10)
