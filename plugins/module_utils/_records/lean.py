# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stored snapshot without the ways to act on its VMs: most of its bytes, and wanted for few of its VMs.

It is cut where the canonical JSON of a snapshot has the capabilities of a VM. Within a string every quotation mark is
escaped, so that the marks looked for stand nowhere but between values.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .._core.canonical import MAX_BYTES, parse_json
from .._core.errors import HeadroomError
from .codec import decode, decode_artifact
from .snapshot import Snapshot
from .vm import VM

_VMS = b'"vms":['
_CAPABILITIES = b'{"capabilities":['
_REST = b'],"devices":'
_BATCH = 1000  # VMs read at once: few enough that memory is used again and again, not asked for anew
# What is read of every VM: where it is, and what it has.
_READ = ("unique_id", "endpoint", "name", "host_id", "host_set", "power", "vcpus", "memory_mib", "generation", "fields")


class _Place(NamedTuple):
    """Where a VM is among the bytes of a snapshot."""

    start: int
    rest: int  # the end of its capabilities
    end: int


@dataclass(frozen=True)
class LeanSnapshot:
    """A snapshot whose VMs say what they have, and no more; ``vm`` reads one wholly."""

    snapshot: Snapshot
    _data: bytes
    _places: Sequence[_Place]

    def vm(self, row: int) -> VM:
        """One VM with all that was observed of it. Raises ``json.invalid``, ``record.invalid``."""
        place = self._places[row]
        return decode(VM, parse_json(self._data[place.start : place.end]), path=f"$.vms[{row}]")


def read_lean(data: bytes) -> LeanSnapshot:
    """Read the stored bytes of a snapshot. Raises ``schema.*``, ``json.invalid``, ``record.invalid``."""
    places = _places(data) if len(data) <= MAX_BYTES else []
    if not places:
        return LeanSnapshot(decode_artifact(Snapshot, parse_json(data)), data, ())
    head = data[: places[0].start]
    if not head.endswith(_VMS) or not data.endswith(b"}]}") or min(place.rest for place in places) < 0:
        raise HeadroomError(
            "record.invalid", "This snapshot is not written as Headroom writes one.", advice="Take a new one."
        )
    vms: list[VM] = []
    try:
        for first in range(0, len(places), _BATCH):
            some = places[first : first + _BATCH]
            text = b",".join([b"{" + data[place.rest + 2 : place.end] for place in some])
            vms.extend(map(_vm, json.loads(b"[" + text + b"]")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeadroomError(
            "record.invalid", f"A VM of this snapshot cannot be read: {error}.", advice="Take a new one."
        ) from error
    without = decode_artifact(Snapshot, parse_json(head + b"]}"))
    return LeanSnapshot(replace(without, vms=tuple(vms)), data, places)


def _places(data: bytes) -> list[_Place]:
    """Where each VM is; ``rest`` is negative where one has no mark after its capabilities."""
    found = []
    start = data.find(_CAPABILITIES)
    while start >= 0:
        following = data.find(_CAPABILITIES, start + len(_CAPABILITIES))
        end = following - 1 if following >= 0 else len(data) - 2  # before the comma; before the end of the list
        found.append(_Place(start, data.find(_REST, start, end), end))
        start = following
    return found


def _vm(row: dict[str, Any]) -> VM:
    """Its attributes are set at once: a frozen record sets each by a call, which takes three times as long."""
    vm = object.__new__(VM)
    vm.__dict__.update({name: row[name] for name in _READ})  # the others have the defaults of the class
    return vm
