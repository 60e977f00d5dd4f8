# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcomes of a forecast, reduced: for each VM and resource the cheapest size, and what service costs there.

All VMs whose sizes go by one granule and one model's prices are reckoned at once; no VM's row touches another's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional

from .._core.needs import needs
from .._core.units import MS_PER_S, PPM
from .._policy.settings import Settings
from .._policy.sizing import SizingPolicy
from .._records.demand import DEMANDS
from .._records.outcomes import CAPACITY, HEADROOM, LEAD_S, METRIC, MODEL, PRICES, SPENT, UNIQUE_ID, Outcomes
from .._records.plan import Service
from .._records.vm import CPU_LIMIT_MILLICORES, LIMITS, MEMORY_MIB, VCPUS, VM
from .constraints import common_granule
from .layers import Layer, planned_limits, size_layer, standing_limit
from .price import Prices, cheapest, cost, expected, pressure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

LEAD_S_UNMEASURED = 300  # what an act is taken to need where too few were measured
# What is chosen by price, and of what it is told how much one more would cost; a larger granule counts instead.
ONE_MORE = {VCPUS: 1, MEMORY_MIB: 1024, CPU_LIMIT_MILLICORES: 100}

Services = dict[tuple[str, str], Service]  # by unique_id and resource or limit


class _Asked(NamedTuple):
    """One VM whose size is asked for, in the unit of the resource."""

    unique_id: str
    row: int  # of the outcomes
    has: int
    least: int
    most: int
    budget: float  # share of the time


def services(
    outcomes: Outcomes, *, vms: Sequence[VM], policy: SizingPolicy, leads_ms: Mapping[tuple[str, str], int]
) -> tuple[Services, tuple[str, ...]]:
    """The cheapest size of every resource and limit that an outcome model speaks of, and what is to be said about it.

    ``leads_ms``: by endpoint and operation, how long acts were measured to take. Of several models the one with the
    smallest lead speaks that is no smaller than that, else the one with the largest.
    """
    rows: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    keys = zip(outcomes.texts[UNIQUE_ID], outcomes.texts[METRIC], outcomes.numbers[LEAD_S].astype(int).tolist())
    for row, (unique_id, metric, lead_s) in enumerate(keys):
        rows[unique_id, metric][lead_s] = row
    found: Services = {}
    slow: dict[tuple[str, str, int], int] = {}  # endpoint, resource, lead of the model -> measured
    for resource in ONE_MORE:
        demand = DEMANDS[resource]
        asked: dict[tuple[int, tuple[float, ...]], list[_Asked]] = defaultdict(list)
        for vm in vms:
            by_lead = rows.get((vm.unique_id, demand.metric))
            settings = policy.effective(vm) if by_lead else None
            layer = _layer(vm, resource, settings) if settings else None
            if by_lead is None or settings is None or layer is None:
                continue
            measured_s = _measured_s(vm, resource, leads_ms)
            wanted_s = measured_s or LEAD_S_UNMEASURED
            lead_s = min((one for one in by_lead if one >= wanted_s), default=max(by_lead))
            if lead_s < measured_s:
                slow[vm.endpoint, resource, lead_s] = measured_s
            row, granule = by_lead[lead_s], common_granule(vm, resource, layer.sizing)
            asked[granule, tuple(outcomes.prices[row].tolist())].append(_ask(vm, row, layer, settings))
        for (granule, prices), some in asked.items():
            found.update(
                _priced(outcomes, some, resource=resource, granule=granule, prices=Prices(**dict(zip(PRICES, prices))))
            )
    warnings = tuple(
        f"{resource} at {endpoint}: acts take {measured_s} s, and no outcome model is for more than {lead_s} s: train "
        "one for that lead"
        for (endpoint, resource, lead_s), measured_s in sorted(slow.items())
    )
    return found, warnings


def _layer(vm: VM, resource: str, settings: Settings) -> Optional[Layer]:
    """None where the policy does not have it planned."""
    if resource not in LIMITS:
        return size_layer(vm, resource, settings)
    return standing_limit(vm, resource, settings) if resource in planned_limits(vm, settings) else None


def _measured_s(vm: VM, resource: str, leads_ms: Mapping[tuple[str, str], int]) -> int:
    """Seconds within which 95 % of the acts were done that may be chosen for it; 0: too few were measured."""
    operations = {one.operation for one in vm.capabilities if one.allowed and one.resource == resource}
    return -(-max((leads_ms.get((vm.endpoint, one), 0) for one in operations), default=0) // MS_PER_S)


def _ask(vm: VM, row: int, layer: Layer, settings: Settings) -> _Asked:
    """What goes by the size that a limit limits comes later: that size may change in the same plan."""
    most = max(layer.size, layer.sizing.maximum)
    if layer.resource in LIMITS:
        limited = LIMITS[layer.resource]
        most = max(most, settings.sizing[limited.size].maximum * limited.per_unit)
    own = settings.sizing[layer.resource]
    return _Asked(vm.unique_id, row, layer.size, own.minimum, most, own.error_budget)


def _priced(outcomes: Outcomes, asked: Sequence[_Asked], *, resource: str, granule: int, prices: Prices) -> Services:
    with needs("numpy"):
        import numpy as np
    of = outcomes.only(np.array([one.row for one in asked], dtype=np.int64))
    demand = DEMANDS[resource]
    scale = demand.per_told / demand.per_unit  # of the resource's unit in one of the outcomes'
    has, least, most = (np.array([getattr(one, name) for one in asked]) for name in ("has", "least", "most"))
    budget = np.array([one.budget for one in asked])
    capacity, spent, headroom = (of.numbers[name] for name in (CAPACITY, SPENT, HEADROOM))
    ordered = has / scale
    chosen = cheapest(
        of.curves, capacity=capacity, ordered=ordered, spent=spent, headroom=headroom, granule=granule / scale,
        prices=prices, budget=budget,
    )  # fmt: skip
    # What stays, stays as it is, whatever its granule; what is chosen anew is not told apart from it by rounding.
    size = np.where(chosen == ordered, has, np.ceil(chosen * scale / granule - 1e-6).astype(np.int64) * granule)
    size = np.clip(size, np.minimum(least, most), most)
    factor = pressure(spent, prices, budget=budget)
    unit = -(-ONE_MORE[resource] // granule) * granule
    more = (size + unit) / scale
    costs = cost(
        of.curves, np.stack([size / scale, more], axis=1), capacity=capacity, headroom=headroom, factor=factor,
        prices=prices,
    )  # fmt: skip
    room = more <= capacity * (1 + 1e-9)
    extra = (costs[:, 1] - costs[:, 0]) * scale / unit
    violated = expected(of.curves, (size / scale)[:, None], capacity=capacity, headroom=headroom)[0]
    ppm = {
        name: np.rint(np.asarray(values) * PPM).astype(np.int64).tolist()
        for name, values in {
            "violated_ppm": violated[:, 0], "spent_ppm": spent, "budget_ppm": budget, "price_ppm": factor,
            "more_ppm": extra,
        }.items()
    }  # fmt: skip
    return {
        (one.unique_id, resource): Service(
            model=of.texts[MODEL][place],
            lead_s=int(of.numbers[LEAD_S][place]),
            size=int(size[place]),
            unit=unit,
            **{name: values[place] for name, values in ppm.items() if name != "more_ppm"},
            more_ppm=ppm["more_ppm"][place] if room[place] else None,
        )
        for place, one in enumerate(asked)
    }
