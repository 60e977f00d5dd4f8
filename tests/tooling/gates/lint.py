# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates that read the source and run none of it."""

from __future__ import annotations

import os

from .gate import Outcome

COLLECTION = "ansible_collections.headroom.fleet"
TYPED = ("module_utils", "plugin_utils")


def ruff(outcome: Outcome) -> None:
    outcome.command("ruff", "check", "--no-cache", "--output-format", "concise")


def mypy(outcome: Outcome) -> None:
    """Strict, under the name that Ansible gives the files, so that plugins and module_utils are seen as one tree."""
    packages = [name for name in TYPED if any((outcome.place.checkout / "plugins" / name).rglob("*.py"))]
    arguments = [word for name in packages for word in ("--package", f"{COLLECTION}.plugins.{name}")]
    outcome.command(
        "mypy", "--config-file", "pyproject.toml", "--cache-dir", outcome.place.cache / "mypy", *arguments,
        env={"MYPYPATH": os.environ["HEADROOM_COLLECTIONS"]},
    )  # fmt: skip
    base = f"{os.environ['HEADROOM_COLLECTIONS']}/ansible_collections/headroom/fleet/"
    outcome.lines[:] = [line.replace(base, "") for line in outcome.lines]


def shellcheck(outcome: Outcome) -> None:
    scripts = []
    for name in outcome.place.tracked():
        path = outcome.place.checkout / name
        with path.open("rb") as file:
            first = file.readline(80)
        if name.endswith(".sh") or (first.startswith(b"#!") and (b"bash" in first or b"/sh" in first)):
            scripts.append(name)
    outcome.command("shellcheck", *scripts)


def yamllint(outcome: Outcome) -> None:
    outcome.command("yamllint", "--strict", "--format", "parsable", ".", cwd=outcome.copy)


def reuse(outcome: Outcome) -> None:
    """Every file names its licence, and its holder here or in REUSE.toml."""
    if outcome.command("reuse", "lint", "--lines", cwd=outcome.copy).returncode == 0:
        outcome.lines.append("all files name their licence")


def ansible_lint(outcome: Outcome) -> None:
    """The production profile. On the copy, for it keeps its cache beside what it reads."""
    outcome.command(
        "ansible-lint", "--offline", "--nocolor", "--format", "pep8",
        cwd=outcome.copy, env={"ANSIBLE_COLLECTIONS_PATH": str(outcome.copy_root)},
    )  # fmt: skip


def changelog(outcome: Outcome) -> None:
    outcome.command("antsibull-changelog", "lint")
    outcome.command("antsibull-changelog", "lint-changelog-yaml", "changelogs/changelog.yaml")
