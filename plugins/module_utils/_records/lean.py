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
from typing import Any

from .._core.canonical import MAX_BYTES, parse_json
from .._core.collector import many_records
from .._core.errors import HeadroomError
from .codec import decode, decode_artifact
from .snapshot import Snapshot
from .vm import VM

_VMS = b'"vms":['
_CAPABILITIES = b'{"capabilities":['
_REST = b'],"devices":'
# What is read of every VM: where it is, and what it has.
_READ = ("unique_id", "endpoint", "name", "host_id", "host_set", "power", "vcpus", "memory_mib", "generation", "fields")


@dataclass(frozen=True)
class LeanSnapshot:
    """A snapshot whose VMs say what they have, and no more; ``vm`` reads one wholly."""

    snapshot: Snapshot
    _whole: Sequence[bytes]

    def vm(self, row: int) -> VM:
        """One VM with all that was observed of it. Raises ``json.invalid``, ``record.invalid``."""
        return decode(VM, parse_json(_CAPABILITIES + self._whole[row]), path=f"$.vms[{row}]")


def read_lean(data: bytes) -> LeanSnapshot:
    """Read the stored bytes of a snapshot. Raises ``schema.*``, ``json.invalid``, ``record.invalid``."""
    head, *whole = data.split(_CAPABILITIES) if len(data) <= MAX_BYTES else [data]
    if not whole:
        return LeanSnapshot(decode_artifact(Snapshot, parse_json(data)), ())
    whole = [one[:-1] for one in whole]  # of the comma after each
    whole[-1] = whole[-1][:-1]  # of the end of the list and of the snapshot
    rest = [one.find(_REST) for one in whole]
    if not head.endswith(_VMS) or not data.endswith(b"}]}") or min(rest) < 0:
        raise HeadroomError(
            "record.invalid", "This snapshot is not written as Headroom writes one.", advice="Take a new one."
        )
    text = b",".join(b"{" + one[at + 2 :] for one, at in zip(whole, rest))
    try:
        with many_records():
            rows: list[dict[str, Any]] = json.loads(b"[" + text + b"]")
            vms = tuple(VM(**{name: row[name] for name in _READ}) for row in rows)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise HeadroomError(
            "record.invalid", f"A VM of this snapshot cannot be read: {error}.", advice="Take a new one."
        ) from error
    without = decode_artifact(Snapshot, parse_json(head + b"]}"))
    return LeanSnapshot(replace(without, vms=vms), whole)
