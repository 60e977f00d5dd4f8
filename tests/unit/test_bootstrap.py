# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bootstrap asks before it installs, starts no service, and leaves policy-rc.d as it was."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[2] / "tests/tooling/bootstrap"

# A machine without one package until apt-get ran; what it did is written down.
COMMANDS = {
    "dpkg-query": '[ -e "$MACHINE/done" ] || [ "$3" != pkg-config ] && printf installed',
    "id": 'echo "$MACHINE_UID"',
    "apt-get": """
        echo "$* frontend=$DEBIAN_FRONTEND" >>"$MACHINE/apt.log"
        "$MACHINE/usr/sbin/policy-rc.d" cron start; echo "policy says $?" >>"$MACHINE/apt.log"
        case "$*" in
            *update) touch "$MACHINE/var/lib/apt/lists/mirror_Packages.lz4" ;;
            *install*) [ -z "${APT_FAILS:-}" ] || exit 100; touch "$MACHINE/done" ;;
        esac
    """,
}


class Machine:
    """A root folder and commands in front of the real ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.policy = root / "usr/sbin/policy-rc.d"
        for folder in ("bin", "usr/sbin", "run/lock", "var/lib/apt/lists", "cache"):
            (root / folder).mkdir(parents=True)
        for name, text in COMMANDS.items():
            (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (root / "bin" / name).chmod(0o755)

    def bootstrap(self, *, uid: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it up to the environment, which an unknown purpose keeps it from making."""
        inherited = {name: value for name, value in os.environ.items() if name not in {"CI", "YES"}}
        fake = {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "MACHINE": str(self.root),
            "MACHINE_UID": str(uid),
            "HEADROOM_CACHE": str(self.root / "cache"),
            "HEADROOM_BOOTSTRAP_ROOT": str(self.root),
        }
        return subprocess.run(
            [BOOTSTRAP, "--for", "nothing", "true"],
            env={**inherited, **fake, **variables},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def log(self) -> list[str]:
        path = self.root / "apt.log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def last_words(self) -> list[str]:
        """The last argument of each call of apt-get."""
        return [line.split(" frontend=")[0].split()[-1] for line in self.log() if " frontend=" in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_root_it_says_what_is_missing(machine):
    done = machine.bootstrap(uid=1000, YES="1")
    assert done.returncode == 3
    assert "apt-get install --no-install-recommends pkg-config\n" in done.stderr
    assert machine.log() == []


def test_without_a_terminal_it_does_not_install(machine):
    done = machine.bootstrap()
    assert done.returncode == 3
    assert "these Debian packages are missing: pkg-config\n" in done.stderr
    assert "YES=1" in done.stderr
    assert machine.log() == []


@pytest.mark.parametrize("variables", [{"YES": "1"}, {"CI": "true"}])
def test_it_installs_when_told_to_and_no_service_may_start(machine, variables):
    (machine.root / "var/lib/apt/lists/mirror_Packages").touch()
    done = machine.bootstrap(**variables)
    assert "no environment is called nothing" in done.stderr  # it came past the packages
    install, policy = machine.log()
    assert "install --no-install-recommends pkg-config frontend=noninteractive" in install
    assert policy == "policy says 101"
    assert not machine.policy.exists()


def test_lists_are_fetched_when_there_are_none(machine):
    machine.bootstrap(YES="1")
    assert machine.last_words() == ["update", "pkg-config"]


def test_lists_are_fetched_when_the_install_needs_it(machine):
    (machine.root / "var/lib/apt/lists/mirror_Packages").touch()
    done = machine.bootstrap(YES="1", APT_FAILS="1")
    assert done.returncode != 0
    assert machine.last_words() == ["pkg-config", "update", "pkg-config"]


@pytest.mark.parametrize("variables", [{}, {"APT_FAILS": "1"}])
def test_the_policy_of_the_machine_is_put_back(machine, variables):
    machine.policy.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    machine.policy.chmod(0o755)
    machine.bootstrap(YES="1", **variables)
    assert "policy says 101" in machine.log()
    assert machine.policy.read_text(encoding="utf-8") == "#!/bin/sh\nexit 0\n"
    assert sorted(path.name for path in machine.policy.parent.iterdir()) == ["policy-rc.d"]


def test_what_a_killed_run_left_is_cleared(machine):
    machine.policy.write_text("#!/bin/sh\n# headroom: no service starts while packages are installed\nexit 101\n")
    machine.policy.with_name("policy-rc.d.before-headroom").write_text("the machine's own", encoding="utf-8")
    machine.bootstrap(YES="1")
    assert machine.policy.read_text(encoding="utf-8") == "the machine's own"


def test_nothing_is_asked_when_nothing_is_missing(machine):
    (machine.root / "done").touch()
    done = machine.bootstrap(uid=1000)
    assert "no environment is called nothing" in done.stderr
    assert machine.log() == []
