# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Newer plans supersede acts that nobody approved, and hold back an approved one whose opposite they want."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable

from .._core.clock import parse_utc
from .._core.errors import HeadroomError, RefusedError
from .._records.plan import PURPOSE_GUARD
from .._store import references

if TYPE_CHECKING:
    from .._records.action import Action
    from .._records.plan import Plan
    from .._store.approvals import Approved
    from .._store.db import Database

# A reference carries the state store's clock and a plan its controller's: no two are further apart.
CLOCKS_APART_MS = 3_600_000


@dataclass(frozen=True)
class NewerPlans:
    """What the plans that were made after ``plan`` want of the VMs and resources that it acts on.

    Several workers ask. A plan that is named while an act is at the gate comes too late for it, as for acts begun.
    """

    plan: Plan
    approved: Approved  # of the plan's actions
    load_plan: Callable[[str], Plan]
    _known: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict, compare=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)

    def check(self, action: Action, database: Database) -> None:
        """Raises RefusedError ``superseded`` for an act that nobody approved, ``opposed`` for one that somebody did."""
        since_ms = round(parse_utc(self.plan.made_at).timestamp() * 1000) - CLOCKS_APART_MS
        with database.transaction() as connection:
            newest_first = references.newest_first(connection, "plan/", since_ms=since_ms)
            approved = self.approved.has(database, connection, action.action_id)
        for digest in newest_first:  # outside the transaction: a plan can be large
            wish = self._wishes(digest).get((action.unique_id, action.resource))
            if wish is None:
                continue
            if not approved:
                raise RefusedError("superseded", f"The newer plan {digest} decides about it.")
            if wish and wish != action.direction:
                raise RefusedError("opposed", f"It is approved, but the newer plan {digest} wants to {wish} instead.")
            return

    def _wishes(self, digest: str) -> dict[tuple[str, str], str]:
        """(unique_id, resource) -> the direction that the plan wants, "" to stay; empty where it is not newer."""
        with self._lock:  # a plan can be large: one worker reads it, the others wait for that
            if digest not in self._known:
                self._known[digest] = self._read(digest)
            return self._known[digest]

    def _read(self, digest: str) -> dict[tuple[str, str], str]:
        if digest == self.approved.plan:
            return {}
        try:
            other = self.load_plan(digest)
        except HeadroomError as error:
            if error.code != "artifact.missing":
                raise
            return {}  # pruned, so nobody can apply it
        if parse_utc(other.made_at) <= parse_utc(self.plan.made_at):
            return {}
        mine = {(one.unique_id, one.resource) for one in self.plan.actions}
        # The guard decides about what it lets grow, and has no say on the rest.
        scope = set() if other.purpose == PURPOSE_GUARD else set(other.scope)
        found = {key: "" for key in mine if key[0] in scope}
        found.update((key, one.direction) for one in other.actions if (key := (one.unique_id, one.resource)) in mine)
        return found
