# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in a JSON file, for unit and functional tests: VMs with the fields of real ones, that can misbehave.

The file: ``{"hosts": [...], "vms": {UUID: {...}}, "writes": N}``. Of a VM: ``name``, ``host``, ``fields``, ``maxima``
(``vcpus``, ``memory_mib``), and if wanted ``tenant``, ``owner``, ``mode``, ``host_set``, ``power``, ``definition``
(anything; part of the generation), ``refused``, ``load`` (metric -> value) and ``faults``: field -> how a write of it
goes wrong.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._core.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULT_REFUSE = "refuse"  # the guest says no
FAULT_TIMEOUT = "timeout"  # the guest does not answer in time, and may do it later
FAULT_IGNORE = "ignore"  # taken, and never done
FAULT_BREAK = "break"  # done, and the connection breaks before the answer
FAULT_BLIND = "blind"  # done, and the VM cannot be read from then on
FAULT_STUCK = "stuck"  # done once; every later write of the field is refused


def read_fleet(path: Path) -> dict[str, Any]:
    """The fleet as it stands. Raises ``endpoint.unreachable``."""
    try:
        fleet: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EndpointError(
            "endpoint.unreachable",
            f"The fake fleet {path.name} cannot be read: {error}.",
            advice="Check the endpoint's URI.",
        ) from error
    if fleet.get("down"):
        raise EndpointError("endpoint.unreachable", f"The fake fleet {path.name} is down.", advice="Bring it up again.")
    return fleet


@contextmanager
def changed_fleet(path: Path) -> Iterator[dict[str, Any]]:
    """The fleet to be changed: under a lock, and whole in the file afterwards, whatever kills the process."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fleet = read_fleet(path)
        yield fleet
        part = path.with_suffix(".part")
        part.write_text(json.dumps(fleet))
        part.replace(path)
