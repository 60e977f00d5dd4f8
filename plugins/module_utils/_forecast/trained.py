# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's trained model beside the engines that need no training: corrected online, and mixed by past loss.

The model speaks first. It was compared with others before it came into use (``model_life``), so nobody has to wait for
its first week. Both, the model and whoever ``select`` chose, are held against what came after those past origins that
the model was not trained on, oldest first: the model is corrected by its misses (``calibration``), and gives way where
the chosen engine, or the mean of both, did clearly better (``mix``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .calibration import corrected, learnt, uncorrected
from .conformal import DECIMALS
from .mix import Standing, combined, judged, unknown
from .select import LEAST_ORIGINS, Selection, Shape, Trial, origins_of, truth_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from .engines import Engine

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

MIX = "mix"  # name of the mean of the model and the chosen engine
MODEL, CHOSEN, BOTH = range(3)  # who speaks
MOST_ORIGINS = 12  # of those that the model had not seen: asking it is dear


@dataclass(frozen=True)
class Spoken:
    """What the model says of V series, and how it stands beside the chosen engine."""

    raw: Doubles  # [V, steps, Q], corrected; NaN: it says nothing
    standing: Standing
    origins: Integers  # [V], that both were held against
    errors: Doubles  # [V, O, S, Q], of what would be issued now at past origins, newest first; NaN: not known

    def beside(self, values: Doubles) -> tuple[Doubles, Integers]:
        """From what the chosen engines would issue [V, steps, Q] to what is issued, and who speaks [V, Q]."""
        with needs("numpy"):
            import numpy as np
        value, who = combined(self.standing, np.stack([self.raw, values], axis=1), least=LEAST_ORIGINS)
        silent = np.asarray(np.isnan(self.raw).any(axis=(1, 2)))
        who = np.where(silent[:, None], CHOSEN, who)
        issued = np.where(silent[:, None, None], values, np.round(value, DECIMALS))
        return np.asarray(issued, dtype=np.float64), np.asarray(who, dtype=np.int64)


def listen(
    engine: Engine,
    past: Floats,
    shape: Shape,
    *,
    trials: Sequence[Trial],
    chosen: Selection,
    under_way: bool = False,
    bound: Optional[Flags] = None,
) -> Spoken:
    """Ask a trained model about ``past`` [V, T], and hold it against what ``chosen`` of ``trials`` would have said.

    ``bound`` [V, T]: there was at least that.
    """
    with needs("numpy"):
        import numpy as np
    ends = origins_of(past.shape[1] - under_way, shape)[:MOST_ORIGINS]
    moments, steps = [past.shape[1], *ends], shape.lead + shape.steps
    raw = engine.forecast(past, moments, steps=steps, levels=shape.levels, interval_s=shape.interval_s)
    said = raw[:, :, shape.lead :].astype(np.float64)
    came = truth_at(past, ends, shape)
    least = None if bound is None else truth_at(bound, ends, shape)
    theirs = _chosen_at(chosen, trials, came, len(ends))
    correction = uncorrected(len(past), len(shape.levels))
    standing = unknown(len(past), 2, len(shape.levels))
    origins = np.zeros(len(past), dtype=np.int64)
    for place in reversed(range(len(ends))):
        truth = came[:, place].astype(np.float64)
        ours = said[:, place + 1, shape.scored]
        both = np.stack([corrected(ours, correction), theirs[:, place]], axis=1)
        truth[np.isnan(both).any(axis=(1, 2, 3))] = np.nan  # who was not asked is neither praised nor blamed
        held = None if least is None else least[:, place]
        standing = judged(standing, both, truth, levels=shape.levels, bound=held)
        correction = learnt(correction, ours, truth, levels=shape.levels, bound=held)
        origins += ~np.isnan(truth).all(axis=1)
    errors = np.full(theirs.shape, np.nan)
    for place in range(len(ends)):
        both = np.stack([corrected(said[:, place + 1, shape.scored], correction), theirs[:, place]], axis=1)
        issued, _who = combined(standing, both, least=LEAST_ORIGINS)
        known = ~np.isnan(both).any(axis=(1, 2, 3))
        errors[known, place] = came[known, place, :, None] - issued[known]
    return Spoken(corrected(said[:, 0], correction), standing, origins, errors)


def _chosen_at(chosen: Selection, trials: Sequence[Trial], truth: Floats, origins: int) -> Doubles:
    """What the chosen engines would have issued at the newest past origins [V, O, S, Q]; NaN where not known."""
    with needs("numpy"):
        import numpy as np
    error = np.full((*truth.shape, chosen.engine.shape[1]), np.nan, dtype=np.float32)
    for place, trial in enumerate(trials):
        np.copyto(error, trial.errors[:, :origins], where=(chosen.engine == place)[:, None, None, :])
    value = truth[..., None] - error + chosen.offset[:, None, None, :]
    return np.asarray(np.sort(np.maximum(value, 0.0), axis=3), dtype=np.float64)
