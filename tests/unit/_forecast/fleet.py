# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small fleet that models of a whole fleet learn from, and series that are not as they should be."""

from __future__ import annotations

import numpy as np

from ansible_collections.headroom.fleet.plugins.module_utils._forecast import quantile_model, recurrent_training
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_features import Clock
from ansible_collections.headroom.fleet.plugins.module_utils._forecast.quantile_model import origins

INTERVAL_S = 900
CLOCK = Clock(INTERVAL_S)
STEPS = 4
LEVELS = ("0.5", "0.9", "0.95")
NUMBERS = np.array([float(level) for level in LEVELS])
DAYS = 14
CUT = 11 * CLOCK.day  # where training ends
ENDS = origins(CUT, CLOCK, most=60, seed=0)
SOUND = 60
TRAIN = {"trees": quantile_model.train, "network": recurrent_training.train}


def demand(series=SOUND, seed=6):
    """Noise around a level, and a job of each VM's own that starts at a minute of every hour."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(50, 500, (series, 1))
    beat = np.arange(DAYS * CLOCK.day)[None, :] % CLOCK.cycle == rng.integers(0, CLOCK.cycle, (series, 1))
    past = level * (1 + 2 * beat) + 0.1 * level * rng.normal(0, 1, beat.shape)
    return np.maximum(past, 0).astype(np.float32)


def fitted(kind, past, **options):
    """A model of a kind that has learnt from what came before CUT."""
    whole = {"levels": LEVELS, "seed": 0, **options}
    return TRAIN[kind](past[:, :CUT], ENDS, interval_s=INTERVAL_S, steps=STEPS, finest="1", **whole)


def odd_series(past):
    ordinary = past[0]
    gappy = ordinary.copy()
    gappy[np.random.default_rng(8).random(len(gappy)) < 0.5] = np.nan
    late = np.full_like(ordinary, np.nan)
    late[-CLOCK.day - 8 :] = ordinary[-CLOCK.day - 8 :]
    short = np.full_like(ordinary, np.nan)
    short[-20:] = 5
    ended = ordinary.copy()
    ended[-CLOCK.day :] = np.nan
    step = np.where(np.arange(len(ordinary)) < len(ordinary) - 10, 10, 1000)
    negative, infinite = ordinary.copy(), ordinary.copy()
    negative[-5], infinite[-5] = -1, np.inf
    return {
        "constant": (np.full_like(ordinary, 70), True),
        "zero": (np.zeros_like(ordinary), True),
        "gappy": (gappy, True),
        "late": (late, True),
        "stepped": (step.astype(np.float32), True),
        "short": (short, False),
        "ended": (ended, False),
        "nan": (np.full_like(ordinary, np.nan), False),
        "negative": (negative, False),
        "infinite": (infinite, False),
    }
