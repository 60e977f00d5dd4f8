# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for verdicts, ends of acts and states of a run, in one table each."""

from __future__ import annotations

from typing import Optional

from .._records.plan import REFUSED, STAY
from .._records.receipt import ACTED, ALREADY_DONE, BEGUN, DONE, FAILED, OBSERVING, OWED, REVERTED, SKIPPED, Outcome
from .._records.series import CPU_DELAY_MILLICORES, CPU_MILLICORES, MEMORY_USED_MIB
from .._records.vm import GROW, INVERSE_AT_NEXT_RESTART, INVERSE_LIVE, INVERSE_RESTART, RESOURCES, SHRINK
from .view import ALL, NOTHING_YET, PART, SEEN, Sum, View
from .words import size

VERDICT_WORD = {GROW: "grows", SHRINK: "shrinks", REFUSED: "refused", STAY: "stays"}
VERDICT_SIGN = {GROW: "▲", SHRINK: "▼", REFUSED: "⊘", STAY: "="}

# State of an act -> (colour, word).
OUTCOME = {
    DONE: ("done", "done"),
    ALREADY_DONE: ("done", "was so already"),
    REVERTED: ("waits", "set back"),
    OWED: ("waits", "rollback owed"),
    SKIPPED: ("stay", "skipped"),
    FAILED: ("failed", "could not be set back"),
    BEGUN: ("waits", "begun, not ended"),
    ACTED: ("waits", "written, not ended"),
    OBSERVING: ("waits", "being watched"),
}

RUN = {
    ALL: ("done", "Applied"),
    PART: ("waits", "Stopped early"),
    NOTHING_YET: ("stay", "Planned, not applied"),
    SEEN: ("stay", "Observed"),
}

METRIC_WORD = {
    CPU_MILLICORES: "CPU demand",
    CPU_DELAY_MILLICORES: "CPU waiting for the host",
    MEMORY_USED_MIB: "memory used",
}

INVERSE_WORD = {
    INVERSE_LIVE: "at once, while the VM runs",
    INVERSE_AT_NEXT_RESTART: "at the VM's next restart",
    INVERSE_RESTART: "by restarting the VM",
}


def outcome_word(outcome: Optional[Outcome]) -> tuple[str, str]:
    """Colour and word for the end of an act; without an outcome it is only planned."""
    return ("stay", "planned") if outcome is None else OUTCOME.get(outcome.state, ("waits", outcome.state))


def run_word(view: View) -> tuple[str, str]:
    """Colour and word for the state of the run."""
    if view.failed:
        return "failed", "Failed"
    if view.facts.rehearsal:
        return "stay", "Rehearsal: nothing was changed"
    return RUN[view.state]


def moved(sums: dict[tuple[str, str], Sum], direction: str) -> str:
    """What all acts in this direction come to: "2 vCPU, 256 MiB"; "" where nothing."""
    amounts = ((resource, sums[resource, direction].amount) for resource in RESOURCES)
    return ", ".join(size(resource, amount) for resource, amount in amounts if amount)


def results_words(view: View) -> str:
    """How many acts of the receipt ended how: "2 done, 1 skipped (superseded)"."""
    return ", ".join(
        f"{number:,} {OUTCOME.get(state, ('', state))[1]}" + (f" ({code})" if code else "")
        for state, code, number in view.results
    )
