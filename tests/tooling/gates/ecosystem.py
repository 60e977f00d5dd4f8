# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates of the Ansible ecosystem: ansible-test, documentation, Galaxy's importer, execution environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from .gate import Outcome, Place

# What ansible-test supports; those that are not installed are left out of its compile and import tests.
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

# Labels of ansible-core's own documentation live on another site.
ELSEWHERE = re.compile(r"undefined label: '(?!ansible_collections\.headroom\.fleet\.)")

OF_PIP = re.compile(
    r"\s*(Collecting|Downloading|Install|Looking in|Processing|Requirement|Successfully|Using cached|━)"
)

# ansible-test makes its environments without pip and would fetch a bootstrap script from the network.
GET_PIP = """import ensurepip

ensurepip.bootstrap()
"""


def real_pythons(place: Place) -> list[Path]:
    """The installed interpreters themselves; the shims of pyenv fail for versions that are not switched on."""
    asked = [
        subprocess.run([place.tools / "pythons", version], capture_output=True, text=True, check=False)
        for version in PYTHONS
    ]
    return [Path(done.stdout.strip()) for done in asked if done.returncode == 0]


def home_of_ansible_test(place: Place) -> Path:
    """A home below the cache, so that its environments are made once, with what it needs to make them offline."""
    home = place.cache / "ansible-test"
    (home / ".ansible/test/cache").mkdir(parents=True, exist_ok=True)
    packages = place.environment / "lib"
    (source,) = packages.glob("python3.*/site-packages/ansible_test/_internal/python_requirements.py")
    for version in set(re.findall(r"pip='([0-9.]+)'", source.read_text(encoding="utf-8"))):
        shim = home / f".ansible/test/cache/get_pip_{version.replace('.', '_')}.py"
        shim.write_text(GET_PIP, encoding="utf-8")
    return home


def sanity(outcome: Outcome) -> None:
    """ansible-test sanity on all files of the repository; there is no tests/sanity/ignore-*.txt."""
    place = outcome.place
    ignores = sorted((place.checkout / "tests/sanity").glob("ignore-*.txt"))
    if ignores:
        outcome.problem(f"no ignores: {', '.join(path.name for path in ignores)}")
    folders = [place.bin, *(python.parent for python in real_pythons(place)), *standard_path()]
    outcome.command(
        "ansible-test", "sanity", "--requirements", "--color", "no",
        cwd=outcome.copy,
        env={
            "HOME": str(home_of_ansible_test(place)),
            "PATH": ":".join(dict.fromkeys(map(str, folders))),
            "ANSIBLE_COLLECTIONS_PATH": str(outcome.copy_root),
        },
    )  # fmt: skip
    text = "\n".join(outcome.lines)
    started = len(re.findall(r'^Running sanity test "', text, re.MULTILINE))
    failed = sum(map(int, re.findall(r"^FATAL: The (\d+) sanity test\(s\) listed below", text, re.MULTILINE)))
    outcome.count(passed=started - failed, failed=failed, skipped=0)
    outcome.lines = [line for line in outcome.lines if not OF_PIP.match(line)]


def standard_path() -> list[str]:
    return [folder for folder in os.environ["PATH"].split(":") if not folder.endswith("/shims")]


def docs(outcome: Outcome) -> None:
    """Every plugin's documentation is sound, and the docsite builds; the pages stay below the cache."""
    place = outcome.place
    env = {"ANSIBLE_COLLECTIONS_PATH": str(outcome.copy_root)}
    outcome.command(
        "antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", ".",
        cwd=outcome.copy, env=env,
    )  # fmt: skip
    pages = outcome.folder / "pages"
    pages.mkdir(mode=0o700)
    made = outcome.command(
        "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error",
        "--cleanup", "everything", "--dest-dir", pages, "headroom.fleet",
        env=env,
    )  # fmt: skip
    if made.returncode == 0:
        target = place.cache / "docsite"
        shutil.rmtree(target, ignore_errors=True)
        made = outcome.command("sphinx-build", "-q", "-c", place.checkout / "docs", pages, target)
        for line in made.stdout.splitlines():
            if "WARNING" in line and not ELSEWHERE.search(line):
                outcome.problem(line)
        outcome.lines.append(f"the docsite is {target}/index.html")


def importer(outcome: Outcome) -> None:
    """What Galaxy does with an upload; it lints nothing here, since that has its own gates."""
    place = outcome.place
    tarball = build(outcome)
    config = outcome.folder / "galaxy-importer.cfg"
    config.write_text("[galaxy-importer]\nrun_ansible_lint = false\ncheck_required_tags = true\n", encoding="utf-8")
    made = outcome.command(place.tools / "bootstrap", "--for", "importer", "--print", "venv")
    if made.returncode:
        return
    folder = Path(made.stdout.splitlines()[-1]) / "bin"
    outcome.command(
        folder / "python", "-m", "galaxy_importer.main", tarball,
        cwd=outcome.folder,
        env={"GALAXY_IMPORTER_CONFIG": str(config), "PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    for line in outcome.lines:
        if line.startswith(("ERROR", "WARNING")):
            outcome.problem(line)


def execution_environment(outcome: Outcome) -> None:
    """ansible-builder reads both definitions and writes a build context; no container engine is needed for that."""
    place = outcome.place
    folder = outcome.folder / "definition"
    folder.mkdir()
    shutil.copy(place.checkout / "execution-environment.yml", folder)
    shutil.copy(build(outcome), folder)
    outcome.command("ansible-builder", "create", "--context", folder / "context", cwd=folder)
    outcome.command("ansible-builder", "introspect", "--sanitize", outcome.copy_root)
    listed = "\n".join(outcome.lines)
    if not (folder / "context/Containerfile").exists() and not (folder / "context/Dockerfile").exists():
        outcome.problem("no build context was written")
    if "libvirt-python" not in listed or "libvirt-dev" not in listed:
        outcome.problem("meta/execution-environment.yml was not read")


def build(outcome: Outcome) -> Path:
    """Build the collection's tarball from the copy."""
    target = outcome.folder / "tarball"
    outcome.command("ansible-galaxy", "collection", "build", "--output-path", target, cwd=outcome.copy)
    (tarball,) = target.glob("headroom-fleet-*.tar.gz")
    return tarball


def nox_checks(outcome: Outcome) -> None:
    """The checks of antsibull-nox that install nothing (antsibull-nox.toml)."""
    outcome.command("nox", "--session", "extra-checks", "--envdir", outcome.folder, env={"NO_COLOR": "1"})
