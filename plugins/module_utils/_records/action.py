# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action: one act on one VM, with what must hold before it and how it is undone."""

from __future__ import annotations

from dataclasses import dataclass

from .vm import Value


@dataclass(frozen=True)
class Change:
    """One named field, before and after, in the order in which the fields are written."""

    field: str
    before: Value
    after: Value

    @property
    def persistent(self) -> bool:
        """Whether the field is of the VM's definition: written at any time, in force from the next start."""
        return self.field.startswith("config.")


@dataclass(frozen=True)
class Inverse:
    """How the act is undone: the same fields, set back by the operation named, and when that takes effect."""

    operation: str
    when: str  # one of vm.INVERSES


@dataclass(frozen=True)
class Action:
    """An act is one operation on one resource of one VM; it is wholly done or wholly undone."""

    action_id: str  # unique in its plan, "a0001", in the order of planning
    unique_id: str
    vm_name: str
    endpoint: str
    host_id: str
    host_set: str
    tenant: str
    operation: str
    resource: str
    direction: str
    mode: str  # recommend, approve or auto, as the sizing policy gave it for this scope and class of act
    size_before: int
    size_after: int
    changes: tuple[Change, ...]
    generation: str  # the VM's generation must still be this
    inverse: Inverse
    restart: bool
    reason: str
    # Fields that only the VM's next restart brings to ``after`` (a rollback that must wait): owed until they read so.
    deferred: tuple[Change, ...] = ()
    wave: int = 0
    after: tuple[str, ...] = ()  # action_ids that must be done first
    not_before: str = ""  # the policy's window: the act begins in [not_before, not_after), RFC 3339; "": any time
    not_after: str = ""
    lead_ms: int = 0  # within it 95 % of such acts on its endpoint were done lately; 0: not measured

    @property
    def span(self) -> tuple[Value, Value]:
        """From what to what, for people: its sizes, or the values of its first field where they are no numbers."""
        first = self.changes[0] if self.changes else None
        words = first is not None and isinstance(first.after, str)
        return (first.before, first.after) if first and words else (self.size_before, self.size_after)
