# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The telemetry store read into arrays: mean and maximum of VMs by intervals, for whoever looks at a whole fleet.

A week of 100,000 VMs is 200 million rows of each metric. So row groups of the table's files are read as they lie, no
more columns than needed, and put in their places; nothing is sorted, and no text is looked at but the dictionaries of
ids. Files that are sorted by VM, as ``retention.compact`` leaves them, are copied in blocks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from .._core.canonical import digest
from .._core.needs import needs
from .groups import Ids, numbers
from .scan import duplicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from .groups import Groups, Span
    from .scan import Scan

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

CHUNK_VALUES = 2**22  # of a grid's mean, and of its maximum: memory that is used again and again, not asked for anew
VALUES = ("mean", "maximum")
COLUMNS = ("unique_id", "ds", *VALUES)


@dataclass(frozen=True)
class Grid:
    """One metric of V VMs over T intervals. NaN: no row, or none with a maximum; infinite: a mean that is no number."""

    metric: str
    unique_ids: tuple[str, ...]
    mean: Doubles  # [V, T]
    maximum: Doubles  # [V, T]


class GridsDigest:
    """The digest of grids, in whatever order and however the fleet is cut.

    Definition: for each series (unique_id, metric) that has a row, the SHA-256 of its means and then its maxima, one
    for each interval asked for, as little-endian float64, NaN being 0x7ff8000000000000. The digest is that of the
    canonical JSON list of [unique_id, metric, number of rows, that SHA-256], sorted.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._series: list[list[Any]] = []

    def update(self, grid: Grid) -> None:
        """Add the series of a grid."""
        with needs("numpy"):
            import numpy as np
        known = ~np.isnan(grid.mean)
        counts = np.count_nonzero(known, axis=1).tolist()
        for row, (unique_id, count) in enumerate(zip(grid.unique_ids, counts)):
            if count:
                read = hashlib.sha256()
                for values in (grid.mean[row], grid.maximum[row]):
                    unknown = np.isnan(values)
                    plain = np.where(unknown, np.nan, values) if unknown.any() else values
                    read.update(np.ascontiguousarray(plain, dtype="<f8").data)
                self._series.append([unique_id, grid.metric, count, read.hexdigest()])
                self.rows += count

    def value(self) -> str:
        """``sha256:HEX`` of all grids so far."""
        return digest(sorted(self._series))


def grids(scan: Scan, *, chunk_values: int = CHUNK_VALUES) -> Iterator[Grid]:
    """Yield grids of one metric each, by VM and then by metric; VMs without rows are there as well.

    Raises ``series.duplicate`` and ``store.unreachable``.
    """
    with needs("numpy"):
        import numpy as np
    base, overlay = (_Table(scan.span, source.place, groups) for source, groups in scan.groups)
    count = max(1, chunk_values // max(1, scan.span.slots))
    for first in range(0, len(scan.unique_ids), count):
        some = scan.unique_ids[first : first + count]
        for table in (base, overlay):
            table.select(some)
        for metric in scan.metrics:
            grid = base.grid(metric)
            if overlay.there:
                over = overlay.grid(metric)
                known = ~np.isnan(over.mean)  # the overlay's rows take the place of the base's
                mean, maximum = (np.where(known, getattr(over, name), getattr(grid, name)) for name in VALUES)
                grid = Grid(metric, some, mean, maximum)
            yield grid


def largest(scan: Scan) -> dict[str, Doubles]:
    """Metric -> the largest value of each VM [V]: of an interval its maximum where it has one, else its mean.

    NaN where there is none. Where every interval has its maximum, and nothing takes the place of rows, no more is read.
    Raises ``store.unreachable``, and as ``grids`` does where rows have to be laid out.
    """
    with needs("numpy"):
        import numpy as np
    (place, groups), (_overlay, overlaid) = ((source.place, groups) for source, groups in scan.groups)
    if scan.unique_ids and not overlaid.there:
        table = _Table(scan.span, place, groups)
        table.select(scan.unique_ids)
        maxima = {metric: of for metric in scan.metrics if (of := table.maxima(metric)) is not None}
        if len(maxima) == len(scan.metrics):
            return maxima
    found: dict[str, list[Doubles]] = {metric: [] for metric in scan.metrics}
    for grid in grids(scan):
        use = np.where(np.isnan(grid.maximum), grid.mean, grid.maximum)
        found[grid.metric].append(np.fmax.reduce(np.where(np.isfinite(use), use, np.nan), axis=1, initial=np.nan))
    return {metric: np.concatenate([np.empty(0), *parts]) for metric, parts in found.items()}


class _Rows(NamedTuple):
    """Rows of one metric, as a file or a query has them."""

    code: npt.NDArray[np.integer[Any]]  # one number for each VM
    ds_us: Integers
    mean: Doubles
    maximum: Doubles

    def only(self, which: Any) -> _Rows:
        """Some of them."""
        return _Rows(*(column[which] for column in self))


class _Table:
    """One table of the store."""

    def __init__(self, span: Span, place: str, groups: Groups) -> None:
        self._span, self._place, self._groups = span, place, groups
        self._unique_ids: tuple[str, ...] = ()
        self._ids = Ids(())

    @property
    def there(self) -> bool:
        """Whether there is a table."""
        return self._groups.there

    def select(self, unique_ids: tuple[str, ...]) -> None:
        """Let grids be of these VMs."""
        self._unique_ids, self._ids = unique_ids, Ids(unique_ids)

    def grid(self, metric: str) -> Grid:
        """All rows of the VMs selected, each in its place."""
        with needs("numpy"):
            import numpy as np
        shape = (len(self._unique_ids), self._span.slots)
        grid = Grid(metric, self._unique_ids, mean=np.full(shape, np.nan), maximum=np.empty(shape))
        count = 0
        for table in self._groups.read(metric, self._unique_ids[0], self._unique_ids[-1], COLUMNS):
            code, places = self._ids.of(table["unique_id"])
            rows = _Rows(code, *(numbers(table[name]) for name in COLUMNS[1:]))
            if (places < 0).any():
                rows = rows.only(np.flatnonzero(places[code] >= 0))
            count += self._put(grid, rows, places)
        unknown = np.isnan(grid.mean)
        if unknown.size - np.count_nonzero(unknown) != count:
            raise duplicate(self._place)
        if count < unknown.size:
            grid.maximum[unknown] = np.nan
        return grid

    def maxima(self, metric: str) -> Optional[Doubles]:
        """The largest maximum of each VM selected [V]; None where an interval of theirs has no maximum."""
        with needs("numpy"):
            import numpy as np
        found = np.full(len(self._unique_ids), np.nan)
        first, last, columns = self._unique_ids[0], self._unique_ids[-1], ("unique_id", "maximum")
        for table in self._groups.read(metric, first, last, columns, edge=("ds",)):
            code, places = self._ids.of(table["unique_id"])
            rows = np.flatnonzero((places >= 0).take(code))
            if "ds" in table.schema.names:
                slots = self._span.slots_of(numbers(table["ds"])[rows])
                rows = rows[(slots >= 0) & (slots < self._span.slots)]
            values = numbers(table["maximum"])[rows]
            if np.isnan(values).any():
                return None
            np.fmax.at(found, places[code[rows]], values)
        return found

    def _put(self, grid: Grid, rows: _Rows, places: Integers) -> int:
        """Put rows in their places; how many have one. What is sorted by VM goes in blocks of one VM each."""
        with needs("numpy"):
            import numpy as np
        starts = np.flatnonzero(rows.code[1:] != rows.code[:-1]) + 1
        width = int(starts[1] - starts[0]) if len(starts) > 1 else 0
        if not width or (np.diff(starts) != width).any():
            return self._scatter(grid, rows, places)
        first, end = int(starts[0]), int(starts[-1])
        ds_us = rows.ds_us[first:end].reshape(-1, width)
        slots = self._span.slots_of(ds_us[0])
        whole = slots[0] >= 0 and slots[-1] < self._span.slots and (slots == np.arange(width) + slots[0]).all()
        if not whole or (ds_us != ds_us[0]).any():
            return self._scatter(grid, rows, places)
        vms = places[rows.code[first:end:width]]
        cut = slice(int(slots[0]), int(slots[0]) + width)
        grid.mean[vms, cut] = _told(rows.mean[first:end]).reshape(-1, width)
        grid.maximum[vms, cut] = rows.maximum[first:end].reshape(-1, width)
        ends = (rows.only(slice(0, first)), rows.only(slice(end, None)))  # of VMs that go on in another row group
        return end - first + sum(self._scatter(grid, part, places) for part in ends)

    def _scatter(self, grid: Grid, rows: _Rows, places: Integers) -> int:
        """Put rows in their places one by one; how many have one."""
        slots = self._span.slots_of(rows.ds_us)
        inside = (slots >= 0) & (slots < self._span.slots)
        if not inside.all():
            slots, rows = slots[inside], rows.only(inside)
        place = places[rows.code] * self._span.slots + slots
        grid.mean.reshape(-1)[place] = _told(rows.mean)
        grid.maximum.reshape(-1)[place] = rows.maximum
        return len(place)


def _told(mean: Doubles) -> Doubles:
    """Infinite where there is a row that tells no number."""
    with needs("numpy"):
        import numpy as np
    unknown = np.isnan(mean)
    return np.where(unknown, np.inf, mean) if unknown.any() else mean
