# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a round of the recurrent network's training costs in each library: python tests/bench/bench_recurrent.py.

The same network, batch and loss, on noise and one thread, in JAX as the product trains it, and in PyTorch where that is
installed, which the product does not need. CPU seconds, what is compiled at first use apart.
"""

from __future__ import annotations

import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[2]
INTERVAL_S, STEPS, LEVELS = 300, 12, (0.5, 0.9, 0.95)
ROUNDS = 100


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        namespace = Path(scratch, "ansible_collections/headroom")
        namespace.mkdir(parents=True)
        (namespace / "fleet").symlink_to(CHECKOUT)
        sys.path.insert(0, scratch)
        print(f"{'library':10} {'first round':>12} {f'next {ROUNDS}':>12}   CPU seconds")
        for library, make in {"jax": in_jax, "torch": in_torch}.items():
            if find_spec(library) is None:
                print(f"{library:10} is not installed")
                continue
            one = make(batch())
            clock = time.process_time()
            one()
            first = time.process_time() - clock
            for _round in range(ROUNDS):
                one()
            print(f"{library:10} {first:12.2f} {time.process_time() - clock - first:12.2f}")


def batch() -> tuple[np.ndarray, ...]:
    """What a round looks at: read, beside, target, weight, bound."""
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast import quantile_features, recurrent
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent_training import BATCH

    clock = quantile_features.Clock(INTERVAL_S)
    read = recurrent.READ_CYCLES * clock.cycle
    widths = (read, len(recurrent.names(clock, STEPS)) - read, STEPS)
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(BATCH, width)).astype(np.float32) for width in widths]
    weight = np.ones((BATCH, STEPS), dtype=np.float32)
    return (*parts, weight, weight < 1)


def in_jax(of: tuple[np.ndarray, ...]) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._forecast import recurrent, recurrent_training

    rng = np.random.default_rng(0)
    shapes = recurrent.shapes(of[1].shape[1], STEPS * len(LEVELS))
    weights = {name: 0.1 * rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nothing = {name: np.zeros_like(one) for name, one in weights.items()}
    update = recurrent_training.updating(LEVELS)
    state: Any = (weights, nothing, nothing)

    def one() -> None:
        nonlocal state
        state = update(state, np.float32(1), np.float32(1e-3), of)
        state[0]["out"].block_until_ready()

    return one


def in_torch(of: tuple[np.ndarray, ...]) -> Any:
    import torch

    from ansible_collections.headroom.fleet.plugins.module_utils._forecast.recurrent import HIDDEN

    torch.set_num_threads(1)
    read, beside, target = (torch.from_numpy(part) for part in of[:3])
    outputs = STEPS * len(LEVELS)
    unit = torch.nn.GRU(1, HIDDEN, batch_first=True)
    layer = torch.nn.Linear(HIDDEN + beside.shape[1], 2 * HIDDEN)
    out, across = torch.nn.Linear(2 * HIDDEN, outputs), torch.nn.Linear(beside.shape[1], outputs)
    adam = torch.optim.Adam([weight for part in (unit, layer, out, across) for weight in part.parameters()])
    at = torch.tensor(LEVELS)

    def one() -> None:
        adam.zero_grad()
        _states, last = unit(torch.arcsinh(read)[..., None])
        hidden = torch.relu(layer(torch.cat([last[0], torch.arcsinh(beside)], dim=1)))
        error = target[..., None] - (out(hidden) + across(beside)).reshape(*target.shape, len(LEVELS))
        torch.maximum(at * error, (at - 1) * error).mean().backward()
        adam.step()

    return one


if __name__ == "__main__":
    main()
