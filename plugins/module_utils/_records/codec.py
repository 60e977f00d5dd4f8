# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records to JSON and back, strictly: a field too many, too few or of another type is one error that names its path.

A record is a frozen dataclass. An artifact is a record with ``KIND`` and ``VERSION``; its JSON form carries both as
``schema`` ("headroom.plan/1").
"""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any, ClassVar, Optional, Protocol, TypeVar

from .._core.errors import HeadroomError

T = TypeVar("T")


class Artifact(Protocol):
    """A record that stands on its own in the artifact store."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int]


A = TypeVar("A", bound=Artifact)


def encode(record: Any) -> Any:
    """Dataclasses to objects, tuples to lists; all else stays."""
    kind = record.__class__
    if kind is str or kind is int:
        return record
    names = _names(kind)
    if names is not None:
        return {name: encode(getattr(record, name)) for name in names}
    if isinstance(record, (list, tuple)):
        return [encode(item) for item in record]
    if isinstance(record, dict):
        return {key: encode(item) for key, item in record.items()}
    return record


def decode(kind: type[T], data: Any, *, path: str = "$") -> T:
    """Build a record of the dataclass from parsed JSON. Raises ``record.invalid``."""
    if not isinstance(data, dict):
        raise _invalid(path, "must be an object")
    hints, required = _fields(kind)  # type: ignore[arg-type]  # a type is hashable
    for name in sorted(data.keys() - hints.keys()):
        raise _invalid(f"{path}.{name}", "is not a field of this schema")
    for name in sorted(required - data.keys()):
        raise _invalid(f"{path}.{name}", "is missing")
    # Most values are what they should be. A plan has millions: only the others are looked at further, with their path.
    return kind(
        **{
            name: value if value.__class__ is hints[name] else _value(hints[name], value, f"{path}.{name}")
            for name, value in data.items()
        }
    )


def encode_artifact(artifact: Artifact) -> dict[str, Any]:
    """The object that is stored: the record's fields and its schema."""
    return {"schema": f"headroom.{artifact.KIND}/{artifact.VERSION}", **encode(artifact)}


def decode_artifact(kind: type[A], data: Any) -> A:
    """Read an artifact of this kind. Raises ``schema.*``, ``record.invalid``."""
    check_schema(kind, data)
    return decode(kind, {key: item for key, item in data.items() if key != "schema"})


def check_schema(kind: type[Artifact], data: Any) -> None:
    """Refuse, as ``schema.*``, whatever is not an object that names this kind of artifact in this version."""
    schema = data.get("schema") if isinstance(data, dict) else None
    name, _unused, version = schema.rpartition("/") if isinstance(schema, str) else ("", "", "")
    if not name or not version.isdigit():
        raise HeadroomError(
            "schema.missing",
            "This artifact names no schema.",
            advice=f"A headroom.{kind.KIND}/{kind.VERSION} is expected.",
        )
    if name != f"headroom.{kind.KIND}":
        raise HeadroomError(
            "schema.other",
            f"This artifact is a {schema}, not a {kind.KIND}.",
            advice=f"Give the digest of a {kind.KIND}.",
        )
    if int(version) != kind.VERSION:
        newer = int(version) > kind.VERSION
        raise HeadroomError(
            "schema.newer" if newer else "schema.older",
            f"This artifact is a {schema}; this release reads version {kind.VERSION}.",
            advice="Upgrade headroom.fleet." if newer else "Make the artifact again.",
        )


@cache
def _names(kind: type) -> Optional[tuple[str, ...]]:
    """The fields of a dataclass, None for any other type."""
    return tuple(one.name for one in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The type of each field, and the fields that have no default."""
    fields, hints = dataclasses.fields(kind), typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    required = frozenset(one.name for one in fields if one.default is missing and one.default_factory is missing)
    return {one.name: hints[one.name] for one in fields}, required


@cache
def _shape(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """What a hint is made of."""
    return typing.get_origin(hint), typing.get_args(hint)


def _value(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = _shape(hint)
    if origin is typing.Union:  # Optional[X], or a union of scalars
        if value is None and type(None) in arguments:
            return None
        return _value(next((one for one in arguments if one is type(value)), arguments[0]), value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise _invalid(path, "must be a list")
        return tuple(_value(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _invalid(path, "must be an object")
        return {key: _value(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, path=path)  # type: ignore[arg-type]
    if not isinstance(value, hint) or isinstance(value, bool) != (hint is bool):  # a bool is no int here
        raise _invalid(path, f"must be {hint.__name__}, not {type(value).__name__}")
    return value


def _invalid(path: str, why: str) -> HeadroomError:
    return HeadroomError("record.invalid", f"{path} {why}.", advice="Use the artifact as it was written.")
