# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's own request for one VM: an action per resource, approved by the caller, through the common gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._apply.lease import DEFAULT_TERMS, LeaseTerms
from .._core.errors import HeadroomError
from .._plan.resize import make_resize
from .._plan.settings import Asked
from .apply import approve_and_apply
from .context import Result, find_vm_name
from .observe import take_snapshot
from .plan import read_policy, read_state

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from .._records.vm import Value
    from .context import Context


def resize(
    context: Context,
    *,
    vm: str,
    vcpus: Optional[int],
    memory_mib: Optional[int],
    settings: Optional[Mapping[str, Optional[Value]]] = None,
    targets: Optional[Mapping[str, Optional[str]]] = None,
    stop: threading.Event,
    policy_text: str = "",
    policy_name: str = "",
    terms: LeaseTerms = DEFAULT_TERMS,
) -> Result:
    """Bring one VM to these sizes and settings; what is None is not asked for.

    ``settings``: of ``vm.SETTINGS``, by name. ``targets``: the one disk or interface that those of its kind are for; by
    default all. Raises ``resize.refused`` with the reason when a rule or the platform says no.
    """
    snapshot = take_snapshot(context)
    unique_id = find_vm_name({one.unique_id: one.name for one in snapshot.vms}, vm)
    policy, text = read_policy(policy_text, policy_name)
    with context.database.transaction() as connection:
        state = read_state(context, connection)
    made = make_resize(
        snapshot,
        unique_id=unique_id,
        vcpus=vcpus,
        memory_mib=memory_mib,
        asked=Asked(
            goals={name: goal for name, goal in (settings or {}).items() if goal is not None},
            targets={kind: name for kind, name in (targets or {}).items() if name is not None},
        ),
        policy=policy,
        state=state,
        now=context.now,
        snapshot_digest=context.artifacts.put(snapshot),
        policy_digest=context.artifacts.put_bytes(text),
    )
    result = approve_and_apply(context, made, stop=stop, terms=terms)
    refused = [one for one in result.values["outcomes"] if one["state"] in ("skipped", "reverted", "begun")]
    if refused:
        raise HeadroomError(
            "resize.refused",
            "; ".join(f"{one['operation']}: {one['message']} [{one['code']}]" for one in refused),
            advice="See what may be done to this VM with headroom.fleet.vm_info.",
            **result.values,
        )
    return result
