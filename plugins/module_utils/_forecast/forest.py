# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""LightGBM's trees asked about many rows at once: what the library says, to the last bit, in a quarter of its time.

The library takes each row through each tree, and the processor waits at every turn. Here each question of the trees is
put to all rows at once, and models that learnt from the same rows share many. Its answers are a bit for each row, and
so is which rows reach a node.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from .._core.needs import needs
from .tree_text import values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Bits = npt.NDArray[np.uint8]
    Doubles = npt.NDArray[np.float64]
    Floats = npt.NDArray[np.float32]
    Integers = npt.NDArray[np.int64]

DEFAULT_LEFT, OF_UNKNOWN = 2, 8  # bits of a decision type: unknown values go left; they have a way of their own
ALL = 0xFF  # rows
AT_ONCE = 40  # trees side by side: what is worked on stays in the caches
ASKED_AT_ONCE = 256  # questions of a feature, whose answers are bytes before they are bits


class _Question(NamedTuple):
    """Whether a row goes right: a feature is above a limit."""

    feature: int
    unknown: bool  # whether it does where the feature is no number
    limit: float


class _Block(NamedTuple):
    """T trees, split one leaf at a time: what stays is the leaf that was split, what goes right is a new leaf."""

    question: Integers  # [L - 1, T] number of each; the last, that nothing goes right by, where a tree has no more
    leaf: Integers  # [L - 1, T] that is split
    values: Doubles  # [T, L]


class Forest:
    """The trees of models that look at the same features."""

    def __init__(self, texts: Sequence[str]) -> None:
        trees = [[_tree(lines) for lines in values_of(text)] for text in texts]
        self._questions = sorted({asked for model in trees for splits, _values in model for asked, _leaf in splits})
        number = {question: place for place, question in enumerate(self._questions)}
        self._models = [
            [_block(model[first : first + AT_ONCE], number) for first in range(0, len(model), AT_ONCE)]
            for model in trees
        ]

    def sums(self, values: Floats) -> list[Doubles]:
        """Of each model, what the trees come to for each row [N]; the objective makes an outcome of it.

        ``values`` are [F, N].
        """
        with needs("numpy"):
            import numpy as np
        answers = self._answers(values)
        sums = [np.zeros(values.shape[1]) for _model in self._models]
        for total, blocks in zip(sums, self._models):
            for block in blocks:
                _add(total, block, answers)
        return sums

    def _answers(self, values: Floats) -> Bits:
        """Whether each row goes right, by question and one that none goes right by: [Q + 1, N / 8]."""
        with needs("numpy"):
            import numpy as np
        answers = []
        for (feature, unknown), alike in groupby(self._questions, key=lambda question: question[:2]):
            limits = np.array([question.limit for question in alike], dtype=np.float32)[:, None]
            row = values[feature]
            for first in range(0, len(limits), ASKED_AT_ONCE):
                some = limits[first : first + ASKED_AT_ONCE]
                answers.append(~np.packbits(row <= some, axis=1) if unknown else np.packbits(row > some, axis=1))
        return np.concatenate([*answers, np.zeros((1, -(-values.shape[1] // 8)), dtype=np.uint8)])


@lru_cache(maxsize=16)
def forest(texts: tuple[str, ...]) -> Forest:
    """The trees of some texts, ready to be asked."""
    return Forest(texts)


def _add(total: Doubles, block: _Block, answers: Bits) -> None:
    """Add what the trees come to, one after another, as the library does: [N]."""
    with needs("numpy"):
        import numpy as np
    trees, leaves = block.values.shape
    digits = (leaves - 1).bit_length()
    every = np.arange(trees)
    reached = np.zeros((1 << digits, trees, answers.shape[1]), dtype=np.uint8)  # which rows reach each leaf
    reached[0] = ALL
    for new, (question, leaf) in enumerate(zip(block.question, block.leaf), start=1):
        here = reached[leaf, every]
        np.bitwise_and(here, answers[question], out=reached[new])
        reached[leaf, every] = here ^ reached[new]
    place = np.zeros((trees, len(total)), dtype=np.min_scalar_type(leaves - 1))  # the leaf of each row
    for digit in reversed(range(digits)):
        having = reached.reshape(-1, 2, 1 << digit, trees, answers.shape[1])[:, 1]  # leaves whose number has it
        place += place
        place += np.unpackbits(np.bitwise_or.reduce(having, axis=(0, 1)), axis=1, count=len(total))
    for values, leaf in zip(block.values, place):
        total += values.take(leaf)


def _tree(lines: dict[str, list[str]]) -> tuple[list[tuple[_Question, int]], list[float]]:
    """Questions with the leaves that they split, and values of the leaves."""
    children = zip(map(int, lines["left_child"]), map(int, lines["right_child"]))
    questions = map(_question, lines["split_feature"], lines["threshold"], lines["decision_type"])
    leaf_of = {0 if lines["left_child"] else ~0: 0}  # of nodes before they are split, and of leaves, which are below 0
    splits = []
    for node, (question, (left, right)) in enumerate(zip(questions, children)):
        splits.append((question, leaf_of[node]))
        leaf_of[left], leaf_of[right] = leaf_of[node], node + 1
    values = [0.0] * (len(splits) + 1)
    for leaf, value in enumerate(lines["leaf_value"]):
        values[leaf_of[~leaf]] = float(value)
    return splits, values


def _question(feature: str, threshold: str, kind: str) -> _Question:
    """The limit is the largest number in single precision that is not above the threshold."""
    with needs("numpy"):
        import numpy as np
    exact = float(threshold)
    with np.errstate(over="ignore"):
        limit = np.float32(exact)
    if float(limit) > exact:
        limit = np.nextafter(limit, np.float32(-np.inf))
    unknown = not int(kind) & DEFAULT_LEFT if int(kind) & OF_UNKNOWN else exact < 0  # is otherwise taken for 0
    return _Question(int(feature), unknown, float(limit))


def _block(trees: list[tuple[list[tuple[_Question, int]], list[float]]], number: dict[_Question, int]) -> _Block:
    """Trees laid out side by side, smaller ones with leaves that nothing reaches."""
    with needs("numpy"):
        import numpy as np
    most = max(len(values) for _splits, values in trees)
    question = np.full((most - 1, len(trees)), len(number))
    leaf = np.zeros_like(question)
    values = np.zeros((len(trees), most))
    for tree, (splits, of_leaves) in enumerate(trees):
        question[: len(splits), tree] = [number[asked] for asked, _leaf in splits]
        leaf[: len(splits), tree] = [split for _question, split in splits]
        values[tree, : len(of_leaves)] = of_leaves
    return _Block(question, leaf, values)
