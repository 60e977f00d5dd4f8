# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of rules: Jinja2 expressions over what a VM *is*, in a sandbox.

Only comparisons, ``and``, ``or``, ``not``, ``in``, literals, and the filters and tests named here: no attribute, no
call, no arithmetic. A VM's sizes are no variables on purpose: an act changes them, and a policy that changes with the
act it caused would never come to rest.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any, Callable

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.vm import VM
from .load import Document, Node, suggest

MAX_LENGTH = 300

# What a condition may name, and how it is read from a VM.
VARIABLES: dict[str, Callable[[VM], Any]] = {
    "endpoint": lambda vm: vm.endpoint,
    "host": lambda vm: vm.host_id,
    "host_set": lambda vm: vm.host_set,
    "name": lambda vm: vm.name,
    "owner": lambda vm: vm.owner,
    "power": lambda vm: vm.power,
    "tags": lambda vm: vm.tags,
    "devices": lambda vm: vm.devices,
    "tenant": lambda vm: vm.tenant,
}

_NODES = ("Name", "Const", "Compare", "Operand", "And", "Or", "Not", "Test", "Filter", "List", "Tuple")
_FILTERS = ("length", "lower", "trim", "upper")
_TESTS = ("eq", "ge", "gt", "glob", "in", "le", "lt", "ne")
# One VM for a trial at load time, so that a comparison of a text with a number fails where it was written.
_TRIAL = VM(
    unique_id="e/u", endpoint="e", name="n", host_id="e/h", host_set="s", power="running", vcpus=1, memory_mib=1,
    generation="", fields={}, tags=("t",), devices=("d",),
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A checked condition and the variables it reads."""

    text: str
    place: str  # "file:line", for errors
    variables: tuple[str, ...]
    expression: Callable[..., Any]

    def holds(self, vm: VM) -> bool:
        """Whether it is true of the VM. Raises ``policy.condition``: a condition that fails stops the plan."""
        values = {name: VARIABLES[name](vm) for name in self.variables}
        try:
            return bool(self.expression(**values))
        except (TypeError, ValueError) as error:
            raise HeadroomError(
                "policy.condition",
                f"{self.place}: the condition {self.text!r} fails for the VM {vm.name}: {error}.",
                advice="Compare texts with texts, and lists with 'in'.",
            ) from error


def read_condition(document: Document, node: Node, *, path: str) -> Condition:
    """Compile and check one condition. Raises ``policy.invalid``."""
    with needs("jinja2"):
        import jinja2
        import jinja2.sandbox
    text = document.text(node, path=path, maximum=MAX_LENGTH)
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    environment.tests = {name: environment.tests[name] for name in _TESTS if name != "glob"}
    environment.tests["glob"] = fnmatch.fnmatchcase
    try:
        tree = environment.parse("{{ " + text + " }}")
        expression = environment.compile_expression(text, undefined_to_none=False)
    except (jinja2.TemplateError, RecursionError) as error:
        raise document.error(node, f"{path} is no condition: {str(error).rstrip('.')}") from error
    names = _check(document, node, tree, path)
    condition = Condition(text, f"{document.name}:{node.start_mark.line + 1}", names, expression)
    try:
        condition.holds(_TRIAL)
    except HeadroomError as error:
        raise document.error(node, f"{path} cannot be evaluated: {error.__cause__}", advice=error.advice) from error
    return condition


def _check(document: Document, node: Node, tree: Any, path: str) -> tuple[str, ...]:
    """Walk the syntax tree: only what is named above passes. Returns the variables, sorted."""
    outputs = tree.body
    if len(outputs) != 1 or type(outputs[0]).__name__ != "Output" or len(outputs[0].nodes) != 1:
        raise document.error(node, f"{path} must be one expression")
    names = set()
    waiting = [outputs[0].nodes[0]]
    while waiting:
        part = waiting.pop()
        kind = type(part).__name__
        name = getattr(part, "name", "")
        for allowed, what, options in (
            (kind in _NODES, f"a {kind.lower()}", ()),
            (kind != "Name" or name in VARIABLES, f"the name {name!r}", tuple(VARIABLES)),
            (kind != "Filter" or name in _FILTERS, f"the filter {name!r}", _FILTERS),
            (kind != "Test" or name in _TESTS, f"the test {name!r}", _TESTS),
        ):
            if not allowed:
                advice = suggest(name, options) if options else "Use comparisons, and, or, not, in."
                raise document.error(node, f"{path} may not contain {what}", advice=advice)
        names.update([name] if kind == "Name" else [])
        waiting.extend(part.iter_child_nodes())
    if not names:
        raise document.error(node, f"{path} names nothing of a VM", advice=f"Known: {', '.join(sorted(VARIABLES))}.")
    return tuple(sorted(names))
