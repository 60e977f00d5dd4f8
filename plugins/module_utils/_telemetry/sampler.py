# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the sampler (roles/sampler/files/headroom_sampler.py, which says what is in them), read back.

They come from a hypervisor and are believed nothing: sizes are bounded, and where a line is not what a sampler writes,
the rest of its file is unknown. A last line that was not finished is no fault.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Optional
from urllib.parse import quote

from .rates import LONGEST_GAP_STEPS

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
FILES = re.compile(r"\d{8}T\d{6}Z\.jsonl(\.gz)?")
NAME = "%Y%m%dT%H%M%SZ"  # of a file: when its first sample was taken
MAGIC = b"\x1f\x8b"  # of gzip

# Far above what 2,000 VMs with 100 statistics each write; they only bound what a damaged file can cost.
MOST_LINE_BYTES = 2**24
MOST_BYTES = 2**30
MOST_VMS = 100_000
MOST_KEYS = 10_000
MOST_STEP_S = 150
LARGEST = 2**63 - 1
EARLIEST_US, LATEST_US = 946_684_800_000_000, 4_102_444_800_000_000  # the years 2000 to 2099

# How far wall clock and clock since boot may drift apart between two samples. NTP slews by 0.5 ms a second at most; the
# rest is for a sampler that was put aside between its two looks. Of a step of 10 s it is 0.2 %.
CLOCKS_APART_US = 20_000

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Round:
    """All VMs of a hypervisor at one instant."""

    taken_at: datetime
    step_s: int
    stretch: int  # between rounds of two stretches the clock was set, the host began anew, or samples are missing
    vms: tuple[tuple[str, int, dict[str, Any]], ...]  # UUID, the domain's running number, libvirt's statistics


@dataclass
class Tally:
    """What became of the files read."""

    files: int = 0
    damaged: int = 0  # files of which a part is unknown
    stretches: int = 0


class _DamagedError(Exception):
    """This is not what a sampler writes."""


@dataclass
class _VM:
    """What the file said last of one VM."""

    uuid: str
    boot: int
    names: dict[str, str]
    keys: tuple[str, ...]
    values: list[int]


class SamplerReader:
    """Reads the files of one hypervisor one after another, in the order in which they were written."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._last: Optional[tuple[int, int]] = None  # wall clock and clock since boot, of the last round
        self._step_s = 0
        self._vms: dict[int, _VM] = {}

    def read(self, stream: BinaryIO) -> Iterator[Round]:
        """Yield the rounds of one file; never raises because of what is in it. Raises OSError."""
        self._tally.files += 1
        self._step_s, self._vms = 0, {}
        try:
            for line in _lines(stream):
                found = self._line(line)
                if found is not None:
                    yield found
        except (_DamagedError, gzip.BadGzipFile, zlib.error, EOFError):
            self._tally.damaged += 1

    def _line(self, line: bytes) -> Optional[Round]:
        """Take one line. Raises _DamagedError."""
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _DamagedError from error
        if not isinstance(said, dict):
            raise _DamagedError
        if "headroom_samples" in said:
            if said["headroom_samples"] != FORMAT:
                raise _DamagedError
            self._step_s, self._vms = _whole(said.get("step_s"), 1, MOST_STEP_S), {}
            return None
        if not self._step_s:
            raise _DamagedError
        if "vm" in said:
            self._tell(said)
            return None
        return self._round(said)

    def _tell(self, said: dict[str, Any]) -> None:
        number, uuid, names, keys = (said.get(name) for name in ("vm", "uuid", "names", "keys"))
        if (
            number != len(self._vms)
            or number >= MOST_VMS
            or not isinstance(uuid, str)
            or not UUID.fullmatch(uuid)
            or not isinstance(names, dict)
            or not isinstance(keys, list)
            or len(names) + len(keys) > MOST_KEYS
            or not all(isinstance(text, str) for text in (*keys, *names.values()))
            or len({*keys, *names}) < len(names) + len(keys)
        ):
            raise _DamagedError
        boot = _whole(said.get("boot"), 0, LARGEST)
        self._vms[number] = _VM(uuid, boot, names, tuple(keys), [0] * len(keys))

    def _round(self, said: dict[str, Any]) -> Optional[Round]:
        """Take one sample of all VMs; None where it was there already, as the last one of the file before."""
        wall_us, boot_us = _whole(said.get("t"), EARLIEST_US, LATEST_US), _whole(said.get("m"), 0, LARGEST)
        values = said.get("v")
        if not isinstance(values, dict):
            raise _DamagedError
        vms = tuple(self._add(number, rises) for number, rises in values.items())
        if self._last == (wall_us, boot_us):
            return None
        if self._last is not None:
            passed_us, since_us = boot_us - self._last[1], wall_us - self._last[0]
            longest_us = LONGEST_GAP_STEPS * self._step_s * 1_000_000
            if not 0 < passed_us <= longest_us or abs(passed_us - since_us) > CLOCKS_APART_US:
                self._tally.stretches += 1
        self._last = wall_us, boot_us
        taken_at = datetime.fromtimestamp(wall_us / 1_000_000, timezone.utc)
        return Round(taken_at, self._step_s, self._tally.stretches, vms)

    def _add(self, number: str, rises: Any) -> tuple[str, int, dict[str, Any]]:
        """Add up one VM's rises. Raises _DamagedError."""
        vm = self._vms.get(int(number)) if number.isdecimal() and len(number) <= len(str(MOST_VMS)) else None
        if vm is None or not isinstance(rises, list) or len(rises) != len(vm.keys):
            raise _DamagedError
        if any(isinstance(rise, bool) or not isinstance(rise, int) for rise in rises):
            raise _DamagedError
        vm.values = [value + rise for value, rise in zip(vm.values, rises)]
        if vm.values and not 0 <= min(vm.values) <= max(vm.values) <= LARGEST:
            raise _DamagedError
        return vm.uuid, vm.boot, {**vm.names, **dict(zip(vm.keys, vm.values))}


def folder_of(endpoint: str) -> str:
    """Return the name of the folder with the files of an endpoint."""
    name = quote(endpoint, safe=" ")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def files_in(folder: Path, *, since: datetime) -> list[Path]:
    """Return the files that begin at this time or later, in order. Raises OSError."""
    first = since.astimezone(timezone.utc).strftime(NAME)
    return sorted(path for path in folder.iterdir() if FILES.fullmatch(path.name) and path.name >= first)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines of a file, compressed or not, without one that is not finished. Raises _DamagedError and gzip's errors."""
    begin = stream.read(len(MAGIC))
    stream.seek(0)
    file = gzip.GzipFile(fileobj=stream) if begin == MAGIC else stream
    total = 0
    while line := file.readline(MOST_LINE_BYTES):
        total += len(line)
        if total > MOST_BYTES or len(line) == MOST_LINE_BYTES:
            raise _DamagedError
        if not line.endswith(b"\n"):
            return
        yield line


def _whole(value: Any, least: int, most: int) -> int:
    """Return a whole number of that range. Raises _DamagedError."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _DamagedError
    return value
