# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples to rates: counters to millicores, readings of memory to memory used.

Between two neighbouring samples of a VM there is a step with a rate, or there is nothing. Nothing, and never 0, is what
follows from a restart (another boot_id, or a counter that fell), a clock that did not advance, a gap of more than
``LONGEST_GAP_STEPS`` steps, and a value that was not to be had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional

from .._core.needs import needs
from .._records.series import CPU_DELAY_MILLICORES, CPU_MILLICORES, MEMORY_USED_MIB, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]

LONGEST_GAP_STEPS = 3  # two lost samples in a row are bridged, for a counter lost nothing; more is not "now" any more

# Counters, in nanoseconds of CPU time. ns per us of wall time = thousandths of a core.
COUNTERS: dict[str, Callable[[Sample], Optional[int]]] = {
    CPU_MILLICORES: lambda sample: sample.cpu_time_ns,
    CPU_DELAY_MILLICORES: lambda sample: sample.cpu_delay_ns,
}


def memory_used_mib(sample: Sample) -> Optional[int]:
    """Return what the guest could not give back; None where it does not report, or reports nonsense."""
    available, usable = sample.memory_available_mib, sample.memory_usable_mib
    if available is None or usable is None or usable > available:
        return None
    return available - usable


# Readings that hold at an instant; a step takes the reading at its end.
GAUGES: dict[str, Callable[[Sample], Optional[int]]] = {MEMORY_USED_MIB: memory_used_mib}


@dataclass(frozen=True)
class Steps:
    """Rates of all VMs and metrics, as columns of one length; times in microseconds since the epoch."""

    unique_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    vm: Integers  # place in unique_ids
    metric: Integers  # place in metrics
    start_us: Integers
    end_us: Integers
    value: npt.NDArray[np.float64]  # in the metric's unit


def rates(samples: Iterable[Sample], *, step_s: float) -> Steps:
    """Turn samples, in the order in which they were taken, into steps. ``step_s`` is the intended distance."""
    with needs("numpy"):
        import numpy as np
    taken = list(samples)
    unique_ids = tuple(sorted({sample.unique_id for sample in taken}))
    vm_of = {unique_id: place for place, unique_id in enumerate(unique_ids)}
    boots: dict[str, int] = {}
    vm = np.array([vm_of[sample.unique_id] for sample in taken], dtype=np.int64)
    boot = np.array([boots.setdefault(sample.boot_id, len(boots)) for sample in taken], dtype=np.int64)
    time_us = np.array([_epoch_us(sample.taken_at) for sample in taken], dtype=np.int64)
    order = np.argsort(vm, kind="stable")  # per VM in the order taken: sorting by time would hide a clock set back
    vm, boot, time_us = vm[order], boot[order], time_us[order]
    elapsed_us = np.diff(time_us)
    sound = (
        (vm[1:] == vm[:-1])
        & (boot[1:] == boot[:-1])
        & (elapsed_us > 0)
        & (elapsed_us <= LONGEST_GAP_STEPS * step_s * 1_000_000)
    )
    metrics = (*COUNTERS, *GAUGES)
    columns: list[tuple[Integers, int, npt.NDArray[np.float64]]] = []
    for place, metric in enumerate(metrics):
        reading = COUNTERS.get(metric) or GAUGES[metric]
        value = np.array([reading(sample) for sample in taken], dtype=np.float64)[order]  # None becomes NaN
        if metric in COUNTERS:
            rise = np.diff(value)
            at = np.flatnonzero(sound & (rise >= 0))  # NaN is neither
            columns.append((at, place, rise[at] / elapsed_us[at]))
        else:
            at = np.flatnonzero(sound & ~np.isnan(value[1:]))
            columns.append((at, place, value[1:][at]))
    at = np.concatenate([rows for rows, *_unused in columns])
    return Steps(
        unique_ids=unique_ids,
        metrics=metrics,
        vm=vm[:-1][at],
        metric=np.concatenate([np.full(len(rows), place, dtype=np.int64) for rows, place, _unused in columns]),
        start_us=time_us[:-1][at],
        end_us=time_us[1:][at],
        value=np.concatenate([values for *_unused, values in columns]),
    )


def _epoch_us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
