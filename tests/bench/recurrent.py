# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recurrent network across the fleet, as small as it may be useful: for the bench alone (docs/decisions/0011).

A gated recurrent unit (Cho et al., EMNLP 2014) reads the last six hours of a series; a layer on its last state, with
the same time of yesterday and of last week beside it, says every quantile of every step at once (MQ-RNN; Wen et al.,
2017). As the trees do, it sees levels relative to the last value and in units of the series' own scale, and is trained
on the pinball loss weighted by that scale. JAX on one CPU thread, Adam.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

READ = 72  # samples
HIDDEN = 48
BATCH, ROUNDS, RATE = 256, 800, 0.004
DAY = 288


def inputs(
    past: np.ndarray, end: int, steps: int, finest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the network sees of series [V, T] without gaps at a moment: [V, READ], [V, E], and last [V], scale [V]."""
    window = past[:, end - 8 * DAY : end]
    last = window[:, -1]
    day, week = window[:, -DAY:], window[:, -7 * DAY :]
    scale = np.sqrt(0.6 * day.var(axis=1) + 0.2 * week.var(axis=1) + 0.2 * window[:, -12:].var(axis=1) + finest**2)
    ahead = np.arange(steps)
    beside = [window[:, window.shape[1] + ahead - days * DAY] for days in (1, 7)]
    beside += [np.stack([of.max(axis=1), np.quantile(of, 0.9, axis=1), of.mean(axis=1)], axis=1) for of in (day, week)]
    level = [
        ((of - last[:, None]) / scale[:, None]).clip(-50, 50) for of in (window[:, -READ:], np.concatenate(beside, 1))
    ]
    return level[0].astype(np.float32), level[1].astype(np.float32), last, scale


def _start(key: Any, extra: int, outputs: int) -> dict[str, Any]:
    sizes = {
        "x": (1, 3 * HIDDEN), "h": (HIDDEN, 3 * HIDDEN), "e": (HIDDEN + extra, 2 * HIDDEN), "o": (2 * HIDDEN, outputs)
    }  # fmt: skip
    keys = jax.random.split(key, len(sizes))
    weights = {
        name: jax.random.normal(one, size) / np.sqrt(size[0])
        for one, (name, size) in zip(keys, sizes.items(), strict=True)
    }
    return {**weights, **{f"{name}_b": jnp.zeros(size[1]) for name, size in sizes.items()}}


def _say(weights: dict[str, Any], read: Any, extra: Any) -> Any:
    def step(state: Any, x: Any) -> tuple[Any, None]:
        from_x = x[:, None] @ weights["x"] + weights["x_b"]
        from_h = state @ weights["h"] + weights["h_b"]
        (xr, xz, xn), (hr, hz, hn) = jnp.split(from_x, 3, axis=1), jnp.split(from_h, 3, axis=1)
        keep = jax.nn.sigmoid(xz + hz)
        return keep * state + (1 - keep) * jnp.tanh(xn + jax.nn.sigmoid(xr + hr) * hn), None

    state, _none = jax.lax.scan(step, jnp.zeros((read.shape[0], HIDDEN)), read.T)
    hidden = jax.nn.relu(jnp.concatenate([state, extra], axis=1) @ weights["e"] + weights["e_b"])
    return hidden @ weights["o"] + weights["o_b"]


class Recurrent:
    """Trained on ``past`` [V, T] without gaps, from each of ``ends``."""

    def __init__(
        self, past: np.ndarray, ends: list[int], *, steps: int, levels: np.ndarray, finest: float, seed: int
    ) -> None:
        self._steps, self._levels, self._finest = steps, levels, finest
        parts = []
        for end in ends:
            read, extra, last, scale = inputs(past, end, steps, finest)
            parts.append((read, extra, (past[:, end : end + steps] - last[:, None]) / scale[:, None], scale))
        read, extra, truth, weight = (np.concatenate(of).astype(np.float32) for of in zip(*parts, strict=True))
        weight /= weight.mean()
        at = jnp.asarray(levels, jnp.float32)

        def loss(weights: Any, read: Any, extra: Any, truth: Any, weight: Any) -> Any:
            error = truth[..., None] - _say(weights, read, extra).reshape(len(read), steps, len(levels))
            return jnp.mean(weight[:, None, None] * jnp.maximum(at * error, (at - 1) * error))

        @jax.jit
        def update(weights: Any, first: Any, second: Any, count: Any, batch: Any) -> Any:
            slope = jax.grad(loss)(weights, *batch)
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
            rate = RATE * 0.5 * (1 + jnp.cos(jnp.pi * count / ROUNDS))
            move = jax.tree.map(
                lambda m, v: rate * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8), first, second
            )
            return jax.tree.map(jnp.subtract, weights, move), first, second

        weights = _start(jax.random.PRNGKey(seed), extra.shape[1], steps * len(levels))
        first = second = jax.tree.map(jnp.zeros_like, weights)
        rng = np.random.default_rng(seed)
        for count in range(1, ROUNDS + 1):
            rows = rng.integers(0, len(read), BATCH)
            batch = tuple(of[rows] for of in (read, extra, truth, weight))
            weights, first, second = update(weights, first, second, float(count), batch)
        self._weights = weights

    def forecast(self, past: np.ndarray, end: int) -> np.ndarray:
        """Quantiles [V, steps, Q], ascending and never negative."""
        read, extra, last, scale = inputs(past, end, self._steps, self._finest)
        said = np.asarray(_say(self._weights, read, extra)).reshape(len(past), self._steps, len(self._levels))
        return np.sort(np.maximum(last[:, None, None] + scale[:, None, None] * said, 0), axis=2)
