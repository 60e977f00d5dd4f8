# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules: which VMs a block of settings is for."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from .._records.vm import VM
from .conditions import VARIABLES, Condition, read_condition
from .load import Document, Entry, Node

# Keys of ``match``: shell patterns, of which one must fit. ``tags`` is apart: every pattern must fit some tag.
PATTERNS: dict[str, Callable[[VM], str]] = {
    "endpoint": lambda vm: vm.endpoint,
    "host_set": lambda vm: vm.host_set,
    "name": lambda vm: vm.name,
    "owner": lambda vm: vm.owner,
    "tenant": lambda vm: vm.tenant,
}
TAGS = "tags"

# Answers are remembered by what the rule looks at, unless that is the name: then every VM would be an entry.
_TOO_MANY = frozenset({"name"})


@dataclass(frozen=True)
class Match:
    """All of what is given must fit; at least one thing is given."""

    patterns: dict[str, tuple[re.Pattern[str], ...]]
    tags: tuple[re.Pattern[str], ...] = ()
    condition: Optional[Condition] = None
    _known: dict[Any, bool] = field(default_factory=dict, compare=False, repr=False)

    def fits(self, vm: VM) -> bool:
        """Whether the rule is for this VM. Raises ``policy.condition``."""
        looks_at = set(self.patterns) | set(self.condition.variables if self.condition else ())
        if looks_at & _TOO_MANY:
            return self._fits(vm)
        key = (vm.tags if self.tags else (), *(VARIABLES[name](vm) for name in sorted(looks_at)))
        if key not in self._known:
            self._known[key] = self._fits(vm)
        return self._known[key]

    def _fits(self, vm: VM) -> bool:
        return (
            all(any(one.match(PATTERNS[name](vm)) for one in some) for name, some in self.patterns.items())
            and all(any(one.match(tag) for tag in vm.tags) for one in self.tags)
            and (self.condition is None or self.condition.holds(vm))
        )


def read_match(document: Document, node: Node, entries: dict[str, Entry], path: str) -> Match:
    """Read ``match`` and ``when`` of a rule. A rule for every VM is an error: that is what ``defaults`` is for."""
    patterns: dict[str, tuple[re.Pattern[str], ...]] = {}
    if "match" in entries:
        found = document.mapping(entries["match"].node, known=(*PATTERNS, TAGS), path=f"{path}.match")
        patterns = {name: _globs(document, entry.node, f"{path}.match.{name}") for name, entry in found.items()}
    when = entries.get("when")
    condition = read_condition(document, when.node, path=f"{path}.when") if when else None
    if not patterns and condition is None:
        raise document.error(
            node, f"{path} names no VMs", advice="Give match or when; what holds for every VM belongs in defaults."
        )
    tags = patterns.pop(TAGS, ())
    return Match(patterns=patterns, tags=tags, condition=condition)


def _globs(document: Document, node: Node, path: str) -> tuple[re.Pattern[str], ...]:
    nodes = [node] if node.id == "scalar" else document.sequence(node, path=path)
    return tuple(re.compile(fnmatch.translate(document.text(item, path=path))) for item in nodes)
