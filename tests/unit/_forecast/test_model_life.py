# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a model's life, as pure functions of what was found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.model_life import (
    PROMOTE,
    ROLL_BACK,
    WAIT,
    Trial,
    Verdict,
    Wanted,
    advanced,
    drift,
    judge,
    on_trial,
    refuse,
    speakers,
    trial_share,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.model import Key, Version
from tests.unit._records.test_model import MODEL

NOW = datetime(2026, 3, 5, tzinfo=UTC)
WANTED = Wanted(
    purpose="outcome",
    metric="cpu_millicores",
    target="maximum",
    interval_s=300,
    lead_s=300,
    every_s=3600,
    features=MODEL.features,
    feature_version=1,
    outcomes=3,
    libraries={"lightgbm": "4.7.1", "numpy": "2.0.0"},
    longest_s=7 * 86_400,
)
KEY = Key("outcome", "cpu_millicores", 300)
VMS = [f"lab/{number}" for number in range(5000)]


def version(name, status, *, made_ms=0, share_ppm=0):
    return Version(KEY, name, status, share_ppm, made_ms=made_ms, since_ms=made_ms)


# --- refusal ----------------------------------------------------------------------------------------------------------


def test_a_model_for_this_use_may_speak_with_other_minor_versions():
    refuse(MODEL, WANTED, now=NOW)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "quantile"}, "model.foreign"),
        ({"metric": "memory_used_mib"}, "model.foreign"),
        ({"target": "mean"}, "model.foreign"),
        ({"interval_s": 900}, "model.foreign"),
        ({"lead_s": 3600}, "model.foreign"),
        ({"every_s": 900}, "model.foreign"),
        ({"features": ("last", "exceeded_1h")}, "model.foreign"),
        ({"feature_version": 2}, "model.foreign"),
        ({"outcomes": 2}, "model.foreign"),
        ({"libraries": {"lightgbm": "5.0.0", "numpy": "2.0.0"}}, "model.library"),
        ({"libraries": {"numpy": "2.0.0"}}, "model.library"),
        ({"longest_s": 3 * 86_400}, "model.stale"),
    ],
)
def test_a_model_for_another_use_is_refused_with_a_code_and_advice(change, code):
    with pytest.raises(HeadroomError) as caught:
        refuse(MODEL, replace(WANTED, **change), now=NOW)
    assert caught.value.code == code
    assert "model_train" in caught.value.advice


def test_a_model_is_stale_from_its_age_on():
    refuse(MODEL, WANTED, now=datetime(2026, 3, 8, tzinfo=UTC))
    with pytest.raises(HeadroomError):
        refuse(MODEL, WANTED, now=datetime(2026, 3, 8, tzinfo=UTC) + timedelta(seconds=1))


# --- who speaks -------------------------------------------------------------------------------------------------------


def test_a_canary_speaks_for_its_share_always_the_same_and_others_for_each_model():
    chosen = {one for one in VMS if on_trial(one, "sha256:a", 100_000)}
    assert 400 < len(chosen) < 600
    assert chosen == {one for one in reversed(VMS) if on_trial(one, "sha256:a", 100_000)}
    assert chosen < {one for one in VMS if on_trial(one, "sha256:a", 200_000)}
    other = {one for one in VMS if on_trial(one, "sha256:b", 100_000)}
    assert len(chosen & other) < 100
    assert all(on_trial(one, "sha256:a", 1_000_000) for one in VMS)
    assert not any(on_trial(one, "sha256:a", 0) for one in VMS)


@pytest.mark.parametrize(
    ("percent", "vms", "ppm"),
    [(10, 1000, 100_000), (10, 300, 100_000), (10, 100, 300_000), (40, 100, 400_000), (10, 20, 10**6), (10, 0, 10**6)],
)
def test_a_small_fleet_has_enough_vms_on_trial(percent, vms, ppm):
    assert trial_share(percent, vms) == ppm


def test_speakers():
    canary, current = version("sha256:a", "canary", share_ppm=100_000), version("sha256:b", "current")
    waiting = [version("sha256:c", "candidate"), version("sha256:d", "rolled_back"), version("sha256:e", "retired")]
    said = speakers(VMS, [*waiting, canary, current])
    assert {one for one, name in zip(VMS, said, strict=True) if name == "sha256:a"} == {
        one for one in VMS if on_trial(one, "sha256:a", 100_000)
    }
    assert set(said) == {"sha256:a", "sha256:b"}
    assert set(speakers(VMS, [canary])) == {"sha256:a", ""}
    assert set(speakers(VMS, [current, *waiting])) == {"sha256:b"}
    assert set(speakers(VMS, waiting)) == {""}


# --- trials -----------------------------------------------------------------------------------------------------------


def trial(days=3, *, vms=50, held=0.0, cost=0.0, noise=0.001, seed=0):
    rng = np.random.default_rng(seed)
    theirs = rng.uniform(0.002, 0.01, vms), rng.uniform(0.2, 0.4, vms)
    ours = [values + more + rng.normal(0, noise, vms) for values, more in zip(theirs, (held, cost), strict=True)]
    return Trial("outcome", days, *ours, *theirs)


@pytest.mark.parametrize(
    ("of", "step"),
    [
        (trial(3), PROMOTE),
        (trial(9), PROMOTE),
        (trial(2), WAIT),
        (trial(0, held=1), WAIT),
        (trial(3, vms=19, held=1), WAIT),
        (trial(1, held=0.01), ROLL_BACK),
        (trial(1, cost=0.05), ROLL_BACK),
        (trial(1, held=-0.002, cost=0.05), ROLL_BACK),
        (trial(3, held=0.0005, cost=0.003), PROMOTE),  # worse by less than matters
        (trial(3, held=-0.002, cost=-0.1), PROMOTE),
    ],
)
def test_a_verdict(of, step):
    assert judge(of, days=3, least_vms=20).step == step


def test_models_of_quantiles_are_held_to_their_own_measures():
    worse = replace(trial(1, cost=0.015, held=0.005), purpose="quantile")
    assert judge(worse, days=1, least_vms=20).step == PROMOTE
    much = judge(replace(trial(1, cost=0.05), purpose="quantile"), days=1, least_vms=20)
    assert (much.step, "loss 0." in much.reason) == (ROLL_BACK, True)


def test_a_model_that_is_in_doubt_waits_and_goes_in_the_end():
    error = 0.01 / 50**0.5
    doubtful = Trial(
        "outcome", 8, np.linspace(-0.01, 0.01, 50) * 1.7 + 0.001 + 1.7 * error, np.ones(50), np.zeros(50), np.ones(50)
    )
    assert judge(doubtful, days=3, least_vms=20).step == WAIT
    verdict = judge(replace(doubtful, days=9), days=3, least_vms=20)
    assert verdict.step == ROLL_BACK
    assert "not shown to be as good" in verdict.reason


def test_a_model_that_is_as_good_is_seldom_rolled_back_and_a_bad_one_always():
    asked = [judge(trial(3, vms=30, noise=0.02, held=0.001, seed=seed), days=3, least_vms=20) for seed in range(400)]
    assert sum(verdict.step == ROLL_BACK for verdict in asked) < 20
    bad = [judge(trial(3, vms=30, noise=0.002, held=0.01, seed=seed), days=3, least_vms=20) for seed in range(100)]
    assert {verdict.step for verdict in bad} == {ROLL_BACK}


# --- steps ------------------------------------------------------------------------------------------------------------


def steps(versions, verdict=None):
    changed = advanced(versions, verdict, share_ppm=100_000, now_ms=9)
    assert all(one.since_ms == 9 and one.reason for one in changed)
    return {one.model: (one.status, one.share_ppm) for one in changed}


A, B = version("a", "current"), version("b", "canary", share_ppm=100_000)
C, D = version("c", "candidate", made_ms=1), version("d", "candidate", made_ms=2)


def test_the_newest_candidate_goes_on_trial_where_nobody_is():
    assert steps([A, C, D]) == {"d": ("canary", 100_000), "c": ("retired", 0)}
    assert steps([C]) == {"c": ("canary", 100_000)}
    assert steps([A, B, C]) == steps([A, B], Verdict(WAIT, "")) == steps([A]) == steps([]) == {}


def test_a_promotion_retires_the_current_one_and_lets_the_next_begin():
    verdict = Verdict(PROMOTE, "not worse")
    assert steps([A, B, C], verdict) == {"b": ("current", 0), "a": ("retired", 0), "c": ("canary", 100_000)}
    assert steps([B], verdict) == {"b": ("current", 0)}


def test_a_rollback_leaves_the_current_one():
    verdict = Verdict(ROLL_BACK, "worse")
    assert steps([A, B], verdict) == {"b": ("rolled_back", 0)}
    assert steps([A, B, C], verdict) == {"b": ("rolled_back", 0), "c": ("canary", 100_000)}


def test_a_verdict_on_nobody_changes_nothing():
    assert steps([A], Verdict(PROMOTE, "not worse")) == {}


# --- drift ------------------------------------------------------------------------------------------------------------


def test_drift_is_called_soon_and_seldom_without_reason():
    rng = np.random.default_rng(3)
    expected = rng.normal(0.4, 0.02, 21)
    calm = [drift(rng.normal(0.4, 0.02, 28), rng.normal(0.4, 0.02, 2000)).alarm for _unused in range(300)]
    assert sum(calm) < 24
    daily = np.concatenate([rng.normal(0.4, 0.02, 14), rng.normal(0.46, 0.02, 5)])
    assert not drift(daily[:14], expected).alarm
    found = drift(daily, expected)
    assert found.alarm
    assert found.days == 19
    assert found.expected == pytest.approx(expected.mean())


def test_a_loss_that_falls_is_no_drift_and_forgives_nothing_later():
    expected = np.array([0.39, 0.40, 0.41])
    assert not drift(np.full(28, 0.2), expected).alarm
    assert drift(np.concatenate([np.full(20, 0.2), np.full(6, 0.45)]), expected).alarm


def test_nothing_is_said_without_days_or_expectation():
    assert not drift(np.zeros(0), np.ones(9)).alarm
    assert not drift(np.full(9, 99.0), np.ones(1)).alarm
    assert not drift(np.full(9, 1.001), np.ones(9)).alarm  # a deviation of none is not believed
