# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which action may go next: the plan's DAG, shared by the workers of all endpoints."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional

from .._records.receipt import ALREADY_DONE, DONE, SKIPPED
from .engine import End

if TYPE_CHECKING:
    from .._records.action import Action
    from .._records.plan import Plan

# Ends that fulfil what another action waits for.
_FULFILLED = (DONE, ALREADY_DONE)
# How long a worker sleeps when all it could take waits for something outside this process.
POLL_S = 0.5


class Schedule:
    """Hands out actions whose predecessors are done, and keeps how each ended."""

    def __init__(self, plan: Plan) -> None:
        self._waiting = {action.action_id: action for action in plan.actions}
        self._changed = threading.Condition()
        self.ends: dict[str, End] = {}
        self._stopped: dict[str, End] = {}  # by endpoint; "": the whole run

    @property
    def stopped(self) -> Optional[End]:
        """What stopped the whole run early."""
        return self._stopped.get("")

    def stopped_at(self, endpoint: str) -> Optional[End]:
        """What stopped this endpoint, or the whole run."""
        return self._stopped.get(endpoint) or self.stopped

    def next_ready(self, endpoint: str) -> Optional[Action]:
        """The first action of this endpoint whose predecessors are done; waits for them. None: no more, or stopped."""
        with self._changed:
            while True:
                left = [action for action in self._waiting.values() if action.endpoint == endpoint]
                if not left:
                    return None
                for action in left:
                    ends = [self.ends.get(before) for before in action.after]
                    if any(end and end.state not in _FULFILLED for end in ends):
                        self._end(action, End(SKIPPED, "dependency", "What had to be done first was not done."))
                        break
                    if all(ends):
                        del self._waiting[action.action_id]
                        return action
                else:
                    self._changed.wait(POLL_S)

    def finish(self, action: Action, end: End) -> None:
        """Record how an action ended."""
        with self._changed:
            self._end(action, end)

    def stop(self, end: End, *, endpoint: str = "") -> None:
        """Hand out nothing more, of one endpoint or at all; what waits ends so."""
        with self._changed:
            self._stopped.setdefault(endpoint, end)
            for action in [one for one in self._waiting.values() if endpoint in ("", one.endpoint)]:
                self._end(action, end)

    def _end(self, action: Action, end: End) -> None:
        self._waiting.pop(action.action_id, None)
        self.ends[action.action_id] = end
        self._changed.notify_all()
