# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sizes were worth: capacity given back, and what it cost the VMs.

Reclaimed is the share of provisioned capacity given back. A violation is an interval whose demand exceeds the size
while that is below capacity. A resize is counted against the last size that was counted, so that creeping counts too;
a capacity that others changed is no resize. Shares are percent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Optional

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.candidates import BELOW

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .protocol import Slo

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

EXCEEDS = 1 + 1e-4  # demand above the size by rounding alone is no violation
MOVED = 1e-3  # of capacity: the least change that counts as a resize
LONG_RUN = 6  # intervals: 30 min
PERCENT = 100.0
HALF_PCT, ONE_PCT = 0.005, 0.01  # of a VM's intervals
RESAMPLES = 1000
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Score:
    """The figures of one policy."""

    vms: int
    reclaimed: float
    violations: float
    violations_by_capacity: float  # each weighed with its VM's capacity
    unserved_of_demand: float
    worst_vm: float
    p99_vm: float
    vms_within_half_pct: float
    vms_within_1pct: float
    longest_run_min: int  # of consecutive violations of one VM
    vms_with_run_over_30min: int
    resizes_per_vm_day: float
    slo4: bool


@dataclass(frozen=True)
class Scored:
    """The score, and 90 % intervals of those figures that can be resampled, by name."""

    score: Score
    intervals: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Sums:
    """What each VM adds to the figures, [V]: numbers of intervals, and sizes or demand summed over intervals."""

    intervals: Doubles  # scored
    capacity: Doubles
    size: Doubles
    demand: Doubles
    violated: Doubles
    unserved: Doubles
    resized: Doubles


@dataclass(frozen=True)
class _Window:
    """The scored intervals; what is not scored is 0 everywhere, [V, T]."""

    ok: Flags
    demand: Doubles
    size: Doubles
    capacity: Doubles
    violated: Flags
    unserved: Doubles
    resized: Flags


def score(demand: Doubles, allocation: Doubles, capacity: Doubles, *, slo: Slo, step_s: int = 300) -> Score:
    """Score the columns given: the scored window of each array, [V, T]. Raises ``replay.nothing_scored``."""
    return _score(_window(demand, allocation, capacity), slo, step_s)


def score_with_intervals(
    demand: Doubles,
    allocation: Doubles,
    capacity: Doubles,
    *,
    slo: Slo,
    rng: Optional[np.random.Generator] = None,
    step_s: int = 300,
) -> Scored:
    """The same with bootstrap intervals, RESAMPLES times with replacement.

    Sums are of drawn blocks, each one VM on one day. Figures about single VMs are of drawn VMs with all their days: the
    worst VM of drawn days would be worse than any VM ever was.
    """
    with needs("numpy"):
        import numpy as np
    window = _window(demand, allocation, capacity)
    blocks = _blocks(window, 86400 // step_s)
    drawn = _resampled(blocks, rng or np.random.default_rng(0))
    bounds = {
        name: tuple(float(bound) for bound in np.nanquantile(figures, INTERVAL)) for name, figures in drawn.items()
    }
    return Scored(_score(window, slo, step_s), {name: (low, high) for name, (low, high) in bounds.items()})


def sums_by_vm(demand: Doubles, allocation: Doubles, capacity: Doubles) -> Sums:
    """The same columns VM by VM. Raises ``replay.nothing_scored``."""
    window = _window(demand, allocation, capacity)
    names = {"intervals": "ok"}
    return Sums(
        **{one.name: getattr(window, names.get(one.name, one.name)).sum(axis=1, dtype=float) for one in fields(Sums)}
    )


def _window(demand: Doubles, allocation: Doubles, capacity: Doubles) -> _Window:
    with needs("numpy"):
        import numpy as np
    ok = ~(np.isnan(demand) | np.isnan(capacity) | np.isnan(allocation))
    wanted, size, had = (np.where(ok, array, 0.0) for array in (demand, allocation, capacity))
    if not ok.any():
        raise HeadroomError(
            "replay.nothing_scored",
            "No VM has a known demand and capacity in the scored window.",
            advice="Score a window of which there is telemetry of the VMs that are chosen.",
        )
    below = ok & (size < had * BELOW)
    violated = below & (wanted > size * EXCEEDS + 1e-9)
    unserved = np.where(below, np.maximum(wanted - size, 0), 0)
    return _Window(ok, wanted, size, had, violated, unserved, _resized(ok, size, had))


def _resized(ok: Flags, size: Doubles, capacity: Doubles) -> Flags:
    with needs("numpy"):
        import numpy as np
    # Time first, for the loop over time reads a row at a time. VMs whose size never moves need no look.
    rows = np.flatnonzero((np.diff(size, axis=1) != 0).any(axis=1))
    a, c, known = size[rows].T.copy(), capacity[rows].T.copy(), ok[rows].T.copy()
    same = known[1:] & known[:-1] & (np.abs(np.diff(c, axis=0)) < 1e-9 * c[1:] + 1e-12)
    least = MOVED * c
    found = np.zeros(a.shape, dtype=bool)
    mark = a[0].copy()
    for t in range(1, len(a)):
        moved = np.abs(a[t] - mark) > least[t]
        found[t] = moved & same[t - 1]
        mark = np.where((moved & known[t]) | ~same[t - 1], a[t], mark)
    resized = np.zeros(size.shape, dtype=bool)
    resized[rows] = found.T
    return resized


def _longest_runs(flags: Flags) -> npt.NDArray[np.int64]:
    """The most consecutive flags of each row."""
    with needs("numpy"):
        import numpy as np
    count = np.cumsum(flags, axis=1, dtype=np.int64)
    before = np.maximum.accumulate(np.where(flags, 0, count), axis=1)
    longest: npt.NDArray[np.int64] = (count - before).max(axis=1)
    return longest


def _score(window: _Window, slo: Slo, step_s: int) -> Score:
    with needs("numpy"):
        import numpy as np
    vms, steps = window.ok.shape
    provisioned = (window.capacity * window.ok).sum()
    per_vm = window.violated.sum(axis=1) / np.maximum(window.ok.sum(axis=1), 1)
    runs = _longest_runs(window.violated)
    violations = _share(window.violated.sum(), window.ok.sum())
    unserved = _share(window.unserved.sum(), window.demand.sum())
    worst, within = PERCENT * float(per_vm.max()), PERCENT * float((per_vm <= ONE_PCT).mean())
    return Score(
        vms=vms,
        reclaimed=PERCENT - _share((window.size * window.ok).sum(), provisioned),
        violations=violations,
        violations_by_capacity=_share((window.violated * window.capacity).sum(), provisioned),
        unserved_of_demand=unserved,
        worst_vm=worst,
        p99_vm=PERCENT * float(np.quantile(per_vm, 0.99)),
        vms_within_half_pct=PERCENT * float((per_vm <= HALF_PCT).mean()),
        vms_within_1pct=within,
        longest_run_min=int(runs.max()) * step_s // 60,
        vms_with_run_over_30min=int((runs > LONG_RUN).sum()),
        resizes_per_vm_day=float(window.resized.sum() / vms / (steps * step_s / 86400)),
        slo4=violations <= slo.violations
        and unserved <= slo.unserved
        and worst <= slo.worst_vm
        and within >= slo.vms_within_1pct,
    )


def _share(part: float, whole: float) -> float:
    """Percent; NaN where there is nothing of it, as the share of nothing is unknown."""
    return PERCENT * float(part) / float(whole) if whole else float("nan")


def _blocks(window: _Window, per_day: int) -> dict[str, Doubles]:
    """Sums over each VM and day, [V, D]; a last day that is not whole is a block too."""
    with needs("numpy"):
        import numpy as np
    starts = np.arange(0, window.ok.shape[1], per_day)
    sums = {**vars(window), "violated_capacity": window.violated * window.capacity}
    return {name: np.add.reduceat(array.astype(np.float64), starts, axis=1) for name, array in sums.items()}


def _resampled(blocks: dict[str, Doubles], rng: np.random.Generator) -> dict[str, Doubles]:
    """The figures of each resample, [RESAMPLES]."""
    with needs("numpy"):
        import numpy as np
    vms, days = blocks["ok"].shape
    per_vm = blocks["violated"].sum(axis=1) / np.maximum(blocks["ok"].sum(axis=1), 1)
    figures: dict[str, list[float]] = {}
    for _unused in range(RESAMPLES):
        times = np.bincount(rng.integers(0, vms * days, vms * days), minlength=vms * days).reshape(vms, days)
        total = {name: float((sums * times).sum()) for name, sums in blocks.items()}
        some = per_vm[rng.integers(0, vms, vms)]
        drawn = {
            "reclaimed": PERCENT - _share(total["size"], total["capacity"]),
            "violations": _share(total["violated"], total["ok"]),
            "violations_by_capacity": _share(total["violated_capacity"], total["capacity"]),
            "unserved_of_demand": _share(total["unserved"], total["demand"]),
            "resizes_per_vm_day": total["resized"] / (vms * days),
            "worst_vm": PERCENT * float(some.max()),
            "p99_vm": PERCENT * float(np.quantile(some, 0.99)),
            "vms_within_half_pct": PERCENT * float((some <= HALF_PCT).mean()),
            "vms_within_1pct": PERCENT * float((some <= ONE_PCT).mean()),
        }
        for name, figure in drawn.items():
            figures.setdefault(name, []).append(figure)
    return {name: np.array(drawn) for name, drawn in figures.items()}
