# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep what the VMs of this hypervisor count, every few seconds, in files of bounded size.

The standard library and virsh are all it needs. It reads, on a read-only connection, and sets nothing. It computes
nothing either: rates are made where the files are read, so that a restart or a clock that jumped is seen there.

A file is lines of JSON, and begins with ``{"headroom_samples": 1, "step_s": 10}``. A VM is told of before its first
sample, and again under another number when it began anew or its devices changed:
``{"vm": 0, "uuid": "...", "boot": 7, "names": {"block.0.name": "vda"}, "keys": ["cpu.time", ...]}``.
A sample of all VMs is ``{"t": ..., "m": ..., "v": {"0": [...]}}``: the wall clock and the clock since the host's boot
in microseconds, and by number of the VM how much each key rose since its last sample in this file, at first since 0.
Keys are libvirt's names of statistics. The file under way ends in .jsonl; one that is whole ends in .jsonl.gz and
never changes. The sample at which a file ends begins the next one too.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gzip
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from operator import sub
from pathlib import Path
from typing import Any

FORMAT = 1
LOCKED = 75  # EX_TEMPFAIL of sysexits.h
NAME = "%Y%m%dT%H%M%SZ"  # of a file: when its first sample was taken, UTC
FILES = re.compile(r"\d{8}T\d{6}Z\.jsonl(\.gz)?")

ASK = "list --uuid --id --name; domstats --raw --nowait --list-active --cpu-total --vcpu --balloon --block --interface"
VM = re.compile(r"(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) +(?P<boot>\d+) +(?P<name>.+)")
OF_VM = "Domain: '"  # what domstats puts before the statistics of one VM
KEPT = re.compile(
    r"cpu\.time"
    r"|vcpu\.\d+\.(delay|wait)"
    r"|balloon\.(current|rss|available|usable|last-update|swap_in|swap_out|major_fault)"
    r"|block\.count|block\.\d+\.(name|(rd|wr)\.(bytes|reqs))"
    r"|net\.count|net\.\d+\.(name|(rx|tx)\.bytes)"
)
LARGEST = 2**63 - 1

# Of the room for files: closed ones, and the one under way, which is there twice while it is compressed.
CLOSED, LIVE = 6 / 8, 1 / 8


class LibvirtError(Exception):
    """virsh failed; the text says why."""


@dataclass(frozen=True)
class Sample:
    """All VMs at one instant."""

    wall_us: int
    boot_us: int  # since the host's boot, suspends included: no one sets it
    vms: dict[str, tuple[int, dict[str, Any]]]  # UUID -> the domain's running number, statistics


def parse(text: str) -> dict[str, tuple[int, dict[str, Any]]]:
    """Read what virsh printed: the list of VMs, then their statistics, of which only those KEPT count."""
    by_name: dict[str, tuple[int, dict[str, Any]]] = {}
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    kept: dict[str, bool] = {}
    stats: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("  "):
            key, _unused, value = line[2:].partition("=")
            if key not in kept:
                kept[key] = KEPT.fullmatch(key) is not None
            if not kept[key]:
                continue
            if key.endswith(".name"):
                stats[key] = value
            elif value.isdecimal() and int(value) <= LARGEST:  # else libvirt does not know
                stats[key] = int(value)
        elif line.startswith(OF_VM):
            # One that started after the list was made is there the next time.
            stats = by_name.get(line[len(OF_VM) : -1], (0, {}))[1]
        else:
            vm = VM.fullmatch(line.rstrip())
            if vm:
                by_name[vm["name"]] = found[vm["uuid"]] = (int(vm["boot"]), {})
    return {uuid: one for uuid, one in found.items() if one[1]}


class File:
    """The file under way. After an OSError it is as it was before, and takes no more."""

    def __init__(self, folder: Path, sample: Sample, *, step_s: int) -> None:
        """Raises OSError, also where there is one of that name."""
        stem = time.strftime(NAME, time.gmtime(sample.wall_us // 1_000_000))
        self.path = folder / f"{stem}.jsonl"
        self.size = 0
        self._vms: dict[str, tuple[int, Any, list[int]]] = {}  # UUID -> number, what it is told by, last values
        self._numbers = 0
        if whole(self.path).exists():
            raise FileExistsError(f"{whole(self.path)} exists")
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._append([{"headroom_samples": FORMAT, "step_s": step_s}])

    def write(self, sample: Sample) -> None:
        """Add one sample, whole or not at all."""
        lines: list[dict[str, Any]] = []
        values = {}
        for uuid, (boot, stats) in sample.vms.items():
            names = {key: value for key, value in stats.items() if isinstance(value, str)}
            keys = [key for key in stats if key not in names]
            told = (boot, names, keys)
            number, before, last = self._vms.get(uuid, (0, None, []))
            if before != told:
                number, last = self._numbers, [0] * len(keys)
                self._numbers += 1
                lines.append({"vm": number, "uuid": uuid, "boot": boot, "names": names, "keys": keys})
            now = [stats[key] for key in keys]
            self._vms[uuid] = (number, told, now)
            values[number] = list(map(sub, now, last))
        self._append([*lines, {"t": sample.wall_us, "m": sample.boot_us, "v": values}])

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)

    def _append(self, lines: list[dict[str, Any]]) -> None:
        data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
        written = 0
        try:
            written = os.write(self._file, data)
        finally:
            if written < len(data):
                os.ftruncate(self._file, self.size)
        if written < len(data):
            raise OSError(f"only {written} of {len(data)} bytes could be written")
        self.size += len(data)


def whole(path: Path) -> Path:
    """What a file is called once it never changes again."""
    return path.with_name(f"{path.name}.gz")


def seal(path: Path) -> None:
    """Compress a file that is over, without what a crash left of its last line. After an OSError it is as it was."""
    data = path.read_bytes()
    data = data[: data.rfind(b"\n") + 1]
    new = path.with_name(f"{path.name}.tmp")
    if data:
        try:
            with new.open("wb") as file:
                file.write(gzip.compress(data, compresslevel=6))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            new.unlink()
            raise
        new.replace(whole(path))
    path.unlink()


def trim(folder: Path, *, most_bytes: float, oldest_s: float) -> None:
    """Remove the oldest files until the rest is small and young enough. Raises OSError."""
    files = sorted((path for path in folder.iterdir() if FILES.fullmatch(path.name)), reverse=True)
    oldest = time.strftime(NAME, time.gmtime(oldest_s))
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > most_bytes or path.name < oldest:
            path.unlink()


class Sampler:
    """Asks virsh again and again. What fails is said once, and tried again at the next step."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._folder: Path = options.folder
        self._room = options.keep_mib * 2**20
        self._command = [options.virsh, "--readonly", "--quiet", "--connect", options.uri, ASK]
        self._live: File | None = None
        self._slot = 0  # of the file under way
        self._trouble = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self) -> None:
        """Until a SIGTERM."""
        say(f"sampling {self._options.uri} every {self._options.step_s} s into {self._folder}")
        begin, number = time.monotonic(), 0
        for left in self._folder.glob("*.tmp"):
            left.unlink()
        self._finish()  # what a crash left
        while not self._stopping:
            try:
                self._keep(self._sample())
                self._settle("")
            except LibvirtError as error:
                self._settle(f"libvirt does not answer: {error}")
            except OSError as error:
                self._abandon()
                self._settle(f"samples cannot be kept: {error}")
            passed = (time.monotonic() - begin) / self._options.step_s
            number = max(number + 1, int(passed) + 1)  # a step that was missed is not made up for
            self._wait(begin + number * self._options.step_s)
        self._finish()
        say("stopped")

    def _sample(self) -> Sample:
        """Raises LibvirtError."""
        options = self._options
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(self._folder)}
        begun = clocks()
        try:
            with subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
            ) as self._child:  # fmt: skip
                try:
                    out, errors = self._child.communicate(timeout=options.timeout_s)
                except subprocess.TimeoutExpired:
                    self._child.kill()  # a read left nothing half-done
                    raise LibvirtError(f"no answer within {options.timeout_s} s") from None
                status = self._child.returncode
        except OSError as error:
            raise LibvirtError(str(error)) from error
        finally:
            self._child = None
        ended = clocks()
        if status:
            raise LibvirtError(" ".join(errors.decode(errors="replace").split()) or f"virsh ended with {status}")
        wall_us, boot_us = (begun[0] + ended[0]) // 2_000, (begun[1] + ended[1]) // 2_000  # of ns
        return Sample(wall_us, boot_us, parse(out.decode(errors="replace")))

    def _keep(self, sample: Sample) -> None:
        """Raises OSError."""
        slot = sample.wall_us // (self._options.file_s * 1_000_000)
        if self._live and (slot != self._slot or self._live.size > self._room * LIVE):
            self._live.write(sample)
            self._finish()
        if self._live is None:
            self._live, self._slot = File(self._folder, sample, step_s=self._options.step_s), slot
        self._live.write(sample)

    def _finish(self) -> None:
        """Close the file under way. Raises OSError."""
        live, self._live = self._live, None
        if live:
            live.close()
        for path in sorted(self._folder.glob("*.jsonl")):  # also one that could not be compressed before
            seal(path)
        self._trim()

    def _abandon(self) -> None:
        """Close the file under way as it is, and make room: that may be what is lacking."""
        live, self._live = self._live, None
        if live:
            live.close()
        with contextlib.suppress(OSError):
            self._trim()

    def _trim(self) -> None:
        keep_s = self._options.keep_days * 86_400
        trim(self._folder, most_bytes=self._room * CLOSED, oldest_s=time.time() - keep_s)

    def _settle(self, trouble: str) -> None:
        """Say what is new."""
        if trouble != self._trouble and not self._stopping:
            say(trouble or "all is well again")
            self._trouble = trouble

    def _wait(self, until: float) -> None:
        """Sleep, or be woken by a signal."""
        if not self._stopping:
            select.select([self._woken], [], [], max(0.0, until - time.monotonic()))

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True
        if self._child:
            self._child.terminate()


def clocks() -> tuple[int, int]:
    """The wall clock and the clock since the host's boot, in nanoseconds."""
    return time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def say(line: str) -> None:
    """To the journal."""
    sys.stderr.write(f"{line}\n")


def between(least: int, most: int) -> Any:
    """Read a whole number of that range."""

    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the service; the exit status is 75 where another one keeps samples in the folder, 1 where nobody can."""
    parser = argparse.ArgumentParser(description="Keep what the VMs of this hypervisor count.")
    parser.add_argument("folder", type=Path, help="where the files are kept")
    parser.add_argument("--uri", default="qemu:///system", help="of libvirt, on this host")
    parser.add_argument("--virsh", default="virsh", help="the program")
    parser.add_argument("--step-s", type=between(1, 150), default=10, help="seconds between two samples")
    parser.add_argument("--file-s", type=between(10, 86_400), default=300, help="seconds in one file")
    parser.add_argument("--timeout-s", type=between(1, 600), default=20, help="seconds that virsh may take")
    parser.add_argument("--keep-mib", type=between(8, 2**20), default=512, help="what all files may take")
    parser.add_argument("--keep-days", type=between(1, 400), default=14, help="days after which files are removed")
    options = parser.parse_args(arguments)
    os.umask(0o027)
    try:
        lock = os.open(options.folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it, however this process ends
        Sampler(options).run()
    except BlockingIOError:
        say(f"another sampler keeps its files in {options.folder}")
        return LOCKED
    except OSError as error:
        say(f"samples cannot be kept: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
