# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples to rates: counters to what they count per time, readings as they are.

Between two neighbouring samples of a VM and source there is a step with a rate, or there is nothing. Nothing, and never
0, is what follows from a restart (another boot_id, or a counter that fell), a device that came or went, a clock that
did not advance, a gap of more than ``LONGEST_GAP_STEPS`` steps, and a value that was not to be had.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .._records.series import COUNTERS, METRICS, PERIODS_S, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]

LONGEST_GAP_STEPS = 3  # two lost samples in a row are bridged, for a counter lost nothing; more is not "now" any more


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


class StepsBuilder:
    """Gathers steps one by one; 40 bytes each."""

    def __init__(self) -> None:
        self._vms: dict[str, int] = {}
        self._keys = tuple(array("q") for _unused in range(4))
        self._values = array("d")

    def know(self, unique_id: str) -> None:
        """Name a VM, whether or not it has a step."""
        self._vms.setdefault(unique_id, len(self._vms))

    def add(self, unique_id: str, metric: int, start_us: int, end_us: int, value: float) -> None:
        """Add one step; ``metric`` is the place in METRICS."""
        vm = self._vms.setdefault(unique_id, len(self._vms))
        for column, one in zip(self._keys, (vm, metric, start_us, end_us)):
            column.append(one)
        self._values.append(value)

    def steps(self) -> Steps:
        """All of them, in the order in which they were added."""
        with needs("numpy"):
            import numpy as np
        vm, metric, start_us, end_us = (np.array(column) for column in self._keys)
        unique_ids = sorted(self._vms)
        place = np.empty(len(unique_ids), dtype=np.int64)
        place[[self._vms[unique_id] for unique_id in unique_ids]] = np.arange(len(unique_ids))
        return Steps(tuple(unique_ids), METRICS, place[vm], metric, start_us, end_us, np.array(self._values))


def rates(samples: Iterable[Sample], *, step_s: float) -> Steps:
    """Turn samples into steps, per VM in the order taken: sorting by time would hide a clock that was set back.

    ``step_s`` is the intended distance of two samples. A step takes a reading at its end.
    """
    place = {metric: number for number, metric in enumerate(METRICS)}
    builder = StepsBuilder()
    last: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        builder.know(sample.unique_id)
        before = last.get((sample.unique_id, sample.source))
        last[sample.unique_id, sample.source] = sample
        if before is None or before.boot_id != sample.boot_id:
            continue
        start_us, end_us = _epoch_us(before.taken_at), _epoch_us(sample.taken_at)
        longest_s = LONGEST_GAP_STEPS * max(step_s, PERIODS_S.get(sample.source, 0.0))
        if not 0 < end_us - start_us <= longest_s * 1_000_000:
            continue
        for metric, counts in sample.counters.items():
            rise = _rise(before.counters.get(metric), counts)
            if rise is not None:
                value = rise * COUNTERS[metric] / (end_us - start_us)
                builder.add(sample.unique_id, place[metric], start_us, end_us, value)
        for metric, reading in sample.gauges.items():
            builder.add(sample.unique_id, place[metric], start_us, end_us, reading)
    return builder.steps()


def _rise(before: Optional[Mapping[str, int]], after: Mapping[str, int]) -> Optional[int]:
    """How much was counted on all devices together; None where one came, went or began anew."""
    if before is None or before.keys() != after.keys():
        return None
    rises = [count - before[device] for device, count in after.items()]
    return None if any(rise < 0 for rise in rises) else sum(rises)


def _epoch_us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
