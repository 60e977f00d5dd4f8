# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canonical JSON: the bytes that digests cover.

Values are strings, integers below 2^53, booleans, null, lists and objects: on these, sorted keys and no white space
equal RFC 8785 (JSON Canonicalization Scheme). Floats are refused: a fraction is an integer of a named small unit.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .errors import HeadroomError

MAX_INTEGER = 2**53  # exclusive; larger ones do not survive a reader that knows only IEEE doubles
MAX_BYTES = 256 * 2**20  # a plan of 100,000 VMs is about 120 MiB
MAX_DEPTH = 32
_CONSTANTS = (bool, type(None))
_LISTS = (list, tuple)


def canonical_bytes(value: Any) -> bytes:
    """Serialise; raises ``json.not_canonical`` naming the path of a value that may not stand in a digest."""
    if not _is_plain(value, 0):
        _check(value, "$", 0)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_bytes(data: bytes) -> str:
    """``sha256:HEX`` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """``sha256:HEX`` of the canonical bytes."""
    return digest_bytes(canonical_bytes(value))


def parse_json(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read JSON from elsewhere: bounded in size and depth, no NaN, no floats, no key twice. Raises ``json.invalid``."""
    if len(data) > max_bytes:
        raise _invalid(f"it has {len(data)} bytes, more than {max_bytes}")
    try:
        value = json.loads(data, object_pairs_hook=_no_duplicates, parse_float=_no_float, parse_constant=_no_float)
    except (ValueError, RecursionError) as error:
        raise _invalid(str(error)) from error
    if not _is_plain(value, 0):
        _check(value, "$", 0)
    return value


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is easily seen that this may stand in a digest; a plan has millions of values. Else ask ``_check``."""
    if value.__class__ is dict:
        if not _are_keys(value):
            return False
        value = value.values()
    elif value.__class__ not in _LISTS:
        return value.__class__ in _CONSTANTS or _is_integer(value) or _is_text(value)
    if depth >= MAX_DEPTH:
        return False
    for item in value:
        kind = item.__class__
        if kind is str:  # the commonest first: a call for each would be most of the time
            if not item.isascii() and not _is_text(item):
                return False
        elif kind not in _CONSTANTS and not (_is_integer(item) if kind is int else _is_plain(item, depth + 1)):
            return False
    return True


def _are_keys(values: dict[Any, Any]) -> bool:
    try:
        return "".join(values).isascii()
    except TypeError:
        return False


def _is_integer(value: Any) -> bool:
    return value.__class__ is int and -MAX_INTEGER < value < MAX_INTEGER


def _is_text(value: Any) -> bool:
    if value.__class__ is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any, path: str, depth: int) -> None:  # noqa: C901 - one branch per JSON type
    if depth > MAX_DEPTH:
        raise _not_canonical(path, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _not_canonical(path, "holds a lone surrogate") from error
    elif isinstance(value, dict):
        for key, item in value.items():
            # RFC 8785 sorts keys by UTF-16 code units, Python by code points: they agree up to U+FFFF.
            if not isinstance(key, str) or (key and max(key) > "\uffff"):
                raise _not_canonical(path, f"has the key {key!r}, which is no string of the basic plane")
            _check(key, path, depth)
            _check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, int):
        if abs(value) >= MAX_INTEGER:
            raise _not_canonical(path, f"is {value}, not below 2^53")
    elif value is not None:
        raise _not_canonical(path, f"is a {type(value).__name__}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _unused in pairs]
        raise ValueError("the key " + repr(next(key for key in names if names.count(key) > 1)) + " stands twice")
    return found


def _no_float(text: str) -> None:
    raise ValueError(f"{text} is not an integer")


def _invalid(why: str) -> HeadroomError:
    return HeadroomError(
        "json.invalid", f"This is not JSON that Headroom reads: {why}.", advice="Use the artifact as it was written."
    )


def _not_canonical(path: str, why: str) -> HeadroomError:
    return HeadroomError(
        "json.not_canonical",
        f"The value at {path} {why}.",
        advice="Write fractions as integers of a small unit, or as decimal strings.",
    )
