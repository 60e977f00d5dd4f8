# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's trained model as one engine among the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs
from .quantile_model import Model, predict, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]

NAME = "quantile_trees"


@dataclass(frozen=True)
class QuantileTrees:
    """What the model says; nothing of what it cannot speak of (``quantile_model.refusal`` says why).

    Of its own training days a model knows the outcome, and would score too well there: it is silent about all but the
    newest ``unseen`` columns of a past.
    """

    model: Model
    unseen: int
    name: str = NAME

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        value = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
        if refusal(self.model, interval_s=interval_s, steps=steps, levels=levels.tolist()):
            return value
        known = [float(level) for level in self.model.levels]
        places = [known.index(level) for level in levels.tolist()]
        for place, end in enumerate(ends):
            if end >= past.shape[1] - self.unseen:
                value[:, place] = predict(self.model, past, end=end)[:, :steps, places]
        return value
