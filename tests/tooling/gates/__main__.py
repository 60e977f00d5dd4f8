# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make test``: run the gates, print what each says and, at the end, the matrix and one line of numbers.

``python -m tests.tooling.gates [NAME...]`` inside the bootstrap's environment. A name is a gate's or a group's; without
names all run. Every gate runs even if one before it fails; the exit code is 1 if any failed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import ecosystem, lint, python
from .gate import Gate, Outcome, Place, stop_commands

SIDE_BY_SIDE = 2  # the project's machines have two cores

# Those that take long come first, so that they are not what everything waits for. Those that wait themselves most of
# the time, for guests or for leases to run out, go one after the other beside the rest.
GATES = (
    Gate("integration", ("tests",), "the lab: libvirt, guests, Molecule on them", python.integration, waits=True),
    Gate("sanity", ("ecosystem",), "ansible-test sanity, no ignores", ecosystem.sanity),
    Gate("unit", ("tests",), "unit and functional tests", python.unit),
    Gate("newest", ("tests", "matrix"), "the same on the newest ansible-core, less arithmetic", python.newest),
    Gate("molecule", ("tests",), "Molecule: the cycle on the fake platform", python.molecule),
    Gate("services", ("tests",), "PostgreSQL, S3, Prometheus", python.services),
    Gate("kills", ("tests",), "killed runs on the fake platform", python.kills, waits=True),
    Gate("ansible-lint", ("lint",), "ansible-lint, production profile", lint.ansible_lint),
    Gate("mypy", ("lint",), "mypy, strict", lint.mypy),
    Gate("ruff", ("lint",), "ruff, all rules but the listed", lint.ruff),
    Gate("shellcheck", ("lint",), "shellcheck", lint.shellcheck),
    Gate("yamllint", ("lint",), "yamllint, strict", lint.yamllint),
    Gate("reuse", ("lint",), "REUSE: a licence for every file", lint.reuse),
    Gate("changelog", ("lint",), "changelog fragments", lint.changelog),
    Gate("nox", ("lint",), "antsibull-nox: unwanted files, action groups", ecosystem.nox_checks),
    Gate("docs", ("ecosystem",), "documentation and docsite", ecosystem.docs),
    Gate("importer", ("ecosystem",), "Galaxy's importer on the tarball", ecosystem.importer),
    Gate("ee", ("ecosystem",), "execution environment", ecosystem.execution_environment),
    Gate("oldest", ("tests", "matrix"), "imports on the oldest Python of hosts", python.oldest),
)


def chosen(names: list[str]) -> list[Gate]:
    known = {name for gate in GATES for name in (gate.name, *gate.groups)}
    unknown = sorted(set(names) - known)
    if unknown:
        sys.exit(f"no gate or group is called {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return [gate for gate in GATES if not names or {gate.name, *gate.groups} & set(names)]


class Report:
    """Prints each gate's output as one piece when it ends, then the summary."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.outcomes: dict[str, Outcome] = {}
        self.lock = threading.Lock()

    def run(self, gate: Gate, place: Place) -> None:
        self.say(f"-- {gate.name}: started")
        outcome = gate.run(place)
        with self.lock:
            self.outcomes[gate.name] = outcome
            word = "ok" if outcome.ok else "FAILED"
            print(f"\n== {gate.name}: {gate.title}: {word} in {outcome.seconds:.0f} s", "=" * 20)
            print(*outcome.lines, *(f"!! {problem}" for problem in outcome.problems), sep="\n", flush=True)

    def say(self, text: str) -> None:
        with self.lock:
            print(f"{text} ({time.monotonic() - self.started:.0f} s)", flush=True)

    def summary(self, gates: list[Gate]) -> bool:
        """Print the matrix; True if all is well."""
        rows = [(gate, self.outcomes[gate.name]) for gate in gates]
        print("\ngate          result   passed failed skipped seconds  CPU s  on")
        for gate, outcome in rows:
            word = "ok" if outcome.ok else "FAILED"
            numbers = f"{outcome.passed:>7}{outcome.failed:>7}{outcome.skipped:>8}"
            numbers += f"{outcome.seconds:>8.0f}{outcome.cpu_seconds:>7.0f}"
            print(f"{gate.name:<14}{word:<8}{numbers}  {outcome.on}".rstrip())
        for gate, outcome in rows:
            for problem in outcome.problems:
                print(f"FAILED {gate.name}: {problem}")
        passed, failed, skipped = (
            sum(getattr(outcome, name) for _gate, outcome in rows) for name in ("passed", "failed", "skipped")
        )
        seconds = time.monotonic() - self.started
        print(f"{len(rows)} gates in {seconds:.0f} s; a gate without tests of its own counts as one")
        print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
        return all(outcome.ok for _gate, outcome in rows)


def run_all(gates: list[Gate], report: Report, place: Place) -> None:
    """Run them; when this process is asked to stop, the commands under way are too, and no other begins."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as working, ThreadPoolExecutor(max_workers=1) as waiting:
        try:
            for done in [(waiting if gate.waits else working).submit(report.run, gate, place) for gate in gates]:
                done.result()
        except KeyboardInterrupt:
            for pool in (working, waiting):
                pool.shutdown(wait=False, cancel_futures=True)
            stop_commands()
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test", description=__doc__)
    parser.add_argument("gates", nargs="*", metavar="NAME", help="gates or groups; all if none is named")
    parser.add_argument("--list", action="store_true", help="name the gates and end")
    arguments = parser.parse_args()
    gates = chosen(arguments.gates)
    if arguments.list:
        print(*(f"{gate.name:<14}{'+'.join(gate.groups):<14}{gate.title}" for gate in gates), sep="\n")
        return 0
    cache = Path(os.environ["HEADROOM_CACHE"])
    report = Report()
    with tempfile.TemporaryDirectory(prefix="gates-", dir=cache) as scratch:
        place = Place(
            checkout=Path(__file__).resolve().parents[3],
            cache=cache,
            scratch=Path(scratch),
            environment=Path(os.environ["VIRTUAL_ENV"]),
            in_ci=os.environ.get("CI") == "true",
        )
        try:
            run_all(gates, report, place)
        except KeyboardInterrupt:
            print("stopped", flush=True)
            return 130
    return 0 if report.summary(gates) else 1


if __name__ == "__main__":
    sys.exit(main())
