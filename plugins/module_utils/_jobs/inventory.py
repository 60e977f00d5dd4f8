# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as an inventory: one plain row for each VM and host, with what the newest plan says of it."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .._core.errors import HeadroomError
from .._records.demand import DEMANDS
from .._records.plan import Plan
from .._records.vm import DEVICE_LIMITS, LIMITS, MEMORY_MIB, VCPUS, kind_of, target_of
from .._store import references
from .._store.db import Database
from .observe import gap_warnings, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Collection

    from .._records.host import Host
    from .._records.vm import VM
    from .context import Context

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
VM_COLUMNS = ("host_set", "power", "vcpus", "memory_mib", "tenant", "owner", "mode", "refused")
HOST_COLUMNS = (
    "host_id",
    "host_set",
    "vcpus",
    "vcpus_reserved",
    "vcpus_allocation_ratio_ppm",
    "memory_mib",
    "memory_reserved_mib",
    "memory_allocation_ratio_ppm",
)
SIZE_PLANS = "plan/sha256:"  # references to plans by forecast; what the guard plans is about a few VMs
# Resource -> variable of the forecast's upper bound that the plan went by.
UPPERS = {VCPUS: "headroom_cpu_upper_millicores", MEMORY_MIB: "headroom_memory_upper_mib"}
# Pressure of a VM: that bound in percent of the present size, of the resource where it is highest; from -> word.
PRESSURES = ((100, "over"), (80, "high"), (40, "normal"), (0, "low"))


def fleet(context: Context, *, figures: bool, reserved: Collection[str] = ()) -> dict[str, Any]:
    """Observe all endpoints and return ``vms``, ``hosts`` (inventory name -> variables) and ``gaps``; plain JSON.

    A name that only one of them bears is its inventory name, with underscores for what host patterns might take for
    their own. All that share a name, or bear one of ``reserved``, get ``name@endpoint``, and where even that is not
    enough, ``name@endpoint-`` and the platform's id.
    Raises ``endpoint.none``; with ``figures`` also ``store.*``.
    """
    snapshot = take_snapshot(context)
    planned = _figures(context) if figures else {}
    named: list[VM | Host] = [*snapshot.vms, *snapshot.hosts]
    names = _unique_names([(_UNSAFE.sub("_", one.name), one.endpoint, _platform_id(one)) for one in named], reserved)
    count = len(snapshot.vms)
    return {
        "vms": {name: {**_vm(vm), **planned.get(vm.unique_id, {})} for name, vm in zip(names[:count], snapshot.vms)},
        "hosts": {name: _host(host) for name, host in zip(names[count:], snapshot.hosts)},
        "gaps": list(gap_warnings(snapshot)),
    }


def _vm(vm: VM) -> dict[str, Any]:
    found = {f"headroom_{name}": getattr(vm, name) for name in VM_COLUMNS}
    for limit in LIMITS:
        sizes = {target_of(one): vm.size(one) for one in vm.each(limit)}
        found[f"headroom_{limit}"] = sizes if limit in DEVICE_LIMITS else sizes[""]
    found["headroom_unique_id"] = vm.unique_id
    found["headroom_endpoint"] = vm.endpoint
    found["headroom_name"] = vm.name
    found["headroom_host_id"] = vm.host_id
    found["headroom_mode"] = vm.mode or ""
    found["headroom_tags"] = list(vm.tags)
    return found


def _host(host: Host) -> dict[str, Any]:
    found = {f"headroom_{name}": getattr(host, name) for name in HOST_COLUMNS}
    found["headroom_endpoint"] = host.endpoint
    found["headroom_name"] = host.name
    return found


def _platform_id(one: VM | Host) -> str:
    own_id: str = getattr(one, "unique_id", "") or getattr(one, "host_id", "")
    return own_id.partition("/")[2]


def _unique_names(named: list[tuple[str, str, str]], reserved: Collection[str]) -> list[str]:
    """The same names for the same fleet, in whatever order its endpoints answer."""
    plain = Counter(one[0] for one in named)
    qualified = Counter(one[:2] for one in named)
    names = []
    for name, endpoint, platform_id in named:
        if plain[name] == 1 and name not in reserved:
            names.append(name)
        elif qualified[name, endpoint] == 1:
            names.append(f"{name}@{endpoint}")
        else:
            names.append(f"{name}@{endpoint}-{platform_id}")
    return names


def _newest_plan(context: Context) -> str:
    try:
        with closing(Database(context.url("state"), read_only=True)) as database, database.transaction() as connection:
            return references.newest(connection, SIZE_PLANS)
    except HeadroomError as error:
        if error.code != "store.empty":
            raise
        return ""  # nothing was ever planned


def _figures(context: Context) -> dict[str, dict[str, Any]]:
    """unique_id -> what the newest plan decided about it. The stores are only read."""
    newest = _newest_plan(context)
    if not newest:
        return {}
    found: dict[str, dict[str, Any]] = {}
    heaviest: dict[str, int] = {}  # unique_id -> percent of its size that the forecast may use
    for decision in context.artifacts.get(Plan, newest).decisions:
        row = found.setdefault(decision.unique_id, {"headroom_newest_plan": newest, "headroom_actions": []})
        kind, target = kind_of(decision.resource), target_of(decision.resource)
        for word, value in (("wanted", decision.size_wanted), ("why", decision.reason)):
            if target:  # of each disk or interface
                row.setdefault(f"headroom_{kind}_{word}", {})[target] = value
            else:
                row[f"headroom_{kind}_{word}"] = value
        if decision.action_id:
            row["headroom_actions"].append(decision.code)
        if decision.resource in UPPERS and decision.upper is not None and decision.size_now:
            row[UPPERS[decision.resource]] = decision.upper
            percent = 100 * decision.upper // (decision.size_now * DEMANDS[decision.resource].per_unit)
            heaviest[decision.unique_id] = max(percent, heaviest.get(decision.unique_id, 0))
    for unique_id, percent in heaviest.items():
        found[unique_id]["headroom_pressure"] = next(word for least, word in PRESSURES if percent >= least)
    return found
