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

    An id is what ``vms`` says, and the unique_id, the UUID or the name of a VM of the snapshot, where only one has it.
    Raises ``artifact.*``.
    """
    if not snapshot:
        return dict(vms) if vms else None
    known = context.artifacts.get(Snapshot, snapshot).vms
    pairs = {(one, vm.unique_id) for vm in known for one in (vm.unique_id, vm.unique_id.rpartition("/")[2], vm.name)}
    count = Counter(one for one, _unused in pairs)
    return {**{one: vm for one, vm in pairs if count[one] == 1}, **(vms or {})}
