# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the state store knows that a plan must heed, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from .._records.wishes import Wishes


@dataclass(frozen=True)
class PlanState:
    """Holds, past acts, VMs changed and reverted twice, and whose forecasts are not to act; all by unique_id."""

    holds: dict[str, str] = field(default_factory=dict)  # -> reason
    # (unique_id, resource) -> direction and end of the newest act on it, the end in ms since 1970 UTC
    last_acts: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    reverted_twice: frozenset[str] = frozenset()
    # (endpoint, operation) -> milliseconds within which 95 % of such acts were done
    leads_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    # -> metric of SIGNS -> its largest of a day; None: cannot be read
    pressures: Optional[dict[str, dict[str, float]]] = field(default_factory=dict)
    demoted: dict[tuple[str, str], str] = field(default_factory=dict)  # (unique_id, resource) -> reason
    # (unique_id, resource) -> what plans wanted of it lately; of careful sizes and limits
    wishes: dict[tuple[str, str], Wishes] = field(default_factory=dict)
