# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer import (
    OperatingPoint,
    Sizer,
    Standing,
    spent_of,
)
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.sizer_training import careful, train_sizer
from ansible_collections.headroom.fleet.plugins.module_utils._replay.loop import Observed
from ansible_collections.headroom.fleet.plugins.module_utils._replay.protocol import Slo
from ansible_collections.headroom.fleet.plugins.module_utils._replay.score import score
from ansible_collections.headroom.fleet.plugins.module_utils._replay.trace import Trace

pytestmark = pytest.mark.arithmetic

HOUR, DAY = 12, 288
START = datetime(2026, 1, 5, tzinfo=UTC)
POINT = OperatingPoint(
    violation=1.0, unserved=40.0, resize=0.01, ledger=1.0, at_ease=0.5, whole_from=0.95, jump=2.4, peak=1.0,
    step=0.1, most=0.6, half_life_h=29.0, beyond=1.15,
)  # fmt: skip
DAYS, VMS, LEAD = 10, 24, 1


def fleet():
    rng = np.random.default_rng(3)
    shape = (VMS, DAYS * DAY)
    level = rng.uniform(0.03, 0.3, (VMS, 1)) * (1 + 0.5 * np.sin(np.arange(shape[1]) / DAY * 2 * np.pi))
    use = np.clip(level * rng.gamma(8, 1 / 8, shape) + 0.5 * (rng.random(shape) < 0.005), 0, 1)
    capacity = np.full(shape, 4.0)
    return Trace(tuple(f"vm-{one:02}" for one in range(VMS)), START, use * capacity, capacity, 0.05 * capacity)


@pytest.fixture(scope="module")
def trained():
    return train_sizer(fleet(), POINT, lead=LEAD, every=HOUR)


def sizer(trained, *, point=POINT, spent=0.0):
    nothing = np.zeros(VMS)
    standing = Standing(headroom=nothing, spent=nothing + spent)
    return Sizer(point, model=trained.model, standing=standing, start=START, first=DAYS * DAY - 2)


def observed(*, hourly=True, seen=None, saturated=None, t=DAYS * DAY - 2):
    known = fleet()
    demand = (known.demand if seen is None else seen)[:, :t]
    held = np.zeros(demand.shape, dtype=bool) if saturated is None else saturated[:, :t]
    return Observed(
        t=t, hourly=hourly, seen=demand, saturated=held, allocation=np.full(demand.shape, 2.0),
        capacity=np.full(VMS, 4.0), floor=np.full(VMS, 0.2), ordered=np.full(VMS, 2.0),
    )  # fmt: skip


def test_sizes_lie_between_floor_and_capacity_and_follow_demand(trained):
    wanted = sizer(trained).decide(observed())
    assert ((wanted >= 0.2 - 1e-9) & (wanted <= 4.0)).all()
    used = fleet().demand.mean(axis=1)
    assert np.corrcoef(wanted, used)[0, 1] > 0.5


def test_who_is_not_known_for_a_day_or_not_fresh_keeps_what_it_has(trained):
    seen = fleet().demand.copy()
    seen[0, : -DAY + 10] = np.nan
    seen[1, -3:] = np.nan
    wanted = sizer(trained).decide(observed(seen=seen))
    assert np.isnan(wanted[:2]).all()
    assert not np.isnan(wanted[2:]).any()


def test_between_decisions_only_the_saturated_grow(trained):
    saturated = np.zeros((VMS, DAYS * DAY), dtype=bool)
    saturated[3, DAYS * DAY - 3] = True
    wanted = sizer(trained, point=replace(POINT, jump=1.5, peak=0.1)).decide(
        observed(hourly=False, saturated=saturated)
    )
    assert wanted[3] == pytest.approx(1.5 * 2.0)
    assert np.isnan(np.delete(wanted, 3)).all()


def test_who_stays_at_the_cap_grows_by_a_jump_more_until_a_growth_is_seen_to_be_too_little(trained):
    saturated = np.zeros((VMS, DAYS * DAY), dtype=bool)
    saturated[3, DAYS * DAY - 4 : DAYS * DAY - 2] = True
    saturated[4] = True
    small = sizer(trained, point=replace(POINT, jump=1.1, peak=0.1))
    wanted = small.decide(observed(hourly=False, saturated=saturated))
    assert wanted[3:5] == pytest.approx([1.1**2 * 2.0, 1.1 ** (LEAD + 2) * 2.0])


def test_who_has_spent_more_of_its_budget_is_given_more(trained):
    sparing, spent = sizer(trained).decide(observed()), sizer(trained, spent=0.2).decide(observed())
    assert (spent >= sparing - 1e-9).all()
    assert spent.sum() > sparing.sum()


def test_an_outcome_is_booked_once_an_act_on_it_could_have_landed(trained):
    first = DAYS * DAY - 2
    saturated = np.zeros((VMS, DAYS * DAY), dtype=bool)
    saturated[5, first] = True
    one = sizer(trained)
    one.decide(observed(t=first))
    one.decide(observed(t=first + 1, saturated=saturated))
    assert not one.standing().spent.any()  # saturated in the last interval, and an act takes one more
    one.decide(observed(t=first + 2, saturated=saturated))
    assert np.flatnonzero(one.standing().spent).tolist() == [5]


def test_a_budget_is_spent_since_a_vm_first_had_less_and_of_a_day_more():
    violated, below = np.zeros((4, 1000), dtype=bool), np.zeros((4, 1000), dtype=bool)
    below[1:, 300:500], violated[2:, 400:407] = True, True
    spent = spent_of(violated, below, step_s=300, before=np.array([0.0, 0.0, 0.0, 0.5]))
    assert spent == pytest.approx([0, 0, 7 / (700 + 288), (7 + 144) / (700 + 288)])
    assert spent_of(violated[:, :0], below[:, :0], step_s=300, before=0.25) == pytest.approx([0.25] * 4)


def test_what_was_spent_before_fades_while_the_past_fills(trained):
    start = DAYS * DAY - 2
    for later, share in ((0, 1.0), (1, 1 - 1 / (7 * DAY))):
        one = sizer(trained, spent=0.1)
        seen = observed(t=start + later)
        one.decide(replace(seen, allocation=np.broadcast_to(seen.capacity[:, None], seen.allocation.shape)))
        assert one.standing().spent == pytest.approx(np.full(VMS, 0.1 * share))


def test_how_vms_stood_is_remembered_by_name(trained):
    standing = trained.standing_of(("vm-01", "unknown"))
    assert standing.headroom[1] == standing.spent[1] == 0
    assert standing.spent[0] == trained.standing["vm-01"][1]
    assert any(spent > 0 for _headroom, spent in trained.standing.values())


def test_prices_rise_until_a_fleet_keeps_the_service_level_in_its_own_past(trained):
    demand, later = trained.past.demand, slice(trained.first + DAY, None)

    def unserved(point):
        return score(demand[:, later], trained.sized(point)[:, later], trained.past.capacity[:, later], slo=Slo())

    dear, allocation = careful(trained, POINT)
    assert unserved(POINT).unserved_of_demand > 0.5 >= unserved(dear).unserved_of_demand
    assert 1 < dear.violation / POINT.violation == dear.unserved / POINT.unserved
    assert replace(dear, violation=POINT.violation, unserved=POINT.unserved) == POINT
    np.testing.assert_array_equal(allocation, trained.sized(dear))
    generous = Slo(violations=100.0, unserved=100.0)
    assert careful(trained, POINT, slo=generous)[0] == POINT
    assert careful(trained, POINT, slo=Slo(unserved=0.0))[0].unserved == 16 * POINT.unserved


def test_sizes_are_those_of_the_point_that_is_asked_about(trained):
    cheap, dear = (trained.sized(point) for point in (POINT, replace(POINT, unserved=400.0)))
    later = slice(trained.first + LEAD, None)
    assert dear[:, later].mean() > 1.05 * cheap[:, later].mean()


def test_a_past_is_replayed_at_the_minute_of_the_decisions_to_come():
    known = fleet().before(DAYS * DAY - 7)
    done = train_sizer(known, POINT, lead=LEAD, every=HOUR)
    assert (known.steps - done.first) % HOUR == 0
    shrunk = np.flatnonzero((np.diff(done.sized(POINT), axis=1) < 0).any(axis=0)) + 1
    assert {(known.steps - at + LEAD) % HOUR for at in shrunk.tolist()} == {0}


def test_too_short_a_past_is_refused():
    known = fleet()
    with pytest.raises(HeadroomError) as caught:
        train_sizer(replace(known.before(8 * DAY)), POINT, lead=LEAD, every=HOUR)
    assert caught.value.code == "forecast.untrained"


def test_a_fleet_too_small_is_refused():
    with pytest.raises(HeadroomError) as caught:
        train_sizer(fleet().only(["vm-01"]), POINT, lead=LEAD, every=HOUR)
    assert caught.value.code == "forecast.untrained"


@pytest.mark.parametrize("names", [("a", "b", "c", "d", "e"), ("vm-00", "vm-01")])
def test_a_small_fleet_with_a_long_past_is_learnt_from(names):
    """Of few VMs more moments are drawn; where all fall on one side, they are dealt out."""
    known = fleet()
    days = 20
    demand = np.tile(known.demand[: len(names)], (1, 2))[:, : days * DAY]
    capacity = np.full(demand.shape, 4.0)
    done = train_sizer(Trace(names, START, demand, capacity, 0.05 * capacity), POINT, lead=LEAD, every=HOUR)
    assert done.model.rows >= 5000
    assert sorted(done.standing) == sorted(names)
