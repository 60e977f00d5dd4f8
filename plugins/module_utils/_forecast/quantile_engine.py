# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's trained models of quantiles as one engine among the others, be they trees or networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional, Union

from .._core.needs import needs
from . import quantile_model, recurrent
from .quantile_model import Model
from .recurrent import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

TREES, RECURRENT = "quantile_trees", recurrent.NAME

Quantiles = Union[Model, Network]


def predict(model: Quantiles, past: Floats, *, end: int) -> Floats:
    """Quantiles [V, steps, Q] of what follows the first ``end`` columns of ``past``; NaN where the series is unfit."""
    if isinstance(model, Network):
        return recurrent.predict(model, past, end=end)
    return quantile_model.predict(model, past, end=end)


def refusal(model: Quantiles, *, interval_s: int, steps: int, levels: Sequence[float]) -> str:
    """Why the model cannot speak of this, here; "" if it can."""
    known = [float(level) for level in model.levels]
    for wrong, why in (
        (model.interval_s != interval_s, f"it was trained for {model.interval_s} s"),
        (steps > model.steps, f"it looks {model.steps} steps ahead"),
        (any(level not in known for level in levels), f"it knows the quantiles {', '.join(model.levels)}"),
    ):
        if wrong:
            return why
    return recurrent.outdated(model) if isinstance(model, Network) else quantile_model.outdated(model)


@dataclass(frozen=True)
class ModelEngine:
    """What the model says; nothing of what it cannot speak of (``refusal`` says why).

    Of its own training days a model knows the outcome, and would score too well there: it is silent about all but the
    newest ``unseen`` columns of a past.
    """

    model: Quantiles
    unseen: int
    prior: tuple[float, ...] = ()  # of each level: ``FleetErrors.offsets`` of the fleet learnt from; (): not known

    @property
    def name(self) -> str:
        """See Engine."""
        return RECURRENT if isinstance(self.model, Network) else TREES

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

    parts: tuple[tuple[str, Integers, ModelEngine], ...]  # digest, rows, engine
    names: tuple[str, ...]  # of the engines of the whole fleet
    name: str = "trained"

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

    def places(self, rows: int) -> Integers:
        """The place of each row's engine [V] among the ``names``; 0 where none speaks."""
        with needs("numpy"):
            import numpy as np
        found = np.zeros(rows, dtype=np.int64)
        for _digest, of, engine in self.parts:
            found[of] = self.names.index(engine.name)
        return found


@dataclass(frozen=True)
class FleetModels:
    """The models that speak for a fleet: of each metric, for each VM that has one."""

    models: Mapping[str, ModelEngine]  # digest of the model's artifact -> the engine
    of: Mapping[str, Mapping[str, str]]  # metric -> unique_id -> digest
    current: Mapping[str, str] = field(default_factory=dict)  # metric -> digest of the one in use, no canary

    @property
    def names(self) -> tuple[str, ...]:
        """What the engines are called."""
        return tuple(sorted({engine.name for engine in self.models.values()}))

    def prior(self, metric: str, levels: Doubles) -> Optional[Floats]:
        """Offsets [Q] of the fleet that the model in use learnt from, in units of a series' level; None: not known."""
        with needs("numpy"):
            import numpy as np
        engine = self.models.get(self.current.get(metric, ""))
        if engine is None or not engine.prior:
            return None
        known = [float(level) for level in engine.model.levels]
        return np.array([engine.prior[known.index(level)] for level in levels.tolist()], dtype=np.float32)

    def speaking(self, metric: str, unique_ids: Sequence[str]) -> Speaking:
        """The engine of one metric for these rows."""
        with needs("numpy"):
            import numpy as np
        digests = [self.of.get(metric, {}).get(unique_id, "") for unique_id in unique_ids]
        rows = {name: [row for row, digest in enumerate(digests) if digest == name] for name in sorted(self.models)}
        parts = ((name, np.array(at, dtype=np.int64), self.models[name]) for name, at in rows.items() if at)
        return Speaking(tuple(parts), self.names)
