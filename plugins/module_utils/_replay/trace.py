# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded fleet as arrays: what each VM demanded and had, one column per 300-s interval.

Of several rows of one VM and interval the last counts. The last known sample is carried over a gap of at most 30 min;
what lies in a longer gap is not scored. Capacity is as known at each interval, never a later value. Demand is clipped
to 0 and capacity. Whatever of this was needed is told as findings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .._core.clock import EPOCH
from .._core.errors import HeadroomError
from .._core.needs import needs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

STEP_S = 300
CARRY = 6  # intervals: 30 min
DAY = 86400 // STEP_S
MOST_CELLS = (
    200_000_000  # VMs x intervals; an array of it is 1.6 GB. One row with a clock in 1970 would ask for far more.
)
US = 1_000_000

# What a target reads: column of capacity, of use, and what they are multiplied with to give vCPU or MiB.
# CPU use is in percent of the capacity of the same row.
TARGETS = {
    "cpu": ("vcpus", "cpu_pct", 1.0),
    "memory": ("mem_capacity_kb", "mem_used_kb", 1 / 1024),
}


@dataclass(frozen=True)
class Floor:
    """The least size: ``least``, or ``share`` of the capacity where that is smaller."""

    least: float  # vCPU, or MiB
    share: float


@dataclass(frozen=True)
class Finding:
    """Something about the rows that had to be settled."""

    what: str
    rows: int  # rows or intervals; 0: it is about VMs as a whole
    unique_ids: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people."""
        shown = ", ".join(self.unique_ids[:3]) + (", ..." if len(self.unique_ids) > 3 else "")  # noqa: PLR2004
        rows = f"{self.rows} rows, " if self.rows else ""
        return f"{self.what}: {rows}{len(self.unique_ids)} VMs ({shown})" if shown else f"{self.what}: {rows[:-2]}"


@dataclass(frozen=True)
class Trace:
    """V VMs, sorted by id, over T intervals; column t begins at ``start + t * step_s``. vCPU, or MiB for memory."""

    unique_ids: tuple[str, ...]
    start: datetime
    demand: Doubles  # [V, T]; NaN: not scored
    capacity: Doubles  # [V, T]; NaN: not there yet
    floor: Doubles  # [V, T]
    findings: tuple[Finding, ...] = ()
    step_s: int = STEP_S

    @property
    def steps(self) -> int:
        """How many intervals there are."""
        return int(self.demand.shape[1])

    def column(self, moment: datetime) -> int:
        """The first interval that begins at the moment or later; ``steps`` where none does."""
        passed = -((self.start - moment) // timedelta(seconds=self.step_s))
        return min(max(passed, 0), self.steps)

    def only(self, unique_ids: Collection[str]) -> Trace:
        """These VMs; those that are not in the trace are left out."""
        wanted = set(unique_ids)
        rows = [row for row, unique_id in enumerate(self.unique_ids) if unique_id in wanted]
        return replace(
            self,
            unique_ids=tuple(self.unique_ids[row] for row in rows),
            demand=self.demand[rows],
            capacity=self.capacity[rows],
            floor=self.floor[rows],
        )

    def before(self, column: int) -> Trace:
        """What was known when the interval began: a copy, so that nothing leads to what came later."""
        cut = slice(0, column)
        return replace(
            self,
            demand=self.demand[:, cut].copy(),
            capacity=self.capacity[:, cut].copy(),
            floor=self.floor[:, cut].copy(),
        )


def make_trace(table: pa.Table, *, target: str, floor: Floor, unique_ids: Collection[str] = ()) -> Trace:
    """Read rows of unique_id, ds (START of the interval; UTC where it has no zone) and the target's columns.

    ``unique_ids`` chooses VMs; empty: all. Raises ``trace.target``, ``trace.columns``, ``trace.types``,
    ``trace.empty``, ``trace.span``.
    """
    with needs("numpy"):
        import numpy as np
    if target not in TARGETS:
        raise HeadroomError("trace.target", f"Unknown target {target!r}.", advice=f"Known are {', '.join(TARGETS)}.")
    _check_columns(table, target)
    names, vm, begin_us, known = _keys(table, unique_ids)
    capacity, use = (column[known] for column in _amounts(table, target))
    grid = begin_us // (STEP_S * US)
    first = int(grid.min())
    steps = int(grid.max()) - first + 1
    if steps * len(names) > MOST_CELLS:
        raise HeadroomError(
            "trace.span",
            f"{len(names)} VMs from {_moment(first)} to {_moment(first + steps)} are more than fits into memory.",
            advice="Look for a row with a wrong time, or replay fewer VMs.",
        )
    cell = vm * steps + (grid - first)
    shape = (len(names), steps)
    wide_capacity, wide_use = np.full(shape, np.nan), np.full(shape, np.nan)
    # An index that is there twice: the last value stays, as the rule above demands.
    wide_capacity.ravel()[cell] = np.where((capacity > 0) & np.isfinite(capacity), capacity, np.nan)
    wide_use.ravel()[cell] = use
    rows = _Rows(names, vm, cell, capacity, use, int((~known).sum()) if not unique_ids else 0)
    findings = (*rows.findings(), *_of_vms(names, wide_use, wide_capacity))
    had = carried(wide_capacity, limit=steps)
    demand = carried(wide_use, limit=CARRY)
    with np.errstate(invalid="ignore"):
        demand = np.where(np.isnan(had), np.nan, np.clip(demand, 0, had))
        least = np.minimum(floor.least, floor.share * had)
    return Trace(names, _moment(first), demand, had, least, findings)


def _moment(grid: int) -> datetime:
    return EPOCH + timedelta(seconds=grid * STEP_S)


def _check_columns(table: pa.Table, target: str) -> None:
    with needs("pyarrow"):
        import pyarrow as pa
    wanted = {"unique_id", "ds", *TARGETS[target][:2], *(["vcpus"] if target == "cpu" else [])}
    missing = sorted(wanted - set(table.column_names))
    if missing:
        raise HeadroomError(
            "trace.columns",
            f"The trace has no column {', '.join(missing)}.",
            advice="It needs unique_id, ds, and vcpus and cpu_pct, or mem_capacity_kb and mem_used_kb.",
        )
    for name in sorted(wanted - {"unique_id", "ds"}):
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise HeadroomError(
                "trace.types",
                f"The column {name} of the trace holds {kind}, no numbers.",
                advice="Write it as integers, floats or decimals.",
            )


def _keys(table: pa.Table, unique_ids: Collection[str]) -> tuple[tuple[str, ...], Integers, Integers, Flags]:
    """The VMs in order; VM [N] and time in microseconds [N] of the rows that count; and which rows those are."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc
    ids = table.column("unique_id").combine_chunks()
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    ds = _utc(table.column("ds")).combine_chunks()
    known = pc.and_(pc.is_valid(ids), pc.is_valid(ds))
    if unique_ids:
        known = pc.and_(known, pc.is_in(ids, value_set=pa.array(sorted(set(unique_ids)), ids.type)))
    flags = known.to_numpy(zero_copy_only=False).astype(bool)
    if not flags.any():
        raise HeadroomError(
            "trace.empty",
            "The trace has no row of these VMs.",
            advice="Compare the unique_id of the trace with those asked for.",
        )
    encoded = ids.filter(known).dictionary_encode()
    named = np.array([str(name) for name in encoded.dictionary.to_pylist()], dtype=object)
    order = np.argsort(named)
    place = np.empty(len(named), dtype=np.int64)
    place[order] = np.arange(len(named))
    vm = place[encoded.indices.to_numpy()]
    return tuple(named[order]), vm, ds.filter(known).cast(pa.int64()).to_numpy(), flags


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times of any unit and zone, or text of RFC 3339, in microseconds UTC; without a zone they are UTC."""
    with needs("pyarrow"):
        import pyarrow as pa
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False)
    for zone in ("UTC", None):
        try:
            return column.cast(pa.timestamp("us", zone))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    raise HeadroomError(
        "trace.types",
        f"The column ds of the trace holds {column.type}, no times.",
        advice="Write it as timestamps, or as text of RFC 3339.",
    )


def _amounts(table: pa.Table, target: str) -> tuple[Doubles, Doubles]:
    """Capacity and use of every row, vCPU or MiB."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa

    def numbers(name: str) -> Doubles:
        column: Any = table.column(name)
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        return np.asarray(column.to_numpy(), dtype=np.float64)

    had, used, factor = TARGETS[target]
    capacity, use = numbers(had), numbers(used)
    return (capacity, use / 100.0 * capacity) if target == "cpu" else (capacity * factor, use * factor)


def carried(values: Doubles, *, limit: int) -> Doubles:
    """The last known value, where it is at most ``limit`` intervals old."""
    with needs("numpy"):
        import numpy as np
    columns = np.arange(values.shape[1], dtype=np.int32)
    last = np.maximum.accumulate(np.where(np.isnan(values), np.int32(-1), columns), axis=1)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where((last >= 0) & (columns - last <= limit), filled, np.nan)


@dataclass(frozen=True)
class _Rows:
    """The rows that count, for what is to be told of them."""

    names: tuple[str, ...]
    vm: Integers  # [N]
    cell: Integers  # [N]
    capacity: Doubles  # [N]
    use: Doubles  # [N]
    nameless: int  # rows without a VM or a time

    def findings(self) -> Iterator[Finding]:
        with needs("numpy"):
            import numpy as np
        if self.nameless:
            yield Finding("without a VM or a time, left out", self.nameless, ())
        again = np.ones(len(self.cell), dtype=bool)
        again[np.unique(self.cell[::-1], return_index=True)[1]] = False
        with np.errstate(invalid="ignore"):
            kinds: Mapping[str, Flags] = {
                "more than one row in an interval, the last counts": again[::-1],
                "no capacity, the last known is taken": ~((self.capacity > 0) & np.isfinite(self.capacity)),
                "no use known, the last known is taken for 30 min": np.isnan(self.use),
                "negative use, taken as 0": self.use < 0,
                "use above capacity, taken as capacity": (self.use > self.capacity) & (self.capacity > 0),
            }
        for what, flags in kinds.items():
            if flags.any():
                yield Finding(what, int(flags.sum()), tuple(self.names[row] for row in np.unique(self.vm[flags])))


def _of_vms(names: tuple[str, ...], use: Doubles, capacity: Doubles) -> Iterator[Finding]:
    """Tell of VMs whose series says little, or changes its meaning."""
    with needs("numpy"):
        import numpy as np
    known = ~np.isnan(use)
    columns = np.arange(use.shape[1], dtype=np.int32)
    last = np.maximum.accumulate(np.where(known, columns, np.int32(-1)), axis=1)
    gap = known[:, 1:] & (last[:, :-1] >= 0) & (columns[1:] - last[:, :-1] > CARRY + 1)
    with np.errstate(invalid="ignore"):
        highest = np.where(known, use, -np.inf).max(axis=1)
        lowest = np.where(known, use, np.inf).min(axis=1)
        had = carried(capacity, limit=use.shape[1])
        changed = (np.abs(np.diff(had, axis=1)) > 1e-9 * had[:, 1:]).any(axis=1)
    kinds: Mapping[str, npt.ArrayLike] = {
        "less than a day known": known.sum(axis=1) < DAY,
        "a gap of more than 30 min, not scored": gap.any(axis=1),
        "use is always 0": (highest == 0) & (lowest == 0),
        "use is always the same": (highest == lowest) & (highest != 0),
        "no capacity at any time, not replayed": np.isnan(capacity).all(axis=1),
        "capacity changes, taken as known at each interval": changed,
    }
    for what, flags in kinds.items():
        if np.any(flags):
            yield Finding(what, 0, tuple(names[row] for row in np.flatnonzero(flags)))
