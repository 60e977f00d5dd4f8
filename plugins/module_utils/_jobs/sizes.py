# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each VM really had over a stretch of time, from two snapshots and the journal's acts between them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import reduce
from typing import TYPE_CHECKING, Optional

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._core.units import MILLICORES_PER_VCPU, SECOND_US, US_PER_MS
from .._forecast.forecast import shape_of
from .._forecast.realised import Frame, Point, sizes_along
from .._forecast.select import looked_back
from .._records.codec import decode_artifact
from .._records.demand import DEMANDS
from .._records.receipt import DONE, REVERTED
from .._records.snapshot import Snapshot
from .._records.vm import CPU_LIMIT_MILLICORES, DEVICE_LIMITS, LIMITS, MEMORY_MIB, VCPUS, kind_of
from .._replay.loop import seen_under
from .._store import journal
from .actions import planned_actions
from .recorded import MEASURES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .._forecast.request import Request
    from .._records.action import Action
    from .._records.vm import VM
    from .._replay.trace import Trace
    from .context import Context

    Floats = npt.NDArray[np.float32]
    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

# Resource -> what bounds the use of it, each with how much of the metric one unit is: a VM has the least of them.
BOUNDS = {VCPUS: {VCPUS: MILLICORES_PER_VCPU, CPU_LIMIT_MILLICORES: 1}, MEMORY_MIB: {MEMORY_MIB: 1}}
# Acts after a clock count as well: the first of them says what there was before it, of which what is there now, or in a
# snapshot of any time, says nothing.
EVER_US = round(datetime(9999, 1, 1, tzinfo=timezone.utc).timestamp()) * SECOND_US
IMPOSSIBLE = 1.2  # times a size: who used more had another one then, which somebody else has changed

Acts = Mapping[str, Mapping[str, Sequence[Point]]]  # by what bounds a resource, and unique_id


def snapshot_before(context: Context, digest: str, *, now: Snapshot) -> Snapshot:
    """Read an earlier snapshot, without the capabilities, of which there are many; lost by now, it saw no VM."""
    try:
        data = context.artifacts.get_json(digest)
    except HeadroomError as error:
        if error.code != "artifact.missing":
            raise
        return Snapshot(now.taken_at, now.endpoints, (), ())
    return decode_artifact(Snapshot, {**data, "vms": [{**vm, "capabilities": []} for vm in data["vms"]]})


def acts_between(context: Context, *, bounds: Mapping[str, int], since_us: int, until_us: int) -> Acts:
    """When acts of the journal changed one of these bounds, or that of a device, and from what to what.

    ``bounds``: each with how much of its metric one unit is.
    """
    with context.database.transaction() as connection:
        entries = journal.written_between(
            connection, since_ms=since_us // US_PER_MS, until_ms=-(-until_us // US_PER_MS)
        )
    entries = tuple(one for one in entries if kind_of(one.resource) in bounds)
    spans = {
        (plan, action.action_id): _span(action, bounds[kind_of(action.resource)])
        for plan in {one.plan for one in entries}
        for action in planned_actions(context, plan)
        if kind_of(action.resource) in bounds
    }
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for one in entries:
        size_before, size_after = spans.get((one.plan, one.action_id), (math.nan, math.nan))
        ended = {DONE: size_after, REVERTED: size_before}.get(one.state, math.nan)
        point = Point(one.begun_at_ms * US_PER_MS, one.updated_at_ms * US_PER_MS, size_before, ended)
        found[one.resource][one.unique_id].append(point)
    return found


def sizes_between(context: Context, before: Snapshot, after: Snapshot, *, frame: Frame, resource: str) -> Doubles:
    """The size [V, T] of each VM of ``after`` in the metric's unit, infinite where nothing bounds it; NaN: not known.

    A VM that has what it had before, and that no act touched, had it in between. What changed outside of Headroom
    changed at a time that nobody knows.
    """
    return least_of(bounds_between(context, before, after, frame=frame, resource=resource))


def bounds_between(
    context: Context, before: Snapshot, after: Snapshot, *, frame: Frame, resource: str
) -> dict[str, Doubles]:
    """The same of each of what bounds the resource; the size is the least of them."""
    with needs("numpy"):
        import numpy as np
    known = {vm.unique_id: vm for vm in before.vms}
    then_us, now_us = (_us(seen) for seen in (before, after))
    acts = acts_between(context, bounds=BOUNDS[resource], since_us=then_us, until_us=now_us)
    found = {}
    for bound, per_unit in BOUNDS[resource].items():
        had = np.array([_amount(known.get(vm.unique_id), bound, per_unit) for vm in after.vms], dtype=np.float64)
        has = np.array([_amount(vm, bound, per_unit) for vm in after.vms], dtype=np.float64)
        sizes = np.repeat(np.where(had == has, has, np.nan)[:, None], frame.columns, axis=1)
        touched = acts.get(bound, {})
        for row, vm in enumerate(after.vms if touched else ()):
            if vm.unique_id in touched:
                ends = [Point(then_us, then_us, had[row], had[row]), Point(now_us, now_us, has[row], has[row])]
                sizes[row] = sizes_along([*ends, *touched[vm.unique_id]], frame)
        found[bound] = sizes
    return found


def least_of(bounds: Mapping[str, Doubles]) -> Doubles:
    """What the tightest of what bounds a resource leaves; NaN where one is not known."""
    with needs("numpy"):
        import numpy as np
    return reduce(np.minimum, bounds.values())


def sizes_by(acts: Acts, vms: Sequence[VM], *, frame: Frame, resource: str) -> Doubles:
    """The size [V, T] of each VM from acts alone, in the metric's unit; NaN in an interval with an act.

    Before its first act a VM is taken to have had what that act began with, and without any what it has.
    """
    with needs("numpy"):
        import numpy as np
    least: Doubles = np.full((len(vms), frame.columns), np.inf)
    for bound, per_unit in BOUNDS[resource].items():
        for row, vm in enumerate(vms):
            least[row] = np.minimum(least[row], _bound_by(acts, vm, bound, per_unit, frame=frame))
    return least


def _bound_by(acts: Acts, vm: VM, bound: str, per_unit: int, *, frame: Frame) -> Doubles:
    """The same [T] of one VM and one of what bounds the resource."""
    with needs("numpy"):
        import numpy as np
    starts = frame.start_us + np.arange(frame.columns) * frame.step_us
    points = sorted(acts.get(bound, {}).get(vm.unique_id, ()), key=lambda point: (point.to_us, point.from_us))
    first = points[0].before if points else _amount(vm, bound, per_unit)
    had = np.array([first, *(point.after for point in points)])
    sizes = had[np.searchsorted([point.to_us for point in points], starts, side="right")]
    for point in points:
        sizes[(starts + frame.step_us > point.from_us) & (starts < point.to_us)] = np.nan
    return sizes


def in_force(limit: Doubles, whole: Doubles) -> Doubles:
    """The limit where it is below all that it limits, else infinite; both in the metric's unit, NaN: not known."""
    with needs("numpy"):
        import numpy as np
    with np.errstate(invalid="ignore"):
        return np.where(limit < whole, limit, np.inf)


def held_back(context: Context, trace: Trace, vms: Sequence[VM], *, metric: str) -> Flags:
    """Where [V, T] the demand of a trace was seen at the size that its VM had: there may have been more."""
    with needs("numpy"):
        import numpy as np
    of = {vm.unique_id: vm for vm in vms}
    start_us = round(trace.start.timestamp() * SECOND_US)
    frame = Frame(trace.unique_ids, metric, start_us, trace.step_s, trace.steps)
    mine, measure = [of[one] for one in trace.unique_ids], MEASURES[metric]
    until_us = start_us + trace.steps * frame.step_us
    acts = acts_between(context, bounds=BOUNDS[measure.resource], since_us=start_us, until_us=until_us)
    sizes = sizes_by(acts, mine, frame=frame, resource=measure.resource) / measure.unit
    with np.errstate(invalid="ignore"):
        return seen_under(sizes, trace.demand, trace.capacity)[1]


def at_times(values: Doubles, starts_us: Integers, *, frame: Frame) -> Doubles:
    """What is known of a frame [V, T] at other times [N]: [V, N], infinite outside of it."""
    with needs("numpy"):
        import numpy as np
    column = (starts_us - frame.start_us) // frame.step_us
    inside = (column >= 0) & (column < frame.columns)
    return np.where(inside, values[:, np.where(inside, column, 0)], np.inf)


class Had:
    """The sizes of VMs over T intervals: what acts say of those that they touched, of the others what they have."""

    def __init__(
        self, context: Context, vms: Mapping[str, VM], *, metric: str, start_us: int, step_s: int, steps: int
    ) -> None:
        self._measure, self._steps = MEASURES[metric], steps
        acts = acts_between(context, bounds=BOUNDS[self._measure.resource], since_us=start_us, until_us=EVER_US)
        touched = sorted({one for of in acts.values() for one in of} & vms.keys())
        frame = Frame(touched, metric, start_us, step_s, steps)
        some = [vms[one] for one in touched]
        self._acts, self._frame = acts, frame
        sizes = sizes_by(acts, some, frame=frame, resource=self._measure.resource) / self._measure.unit
        self._touched = dict(zip(touched, sizes))

    def over(self, vms: Sequence[VM], demand: Doubles) -> Doubles:
        """In units of size [V, T]; NaN where it is not known, or where such a demand [V, T] tells of another one."""
        with needs("numpy"):
            import numpy as np
        bounds, has = BOUNDS[self._measure.resource], []
        for vm in vms:
            found = [vm.size(bound) * per_unit for bound, per_unit in bounds.items()]
            has.append(float(min((size for size in found if size), default=np.nan)))  # a limit of 0 is none
        sizes = np.repeat(np.array(has)[:, None] / self._measure.unit, self._steps, axis=1)
        for row, vm in enumerate(vms):
            if vm.unique_id in self._touched:
                sizes[row] = self._touched[vm.unique_id]
        with np.errstate(invalid="ignore"):
            return np.where(demand > IMPOSSIBLE * sizes, np.nan, sizes)

    def limited(self, vms: Sequence[VM]) -> list[VM]:
        """Those that may have had a CPU limit in force at some time."""
        acted = self._acts.get(CPU_LIMIT_MILLICORES, {})
        return [
            vm for vm in vms if vm.unique_id in acted or vm.has(CPU_LIMIT_MILLICORES) < vm.whole(CPU_LIMIT_MILLICORES)
        ]

    def limits(self, vms: Sequence[VM], starts_us: Integers) -> Doubles:
        """The CPU limits [V, T] of these VMs in intervals that begin then, in millicores, where they were in force."""
        with needs("numpy"):
            import numpy as np
        found = np.full((len(vms), self._steps), np.inf)
        for row, vm in enumerate(vms):
            limit, whole = (
                _bound_by(self._acts, vm, bound, BOUNDS[VCPUS][bound], frame=self._frame)
                for bound in (CPU_LIMIT_MILLICORES, VCPUS)
            )
            found[row] = in_force(limit, whole)
        return at_times(found, starts_us, frame=self._frame)


class DevicesHad:
    """The tightest limit of each VM's disks, or interfaces, over T intervals: all together must not use more."""

    def __init__(self, acts: Acts, limit: str, frame: Frame) -> None:
        self._acts, self._limit, self._frame = acts, limit, frame

    def over(self, vms: Sequence[VM], demand: Doubles) -> Doubles:
        """In the metric's unit [V, T]; infinite where none was limited, else as ``Had.over``."""
        with needs("numpy"):
            import numpy as np
        found = np.full((len(vms), self._frame.columns), np.inf)
        for row, vm in enumerate(vms):
            for bound in vm.each(self._limit):
                if vm.size(bound) or vm.unique_id in self._acts.get(bound, {}):
                    found[row] = np.minimum(found[row], _bound_by(self._acts, vm, bound, 1, frame=self._frame))
        with np.errstate(invalid="ignore"):
            return np.where(demand > IMPOSSIBLE * found, np.nan, found)


class SeenAtCap:
    """Where the past that corrects a forecast was seen at the size, below capacity, that a VM had: a lower bound."""

    def __init__(self, context: Context, snapshot: Snapshot, request: Request) -> None:
        self._vms = {vm.unique_id: vm for vm in snapshot.vms}
        self._columns = columns = min(request.columns, looked_back(shape_of(request)))
        start_us = round((request.cutoff.timestamp() - columns * request.interval_s) * SECOND_US)
        frame = {"start_us": start_us, "step_s": request.interval_s, "steps": columns}
        metrics = [metric for metric in request.metrics if metric in MEASURES]
        self._had = {metric: Had(context, self._vms, metric=metric, **frame) for metric in metrics}
        limits = {DEMANDS[limit].metric: limit for limit in DEVICE_LIMITS if DEMANDS[limit].metric in request.metrics}
        bounds = dict.fromkeys(limits.values(), 1)
        acts = acts_between(context, bounds=bounds, since_us=start_us, until_us=EVER_US) if limits else {}
        self._devices = {
            metric: DevicesHad(acts, limit, Frame((), metric, start_us, request.interval_s, columns))
            for metric, limit in limits.items()
        }

    def __call__(self, metric: str, unique_ids: Sequence[str], past: Floats) -> Flags:
        """Flags of the past [V, T] of some VMs, in the metric's unit; of one that the snapshot has not, none."""
        with needs("numpy"):
            import numpy as np
        flags = np.zeros(past.shape, dtype=bool)
        rows = [row for row, one in enumerate(unique_ids) if one in self._vms]
        vms = [self._vms[unique_ids[row]] for row in rows]
        if metric in self._devices and rows:
            with np.errstate(invalid="ignore"):
                demand = past[rows, -self._columns :].astype(np.float64)
                flags[rows, -self._columns :] = seen_under(self._devices[metric].over(vms, demand), demand, np.inf)[1]
        if metric in self._had and rows:
            measure = MEASURES[metric]
            demand = past[rows, -self._columns :].astype(np.float64) / measure.unit
            sizes = self._had[metric].over(vms, demand)
            capacity = np.array([[max(vm.size(name) for name in measure.sizes)] for vm in vms], dtype=np.float64)
            with np.errstate(invalid="ignore"):
                most = np.fmax(capacity, np.fmax.reduce(sizes, axis=1, keepdims=True))  # it had that once
                flags[rows, -self._columns :] = seen_under(sizes, demand, most)[1]
        return flags


def _span(action: Action, per_unit: int) -> tuple[float, float]:
    """From what to what; of a limit what its field holds, where 0 is none."""
    if kind_of(action.resource) not in LIMITS:
        return float(action.size_before * per_unit), float(action.size_after * per_unit)
    first = action.changes[0]
    return _limit(first.before), _limit(first.after)


def _amount(vm: Optional[VM], bound: str, per_unit: int) -> float:
    if vm is None:
        return math.nan
    return _limit(vm.size(bound)) if kind_of(bound) in LIMITS else float(vm.size(bound) * per_unit)


def _limit(value: object) -> float:
    if not isinstance(value, int):
        return math.nan
    return float(value) if value else math.inf


def _us(seen: Snapshot) -> int:
    return round(parse_utc(seen.taken_at).timestamp() * SECOND_US)
