# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of trees from elsewhere: what passes is safe to hand to a library that believes everything."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._forecast import tree_text
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.tree_text import check_trees, essential

FEATURES = 6
PREDICT = """
import json, sys, lightgbm, numpy as np
rows = np.random.default_rng(0).random((50, 6)) * 2 - 0.5
for text in json.load(sys.stdin):
    try:
        lightgbm.Booster(model_str=text).predict(rows, num_threads=1)
    except lightgbm.basic.LightGBMError:
        pass
"""


def trained(label, *, objective="poisson", rows=1000, **options):
    features = np.random.default_rng(0).random((rows, FEATURES))
    options = {"objective": objective, "num_leaves": 7, "num_threads": 1, "verbose": -1, **options}
    booster = lightgbm.train(options, lightgbm.Dataset(features, label(features)), 4)
    return booster, features


@pytest.fixture(scope="module")
def text():
    booster, _unused = trained(lambda x: x[:, 0] * 2 + x[:, 1])
    return essential(booster.model_to_string())


def refused(text, **options):
    with pytest.raises(HeadroomError) as caught:
        check_trees(text, **{"features": FEATURES, "objective": "poisson", **options})
    assert caught.value.code == "model.damaged"
    return caught.value.message


def test_what_is_kept_predicts_the_same():
    booster, features = trained(lambda x: x[:, 0] * 2 + x[:, 1])
    kept = essential(booster.model_to_string())
    check_trees(kept, features=FEATURES, objective="poisson")
    assert len(kept) < len(booster.model_to_string())
    np.testing.assert_array_equal(lightgbm.Booster(model_str=kept).predict(features), booster.predict(features))


@pytest.mark.parametrize("objective", ["poisson", "cross_entropy"])
@pytest.mark.parametrize(
    "label", [lambda x: np.ones(len(x)), lambda x: (np.arange(len(x)) == 7) * 1.0, lambda x: x[:, 0] * 1e-9]
)
def test_odd_trees_of_our_own_pass(objective, label):
    for leaf in (1, 5, 2000):
        booster, _unused = trained(label, objective=objective, min_data_in_leaf=leaf)
        check_trees(essential(booster.model_to_string()), features=FEATURES, objective=objective)


def test_what_fits_another_use_is_refused(text):
    assert "not of 7 features" in refused(text, features=7)
    assert "foretell poisson" in refused(text, objective="cross_entropy")


def test_so_many_leaves_as_are_never_trained_are_refused(text, monkeypatch):
    monkeypatch.setattr(tree_text, "MOST_LEAVES_IN_ALL", 10)
    assert "leaves" in refused(text)


@pytest.mark.parametrize(
    ("of", "to", "why"),
    [
        ("end of trees\n", "", "begin and end"),
        ("end of trees\n", "end of trees\n\n", "begin and end"),
        ("tree_sizes=", "tree_sizes=1 ", "sizes"),
        ("num_class=1", "num_class=2", "begin and end"),
        ("\nnum_cat=0", "\nnum_cat=1", "is of a kind"),
        ("\nis_linear=0", "\nis_linear=1", "is of a kind"),
        ("\nnum_leaves=7", "\nnum_leaves=8", "has 6 values"),
        ("\nnum_leaves=7", "\nnum_leaves=0", "leaves"),
        ("\nsplit_feature=0", "\nsplit_feature=6", "feature that there is not"),
        ("\ndecision_type=2", "\ndecision_type=1", "otherwise than by size"),
        ("\nleft_child=", "\nleft_child=3", "no tree"),
        ("\nleft_child=", "\nleft_child=-", "no tree"),
        ("\nshrinkage=1", "\nshrinkage=z", "cannot be read"),
    ],
)
def test_a_tree_that_is_none_is_refused(text, of, to, why):
    assert text.count(of)
    damaged = text.replace(of, to, 1)
    if why != "sizes":  # what a text is damaged by hides behind no other mistake
        sizes = text.split("tree_sizes=")[1].split("\n")[0].split(" ")
        longer = [str(int(sizes[0]) + len(to) - len(of)), *sizes[1:]] if of.startswith("\n") else sizes
        damaged = damaged.replace(" ".join(sizes), " ".join(longer), 1)
    assert why in refused(damaged)


def test_no_damage_that_passes_ends_the_process(text):
    """Half of such damages do, where they are not looked at first."""
    rng = random.Random(7)  # noqa: S311 - damage that can be repeated
    passed, told = [], set()
    for _round in range(1500):
        damaged = list(text)
        for _change in range(rng.randint(1, 2)):
            at = rng.randrange(len(damaged))
            damaged[at] = rng.choice((chr(rng.randrange(32, 127)), str(rng.randrange(10)), "", "99", "-"))
        try:
            check_trees("".join(damaged), features=FEATURES, objective="poisson")
            passed.append("".join(damaged))
        except HeadroomError as error:
            told.add(error.code)
    assert passed
    assert told == {"model.damaged"}
    done = subprocess.run(
        [sys.executable, "-c", PREDICT], input=json.dumps(passed), text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
