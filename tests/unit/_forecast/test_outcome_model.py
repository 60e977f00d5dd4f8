# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.features import Moment
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.outcome_model import (
    Examples,
    curves,
    examples,
    train,
)

HOUR, DAY = 12, 288
WEEK = 7 * DAY
VMS = 60
FLOOR = np.full(VMS, 0.1)


def fleet(seed):
    """Half of the VMs are steady, half have bursts of an hour."""
    rng = np.random.default_rng(seed)
    demand = rng.gamma(30, 1 / 30, (VMS, WEEK + DAY))
    bursts = np.repeat(rng.random((VMS, (WEEK + DAY) // HOUR)) < 0.15, HOUR, axis=1)
    demand[VMS // 2 :] += 4 * bursts[VMS // 2 :]
    return demand


def at(demand, tick):
    return Moment(
        demand=demand[:, tick - WEEK : tick].astype(np.float32),
        saturated=np.zeros((VMS, WEEK), dtype=bool),
        capacity=np.full(VMS, 8.0),
        step_s=300,
        lead=0,
        since_midnight=tick % DAY,
        weekday=0,
    )


def learnt(demand, seed=0):
    rng = np.random.default_rng(seed)
    parts = [
        examples(at(demand, tick), demand[:, tick : tick + HOUR], FLOOR, jump=2.4, rng=rng)
        for tick in range(WEEK, WEEK + DAY - HOUR, 2 * HOUR)
    ]
    return train(parts, step_s=300, lead=0, seed=seed)


@pytest.fixture(scope="module")
def model():
    return learnt(fleet(0))


def test_a_larger_size_is_never_expected_to_be_worse(model):
    of = curves(model, at(fleet(1), WEEK), FLOOR)
    for curve in (of.violated, of.unserved, of.added):
        assert (np.diff(curve, axis=1) <= 0).all()
        assert (curve >= 0).all()


def test_vms_with_bursts_are_told_from_steady_ones(model):
    of = curves(model, at(fleet(1), WEEK), FLOOR)
    _violated, unserved, _added = of.at(np.full((VMS, 1), 2.0))
    steady, bursty = unserved[: VMS // 2].mean(), unserved[VMS // 2 :].mean()
    assert bursty > 5 * steady


def test_what_is_expected_comes_on_average(model):
    demand = fleet(1)
    size = np.full((VMS, 1), 2.0)
    said, came = [], []
    for tick in range(WEEK, WEEK + DAY - HOUR, HOUR):
        said.append(curves(model, at(demand, tick), FLOOR).at(size)[1][VMS // 2 :].mean())
        first = demand[VMS // 2 :, tick]  # the guard serves all but the first interval of a burst
        came.append(np.maximum(first - 2.0, 0).mean() / HOUR / 8)
    assert np.mean(said) == pytest.approx(np.mean(came), rel=0.4)


def test_the_same_seed_and_data_are_the_same_model(model):
    assert learnt(fleet(0)).digest == model.digest
    assert learnt(fleet(0), seed=1).digest != model.digest


def test_a_vm_is_judged_alike_whatever_the_others_are(model):
    moment = at(fleet(1), WEEK)
    together = curves(model, moment, FLOOR)
    alone = curves(model, moment.only(np.array([7])), FLOOR[[7]])
    assert (alone.unserved[0] == together.unserved[7]).all()


def test_vms_whose_future_is_not_known_are_not_learnt_from():
    demand = fleet(0)
    came = demand[:, WEEK : WEEK + HOUR].copy()
    came[:10, 3] = np.nan
    part = examples(at(demand, WEEK), came, FLOOR, jump=2.4, rng=np.random.default_rng(0))
    assert len(part.weights) == (VMS - 10) * 8
    assert np.isfinite(part.features).all()
    assert np.isfinite(part.outcomes).all()


def test_too_few_examples_are_refused():
    few = Examples(("a",), np.zeros((10, 1), dtype=np.float32), np.zeros((10, 3)), np.ones(10))
    with pytest.raises(HeadroomError) as caught:
        train([few], step_s=300, lead=0, seed=0)
    assert caught.value.code == "forecast.untrained"


@pytest.mark.parametrize("change", [{"lead": 12}, {"features": ("other",)}, {"step_s": 60}])
def test_a_foreign_model_is_refused(model, change):
    with pytest.raises(HeadroomError) as caught:
        curves(replace(model, **change), at(fleet(1), WEEK), FLOOR)
    assert caught.value.code == "model.foreign"
