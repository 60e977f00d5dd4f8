# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that change nothing: what is this VM, what is in that plan, is the audit log whole."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._core.clock import format_utc
from .._plan.diff import after_text, before_text, plan_table
from .._plan.explain import decisions_of, explain
from .._records.codec import encode
from .._records.plan import Plan
from .._records.receipt import DONE
from .._records.snapshot import Snapshot
from .._store import approvals, audit, holds, journal
from .context import Result, find_vm_name
from .observe import take_snapshot
from .plan import summary

if TYPE_CHECKING:
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
    values = {
        "vm": _vm(found),
        "hold": {"who": hold.who, "reason": hold.reason} if hold else {},
        "last_acts": {
            resource: {"direction": direction, "finished_at": _time(finished_ms)}
            for (owner, resource), (direction, finished_ms) in acts.items()
            if owner == unique_id
        },
        "taken_at": seen.taken_at,
    }
    return Result(changed=False, values=values, warnings=found.warnings)


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
    """Walk the audit log. Raises ``audit.broken``."""
    count, last = audit.verify(context.database)
    return Result(changed=False, values={"rows": count, "last_hash": last})


def _time(ms: int) -> str:
    return format_utc(datetime.fromtimestamp(ms / 1000, timezone.utc))


def _vm(vm: VM) -> dict[str, Any]:
    """All of it, with the capabilities split into what may be done and what not and why."""
    known: dict[str, Any] = encode(vm)
    capabilities = known.pop("capabilities")
    known["allowed"] = [one for one in capabilities if one["allowed"]]
    known["impossible"] = [one for one in capabilities if not one["allowed"]]
    return known
