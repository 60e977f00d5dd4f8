# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of the recurrent network, with JAX: the one thing that needs it.

All quantiles of all steps share one pinball loss, in the unit of the series. Demand seen at a cap is a lower bound, and
counts where the network says less (Powell, Journal of Econometrics 1986). Adam (Kingma and Ba, ICLR 2015), its rate
falling along a cosine.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi
from typing import TYPE_CHECKING, Any, Optional

from .._core.needs import needs
from .fleet_model import clock_of, demand_rows, drawn_share
from .quantile_features import Clock, filled, fit_rows
from .recurrent import HIDDEN, Network, look, packed, shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Flags = npt.NDArray[np.bool_]

BATCH = 512
PASSES = 40  # over what there is to learn from, but no more than
MOST_ROUNDS = 1200
RATE = 0.003
FADING, FADING_SQUARES, TINY = 0.9, 0.999, 1e-8  # of Adam, as its authors have them
PARAMETERS: dict[str, Any] = {"batch": BATCH, "passes": PASSES, "most_rounds": MOST_ROUNDS, "rate": RATE}
# One thread, before JAX is imported: sums in one order, and no waiting for a second one on a machine that has work.
ALONE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "1"}


@dataclass(frozen=True)
class Lesson:
    """N moments to learn from."""

    read: Floats  # [N, R]
    beside: Floats  # [N, E]
    target: Floats  # [N, steps], residual in units of scale
    weight: Floats  # [N, steps], 0 where the target is not known
    bound: Flags  # [N, steps], whether the target is a lower bound

    @property
    def rows(self) -> int:
        """Targets that are known."""
        return int((self.weight > 0).sum())


def library() -> str:
    """Name and version of what trains here."""
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    with needs("jax"):
        import jax
    return f"jax {jax.__version__}"


def train(
    past: Floats,
    ends: Sequence[int],
    *,
    interval_s: int,
    steps: int,
    levels: Sequence[str],
    finest: str,
    seed: int,
    censored: Optional[Flags] = None,
) -> Network:
    """Learn from ``past`` [V, T] as ``quantile_model.train`` does. Raises ``forecast.model``, ``library.missing``."""
    trainer = library()
    clock = clock_of(interval_s, steps)
    lesson, series = lesson_of(past, ends, clock, steps=steps, finest=float(finest), seed=seed, censored=censored)
    demand_rows(lesson.rows)
    return Network(
        interval_s=interval_s,
        steps=steps,
        levels=tuple(levels),
        finest=finest,
        weights=packed(learnt(lesson, [float(level) for level in levels], seed=seed)),
        seed=seed,
        rows=lesson.rows,
        series=series,
        library=trainer,
    )


def lesson_of(
    past: Floats,
    ends: Sequence[int],
    clock: Clock,
    *,
    steps: int,
    finest: float,
    seed: int,
    censored: Optional[Flags] = None,
) -> tuple[Lesson, int]:
    """What is learnt from, and of how many series it is."""
    with needs("numpy"):
        import numpy as np
    rng = np.random.default_rng(seed)
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    seen = np.zeros(len(past), dtype=bool)
    for end in ends:
        # One draw for each series whether it is used or not: a bad series must not move the others' draws.
        chance = rng.random(len(past))
        known = past[:, max(0, end - clock.columns) : end]
        fit = fit_rows(known, clock)
        if not len(fit) or end + steps > past.shape[1]:
            continue
        now = look(filled(known[fit], clock), clock, steps, finest=finest)
        share = drawn_share(now.scale)
        truth = past[fit, end : end + steps]
        sound = np.isfinite(truth) & (truth >= 0)
        drawn = (chance[fit] < share) & sound.any(axis=1)
        seen[fit[drawn]] = True
        target = np.where(sound, (truth - now.last[:, None]) / now.scale[:, None], 0)
        weight = np.where(sound, (now.scale / share)[:, None], 0)
        bound = np.zeros(truth.shape, dtype=bool) if censored is None else censored[fit, end : end + steps]
        parts.append(tuple(of[drawn] for of in (now.read, now.beside, target, weight, bound)))
    if not parts:
        nothing = np.empty((0, steps), dtype=np.float32)
        return Lesson(nothing, nothing, nothing, nothing, nothing.astype(bool)), 0
    read, beside, target, weight, bound = (np.concatenate(of) for of in zip(*parts))
    return Lesson(read, beside, target.astype(np.float32), weight.astype(np.float32), bound), int(seen.sum())


def started(lesson: Lesson, outputs: int, *, seed: int) -> dict[str, Floats]:
    """Weights to start from: those across at nothing, the others by Glorot's rule."""
    with needs("numpy"):
        import numpy as np
    rng = np.random.default_rng(seed)
    wanted = shapes(lesson.beside.shape[1], outputs)
    return {
        name: np.zeros(shape, dtype=np.float32)
        if len(shape) == 1 or name == "across"
        else (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        for name, shape in wanted.items()
    }


def learnt(lesson: Lesson, levels: Sequence[float], *, seed: int) -> dict[str, Floats]:
    """The weights."""
    with needs("numpy"):
        import numpy as np
    update, rounds = updating(tuple(levels)), min(MOST_ROUNDS, PASSES * len(lesson.read) // BATCH + 1)
    weights = started(lesson, lesson.target.shape[1] * len(levels), seed=seed)
    nothing = {name: np.zeros_like(one) for name, one in weights.items()}
    state: Any = (weights, nothing, nothing)
    rng = np.random.default_rng(seed)
    mean = lesson.weight[lesson.weight > 0].mean()
    for count in range(1, rounds + 1):
        rows = rng.integers(0, len(lesson.read), BATCH)
        weight = lesson.weight[rows] / mean
        batch = (lesson.read[rows], lesson.beside[rows], lesson.target[rows], weight, lesson.bound[rows])
        rate = RATE * 0.5 * (1 + cos(pi * count / rounds))
        state = update(state, np.float32(count), np.float32(rate), batch)
    return {name: np.asarray(state[0][name]) for name in weights}


@lru_cache(maxsize=4)
def updating(levels: tuple[float, ...]) -> Callable[..., Any]:
    """One step of Adam, compiled: weights and moments, number of the step, rate and a batch to the next ones."""
    with needs("jax"):
        import jax
        import jax.numpy as jnp
    at = jnp.asarray(levels, jnp.float32)

    def loss(weights: Any, batch: Any) -> Any:
        read, beside, target, weight, bound = batch
        error = target[..., None] - said(weights, read, beside).reshape(*target.shape, len(levels))
        below = jnp.where(bound[..., None], 0.0, (at - 1) * error)
        return jnp.mean(weight[..., None] * jnp.maximum(at * error, below))

    def update(state: Any, count: Any, rate: Any, batch: Any) -> Any:
        weights, first, second = state
        slope = jax.grad(loss)(weights, batch)
        first = jax.tree.map(lambda m, g: FADING * m + (1 - FADING) * g, first, slope)
        second = jax.tree.map(lambda v, g: FADING_SQUARES * v + (1 - FADING_SQUARES) * g * g, second, slope)

        def moved(weight: Any, m: Any, v: Any) -> Any:
            deviation = jnp.sqrt(v / (1 - FADING_SQUARES**count))
            return weight - rate * m / (1 - FADING**count) / (deviation + TINY)

        return jax.tree.map(moved, weights, first, second), first, second

    return jax.jit(update)


def said(weights: Any, read: Any, beside: Any) -> Any:
    """``recurrent.say`` in JAX."""
    with needs("jax"):
        import jax
        import jax.numpy as jnp

    def step(state: Any, value: Any) -> tuple[Any, None]:
        from_read = value[:, None] * weights["read"] + weights["read_bias"]
        from_state = state @ weights["state"] + weights["state_bias"]
        both = 2 * HIDDEN
        gates = jax.nn.sigmoid(from_read[:, :both] + from_state[:, :both])
        fresh = jnp.tanh(from_read[:, both:] + gates[:, :HIDDEN] * from_state[:, both:])
        return fresh + gates[:, HIDDEN:] * (state - fresh), None

    state, _unused = jax.lax.scan(step, jnp.zeros((len(read), HIDDEN)), jnp.arcsinh(read).T)
    layer = jnp.concatenate([state, jnp.arcsinh(beside)], axis=1) @ weights["layer"] + weights["layer_bias"]
    return jnp.maximum(layer, 0) @ weights["out"] + beside @ weights["across"] + weights["out_bias"]
