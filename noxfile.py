# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates of ``make test`` as nox sessions, and those of antsibull-nox.toml. Both ways run the same commands."""

from __future__ import annotations

import nox

try:
    import antsibull_nox
except ImportError:
    antsibull_nox = None

GATES = (
    "lint",
    "sanity",
    "docs",
    "importer",
    "ee",
    "unit",
    "newest",
    "molecule",
    "oldest",
    "integration",
)

if antsibull_nox is not None:
    antsibull_nox.load_antsibull_nox_toml()


def add_gate(name: str) -> None:
    def gate(session: nox.Session) -> None:
        bootstrap = ("tests/tooling/bootstrap", "--for", "dev")
        session.run(*bootstrap, "python", "-m", "tests.tooling.gates", name, external=True)

    gate.__doc__ = f"Run the gate {name} of `make test`."
    nox.session(name=name, python=False, default=False)(gate)


for gate_name in GATES:
    add_gate(gate_name)
