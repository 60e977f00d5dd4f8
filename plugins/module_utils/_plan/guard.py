# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: between decisions a saturated VM grows at once, and how much headroom it keeps from then on.

A jump by a small factor meets a surprise several times over; one by a large factor, at least to the largest demand of
late, meets it once. Demand that stays at the cap is far above it as a rule, so each interval more is a jump more. What
a VM was given too little of before, it is given more of for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.needs import needs

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GuardRule:
    """How a VM answers to saturation."""

    jump: float  # times its allocation, to which it grows
    peak: float  # times its largest demand of late, to which it grows at least
    step: float  # added to its headroom
    most: float  # headroom at most
    half_life: float  # intervals after which half of the headroom is given up


def grown(rule: GuardRule, *, allocation: Doubles, peak: Doubles, saturated: Flags) -> Doubles:
    """Sizes [V] to which saturated VMs grow that have this allocation [V] and demanded ``peak`` [V] of late.

    ``saturated`` [V, N]: their newest N intervals, as many as it takes until a growth is seen to have been too little.
    """
    with needs("numpy"):
        import numpy as np
    in_a_row = np.logical_and.accumulate(saturated[:, ::-1], axis=1).sum(axis=1)
    return np.asarray(np.maximum(rule.jump**in_a_row * allocation, rule.peak * peak))


def kept_free(rule: GuardRule, headroom: Doubles, saturated: Flags) -> Doubles:
    """The headroom [V] after one more interval, as a share of the size."""
    with needs("numpy"):
        import numpy as np
    return np.where(saturated, np.minimum(headroom + rule.step, rule.most), headroom * 0.5 ** (1 / rule.half_life))
