# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds and the kill switch: what people set to keep hands off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.clock import parse_utc
from .._core.errors import HeadroomError
from .._store import holds, killswitch
from .context import Result

if TYPE_CHECKING:
    from collections.abc import Collection

    from .context import Context


def hold(context: Context, *, unique_ids: Collection[str], reason: str, until: str = "") -> Result:
    """Hold VMs until a time (RFC 3339), or until released. A VM need not be known: it may only come.

    Raises ``hold.over`` for a time that has passed, ``time.*``.
    """
    if until and parse_utc(until) <= context.now:
        raise HeadroomError("hold.over", f"The hold would have ended at {until}.", advice="Give a time to come.")
    until_ms = round(parse_utc(until).timestamp() * 1000) if until else None
    with context.database.transaction() as connection:
        placed = [
            one
            for one in sorted(unique_ids)
            if holds.place(
                context.database, connection, holds.Hold(one, context.who, reason, until_ms), run_id=context.run
            )
        ]
    return Result(changed=bool(placed), values={"held": sorted(unique_ids)})


def release(context: Context, *, unique_ids: Collection[str]) -> Result:
    """End the holds of these VMs."""
    with context.database.transaction() as connection:
        ended = [one for one in sorted(unique_ids) if holds.release(context.database, connection, one, who=context.who)]
    return Result(changed=bool(ended), values={"released": ended})


def kill_switch(context: Context, *, on: Optional[bool], reason: str = "") -> Result:
    """Set the switch, or with None only read it."""
    changed = False
    if on is not None:
        changed = killswitch.turn(context.database, on=on, who=context.who, reason=reason)
    with context.database.transaction() as connection:
        switch = killswitch.read(connection)
    return Result(changed=changed, values={"on": switch.on, "who": switch.who, "reason": switch.reason})
