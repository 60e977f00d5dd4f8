# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let actions of a stored plan go ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.errors import HeadroomError
from .._policy.settings import MODE_RECOMMEND
from .._records.plan import Plan
from .._store import approvals
from .context import Result

if TYPE_CHECKING:
    from collections.abc import Collection

    from .context import Context


def approve(context: Context, *, plan: str, actions: Optional[Collection[str]] = None, ttl_s: int = 86400) -> Result:
    """Write an approval by the caller; None approves every action that may be approved.

    The same again, or what ends no later than the caller's approval in force: no change.
    Raises ``approval.ttl``, ``approval.unknown``, ``approval.recommend_only``, ``approval.empty``, ``artifact.*``.
    """
    if ttl_s < 1:
        raise HeadroomError("approval.ttl", f"ttl_s is {ttl_s}.", advice="Give 1 or more.")
    modes = {action.action_id: action.mode for action in context.artifacts.get(Plan, plan).actions}
    wanted = {one for one, mode in modes.items() if mode != MODE_RECOMMEND} if actions is None else set(actions)
    for action_id in sorted(wanted):
        if action_id not in modes:
            raise HeadroomError(
                "approval.unknown", f"The plan has no action {action_id}.", advice="See allocation_plan_info."
            )
        if modes[action_id] == MODE_RECOMMEND:
            raise HeadroomError(
                "approval.recommend_only",
                f"The policy only recommends action {action_id}.",
                advice="Set mode approve for its scope in the sizing policy, and plan again.",
            )
    if actions is not None and not wanted:
        raise HeadroomError("approval.empty", "No action was named.", advice="Name actions, or leave them out.")
    with context.database.transaction() as connection:
        now_ms = context.database.now_ms(connection)
        in_force = [
            one
            for one in approvals.of_plan(connection, plan)
            if one.who == context.who
            and one.expires_at_ms > now_ms
            and (one.expires_at_ms >= now_ms + ttl_s * 1000 or one.expires_at_ms == one.at_ms + ttl_s * 1000)
        ]
        new = wanted - {action_id for one in in_force for action_id in one.actions}
        if new:
            approvals.grant(
                context.database, connection, plan, who=context.who, ttl_s=ttl_s, actions=new, run_id=context.run
            )
    return Result(changed=bool(new), values={"plan": plan, "approved": sorted(wanted), "who": context.who})
