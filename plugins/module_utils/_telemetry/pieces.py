# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples that come bit by bit, to intervals: those that are over are taken out, what later ones need is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .._records.series import Sample
from .intervals import intervals
from .rates import rates

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa


class Pieces:
    """Holds the samples since the begin of the last interval that is not taken yet."""

    def __init__(self, *, step_s: float, interval_s: int) -> None:
        self.step_s = step_s
        self.unique_ids: set[str] = set()  # of all VMs whose samples were taken
        self._interval_s = interval_s
        self._kept: list[Sample] = []
        self._taken_s = 0  # intervals that begin before are taken

    def __len__(self) -> int:
        """Return how many samples are held."""
        return len(self._kept)

    def add(self, samples: Iterable[Sample]) -> None:
        """Hold these as well, of each VM in the order taken."""
        self._kept += samples

    def take(self, *, before_s: Optional[int] = None) -> pa.Table:
        """Return the intervals that were not taken yet: those that begin before this time, or all."""
        with needs("pyarrow"):
            import pyarrow as pa
            import pyarrow.compute as pc
        steps = rates(self._kept, step_s=self.step_s)
        self.unique_ids.update(steps.unique_ids)
        table = intervals(steps, interval_s=self._interval_s)
        utc = pa.timestamp("us", "UTC")
        table = table.filter(pc.greater_equal(table["ds"], pa.scalar(self._taken_s * 1_000_000, utc)))
        if before_s is not None:
            table = table.filter(pc.less(table["ds"], pa.scalar(before_s * 1_000_000, utc)))
            self._taken_s, self._kept = before_s, _needed(self._kept, before_s)
        return table


def _needed(samples: Sequence[Sample], end_s: int) -> list[Sample]:
    """Of each VM and source the samples from the last one before ``end_s`` on."""
    first: dict[tuple[str, str], int] = {}
    for number, sample in enumerate(samples):
        if sample.taken_at.timestamp() < end_s:
            first[sample.unique_id, sample.source] = number
    return [
        sample for number, sample in enumerate(samples) if number >= first.get((sample.unique_id, sample.source), 0)
    ]
