# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of many rows at once is what LightGBM says of each, to the last bit."""

from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._forecast import forest as forest_module
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.forest import forest
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.tree_text import essential

FEATURES = 5


def rows(count, seed=0):
    """Some features are counts, and so often at a threshold; some are negative."""
    values = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)
    values[:, 1] = np.round(3 * values[:, 1])
    return values


def trained(features, seed=0, rounds=12, **options):
    label = np.abs(np.nan_to_num(features[:, 0]) * features[:, 1] + np.sin(3 * features[:, 2]))
    options = {"objective": "poisson", "seed": seed, "num_threads": 1, "verbose": -1, **options}
    return lightgbm.train(options, lightgbm.Dataset(features, label), rounds)


def agree(boosters, values):
    """Both say the same of these rows [N, F]."""
    said = forest(tuple(one.model_to_string() for one in boosters)).sums(np.ascontiguousarray(values.T))
    for sums, booster in zip(said, boosters, strict=True):
        np.testing.assert_array_equal(sums, booster.predict(values, raw_score=True, num_threads=1))


@pytest.mark.parametrize("count", [1, 7, 8, 1000])
@pytest.mark.parametrize("leaves", [2, 31, 32, 33, 300])
def test_sums_are_those_of_the_library(count, leaves):
    learnt = [trained(rows(3000), seed, num_leaves=leaves, min_data_in_leaf=2) for seed in range(2)]
    agree(learnt, rows(count, seed=1))


def test_a_value_at_a_threshold_goes_left_as_it_does_there():
    one = trained(rows(3000), max_bin=255)
    table = one.dump_model()["tree_info"]
    limits = []

    def collect(node):
        if "threshold" in node:
            limits.append(node["threshold"])
            collect(node["left_child"])
            collect(node["right_child"])

    for tree in table:
        collect(tree["tree_structure"])
    nearest = np.array(limits, dtype=np.float32)
    around = [np.nextafter(nearest, np.float32(side)) for side in (-np.inf, np.inf)]
    agree([one], np.repeat(np.concatenate([nearest, *around])[:, None], FEATURES, axis=1))


@pytest.mark.parametrize("learnt_with", [0.0, 0.2])
def test_what_is_no_number_goes_the_way_it_does_there(learnt_with):
    features = rows(3000)
    features[np.random.default_rng(2).random(features.shape) < learnt_with] = np.nan
    asked = rows(500, seed=1)
    asked[np.random.default_rng(3).random(asked.shape) < 0.3] = np.nan
    asked[:4] = [[np.inf], [-np.inf], [0.0], [-0.0]]
    agree([trained(features)], asked)


def test_a_threshold_may_be_beyond_single_precision():
    text = trained(rows(3000), rounds=1, num_leaves=2).model_to_string()
    asked = np.array([[-np.inf], [np.finfo(np.float32).max], [np.inf]], dtype=np.float32).repeat(FEATURES, axis=1)
    for threshold in ("1e300", "-1e300"):
        agree([lightgbm.Booster(model_str=re.sub("(?<=\nthreshold=).*", threshold, text))], asked)


@pytest.mark.parametrize("kind", [0, 2, 8, 10])
@pytest.mark.parametrize("threshold", ["-1e-3", "0", "1e-3"])
def test_what_is_no_number_goes_the_way_that_a_decision_says(kind, threshold):
    text = trained(rows(3000), rounds=1, num_leaves=2).model_to_string()
    for name, value in (("threshold", threshold), ("decision_type", str(kind))):
        text = re.sub(f"(?<=\n{name}=).*", value, text)
    agree([lightgbm.Booster(model_str=text)], np.full((1, FEATURES), np.nan, dtype=np.float32))


def test_many_questions_are_asked_in_turn(monkeypatch):
    monkeypatch.setattr(forest_module, "ASKED_AT_ONCE", 3)
    agree([trained(rows(3000), num_leaves=40)], rows(50, seed=1))


def test_trees_may_differ_in_size_and_have_one_leaf_alone():
    alone = lightgbm.train(
        {"objective": "poisson", "num_threads": 1, "verbose": -1}, lightgbm.Dataset(rows(100), np.ones(100)), 2
    )
    large = trained(rows(3000), num_leaves=40, min_gain_to_split=30)
    assert len({tree["num_leaves"] for tree in large.dump_model()["tree_info"]}) > 1
    agree([alone, large, trained(rows(300), rounds=1)], rows(50, seed=1))
    agree([alone], rows(50, seed=1))


def test_what_is_kept_of_a_text_says_the_same():
    text = trained(rows(3000)).model_to_string()
    asked = np.ascontiguousarray(rows(50, seed=1).T)
    np.testing.assert_array_equal(forest((text,)).sums(asked), forest((essential(text),)).sums(asked))
