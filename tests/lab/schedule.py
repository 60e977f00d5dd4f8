# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is asked to do: CPU and memory per slot, checked, sent through the guest agent."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command import wait_until
from settings import LabError

if TYPE_CHECKING:
    from command import Virsh

CPU_MAX_PERCENT = 400  # of one CPU: the guests have at most 4
MEMORY_MAX_MIB = 4096
SLOT_MAX_S = 86_400
SLOTS_MAX = 100_000
CHUNK_BYTES = 48_000  # of one agent call: as base64 within the 128 KiB that Linux allows one argument
GUEST_FILE = "/run/load"


@dataclass(frozen=True)
class Schedule:
    """Percent of ONE cpu and MiB of touched memory per slot; each list is repeated for ever, on its own."""

    cpu_percent: tuple[int, ...]
    memory_mib: tuple[int, ...]
    slot_s: int = 60

    def line(self, *, separator: str = " ") -> str:
        """Return the text that guest-load reads."""
        lists = (",".join(map(str, values)) for values in (self.cpu_percent, self.memory_mib))
        return separator.join((str(self.slot_s), *lists))


REST = Schedule(cpu_percent=(0,), memory_mib=(32,))


def read(path: Path, *, guests: tuple[str, ...]) -> dict[str, Schedule]:
    """Read ``{"web1": {"cpu_percent": [..], "memory_mib": [..], "slot_s": 60}, ..}``; LabError at the first mistake."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{path}: {error}") from error
    if not isinstance(content, dict) or not content:
        raise LabError(f"{path}: must be an object with a schedule for each guest")
    unknown = sorted(set(content) - set(guests))
    if unknown:
        raise LabError(f"{path}: no guest of this lab: {', '.join(unknown)} (there are {', '.join(guests)})")
    return {name: _parse(values, where=f"{path}: {name}") for name, values in content.items()}


def _parse(values: Any, *, where: str) -> Schedule:
    if not isinstance(values, dict) or not set(values) <= {"cpu_percent", "memory_mib", "slot_s"}:
        raise LabError(f"{where}: must be an object of cpu_percent, memory_mib and slot_s")
    return Schedule(
        cpu_percent=_integers(values.get("cpu_percent", [0]), limit=CPU_MAX_PERCENT, where=f"{where}: cpu_percent"),
        memory_mib=_integers(values.get("memory_mib", [0]), limit=MEMORY_MAX_MIB, where=f"{where}: memory_mib"),
        slot_s=max(1, *_integers([values.get("slot_s", 60)], limit=SLOT_MAX_S, where=f"{where}: slot_s")),
    )


def _integers(values: Any, *, limit: int, where: str) -> tuple[int, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= SLOTS_MAX:
        raise LabError(f"{where}: must be a list of 1 to {SLOTS_MAX} numbers")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= limit:
            raise LabError(f"{where}: {value!r} is not a number from 0 to {limit}")
    return tuple(round(value) for value in values)


def send(virsh: Virsh, guest: str, schedule: Schedule) -> None:
    """Replace a running guest's schedule; it begins with its first slot at once."""
    data = (schedule.line() + "\n").encode()
    handle = virsh.agent(guest, "guest-file-open", path=GUEST_FILE + ".new", mode="w")
    try:
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = base64.b64encode(data[start : start + CHUNK_BYTES]).decode()
            virsh.agent(guest, "guest-file-write", **{"handle": handle, "buf-b64": chunk})
    finally:
        virsh.agent(guest, "guest-file-close", handle=handle)
    rename = {"path": "/bin/mv", "arg": [GUEST_FILE + ".new", GUEST_FILE]}
    pid = virsh.agent(guest, "guest-exec", **rename)["pid"]
    status: dict[str, Any] = {}

    def renamed() -> bool:
        status.update(virsh.agent(guest, "guest-exec-status", pid=pid))
        return bool(status["exited"])

    wait_until(renamed, what=f"{guest} takes its schedule", timeout_s=10)
    if status["exitcode"]:
        raise LabError(f"{guest} did not take its schedule: mv ended with {status['exitcode']}")
