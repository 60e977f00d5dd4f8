# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's trained models of quantiles as one engine among the others."""

from __future__ import annotations

from collections.abc import Mapping
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
    Integers = npt.NDArray[np.int64]

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


@dataclass(frozen=True)
class Speaking:
    """Which model speaks for which rows of a past."""

    parts: tuple[tuple[str, Integers, QuantileTrees], ...]  # digest, rows, engine
    name: str = NAME

    def forecast(self, past: Floats, ends: Sequence[int], *, steps: int, levels: Doubles, interval_s: int) -> Floats:
        """See Engine."""
        with needs("numpy"):
            import numpy as np
        value = np.full((len(past), len(ends), steps, len(levels)), np.nan, dtype=np.float32)
        for _digest, rows, engine in self.parts:
            value[rows] = engine.forecast(past[rows], ends, steps=steps, levels=levels, interval_s=interval_s)
        return value

    def digests(self, rows: int) -> list[str]:
        """The model of each row; "" where none speaks."""
        found = [""] * rows
        for digest, of, _engine in self.parts:
            for row in of.tolist():
                found[row] = digest
        return found


@dataclass(frozen=True)
class FleetTrees:
    """The models that speak for a fleet: of each metric, for each VM that has one."""

    models: Mapping[str, QuantileTrees]  # digest of the model's artifact -> the engine
    of: Mapping[str, Mapping[str, str]]  # metric -> unique_id -> digest

    def speaking(self, metric: str, unique_ids: Sequence[str]) -> Speaking:
        """The engine of one metric for these rows."""
        with needs("numpy"):
            import numpy as np
        digests = [self.of.get(metric, {}).get(unique_id, "") for unique_id in unique_ids]
        rows = {name: [row for row, digest in enumerate(digests) if digest == name] for name in sorted(self.models)}
        return Speaking(
            tuple((name, np.array(at, dtype=np.int64), self.models[name]) for name, at in rows.items() if at)
        )
