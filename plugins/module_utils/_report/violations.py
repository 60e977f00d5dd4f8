# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the recent past did not fit: use at or above the size a VM has, and CPUs that waited for the host."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .._core.needs import needs
from .._core.units import MILLICORES_PER_VCPU
from .._records.series import CPU_DELAY_MILLICORES, CPU_MILLICORES, MEMORY_USED_MIB
from .._records.vm import MEMORY_MIB, VCPUS, VM

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

FULL_PERCENT = 95  # of its size: from there on demand may be higher than what can be seen
WAITING_PERCENT = 10  # of its vCPUs' time spent waiting: VMware and others advise to look from here on


class Limit(NamedTuple):
    """From which share of a size on an interval of this metric counts."""

    resource: str
    per_unit: int  # of the metric, in one unit of the size
    column: str  # of the interval table; where it is null, the mean
    percent: int


LIMITS = {
    CPU_MILLICORES: Limit(VCPUS, MILLICORES_PER_VCPU, "maximum", FULL_PERCENT),
    MEMORY_USED_MIB: Limit(MEMORY_MIB, 1, "maximum", FULL_PERCENT),
    CPU_DELAY_MILLICORES: Limit(VCPUS, MILLICORES_PER_VCPU, "mean", WAITING_PERCENT),
}


@dataclass(frozen=True)
class Violation:
    """One metric of one VM, against the size it has in the snapshot."""

    unique_id: str
    metric: str
    intervals: int  # that are known
    at_limit: int  # of these, at or above the limit
    above: int  # of these, above the size itself
    peak: float  # in the metric's unit


@dataclass(frozen=True)
class Violations:
    """What was found between two RFC 3339 times; the VM longest at its limit comes first."""

    start: str
    end: str
    interval_s: int
    found: tuple[Violation, ...]


def find_violations(tables: Iterable[pa.Table], *, vms: Collection[VM]) -> tuple[Violation, ...]:
    """Read tables of whole VMs, with the columns of the interval table, and return what was at its limit."""
    sizes = {
        metric: {vm.unique_id: getattr(vm, limit.resource) * limit.per_unit for vm in vms}
        for metric, limit in LIMITS.items()
    }
    found: list[Violation] = []
    for table in tables:
        found += _of_table(table, sizes)
    return tuple(sorted(found, key=lambda one: (-one.at_limit, -one.above, one.unique_id, one.metric)))


def _of_table(table: pa.Table, sizes: dict[str, dict[str, int]]) -> Iterable[Violation]:
    with needs("pyarrow", "numpy"):
        import numpy as np
        import pyarrow.compute as pc
    metrics, of_metric = _coded(table["metric"])
    ids, of_vm = _coded(table["unique_id"])
    mean = table["mean"].to_numpy()
    columns = {"mean": mean, "maximum": pc.coalesce(table["maximum"], table["mean"]).to_numpy()}
    for number, metric in enumerate(metrics):
        if metric not in LIMITS:
            continue
        limit = LIMITS[metric]
        rows = of_metric == number
        vm, values = of_vm[rows], columns[limit.column][rows]
        size = np.array([sizes[metric].get(unique_id, 0) for unique_id in ids], dtype=float)
        of_size = size[vm]
        full = (values * 100 >= of_size * limit.percent) & (of_size > 0)
        known = np.bincount(vm, minlength=len(ids))
        at_limit = np.bincount(vm[full], minlength=len(ids))
        above = np.bincount(vm[full & (values > of_size)], minlength=len(ids))
        peak = np.zeros(len(ids))
        np.maximum.at(peak, vm, values)
        for index in np.flatnonzero(at_limit).tolist():
            yield Violation(
                ids[index], metric, int(known[index]), int(at_limit[index]), int(above[index]), float(peak[index])
            )


def _coded(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The words of a column and, for each row, the place of its word."""
    with needs("pyarrow"):
        import pyarrow as pa
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    one = encoded.unify_dictionaries().combine_chunks()
    flat = one.chunk(0) if isinstance(one, pa.ChunkedArray) else one
    return flat.dictionary.to_pylist(), flat.indices.to_numpy().astype("int64")
