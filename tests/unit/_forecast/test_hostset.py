# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast.hostset import (
    fading,
    joint,
    multiples,
    spread,
    surprises,
)
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.scores import pinball

pytestmark = pytest.mark.arithmetic

LEVELS = np.array([0.5, 0.9, 0.95])
NORMAL_90 = 1.2816
SETS, VMS, POINTS = 24, 16, 800


def follow(noise, *, told=NORMAL_90):
    """Forecast one sum after the other from those before; VMs say 100 and 100 + ``told``, and noise [N, P, V] comes.

    Returns coverage of the joint 0.9 quantile, and its pinball loss relative to that of the sum of quantiles.
    """
    points, sets, vms = noise.shape
    middle = np.full((sets, 1), 100.0 * vms)
    apart = middle + told * vms
    now = spread(np.full((sets, 1), told * vms), np.full((sets, 1), vms * told**2))
    truth = middle + noise.sum(axis=2).T
    past = surprises(truth - middle, np.repeat(now, points, axis=1))
    below, loss, alone = [], 0.0, 0.0
    for point in range(50, points, 5):
        ages_s = 3600.0 * np.arange(point, 0, -1)
        said = joint(middle, now, multiples(past[:, :point], fading(ages_s), LEVELS))[..., 1]
        came = truth[:, point : point + 1]
        below.append(came <= said)
        one = LEVELS[1:2]
        loss += pinball(came, said[..., None], one).sum()
        alone += pinball(came, apart[..., None], one).sum()
    return float(np.mean(below)), loss / alone


@pytest.mark.parametrize("shared", [0.0, 0.6, 1.0])
def test_the_sum_is_covered_however_its_vms_hang_together(shared):
    rng = np.random.default_rng(1)
    own = rng.normal(0, 1, (POINTS, SETS, VMS))
    common = rng.normal(0, 1, (POINTS, SETS, 1))
    covered, ratio = follow(np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
    assert covered == pytest.approx(0.9, abs=0.02)
    assert ratio < (0.5 if shared == 0 else 1.05)


def test_a_set_of_one_vm_keeps_its_own_quantile():
    rng = np.random.default_rng(2)
    covered, ratio = follow(rng.normal(0, 1, (POINTS, SETS, 1)))
    assert covered == pytest.approx(0.9, abs=0.02)
    assert ratio == pytest.approx(1.0, abs=0.03)


def test_a_sum_of_medians_that_is_no_median_is_set_right():
    rng = np.random.default_rng(3)
    covered, _unused = follow(rng.exponential(1.0, (POINTS, SETS, VMS)))  # the medians say 0 more than 100
    assert covered == pytest.approx(0.9, abs=0.02)


def test_a_drift_is_followed():
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 1, (POINTS, SETS, VMS))
    noise[POINTS // 2 :] *= 3
    covered, _unused = follow(noise)
    assert covered == pytest.approx(0.9, abs=0.03)


def test_a_place_without_a_past_leans_on_the_others():
    rng = np.random.default_rng(5)
    past = rng.normal(0, 1, (SETS, 600))
    past[0] = np.nan
    found = multiples(past, np.ones(600), LEVELS)
    fleet = np.nanquantile(past, LEVELS)
    assert (np.abs(found[0] - fleet) < (0.1, 0.15, 0.4)).all()  # the little that it leans on promises no extreme
    past[1] += 5  # and one with a past of its own does not
    assert multiples(past, np.ones(600), LEVELS)[1, 0] > 4


def test_of_nothing_nothing_is_learnt():
    assert np.isnan(multiples(np.full((3, 10), np.nan), np.ones(10), LEVELS)).all()
    assert np.isnan(multiples(np.empty((3, 0)), np.empty(0), LEVELS)).all()
    assert np.isnan(surprises(np.array([1.0]), np.array([0.0]))).all()


def test_quantiles_ascend_and_are_never_negative():
    rng = np.random.default_rng(6)
    found = multiples(rng.normal(-3, 2, (4, 40)), np.ones(40), LEVELS)
    said = joint(np.full((4, 6), 2.0), rng.uniform(0, 5, (4, 6)), found)
    assert (np.diff(said, axis=2) >= 0).all()
    assert (said >= 0).all()
