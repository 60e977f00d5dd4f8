# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test needs: the collection importable from this checkout, and one line per safety rule."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

# The safety rules of docs/architecture.md, by number.
SAFETY_RULES = {
    1: "one write gate; check mode stops before it",
    2: "grow fast, shrink slowly; no fresh metric, no shrink",
    3: "explicit budgets; an absent limit means 1; changed and reverted twice is held",
    4: "restart truth is decided at plan time; default: no restarts",
    5: "impossible acts are refused at plan time",
    6: "every action carries its precondition and its inverse",
    7: "refusal is per action; one lease per endpoint with a fencing token",
    8: "read back after each write; second run changes nothing; recovery after a kill",
    9: "modes and approvals; recommend is the default",
    10: "one owner per VM",
    11: "attestation",
    12: "N+k host failures, NUMA, anti-affinity, pinned guests",
    13: "every decision is explainable; audit is hash-chained; kill switch",
}
NOT_YET = {11: "belongs to attestation, not yet"}


def collections_root() -> Path:
    """Return a folder for ANSIBLE_COLLECTIONS_PATH in which headroom/fleet is this checkout.

    The bootstrap (tests/tooling) names one in HEADROOM_COLLECTIONS; without it a temporary one is made.
    """
    named = os.environ.get("HEADROOM_COLLECTIONS", "")
    if named and (Path(named) / "ansible_collections/headroom/fleet").resolve() == CHECKOUT:
        return Path(named)
    root = Path(tempfile.mkdtemp(prefix="headroom-collections-"))
    namespace = root / "ansible_collections/headroom"
    namespace.mkdir(parents=True)
    (namespace / "fleet").symlink_to(CHECKOUT, target_is_directory=True)
    return root


@pytest.fixture
def state_url(tmp_path: Path) -> str:
    """A state store that is not made yet. Modules of tests/integration have their own: the same tests on PostgreSQL."""
    return str(tmp_path / "state.db")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--safety-report",
        action="store_true",
        help="print one line per safety rule (as -m safety does) and fail if a rule has no test",
    )


def pytest_configure(config: pytest.Config) -> None:
    root = collections_root()
    if str(root) != os.environ.get("HEADROOM_COLLECTIONS"):
        config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(root)
    os.environ.setdefault("ANSIBLE_CONFIG", str(CHECKOUT / "tests/ansible.cfg"))
    # The checkout stays clean: what Hypothesis learns lies with the caches, or is forgotten.
    cache = Path(os.environ.get("HEADROOM_CACHE", root))
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(cache / "hypothesis"))
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader()
    config.pluginmanager.register(SafetyReport(config), "headroom-safety-report")


class SafetyReport:
    """Counts outcomes per safety rule."""

    def __init__(self, config: pytest.Config) -> None:
        self.demanded = config.getoption("--safety-report")
        self.shown = self.demanded or config.getoption("markexpr").strip() == "safety"
        self.rules_of: dict[str, list[int]] = {}
        self.outcomes: dict[int, Counter[str]] = {rule: Counter() for rule in SAFETY_RULES}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        for marker in item.iter_markers("safety"):
            rule = marker.kwargs.get("rule")
            if rule not in SAFETY_RULES or marker.args or len(marker.kwargs) != 1:
                raise pytest.UsageError(f"{item.nodeid}: write @pytest.mark.safety(rule=N), N from 1 to 13.")
            self.rules_of.setdefault(item.nodeid, []).append(rule)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A test counts once: by its call, or by the phase that kept it from being called or broke after it.
        if report.when == "call" or not report.passed:
            for rule in self.rules_of.get(report.nodeid, ()):
                self.outcomes[rule][report.outcome] += 1

    def untested(self) -> list[int]:
        return [rule for rule, outcomes in self.outcomes.items() if not outcomes and rule not in NOT_YET]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.demanded and self.untested() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.shown:
            return
        terminalreporter.section("safety rules")
        for rule, title in SAFETY_RULES.items():
            terminalreporter.write_line(f"rule {rule}: {self.verdict(rule)} - {title}")

    def verdict(self, rule: int) -> str:
        outcomes = self.outcomes[rule]
        count = outcomes.total()
        tests = f"({count} test{'' if count == 1 else 's'})"
        for outcome in ("failed", "skipped"):
            if outcomes[outcome]:
                return f"{outcome.upper()} {tests}"
        return f"passed {tests}" if count else NOT_YET.get(rule, "NO TEST")
