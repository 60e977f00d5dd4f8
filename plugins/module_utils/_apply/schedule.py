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
_ABANDONED = End(SKIPPED, "defect", "A worker of this run died of a defect.")
# How long a worker sleeps when all it could take waits for something outside this process.
POLL_S = 0.5


class Schedule:
    """Hands out actions whose predecessors are done, and keeps how each ended.

    Of each endpoint one action at a time stands at the gate, in the order of the plan: so a budget or a host's last
    room goes to the action that a rehearsal said it would.
    """

    def __init__(self, plan: Plan) -> None:
        self._waiting: dict[str, dict[str, Action]] = {action.endpoint: {} for action in plan.actions}
        for action in plan.actions:
            self._waiting[action.endpoint][action.action_id] = action
        self._at_gate: dict[str, str] = {}  # endpoint -> action_id
        self._changed = threading.Condition()
        self._stopped: dict[str, End] = {}  # by endpoint; "": the whole run
        self.ends: dict[str, End] = {}

    @property
    def stopped(self) -> Optional[End]:
        """What stopped the whole run early."""
        return self._stopped.get("")

    def stopped_at(self, endpoint: str) -> Optional[End]:
        """What stopped this endpoint, or the whole run."""
        return self._stopped.get(endpoint) or self.stopped

    def next_ready(self, endpoint: str) -> Optional[Action]:
        """The first action of this endpoint whose predecessors are done, for the gate; waits. None: no more."""
        with self._changed:
            while self._waiting[endpoint]:
                if endpoint not in self._at_gate and (action := self._first_ready(endpoint)):
                    del self._waiting[endpoint][action.action_id]
                    self._at_gate[endpoint] = action.action_id
                    return action
                if self._waiting[endpoint]:
                    self._changed.wait(POLL_S)
            return None

    def passed(self, action: Action) -> None:
        """The action is through the gate, or has to come back to it later: the next one may step up."""
        with self._changed:
            self._leave_gate(action)

    def step_up(self, action: Action) -> None:
        """Come back to the gate; waits until it is free."""
        with self._changed:
            self._changed.wait_for(lambda: action.endpoint not in self._at_gate)
            self._at_gate[action.endpoint] = action.action_id

    def finish(self, action: Action, end: End) -> None:
        """Record how an action ended."""
        with self._changed:
            self._end(action, end)

    def abandon(self, action: Action) -> None:
        """Where its worker died of a defect, end the action and the run: nobody may wait for it."""
        with self._changed:
            if action.action_id not in self.ends:
                self._end(action, _ABANDONED)
                self.stop(_ABANDONED)

    def stop(self, end: End, *, endpoint: str = "") -> None:
        """Hand out nothing more, of one endpoint or at all; what waits ends so."""
        with self._changed:
            self._stopped.setdefault(endpoint, end)
            for name in [endpoint] if endpoint else list(self._waiting):
                for action in list(self._waiting[name].values()):
                    self._end(action, end)

    def _first_ready(self, endpoint: str) -> Optional[Action]:
        for action in list(self._waiting[endpoint].values()):
            ends = [self.ends.get(before) for before in action.after]
            if any(end and end.state not in _FULFILLED for end in ends):
                self._end(action, End(SKIPPED, "dependency", "What had to be done first was not done."))
            elif all(ends):
                return action
        return None

    def _leave_gate(self, action: Action) -> None:
        if self._at_gate.get(action.endpoint) == action.action_id:
            del self._at_gate[action.endpoint]
            self._changed.notify_all()

    def _end(self, action: Action, end: End) -> None:
        self._waiting[action.endpoint].pop(action.action_id, None)
        self._leave_gate(action)
        self.ends[action.action_id] = end
        self._changed.notify_all()
