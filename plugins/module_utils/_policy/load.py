# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy text to nodes, strictly: whatever is wrong is one error that names file, line and column.

YAML is composed, never constructed: a setting keeps its line, so that a decision can name the line it rests on, and a
plain ``22:00`` or ``off`` reaches us as it was written, not as the number 1320 or a truth value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

from .._core.errors import HeadroomError
from .._core.needs import needs

# Bounds on a file that a person writes; far above any real policy, far below what could hurt the controller.
MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 10

Node = Any  # a yaml.Node; the library is imported only where text is parsed

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,14})")


class Entry(NamedTuple):
    """One key of a mapping: its line and what stands under it."""

    line: int
    key: Node
    node: Node


@dataclass(frozen=True)
class Document:
    """A policy text under the name that its errors carry; reads typed values out of its nodes."""

    name: str
    root: Node

    def error(self, node: Node, what: str, *, advice: str = "") -> HeadroomError:
        """``policy.invalid`` at the node."""
        return _invalid(self.name, node.start_mark.line + 1, node.start_mark.column + 1, what, advice=advice)

    def mapping(self, node: Node, *, known: Iterable[str], path: str) -> dict[str, Entry]:
        """Read a mapping of known keys, none of them twice."""
        if node.id != "mapping":
            raise self.error(node, f"{path} must be a mapping")
        names = tuple(known)
        found: dict[str, Entry] = {}
        for key, value in node.value:
            name = key.value if key.id == "scalar" else ""
            if name not in names:
                raise self.error(key, f"{path} has no key {name!r}", advice=suggest(name, names))
            if name in found:
                raise self.error(key, f"{name!r} stands twice in {path}, first on line {found[name].line}")
            found[name] = Entry(key.start_mark.line + 1, key, value)
        return found

    def sequence(self, node: Node, *, path: str) -> list[Node]:
        """Read a list with at least one item."""
        if node.id != "sequence" or not node.value:
            raise self.error(node, f"{path} must be a list with at least one item")
        return list(node.value)

    def text(self, node: Node, *, path: str, maximum: int = 200) -> str:
        """Read a text; a plain ``no``, ``off`` or ``~`` is refused, since YAML 1.1 does not read it as text."""
        if node.id != "scalar":
            raise self.error(node, f"{path} must be a text")
        kind = node.tag.rpartition(":")[2]
        if kind in ("bool", "null"):
            raise self.error(
                node, f"{path} is {node.value!r}, which YAML reads as a {kind} value", advice="Put it in quotes."
            )
        if not node.value or len(node.value) > maximum:
            raise self.error(node, f"{path} must have 1 to {maximum} characters")
        return str(node.value)

    def choice(self, node: Node, *, options: tuple[str, ...], path: str) -> str:
        """Read one of a few words."""
        if node.id == "scalar" and node.tag.endswith(":bool"):
            raise self.error(
                node,
                f"{path} is {node.value!r}, which YAML reads as true or false",
                advice=f"Write one of {', '.join(options)}; a word such as off or no needs quotes to be a word.",
            )
        value = self.text(node, path=path)
        if value not in options:
            raise self.error(node, f"{path} is {value!r}", advice=suggest(value, options))
        return value

    def integer(self, node: Node, *, minimum: int, maximum: int, path: str) -> int:
        """Read a whole number in decimal notation, both bounds included."""
        if node.id != "scalar" or node.style is not None or not _INTEGER.fullmatch(node.value):
            raise self.error(node, f"{path} must be a whole number", advice="Write it plainly: 30, not '30' or 3e1.")
        value = int(node.value)
        if not minimum <= value <= maximum:
            raise self.error(node, f"{path} is {value}", advice=f"Give {minimum} to {maximum}.")
        return value


def compose(text: Union[str, bytes], *, name: str) -> Document:
    """Parse a policy. Anchors, aliases, tags and further documents are refused. Raises ``policy.invalid``."""
    with needs("yaml"):
        import yaml
    if len(text) > MAX_BYTES:
        raise _invalid(name, 1, 1, f"the policy has more than {MAX_BYTES} bytes")
    try:
        content = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        _bound(yaml.parse(content, Loader=yaml.SafeLoader), name=name)
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _invalid(name, 1, 1, f"the policy is not UTF-8 at byte {error.start}") from error
    except yaml.reader.ReaderError as error:
        line = content[: error.position].count("\n") + 1
        raise _invalid(name, line, 1, f"the character {error.character!r} is not allowed") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _invalid(name, line, column, f"this is not YAML: {error.problem or error.context}") from error
    if root is None:
        raise _invalid(name, 1, 1, "the policy is empty")
    return Document(name=name, root=root)


def read_schema(document: Document, *, kind: str, version: int) -> None:
    """Check the ``schema:`` line. Raises ``policy.schema_missing``, ``policy.schema_other``, ``policy.newer``."""
    expected = f"headroom.{kind}/{version}"
    nodes = [value for key, value in document.root.value if key.value == "schema"] if _is_mapping(document) else []
    value = nodes[0].value if nodes and nodes[0].id == "scalar" else ""
    name, _unused, number = value.rpartition("/")
    if not name or not re.fullmatch("[1-9][0-9]{0,5}", number):
        raise HeadroomError(
            "policy.schema_missing",
            f"{document.name} does not say which policy language it is written in.",
            advice=f"Begin it with the line: schema: {expected}",
            file=document.name,
        )
    if name == f"headroom.{kind}" and int(number) == version:
        return
    newer = name == f"headroom.{kind}" and int(number) > version
    raise HeadroomError(
        "policy.newer" if newer else "policy.schema_other",
        f"{document.name}:{nodes[0].start_mark.line + 1}: this is a {value}; this release reads {expected}.",
        advice="Upgrade headroom.fleet." if newer else f"Give a {expected}.",
        file=document.name,
    )


def suggest(word: str, options: Iterable[str]) -> str:
    """Advice for a word that is none of the options: the nearest, or all of them."""
    names = sorted(options)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."


def _is_mapping(document: Document) -> bool:
    return bool(document.root.id == "mapping")


def _bound(events: Iterable[Any], *, name: str) -> None:
    """Refuse what could blow up on composing, from the flat stream of events."""
    depth = nodes = documents = 0
    for event in events:
        kind = type(event).__name__
        at = (name, event.start_mark.line + 1, event.start_mark.column + 1)
        documents += kind == "DocumentStartEvent"
        nodes += kind.endswith(("ScalarEvent", "StartEvent"))
        depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            raise _invalid(*at, "anchors and aliases are not read", advice="Write the value where it is used.")
        if getattr(event, "tag", None):
            raise _invalid(*at, f"the tag {event.tag} is not read", advice="Remove the tag.")
        if documents > 1:
            raise _invalid(*at, "a second document begins here", advice="One policy is one document.")
        if depth > MAX_DEPTH:
            raise _invalid(*at, f"the policy is nested deeper than {MAX_DEPTH}")
        if nodes > MAX_NODES:
            raise _invalid(*at, f"the policy has more than {MAX_NODES} values")


def _invalid(name: str, line: int, column: int, what: str, *, advice: str = "") -> HeadroomError:
    return HeadroomError(
        "policy.invalid", f"{name}:{line}:{column}: {what}.", advice=advice, file=name, line=line, column=column
    )
