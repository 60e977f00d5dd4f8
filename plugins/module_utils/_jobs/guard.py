# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: every few minutes, what the newest telemetry says is short becomes a plan that lets it grow.

It has to be cheap. Of the snapshot only what VMs have is read, of the telemetry the last minutes; all else - policy,
history, ways to act - is looked up for the VMs that gave a signal.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Optional

from .._core.canonical import digest as digest_of
from .._core.canonical import digest_bytes
from .._core.collector import many_records
from .._core.needs import needs
from .._core.units import MILLICORES_PER_VCPU, MS_PER_S, US_PER_MS
from .._plan.diff import after_text, before_text
from .._plan.plan import metrics_of
from .._plan.signals import Late, signals_by, suspects
from .._plan.urgent import make_guard
from .._records.lean import read_lean
from .._records.series import CPU_MILLICORES, DAY_S, MEMORY_USED_MIB
from .._records.vm import CPU_LIMIT_MILLICORES, DEVICE_LIMITS, MEMORY_MIB, VCPUS
from .._store import references
from .._store.dense import grids, largest
from .actions import planned_actions
from .context import Result
from .plan import acts_of, missing_warning, opposed_warnings, read_policy, read_state, resolve_scope, summary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt

    from .._policy.sizing import SizingPolicy
    from .._records.vm import VM
    from .context import Context

    Doubles = npt.NDArray[np.float64]

DEFAULT_INTERVAL_S = 300


@many_records()
def guard(
    context: Context,
    *,
    snapshot: str,
    series_interval_s: int = DEFAULT_INTERVAL_S,
    policy_text: str = "",
    policy_name: str = "",
    scope: Optional[Collection[str]] = None,
) -> Result:
    """Store a plan for what is short now; changed: actions that the guard's last plan of this scope and policy had not.

    ``scope`` as for a plan by forecast. Raises ``scope.empty``, ``policy.*``, ``artifact.*``, ``series.*`` and
    ``store.*``.
    """
    seen = read_lean(context.artifacts.get_bytes(snapshot))
    vms = seen.snapshot.vms
    policy, text = read_policy(policy_text, policy_name)
    ids, missing = resolve_scope(seen.snapshot, scope)
    late = _late(context, [vm.unique_id for vm in vms], policy, interval_s=series_interval_s)
    mine = set(ids)
    rows = [row for row in suspects(late, _has(vms, policy), policy).tolist() if vms[row].unique_id in mine]
    whole = [seen.vm(row) for row in rows]
    with context.database.transaction() as connection:
        state = read_state(context, connection)
    made = make_guard(
        seen.snapshot,
        suspects=whole,
        readings={vm.unique_id: late.of(row) for row, vm in zip(rows, whole)},
        peaks=_peaks(context, [vm.unique_id for vm in whole], policy, interval_s=series_interval_s),
        interval_s=series_interval_s,
        policy=policy,
        state=state,
        now=context.now,
        snapshot_digest=snapshot,
        policy_digest=digest_bytes(text),
    )
    name = f"plan/guard/{digest_of({'scope': list(ids), 'policy': made.policy})}"
    with context.database.transaction() as connection:
        last = references.get(connection, name)
    before = acts_of(planned_actions(context, last)) if last else []
    changed = any(act not in before for act in acts_of(made.actions))
    warnings = (
        *made.warnings,
        *missing_warning(missing),
        *opposed_warnings(context, made),
        *_deaf(late, policy, now=context.now),
    )
    context.artifacts.put_bytes(text)
    digest = context.artifacts.put(made)
    with context.database.transaction() as connection:
        references.put(context.database, connection, name, digest)
    return Result(
        changed=changed,
        values={"plan": digest, **summary(made), "short": list(made.scope)},
        before=before_text(made),
        after=after_text(made),
        warnings=warnings,
    )


def _late(context: Context, unique_ids: Sequence[str], policy: SizingPolicy, *, interval_s: int) -> Late:
    """The newest intervals of these VMs."""
    with needs("numpy"):
        import numpy as np
    since = context.now - timedelta(minutes=policy.most("guard.freshness_minutes"))
    end = context.now + timedelta(seconds=1)
    metrics = sorted({signal.metric for signal in signals_by(policy)})
    scan = context.series.scan(unique_ids, metrics=metrics, start=since, end=end, interval_s=interval_s)
    place = {unique_id: row for row, unique_id in enumerate(scan.unique_ids)}
    mean: dict[str, Doubles] = {metric: np.full(len(place), np.nan) for metric in metrics}
    maximum: dict[str, Doubles] = {metric: np.full(len(place), np.nan) for metric in metrics}
    start_ms = {metric: np.zeros(len(place), dtype=np.int64) for metric in metrics}
    for grid in grids(scan):
        first = place[grid.unique_ids[0]]
        known = np.isfinite(grid.mean)
        rows = np.flatnonzero(known.any(axis=1))
        newest = scan.span.slots - 1 - known[rows, ::-1].argmax(axis=1)
        mean[grid.metric][first + rows] = grid.mean[rows, newest]
        maximum[grid.metric][first + rows] = grid.maximum[rows, newest]
        start_ms[grid.metric][first + rows] = scan.span.start_us // US_PER_MS + newest * (interval_s * MS_PER_S)
    order = np.array([place[unique_id] for unique_id in unique_ids], dtype=np.int64)
    return Late(
        {metric: of[order] for metric, of in mean.items()},
        {metric: of[order] for metric, of in maximum.items()},
        {metric: of[order] for metric, of in start_ms.items()},
    )


def _has(vms: Sequence[VM], policy: SizingPolicy) -> Mapping[str, Doubles]:
    """Resource or limit -> what VMs have of it, in its metric's unit; of devices what the tightest limit leaves."""
    with needs("numpy"):
        import numpy as np
    vcpus = np.array([vm.vcpus for vm in vms], dtype=np.float64)
    return {
        VCPUS: vcpus * MILLICORES_PER_VCPU,
        CPU_LIMIT_MILLICORES: np.array([vm.has(CPU_LIMIT_MILLICORES) for vm in vms], dtype=np.float64),
        MEMORY_MIB: np.array([vm.memory_mib for vm in vms], dtype=np.float64),
        **{
            limit: np.array([_tightest(vm, limit) for vm in vms], dtype=np.float64)
            for limit in DEVICE_LIMITS
            if policy.quantiles(limit)
        },
    }


def _tightest(vm: VM, limit: str) -> float:
    """Infinite where no device of the VM has such a limit."""
    return min((float(size) for size in map(vm.size, vm.each(limit)) if size), default=math.inf)


def _peaks(
    context: Context, unique_ids: Sequence[str], policy: SizingPolicy, *, interval_s: int
) -> dict[tuple[str, str], float]:
    """The largest demand of the last day: the maximum of an interval where it is known, else its mean."""
    start, end = context.now - timedelta(seconds=DAY_S), context.now + timedelta(seconds=1)
    scan = context.series.scan(unique_ids, metrics=metrics_of(policy), start=start, end=end, interval_s=interval_s)
    return {
        (unique_id, metric): peak
        for metric, peaks in largest(scan).items()
        for unique_id, peak in zip(scan.unique_ids, peaks.tolist())
        if not math.isnan(peak)
    }


def _deaf(late: Late, policy: SizingPolicy, *, now: datetime) -> tuple[str, ...]:
    """A guard that hears nothing must not pass for one that has nothing to say."""
    with needs("numpy"):
        import numpy as np
    minutes = policy.most("guard.freshness_minutes")
    since_ms = (now - timedelta(minutes=minutes)).timestamp() * MS_PER_S
    for metric in (CPU_MILLICORES, MEMORY_USED_MIB):
        if (~np.isnan(late.mean[metric]) & (late.start_ms[metric] >= since_ms)).any():
            return ()
    since = f"began in the last {minutes:g} minutes (guard.freshness_minutes)"
    return (f"No VM has telemetry of an interval that {since}: nobody knows what is short.",)
