# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for verdicts, ends of acts, metrics and scopes, in one table each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from .._records.plan import REFUSED, STAY
from .._records.receipt import ACTED, ALREADY_DONE, BEGUN, DONE, FAILED, OBSERVING, OWED, REVERTED, SKIPPED, Outcome
from .._records.series import (
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    MEMORY_USED_MIB,
    NET_RECEIVE_BITS_PER_S,
    NET_TRANSMIT_BITS_PER_S,
)
from .._records.vm import GROW, INVERSE_AT_NEXT_RESTART, INVERSE_LIVE, INVERSE_RESTART, SET, SHRINK

VERDICT_WORD = {GROW: "grows", SHRINK: "shrinks", SET: "is set", REFUSED: "refused", STAY: "stays"}
VERDICT_SIGN = {GROW: "▲", SHRINK: "▼", SET: "◆", REFUSED: "⊘", STAY: "="}

# State of an act -> (colour, word).
OUTCOME = {
    DONE: ("done", "done"),
    ALREADY_DONE: ("done", "was so already"),
    REVERTED: ("waits", "set back"),
    OWED: ("failed", "rollback owed"),
    SKIPPED: ("stay", "skipped"),
    FAILED: ("failed", "could not be set back"),
    BEGUN: ("waits", "begun, not ended"),
    ACTED: ("waits", "written, not ended"),
    OBSERVING: ("waits", "being watched"),
}

METRIC_WORD = {
    CPU_MILLICORES: "CPU demand",
    CPU_DELAY_MILLICORES: "CPU waiting for the host",
    MEMORY_USED_MIB: "memory used",
    DISK_IOPS: "operations of disks",
    DISK_BYTES_PER_S: "throughput of disks",
    NET_RECEIVE_BITS_PER_S: "network, received",
    NET_TRANSMIT_BITS_PER_S: "network, sent",
}

SCOPE_WORD = {"per_host": "host", "per_host_set": "host set", "per_tenant": "tenant", "per_platform": "platform"}

INVERSE_WORD = {
    INVERSE_LIVE: "at once, while the VM runs",
    INVERSE_AT_NEXT_RESTART: "at the VM's next restart",
    INVERSE_RESTART: "by restarting the VM",
}


def outcome_word(outcome: Optional[Outcome]) -> tuple[str, str]:
    """Colour and word for the end of an act; without an outcome it is only planned."""
    return ("stay", "planned") if outcome is None else OUTCOME.get(outcome.state, ("waits", outcome.state))


def results_words(results: Iterable[tuple[str, str, int]]) -> str:
    """How many acts ended how: "2 done, 1 skipped (superseded)"."""
    return ", ".join(
        f"{number:,} {OUTCOME.get(state, ('', state))[1]}" + (f" ({code})" if code else "")
        for state, code, number in results
    )
