# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closed-loop replay: what would have happened, had a policy set the sizes.

The loop is closed: once a size is below capacity, a policy sees min(demand, size) and whether the VM was saturated,
never the demand above its own cap. At tick T, the START of interval T, it knows the intervals before T. Every
``every`` ticks it may ask for any size, at the other ticks (the guard) only for a larger one. What it asks for at T
lands at T + lead. Until the first of its sizes has landed, a VM has its capacity, as it changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Union

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.candidates import BELOW, SATURATED

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .trace import Trace

    Doubles = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

Number = TypeVar("Number", bound=Any)


@dataclass(frozen=True)
class Observed:
    """What is known at tick ``t`` of V VMs. The arrays over time end there, and are read-only."""

    t: int
    hourly: bool  # any size may be asked for; else only a larger one
    seen: Doubles  # [V, t], use: demand, or the size where that was less; NaN: not known
    saturated: Flags  # [V, t]
    allocation: Doubles  # [V, t], the size that held
    capacity: Doubles  # [V], as of t - 1; NaN: not there yet
    floor: Doubles  # [V], as of t - 1
    ordered: Doubles  # [V], the newest size asked for, landed or not; NaN: none yet


class Policy(Protocol):
    """What decides on sizes. It may keep a state: a replay asks it once a tick, in order."""

    def decide(self, observed: Observed) -> Doubles:
        """The size wanted for each VM, [V]; NaN leaves it as ordered."""


@dataclass(frozen=True)
class Replayed:
    """The sizes that held, and the N changes that led to them, by tick and VM."""

    allocation: Doubles  # [V, T]
    tick: Integers  # [N]
    vm: Integers  # [N]
    size: Doubles  # [N]


def replay(policy: Policy, trace: Trace, *, first: int, last: int, lead: int, every: int) -> Replayed:
    """Let the policy decide at the ticks ``first`` to ``last`` - 1; lead and every in ticks."""
    with needs("numpy"):
        import numpy as np
    if not 0 < first < last <= trace.steps:
        raise HeadroomError(
            "replay.window",
            "The scored window does not lie within the trace, after its first interval.",
            advice="Score a window of which there is telemetry, and a week of it before (scored_from, scored_to).",
        )
    # Time first: a tick reads and writes rows that lie together. Policies get the transposed view.
    demand, capacity, floor = (np.ascontiguousarray(a.T) for a in (trace.demand, trace.capacity, trace.floor))
    allocation = np.full(demand.shape, np.nan)
    allocation[:first] = capacity[:first]
    seen = np.full(demand.shape, np.nan)
    seen[:first] = demand[:first]
    saturated = np.zeros(demand.shape, dtype=bool)
    views = _read_only(seen).T, _read_only(saturated).T, _read_only(allocation).T
    ordered = capacity[first - 1].copy()
    written = np.full(ordered.shape, np.nan)
    current = np.full(ordered.shape, np.nan)
    pending: dict[int, Doubles] = {}
    changes: list[tuple[Integers, Doubles]] = []
    for t in range(first, last):
        hourly = (t - first) % every == 0
        had, least = capacity[t - 1], floor[t - 1]
        order = policy.decide(
            Observed(
                t, hourly, seen=views[0][:, :t], saturated=views[1][:, :t], allocation=views[2][:, :t],
                capacity=_read_only(had), floor=_read_only(least), ordered=_read_only(ordered),
            )
        )  # fmt: skip
        order = np.where(np.isnan(order), ordered, np.minimum(np.maximum(order, least), had))
        ordered = order if hourly else np.fmax(order, ordered)
        vms = np.flatnonzero((ordered != written) & ~np.isnan(ordered))
        changes.append((vms, ordered[vms]))
        written = ordered
        pending[t + lead] = ordered
        current = pending.pop(t, current)
        allowed = np.minimum(np.maximum(current, floor[t]), capacity[t])
        allocation[t] = np.where(np.isnan(current), capacity[t], allowed)
        seen[t], saturated[t] = seen_under(allocation[t], demand[t], capacity[t])
    allocation[last:] = capacity[last:]
    counts = [len(vms) for vms, _unused in changes]
    return Replayed(
        allocation=np.ascontiguousarray(allocation.T),
        tick=np.repeat(np.arange(first, last), counts),
        vm=np.concatenate([vms for vms, _unused in changes]),
        size=np.concatenate([sizes for _unused, sizes in changes]),
    )


def seen_under(
    allocation: Doubles, demand: Doubles, capacity: Union[float, Doubles], share: Union[float, Doubles] = SATURATED
) -> tuple[Doubles, Flags]:
    """What is seen of a demand under an allocation, and whether that held it back; arrays of one shape.

    ``share`` of an allocation, at most 1, is all of it.
    """
    with needs("numpy"):
        import numpy as np
    below = allocation < capacity * BELOW
    seen = np.where(below, np.minimum(demand, allocation), demand)
    return seen, below & (seen >= share * allocation)


def decisions_table(trace: Trace, replayed: Replayed, *, lead: int) -> pa.Table:
    """The changes as rows of unique_id, issued_at, effective_at (UTC) and allocation, by time and VM."""
    with needs("numpy", "pyarrow"):
        import numpy as np
        import pyarrow as pa
    start = int(trace.start.timestamp()) * 1_000_000
    step = timedelta(seconds=trace.step_s) // timedelta(microseconds=1)
    issued = start + replayed.tick * step
    ids = pa.DictionaryArray.from_arrays(
        replayed.vm.astype(np.int32), pa.array(trace.unique_ids, pa.string())
    ).dictionary_decode()
    times = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "unique_id": ids,
            "issued_at": pa.array(issued, times),
            "effective_at": pa.array(issued + lead * step, times),
            "allocation": pa.array(replayed.size),
        }
    )


def _read_only(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    view = array.view()
    view.flags.writeable = False
    return view
