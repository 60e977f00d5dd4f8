# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which intervals a VM was held back by what it had: the one answer, for its ledger and for the scorecard.

Use at the size is one way to tell. What share of it is all of it hangs on the metric: CPU is used up, but a guest's
kernel keeps some of the memory for itself, so that there it is the share from which on the guard takes it for a want.

Signals of contention are the other: swapping, pages brought back and OOM kills as they keep memory from shrinking, and
time ready to run and not let run while a limit was in force, as the guard hears it. They tell of what stays below the
size in every sample. But they tell only that there was too little, and not that there was more demand than was seen:
such an interval counts as violated and gives headroom, and its use is taken for what it is. The trained models know no
other censored demand than that at the size, either.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Callable, Protocol

from .._core.needs import needs
from .._core.units import PERCENT, SECOND_US
from .._plan.pressure import SIGNS
from .._plan.signals import SIGNALS
from .._records.candidates import BELOW, SATURATED
from .._records.series import CPU_DELAY_MILLICORES, CPU_MILLICORES, MEMORY_USED_MIB
from .._replay.loop import seen_under
from .._store import glance
from .._store.dense import grids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from .._policy.sizing import SizingPolicy
    from .._records.vm import VM
    from .._store.scan import Scan

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

Told = dict[str, "Integers"]  # VM -> START of the intervals in which a signal told, in us since the epoch


class Limits(Protocol):
    """The limits on CPU that were in force."""

    def limited(self, vms: Sequence[VM]) -> Sequence[VM]:
        """Who may have had one at some time."""

    def limits(self, vms: Sequence[VM], starts_us: Integers) -> Doubles:
        """In millicores [V, T], in intervals that began then [T]; infinite or NaN where none is known to have been."""


def _setting(metric: str) -> str:
    """Of the guard, in percent of what a VM has."""
    return next(signal.setting for signal in SIGNALS if signal.metric == metric and signal.share)


def full_share(metric: str, vms: Sequence[VM], policy: SizingPolicy) -> Doubles:
    """The share [V, 1] of its size from which on a VM's use is at it."""
    with needs("numpy"):
        import numpy as np
    share = np.full((len(vms), 1), SATURATED)
    if metric == MEMORY_USED_MIB:
        name = _setting(metric)
        percent = np.array([policy.effective(vm).guard.thresholds[name] for vm in vms])
        share = np.minimum(share, percent.reshape(-1, 1) / PERCENT)
    return share


def at_size(sizes: Doubles, demand: Doubles, capacity: Doubles, share: Doubles) -> tuple[Flags, Flags]:
    """Where use [V, T] was at the size, and where a want counts at all: below capacity, of which more could be had."""
    with needs("numpy"):
        import numpy as np
    with np.errstate(invalid="ignore"):
        below = (sizes < capacity * BELOW) & ~np.isnan(demand)
        return seen_under(sizes, demand, capacity, share)[1], below


def told(
    scan: Callable[[Sequence[str], str], Scan],
    vms: Sequence[VM],
    policy: SizingPolicy,
    *,
    metric: str,
    limits: Limits,
) -> Told:
    """When signals told that one of these VMs was short of what a metric measures. ``scan``: of VMs and a metric.

    Of memory no more is read than what stands out, of CPU delay no VM that never had a limit, and nothing of what the
    store has no row of. Raises ``store.*``.
    """
    if metric == MEMORY_USED_MIB:
        return _pressed(scan, vms, policy)
    return _delayed(scan, limits.limited(vms), policy, limits) if metric == CPU_MILLICORES else {}


def laid(
    heard: Mapping[str, Integers], unique_ids: Sequence[str], *, start_us: int, step_us: int, columns: int
) -> Flags:
    """What was heard of these VMs as flags [V, T], of intervals that may be longer."""
    with needs("numpy"):
        import numpy as np
    flags = np.zeros((len(unique_ids), columns), dtype=np.bool_)
    for row, unique_id in enumerate(unique_ids if heard else ()):
        if unique_id in heard:
            column = (heard[unique_id] - start_us) // step_us
            flags[row, column[(column >= 0) & (column < columns)]] = True
    return flags


def _pressed(scan: Callable[[Sequence[str], str], Scan], vms: Sequence[VM], policy: SizingPolicy) -> Told:
    with needs("numpy"):
        import numpy as np
    of = {vm.unique_id: vm for vm in vms}
    found: dict[str, list[Integers]] = defaultdict(list)
    for metric, sign in SIGNS.items():
        read = scan(list(of), metric)
        least = policy.least(sign.setting) * sign.per_unit if sign.setting else 0.0
        peaks = glance.rows_above(read, metric, least)
        places, first = np.unique(peaks.place, return_index=True)
        for place, ds_us, mean in zip(places.tolist(), *(np.split(one, first[1:]) for one in peaks[1:])):
            unique_id = read.unique_ids[place]
            high = mean >= sign.least(policy.effective(of[unique_id]))
            if high.any():
                found[unique_id].append(ds_us[high])
    return {unique_id: np.concatenate(parts) for unique_id, parts in found.items()}


def _delayed(
    scan: Callable[[Sequence[str], str], Scan], vms: Sequence[VM], policy: SizingPolicy, limits: Limits
) -> Told:
    with needs("numpy"):
        import numpy as np
    of = {vm.unique_id: vm for vm in vms}
    name, found = _setting(CPU_DELAY_MILLICORES), {}
    read = scan(list(of), CPU_DELAY_MILLICORES) if of else None
    if read is None or not glance.known(read, CPU_DELAY_MILLICORES):
        return {}
    starts_us = read.span.start_us + np.arange(read.span.slots) * (read.span.interval_s * SECOND_US)
    for grid in grids(read):
        delay = np.where(np.isfinite(grid.mean), grid.mean, 0.0)
        some = [of[unique_id] for unique_id in grid.unique_ids]
        share = np.array([[policy.effective(vm).guard.thresholds[name] / PERCENT] for vm in some])
        with np.errstate(invalid="ignore"):
            high = (delay > 0) & (delay >= share * limits.limits(some, starts_us))
        for row in np.flatnonzero(high.any(axis=1)).tolist():
            found[grid.unique_ids[row]] = starts_us[high[row]]
    return found
