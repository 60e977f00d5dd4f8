# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receipt: what an apply did, action by action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

# States of an action in the journal.
BEGUN = "begun"  # the intent is on record; the platform may or may not have been written
ACTED = "acted"  # every field was written and read back
OBSERVING = "observing"  # soaking: health is watched
DONE = "done"
REVERTED = "reverted"  # begun; what was written, if anything was, is set back: the platform is as before
OWED = "owed"  # undone only when the VM next restarts, or by a person
SKIPPED = "skipped"  # never begun; code says why
ALREADY_DONE = "already_done"  # was at its ``after`` before anything was written
FAILED = "failed"  # could not be set back: the loudest error there is

OPEN_STATES = (BEGUN, ACTED, OBSERVING)
FINAL_STATES = (DONE, REVERTED, OWED, SKIPPED, ALREADY_DONE, FAILED)


@dataclass(frozen=True)
class Outcome:
    """One action's end."""

    action_id: str
    unique_id: str
    vm_name: str
    operation: str
    state: str
    code: str  # "" for done; else why: "superseded", "budget.window", "guest.refused", ...
    message: str
    finished_at: str


@dataclass(frozen=True)
class Receipt:
    """Made by each run of apply, recover or rollback, also by one that stopped early."""

    KIND: ClassVar[str] = "receipt"
    VERSION: ClassVar[int] = 1

    run_id: str
    plan: str  # digest
    started_at: str
    finished_at: str
    outcomes: tuple[Outcome, ...]
    stopped: str = ""  # code of what stopped the run early
    owed: tuple[str, ...] = ()  # action_ids whose rollback is owed
