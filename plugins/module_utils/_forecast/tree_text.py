# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LightGBM's text of trees, read with suspicion: the library believes every number, and a wrong one ends the process.

Only numerical splits are known here, and one value per row: that is what is trained. What follows the trees in a text
that the library wrote (importances, parameters) is nothing a prediction needs, and is cut off.
"""

from __future__ import annotations

import re
from math import isfinite

from .._core.errors import HeadroomError

END = "end of trees\n"
MOST_LEAVES = 4096
MOST_LEAVES_IN_ALL = 2**15  # each may have a question of its own, answered for many rows at once
MOST_TREES = 10_000
_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]{1,3})?"
_HEAD = re.compile(
    r"tree\nversion=v[0-9]\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=([0-9]{1,5})\n"
    r"objective=([a-z_]+)\n"
    rf"feature_names=({_NAME}(?: {_NAME})*)\n"
    rf"feature_infos=((?:none|\[{_NUMBER}:{_NUMBER}\])(?: (?:none|\[{_NUMBER}:{_NUMBER}\]))*)\n"
    r"tree_sizes=([0-9]{1,9}(?: [0-9]{1,9})*)\n\n"
)
_INTEGERS = re.compile(r"(?:-?[0-9]{1,9}(?: -?[0-9]{1,9})*)?")
_NUMBERS = re.compile(rf"(?:{_NUMBER}(?: {_NUMBER})*)?")
# Lines of a tree of n leaves, in this order: what each holds, and how many fewer than n. A tree of one leaf may leave
# out all but its value.
_LINES = (
    ("num_leaves", _INTEGERS, None),
    ("num_cat", _INTEGERS, None),
    ("split_feature", _INTEGERS, 1),
    ("split_gain", _NUMBERS, 1),
    ("threshold", _NUMBERS, 1),
    ("decision_type", _INTEGERS, 1),
    ("left_child", _INTEGERS, 1),
    ("right_child", _INTEGERS, 1),
    ("leaf_value", _NUMBERS, 0),
    ("leaf_weight", _NUMBERS, 0),
    ("leaf_count", _INTEGERS, 0),
    ("internal_value", _NUMBERS, 1),
    ("internal_weight", _NUMBERS, 1),
    ("internal_count", _INTEGERS, 1),
    ("is_linear", _INTEGERS, None),
    ("shrinkage", _NUMBERS, None),
)
_NUMERICAL = {"0", "2", "8", "10"}  # decision types: which way a missing value goes, and whether it is one or 0


def essential(text: str) -> str:
    """What a prediction needs of a text that the library wrote just now."""
    return text[: text.index(END) + len(END)]


def values_of(text: str) -> list[dict[str, list[str]]]:
    """The values of each line of each tree, of a text that the library wrote or that has been checked."""
    trees = text[: text.rindex(END)].split("\nTree=")[1:]
    lines = [[line.partition("=") for line in tree.split("\n")] for tree in trees]
    return [{name: values.split() for name, _sign, values in of_tree} for of_tree in lines]


def check_trees(text: str, *, features: int, objective: str) -> None:
    """Raise ``model.damaged`` for a text that is not wholly understood, or does not fit its use."""
    head = _HEAD.match(text)
    if head is None or not text.endswith(END):
        raise _damaged("their text does not begin and end as it should")
    most, said, named, known, listed = head.groups()
    if not int(most) + 1 == features == len(named.split(" ")) == len(known.split(" ")):
        raise _damaged(f"they are not of {features} features")
    if said != objective:
        raise _damaged(f"they foretell {said}, not {objective}")
    sizes = [int(size) for size in listed.split(" ")]
    if len(sizes) > MOST_TREES or head.end() + sum(sizes) + len(END) != len(text):
        raise _damaged("their sizes are wrong")
    begin, leaves = head.end(), 0
    for number, size in enumerate(sizes):
        leaves += _check_tree(text[begin : begin + size], number, features)
        begin += size
    if leaves > MOST_LEAVES_IN_ALL:
        raise _damaged(f"they have {leaves} leaves")


def _parsed(text: str, number: int) -> dict[str, list[str]]:
    """The values of each line."""
    lines = text.split("\n")
    if lines[0] != f"Tree={number}" or lines[1 + len(_LINES) :] != ["", "", ""]:
        raise _damaged(f"tree {number} has other lines")
    found = {}
    for (name, form, _less), line in zip(_LINES, lines[1:]):
        key, _sign, values = line.partition("=")
        if key != name or not form.fullmatch(values):
            raise _damaged(f"{name} of tree {number} cannot be read")
        found[name] = values.split(" ") if values else []
        if form is _NUMBERS and not all(isfinite(float(value)) for value in found[name]):
            raise _damaged(f"{name} of tree {number} is not finite")
    return found


def _check_tree(text: str, number: int, features: int) -> int:
    """Returns how many leaves it has."""
    found = _parsed(text, number)
    if [found["num_cat"], found["is_linear"], len(found["shrinkage"]), len(found["num_leaves"])] != [
        ["0"],
        ["0"],
        1,
        1,
    ]:
        raise _damaged(f"tree {number} is of a kind that is not trained here")
    leaves = int(found["num_leaves"][0])
    if not 1 <= leaves <= MOST_LEAVES:
        raise _damaged(f"tree {number} has {leaves} leaves")
    for name, _form, less in _LINES:
        alone = leaves == 1 and name != "leaf_value" and not found[name]
        if less is not None and not alone and len(found[name]) != leaves - less:
            raise _damaged(f"{name} of tree {number} has {len(found[name])} values")
    if not all(0 <= int(feature) < features for feature in found["split_feature"]):
        raise _damaged(f"tree {number} splits by a feature that there is not")
    if not set(found["decision_type"]) <= _NUMERICAL:
        raise _damaged(f"tree {number} decides otherwise than by size")
    _check_shape([[int(child) for child in found[side]] for side in ("left_child", "right_child")], number, leaves)
    return leaves


def _check_shape(sides: list[list[int]], number: int, leaves: int) -> None:
    """Every node but the first, and every leaf, is the child of one node; the nodes below a node come after it."""
    children = [child for side in sides for child in side]
    wanted = {*range(1, leaves - 1), *(~leaf for leaf in range(leaves))} if leaves > 1 else set()
    below = all(child < 0 or child > node for side in sides for node, child in enumerate(side))
    if len(children) != len(wanted) or set(children) != wanted or not below:
        raise _damaged(f"the nodes of tree {number} are no tree")


def _damaged(why: str) -> HeadroomError:
    return HeadroomError(
        "model.damaged", f"The trees of the model cannot be used: {why}.", advice="Train anew with model_train."
    )
