# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that run the project's own tests: the matrix of Python and ansible-core, and the lab."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

from .gate import Outcome

NEWEST = ("3.14", "3.13", "3.12")  # a controller of the newest ansible-core; CI demands 3.13 or newer
DEMANDED = ("3.14", "3.13")
OLDEST = "3.9"  # of module_utils, on hosts
# A skip is for what the machine cannot do, or for a Python that only CI demands; every other skip is a failure.
MAY_SKIP = ("hardware: ", "matrix: ")
FAST = ("tests/unit", "tests/functional")
FEW_KILLS = ("-m", "not kills")  # those marked run in `make test-kills`
NO_ARITHMETIC = ("-m", "not arithmetic")  # its libraries are the same on every Python


def unit(outcome: Outcome) -> None:
    """Unit and functional tests on the development environment, and that every safety rule has a test."""
    pytest(outcome, outcome.place.environment, FAST, "--safety-report")
    if outcome.place.in_ci and not outcome.on.startswith("Python 3.11"):
        outcome.problem("CI demands ansible-core 2.19 on Python 3.11")


def newest(outcome: Outcome) -> None:
    """The same tests but those of arithmetic on the newest ansible-core, on the newest Python found."""
    for version in NEWEST:
        found = subprocess.run([outcome.place.tools / "pythons", version], capture_output=True, check=False)
        if found.returncode == 0:
            made = outcome.command(
                outcome.place.tools / "bootstrap", "--for", "matrix", "--python", version, "--print", "venv"
            )
            if made.returncode == 0:
                pytest(outcome, Path(made.stdout.splitlines()[-1]), FAST, *NO_ARITHMETIC)
            if outcome.place.in_ci and version not in DEMANDED:
                outcome.problem("CI demands the newest ansible-core on Python 3.13 or newer")
            return
    missing(outcome, f"one of Python {', '.join(NEWEST)}")


def kills(outcome: Outcome) -> None:
    """A run that is killed at a step of the journal, on the fake platform: the cases that always run."""
    pytest(outcome, outcome.place.environment, ("tests/kills/test_fake.py",), *FEW_KILLS)


def oldest(outcome: Outcome) -> None:
    """module_utils and the modules import on the oldest Python of hosts."""
    found = subprocess.run([outcome.place.tools / "pythons", OLDEST], capture_output=True, text=True, check=False)
    if found.returncode:
        missing(outcome, f"Python {OLDEST}")
        return
    pytest(outcome, outcome.place.environment, ("tests/unit/test_imports.py",), "-k", "oldest_python")
    outcome.on = f"module_utils on Python {OLDEST}"


def molecule(outcome: Outcome) -> None:
    """The scenario on the fake platform; that on the lab runs where the lab is up."""
    scenario(outcome, "fake")


def services(outcome: Outcome) -> None:
    """Tests on real PostgreSQL, S3 and Prometheus servers of their own."""
    pytest(outcome, outcome.place.environment, ("tests/integration",), "-m", "not lab and not kills")


def integration(outcome: Outcome) -> None:
    """Tests on the lab's real libvirt and guests; the lab is taken down if it was started here."""
    place = outcome.place
    lab = place.checkout / "tests/lab/lab.py"
    was_up = outcome.command("python", lab, "status", may_fail=True).returncode == 0
    if not was_up and outcome.command("python", lab, "up").returncode:
        return
    try:
        outcome.command("python", lab, "rest")
        paths = ("tests/integration", "tests/kills/test_libvirt.py")
        pytest(outcome, place.environment, paths, "-m", "lab and not kills")
        scenario(outcome, "lab")
    finally:
        if not was_up:
            outcome.command("python", lab, "down")


def scenario(outcome: Outcome, name: str) -> None:
    """Run a Molecule scenario on the copy, for Molecule keeps files beside what it reads."""
    done = outcome.command(
        "molecule", "test", "--scenario-name", name,
        cwd=outcome.copy,
        env={
            "ANSIBLE_COLLECTIONS_PATH": str(outcome.copy_root),
            "MOLECULE_EPHEMERAL_DIRECTORY": str(outcome.folder / "molecule"),
            "NO_COLOR": "1",
        },
    )  # fmt: skip
    passed = done.returncode == 0
    outcome.count(passed=int(passed), failed=int(not passed), skipped=0)


def pytest(outcome: Outcome, environment: Path, paths: tuple[str, ...], *options: str) -> None:
    """Run pytest of an environment and add its numbers."""
    python = environment / "bin/python"
    present = [path for path in paths if (outcome.place.checkout / path).exists()]
    outcome.on = versions(python)
    report = outcome.folder / "pytest.xml"
    done = outcome.command(
        python, "-m", "pytest", "--quiet", "--color=no", "--durations=5", f"--junitxml={report}", *options, *present,
        env={"VIRTUAL_ENV": str(environment), "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"},
    )  # fmt: skip
    if not report.exists():
        outcome.problem(f"pytest gave no report (it ended with {done.returncode})")
        return
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it a moment ago
    for suite in suites:
        total, broken, skipped = (int(suite.get(name, 0)) for name in ("tests", "failures", "skipped"))
        broken += int(suite.get("errors", 0))
        outcome.count(passed=total - broken - skipped, failed=broken, skipped=skipped)
        for skip in suite.iter("skipped"):
            reason = skip.get("message", "")
            if not reason.startswith(MAY_SKIP):
                outcome.problem(f"skipped: {reason}")


def versions(python: Path) -> str:
    code = "import ansible.release, platform; print(platform.python_version(), ansible.release.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return "Python {}, ansible-core {}".format(*done.stdout.split()) if done.returncode == 0 else "no ansible-core"


def missing(outcome: Outcome, what: str) -> None:
    if outcome.place.in_ci:
        outcome.problem(f"CI demands {what}")
    else:
        outcome.lines.append(f"left out: {what} is not installed")
        outcome.count(passed=0, failed=0, skipped=1)
