# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of a stored plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._records.codec import decode_artifact
from .._records.plan import Plan

if TYPE_CHECKING:
    from .._records.action import Action
    from .context import Context


def planned_actions(context: Context, plan: str) -> tuple[Action, ...]:
    """What a plan does, without its decisions, of which a large fleet has many; of one that nobody can apply, nothing.

    That is one that was lost, or is of a release with another schema.
    """
    try:
        return decode_artifact(Plan, {**context.artifacts.get_json(plan), "decisions": []}).actions
    except HeadroomError as error:
        if error.code not in ("artifact.missing", "schema.older", "schema.newer"):
            raise
        return ()
