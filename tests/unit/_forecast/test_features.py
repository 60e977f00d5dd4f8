# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.features import Moment, describe
from ansible_collections.headroom.fleet.plugins.module_utils._records.candidates import ladder

HOUR, DAY = 12, 288
WEEK = 7 * DAY


def moment(seed=0, vms=3):
    rng = np.random.default_rng(seed)
    demand = rng.gamma(1.5, 0.3, (vms, WEEK)).astype(np.float32)
    return Moment(
        demand=demand,
        saturated=rng.random((vms, WEEK)) < 0.01,
        capacity=np.full(vms, 8.0),
        step_s=300,
        lead=1,
        since_midnight=100,
        weekday=6,
    )


def described(of):
    rungs = ladder(of.capacity, np.full(len(of.capacity), 0.1), of.demand.max(axis=1).astype(float))
    names, values = describe(of, rungs)
    return rungs.sizes, {name: values[:, :, place] for place, name in enumerate(names)}


@pytest.fixture(scope="module")
def known():
    of = moment()
    return of, *described(of)


@pytest.mark.parametrize("hours", [1, 6, 24, 72, 168])
def test_exceedances_are_counted_over_each_window(known, hours):
    of, sizes, values = known
    window = of.demand[:, -hours * HOUR :]
    share = (window[:, None, :] > sizes[:, :, None]).mean(axis=2)
    assert values[f"exceeded_{hours}h"] == pytest.approx(np.log1p(2000 * share), abs=1e-4)


def test_the_same_hour_of_past_days_is_looked_at(known):
    of, sizes, values = known
    landing = WEEK + of.lead
    peaks = np.stack(
        [of.demand[:, landing - days * DAY : landing - days * DAY + HOUR].max(axis=1) for days in range(1, 8)]
    )
    assert values["exceeded_slots_7d"] == pytest.approx((peaks[:, :, None] > sizes[None]).sum(axis=0))
    expected = np.log((peaks[0] + 1e-4 * 8)[:, None] / sizes)
    assert values["slot_1d"] == pytest.approx(np.clip(expected, -6, 5), abs=1e-4)


def test_bursts_are_counted_not_their_length(known):
    of, sizes, values = known
    above = of.demand[:, None, :] > sizes[:, :, None]
    onsets = (above[:, :, 1:] & ~above[:, :, :-1]).sum(axis=2)
    assert values["onsets_7d"] == pytest.approx(np.log1p(onsets), abs=1e-4)


def test_time_since_a_candidate_was_exceeded(known):
    of, sizes, values = known
    above = of.demand[:, None, ::-1] > sizes[:, :, None]
    since = np.where(above.any(axis=2), above.argmax(axis=2), WEEK)
    assert values["since_exceeded"] == pytest.approx(np.log1p(since), abs=1e-4)


def test_what_followed_moments_like_this_one(known):
    of, sizes, values = known
    rung = (of.demand[:, :, None] > sizes[:, None, :]).sum(axis=2)
    shares = np.zeros(sizes.shape)
    counts = np.zeros(len(sizes))
    for vm in range(len(sizes)):
        followed = [
            of.demand[vm, end + of.lead : end + of.lead + HOUR].max()
            for end in range(HOUR, WEEK - of.lead - HOUR + 1)
            if abs(int(rung[vm, end - 1]) - int(rung[vm, -1])) <= 1
        ]
        counts[vm] = len(followed)
        shares[vm] = (np.array(followed)[:, None] > sizes[vm]).sum(axis=0) / (len(followed) + 1)
    assert values["recurs_last"] == pytest.approx(shares, abs=1e-4)
    assert values["alike_last"][:, 0] == pytest.approx(np.log1p(counts), abs=1e-4)


def test_the_calendar_is_that_of_the_landing(known):
    _of, _sizes, values = known
    assert (values["weekday"] == 6).all()
    late = replace(moment(), since_midnight=DAY - 1)
    assert (described(late)[1]["weekday"] == 0).all()


def test_a_vm_is_described_alike_whatever_the_others_are(known):
    of, _sizes, values = known
    _unused, alone = described(of.only(np.array([1])))
    for name, value in alone.items():
        assert (value[0] == values[name][1]).all(), name


@pytest.mark.parametrize(
    "demand",
    [
        np.zeros(WEEK),
        np.full(WEEK, 3.0),
        np.r_[np.zeros(WEEK - 1), 8.0],
        np.r_[np.zeros(WEEK // 2), np.ones(WEEK // 2)],
    ],
    ids=["zero", "constant", "a last peak", "a step"],
)
def test_an_odd_past_has_finite_features(demand):
    of = replace(moment(vms=1), demand=demand[None, :].astype(np.float32), capacity=np.array([8.0]))
    of = replace(of, saturated=np.zeros((1, WEEK), dtype=bool))
    for name, value in described(of)[1].items():
        assert np.isfinite(value).all(), name
