# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose word counts, series by series and level by level: by the losses of the past, the older the less.

Every engine's pinball loss is kept with exponential forgetting. The mix weighs the engines by exp(-loss), the losses
in units of the best one's (exponentially weighted average forecaster; Cesa-Bianchi and Lugosi, Prediction, Learning,
and Games, 2006, chapter 2; the average of quantile functions is one again). The mix is scored like an engine, as it
would have been issued, and speaks only where it did better than the best alone. The first engine is the one to beat:
another takes its place only by a clear lead that is also more than chance would give it, CHANCES standard errors of
what it saved (select.py has the same rule): the best of many that are as good wins by luck, and high quantiles are paid
for in the rare bursts, which a calm stretch forgets.

The state is a value. It is learnt from forecasts whose truth is known, and from nothing later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .scores import pinball

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]
    Flags = npt.NDArray[np.bool_]

MEMORY = 0.99  # from one forecast to the next: a hundred of them
LEAST = 36.0  # forecasts, forgotten in part, before anyone but the first engine speaks; of 12, a lull decides
SHARPNESS = 8.0  # an engine with a loss 1/8 above the best has a weight of 1/e of it
LEAD = 0.05  # of the first engine's loss
CHANCES = 3.0  # standard errors


@dataclass(frozen=True)
class Standing:
    """Losses of E engines, and of the mix after them."""

    loss: Doubles  # [V, E + 1, Q], forgetting
    squares: Doubles  # [V, E + 1, Q], of what each saved against the first, forgetting
    count: Doubles  # [V], forecasts, forgetting


def unknown(series: int, engines: int, levels: int) -> Standing:
    """Return where everyone begins."""
    with needs("numpy"):
        import numpy as np
    none = np.zeros((series, engines + 1, levels))
    return Standing(none, none, np.zeros(series))


def combined(standing: Standing, said: Doubles, *, least: float = LEAST) -> tuple[Doubles, Integers]:
    """From what the engines say [V, E, S, Q] to one forecast [V, S, Q], and who spoke [V, Q]; E is the mix.

    After fewer than ``least`` forecasts nobody but the first engine speaks. An engine that says NaN has no part; where
    the first says NaN for a series, the mix of the others speaks.
    """
    with needs("numpy"):
        import numpy as np
    silent = _silent(said)
    blend = _mixed(standing, said, silent)
    every = np.concatenate([said, blend[:, None]], axis=1)
    out = np.concatenate([silent, silent.all(axis=1, keepdims=True)], axis=1)
    saved = standing.loss[:, :1] - standing.loss
    chance = np.sqrt(np.maximum(standing.squares - saved**2 / np.maximum(standing.count, 1)[:, None, None], 0.0))
    clear = (saved > LEAD * standing.loss[:, :1]) & (saved > CHANCES * chance)
    clear |= silent[:, :1, None]  # where the first says nothing the best of the others speaks
    clear[:, 0] = True
    loss = np.where(out[..., None] | ~clear, np.inf, standing.loss)
    best = np.argmin(loss, axis=1)  # [V, Q]
    mature = (standing.count >= least)[:, None]
    mix = np.int64(said.shape[1])
    fallback = np.where(silent[:, :1], mix, np.int64(0))
    who = np.where(mature, best, fallback)
    value = np.take_along_axis(every, who[:, None, None, :], axis=1)[:, 0]
    return np.asarray(np.sort(value, axis=2), dtype=np.float64), np.asarray(who, dtype=np.int64)


def judged(
    standing: Standing, said: Doubles, truth: Doubles, *, levels: Doubles, bound: Optional[Flags] = None
) -> Standing:
    """Take in what the engines said [V, E, S, Q] and what came [V, S], NaN where unknown; ``bound``: at least that."""
    with needs("numpy"):
        import numpy as np
    silent = _silent(said)
    every = np.concatenate([said, _mixed(standing, said, silent)[:, None]], axis=1)
    known = ~np.isnan(truth)
    heard = np.asarray(known.any(axis=1))
    least = None if bound is None else bound[:, None]
    loss = pinball(np.where(known, truth, 0.0)[:, None], every, levels, least)  # [V, E + 1, S, Q]
    mean = np.where(known[:, None, :, None], loss, 0.0).sum(axis=2) / np.maximum(known.sum(axis=1), 1)[:, None, None]
    # Whoever was silent has its say counted as the worst of the others: silence must not pay.
    mean = np.where(np.isnan(mean), np.nan_to_num(mean, nan=0.0).max(axis=1, keepdims=True), mean)
    keep = np.where(heard, MEMORY, 1.0)
    new = np.where(heard[:, None, None], mean, 0.0)
    return Standing(
        keep[:, None, None] * standing.loss + new,
        keep[:, None, None] * standing.squares + (new[:, :1] - new) ** 2,
        keep * standing.count + heard,
    )


def _silent(said: Doubles) -> Flags:
    """Which engine says nothing, or not all, of which series, [V, E]."""
    with needs("numpy"):
        import numpy as np
    return np.asarray(np.isnan(said).any(axis=(2, 3)), dtype=np.bool_)


def _mixed(standing: Standing, said: Doubles, silent: Flags) -> Doubles:
    with needs("numpy"):
        import numpy as np
    loss = np.where(silent[..., None], np.inf, standing.loss[:, :-1])
    least = loss.min(axis=1, keepdims=True)
    least = np.where(np.isfinite(least), least, 0.0)
    excess = np.divide(loss - least, least, out=np.where(loss > least, np.inf, 0.0), where=least > 0)
    weight = np.exp(-SHARPNESS * excess)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.full_like(weight, np.nan), where=total > 0)
    return np.asarray((np.nan_to_num(said) * weight[:, :, None, :]).sum(axis=1), dtype=np.float64)
