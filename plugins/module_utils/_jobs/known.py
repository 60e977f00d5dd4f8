# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stores know already of what a source tells: rows of the same intervals, VMs by the names of the source."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Optional

from .._core.needs import needs
from .._records.series import METRICS
from .._records.snapshot import Snapshot
from .._store.series import SeriesStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from .context import Context


def known_rows(series: SeriesStore, fresh: pa.Table) -> pa.Table:
    """Return the rows that the store has of the VMs, the metrics and the time of these rows, all of one interval."""
    with needs("pyarrow"):
        import pyarrow.compute as pc
    if not fresh.num_rows:
        return fresh
    span = pc.min_max(fresh["ds"]).as_py()
    interval_s = fresh["interval_s"][0].as_py()
    metrics = set(pc.unique(fresh["metric"]).to_pylist())
    return series.read(
        pc.unique(fresh["unique_id"]).to_pylist(),
        metrics=[metric for metric in METRICS if metric in metrics],
        start=span["min"],
        end=span["max"] + timedelta(seconds=interval_s),
        interval_s=interval_s,
    )


def vms_by_id(
    context: Context, *, snapshot: Optional[str], vms: Optional[Mapping[str, str]]
) -> Optional[dict[str, str]]:
    """Return id in a source -> VM; None where neither is given: then an id is taken for a unique_id.

    An id is what ``vms`` says, else the unique_id of a VM of the snapshot, else the UUID, else the name, where only one
    has it: a name is a person's choice, and must not stand in the way of another VM's UUID. Raises ``artifact.*``.
    """
    if not snapshot:
        return dict(vms) if vms else None
    known = context.artifacts.get(Snapshot, snapshot).vms
    found: dict[str, Optional[str]] = {}
    for pairs in (
        [(vm.name, vm.unique_id) for vm in known],
        [(vm.unique_id.rpartition("/")[2], vm.unique_id) for vm in known],
        [(vm.unique_id, vm.unique_id) for vm in known],
    ):
        count = Counter(one for one, _unused in pairs)
        found.update({one: vm if count[one] == 1 else None for one, vm in pairs})
    return {**{one: vm for one, vm in found.items() if vm is not None}, **(vms or {})}
