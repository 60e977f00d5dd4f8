# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow an apply from another process, by the journal: a module cannot stream."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Callable

from .._core.errors import HeadroomError
from .._records.plan import Plan
from .._records.receipt import FINAL_STATES
from .._store import journal
from .._store.db import Database

if TYPE_CHECKING:
    import threading

    from .._records.action import Action
    from .context import Context

POLL_S = 1.0


def follow(context: Context, *, plan: str, ended: threading.Event, tell: Callable[[str], None]) -> None:
    """Tell each state that an action of the context's run reaches, until ``ended``.

    It only looks, and never spoils what it looks at: where the store does not answer, it tells nothing.
    """
    told: dict[str, str] = {}
    actions: dict[str, Action] = {}
    over = False
    while not over:
        over = ended.wait(POLL_S)  # and once more after that: the last states are the ones that matter
        try:
            actions = actions or {action.action_id: action for action in context.artifacts.get(Plan, plan).actions}
            entries = _entries(context, plan)
        except HeadroomError:
            continue
        for entry in entries:
            if told.get(entry.action_id) != entry.state:
                told[entry.action_id] = entry.state
                tell(_line(actions[entry.action_id], entry, told, of=len(actions)))


def _entries(context: Context, plan: str) -> list[journal.Entry]:
    with closing(Database(context.url("state"), read_only=True)) as database, database.transaction() as connection:
        return [entry for entry in journal.of_run(connection, context.run) if entry.plan == plan]


def _line(action: Action, entry: journal.Entry, told: dict[str, str], *, of: int) -> str:
    """For example "web1: vcpus 2 -> 4: done [3 of 12]"."""
    count = sum(state in FINAL_STATES for state in told.values())
    why = f" ({entry.message})" if entry.message else ""
    before, after = action.span
    return f"{action.vm_name}: {action.resource} {before} -> {after}: {entry.state}{why} [{count} of {of}]"
