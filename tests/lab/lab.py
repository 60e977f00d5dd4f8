#!/usr/bin/env python
# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A private libvirt with small guests under load: ``lab.py up | down | status | schedule FILE | rest``.

Everything runs in namespaces of its own and lies under HEADROOM_LAB; nothing of the machine's own libvirt is touched
and no service is started. Needs root and the Debian packages of packages.txt.
Exit status: 0 done, 1 failed, 3 a prerequisite is missing.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accel
import daemon
import guests
import image
import schedule
from command import Virsh, say
from settings import LabError, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


def main(argv: list[str]) -> int:
    """Parse, run, and turn a LabError into one line and an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the lab, or what is missing of it")
    up.add_argument("--guests", default=",".join(guests.NAMES), help="only these, by name (default: %(default)s)")
    commands.add_parser("down", help="end the lab; only the cache stays")
    status = commands.add_parser("status", help="show the lab; exit status 1 unless it is up")
    status.add_argument("--json", action="store_true")
    change = commands.add_parser("schedule", help="give running guests another load")
    change.add_argument("file", type=Path)
    commands.add_parser("rest", help="give running guests nothing to do, until they get another load")
    options = parser.parse_args(argv)
    try:
        settings = Settings.from_environment()
        return COMMANDS[options.command](settings, options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.code


def up(settings: Settings, options: argparse.Namespace) -> int:
    """Start what is not there."""
    wanted = _select(options.guests)
    virsh = Virsh(settings.uri)
    with _locked(settings):
        missing = wanted
        if daemon.find(settings) is not None:
            daemon.wait(settings)
            running = virsh.names()
            missing = tuple(guest for guest in wanted if guest.name not in running)
        if missing:
            boot = image.ensure(settings.cache)
            verdict = accel.choose(boot, cache=settings.cache)
            say(f"accelerator: {verdict.type}: {verdict.reason}")
            say(f"libvirtd: {'started' if daemon.start(settings) else 'is up'}: {settings.uri}")
            guests.start(virsh, missing, settings=settings, image=boot, verdict=verdict)
        guests.wait(virsh, wanted, settings=settings)
        say(f"up: {', '.join(guest.name for guest in wanted)}" + ("" if missing else " (was up already)"))
    return 0


def down(settings: Settings, _options: argparse.Namespace) -> int:
    """End everything."""
    with _locked(settings):
        say("down" if daemon.stop(settings) else "down (there was nothing)")
    return 0


def status(settings: Settings, options: argparse.Namespace) -> int:
    """Show what there is."""
    report = _report(settings)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        print(f"{report['state']}  {report['uri']}")
        for guest in report["guests"]:
            print("  " + "  ".join(f"{key}={value}" for key, value in guest.items()))
    return 0 if report["state"] == "up" else 1


def change(settings: Settings, options: argparse.Namespace) -> int:
    """Send another schedule to the guests that the file names."""
    virsh = _running(settings)
    for name, load in schedule.read(options.file, guests=tuple(virsh.names())).items():
        schedule.send(virsh, name, load)
        first = f"{load.cpu_percent[0]} % and {load.memory_mib[0]} MiB"
        say(f"{name}: {len(load.cpu_percent)} slots of {load.slot_s} s, first {first}")
    return 0


def rest(settings: Settings, _options: argparse.Namespace) -> int:
    """Let the guests rest: on TCG their usual load takes more than a core of the machine, for which others wait."""
    virsh = _running(settings)
    for name in sorted(set(virsh.names()) & set(guests.NAMES)):
        schedule.send(virsh, name, schedule.REST)
    say("the guests rest")
    return 0


def _running(settings: Settings) -> Virsh:
    _need_root()
    if daemon.find(settings) is None:
        raise LabError("the lab is down")
    return Virsh(settings.uri)


def _report(settings: Settings) -> dict[str, Any]:
    report: dict[str, Any] = {
        "state": "down",
        "root": str(settings.root),
        "uri": settings.uri,
        "uri_ro": settings.uri_ro,
        "control_group": settings.tag,
        "guests": [],
    }
    if daemon.find(settings) is None:
        return report
    virsh = Virsh(settings.uri)
    defined = virsh.names("--all")  # others may define their own here; they are not the lab's
    report["guests"] = [guests.describe(virsh, name) for name in guests.NAMES if name in defined]
    whole = report["guests"] and all(guest["agent"] for guest in report["guests"])
    report["state"] = "up" if whole else "partial"
    return report


def _select(names: str) -> tuple[guests.Guest, ...]:
    wanted = names.split(",")
    unknown = sorted(set(wanted) - set(guests.NAMES))
    if unknown:
        raise LabError(f"no such guest: {', '.join(unknown)} (there are {', '.join(guests.NAMES)})")
    return tuple(guest for guest in guests.GUESTS if guest.name in wanted)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab needs root: namespaces, mounts and a bridge of its own", code=3)


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """One command at a time changes a lab or the cache; the others wait."""
    _need_root()
    settings.cache.mkdir(parents=True, exist_ok=True)
    with (settings.cache / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab command to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


COMMANDS = {"up": up, "down": down, "status": status, "schedule": change, "rest": rest}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
