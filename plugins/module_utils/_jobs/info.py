# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that change nothing: what is this VM or host, what is in that plan, is the audit log whole."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from .._core.clock import format_ms
from .._plan.diff import after_text, before_text, plan_table
from .._plan.explain import decisions_of, explain
from .._records.codec import encode
from .._records.plan import Plan
from .._records.receipt import DONE
from .._records.snapshot import Snapshot
from .._records.vm import MEMORY_MIB, VCPUS
from .._store import approvals, audit, holds, journal
from .._store.overlay import open_base
from .context import Result, find_host_name, find_vm_name
from .observe import gap_rows, gap_warnings, take_snapshot
from .plan import summary
from .standing import vm_scorecard

if TYPE_CHECKING:
    from .._records.host import Host
    from .._records.vm import VM
    from .context import Context


def vm_info(context: Context, *, vm: str, snapshot: str = "") -> Result:
    """One VM, as it is now or as a stored snapshot has it. Raises ``vm.unknown``, ``vm.ambiguous``."""
    seen = context.artifacts.get(Snapshot, snapshot) if snapshot else take_snapshot(context)
    unique_id = find_vm_name({one.unique_id: one.name for one in seen.vms}, vm)
    found = next(one for one in seen.vms if one.unique_id == unique_id)
    with context.database.transaction() as connection:
        hold = holds.in_force(context.database, connection).get(unique_id)
        acts = journal.newest_acts(connection, state=DONE)
        card = vm_scorecard(connection, unique_id, now=context.now)
    values = {
        "vm": _vm(found),
        "hold": {"who": hold.who, "reason": hold.reason} if hold else {},
        "last_acts": {
            resource: {"direction": direction, "finished_at": format_ms(finished_ms)}
            for (owner, resource), (direction, finished_ms) in acts.items()
            if owner == unique_id
        },
        "scorecard": card,
        "taken_at": seen.taken_at,
    }
    return Result(changed=False, values=values, warnings=found.warnings)


def host_info(context: Context, *, host: str = "", snapshot: str = "") -> Result:
    """One host or all, with what is allocated on it. Raises ``host.unknown``, ``host.ambiguous``."""
    seen = context.artifacts.get(Snapshot, snapshot) if snapshot else take_snapshot(context)
    hosts = {one.host_id: one for one in seen.hosts}
    wanted = [find_host_name({host_id: one.name for host_id, one in hosts.items()}, host)] if host else sorted(hosts)
    vms_on: dict[str, list[VM]] = {host_id: [] for host_id in wanted}
    for vm in seen.vms:
        if vm.host_id in vms_on:
            vms_on[vm.host_id].append(vm)
    values = {
        "hosts": [_host(hosts[host_id], vms) for host_id, vms in vms_on.items()],
        "gaps": gap_rows(seen),
        "taken_at": seen.taken_at,
    }
    return Result(changed=False, values=values, warnings=gap_warnings(seen))


def plan_info(context: Context, *, plan: str, vm: str = "") -> Result:
    """A stored plan: its actions, who approved them, and for one VM why or why not."""
    made = context.artifacts.get(Plan, plan)
    with context.database.transaction() as connection:
        approved = approvals.approved(context.database, connection, plan)
    values: dict[str, Any] = {"plan": plan, **summary(made), "approved": approved, "table": plan_table(made)}
    if vm:
        values["explanation"] = explain(made, vm)
        values["vm_decisions"] = encode(decisions_of(made, vm))
    return Result(
        changed=False, values=values, before=before_text(made), after=after_text(made), warnings=made.warnings
    )


def audit_verify(context: Context) -> Result:
    """Walk the audit log of the store, also under check: a rehearsal has but its end. Raises ``audit.broken``."""
    count, last = 0, audit.FIRST
    if not context.check:
        count, last = audit.verify(context.database)
    elif base := open_base(context.url("state")):
        with closing(base):
            count, last = audit.verify(base)
    return Result(changed=False, values={"rows": count, "last_hash": last})


def _vm(vm: VM) -> dict[str, Any]:
    """All of it, with the capabilities split into what may be done and what not and why."""
    known: dict[str, Any] = encode(vm)
    capabilities = known.pop("capabilities")
    known["allowed"] = [one for one in capabilities if one["allowed"]]
    known["impossible"] = [one for one in capabilities if not one["allowed"]]
    return known


def _host(host: Host, vms: list[VM]) -> dict[str, Any]:
    """What it has, what of it may be allocated, what is, and to whom."""
    return {
        **{name: getattr(host, name) for name in ("host_id", "name", "endpoint", "host_set")},
        VCPUS: _allocations(
            (host.vcpus, host.vcpus_reserved, host.vcpus_allocation_ratio_ppm),
            allocatable=host.promised(VCPUS),
            allocated=sum(vm.vcpus for vm in vms),
        ),
        MEMORY_MIB: _allocations(
            (host.memory_mib, host.memory_reserved_mib, host.memory_allocation_ratio_ppm),
            allocatable=host.promised(MEMORY_MIB),
            allocated=sum(vm.memory_mib for vm in vms),
        ),
        "numa": encode(host.numa),
        "vms": [
            {name: getattr(vm, name) for name in ("unique_id", "name", "power", "vcpus", "memory_mib")}
            for vm in sorted(vms, key=lambda vm: (vm.name, vm.unique_id))
        ],
    }


def _allocations(inventory: tuple[int, int, int], *, allocatable: int, allocated: int) -> dict[str, int]:
    figures = dict(zip(("capacity", "reserved", "allocation_ratio_ppm"), inventory))
    return {**figures, "allocatable": allocatable, "allocated": allocated, "left": allocatable - allocated}
