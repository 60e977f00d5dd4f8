# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module, from the installed tarball: check mode changes nothing and foresees the run, a second run is idle.

Around each check-mode task the fleet, and everything in the stores, is compared.
"""

from __future__ import annotations

from typing import Any

import pytest

from .contract import TOO_YOUNG, play, tasks_on
from .controller import CHECKOUT
from .fleets import Fleet

TASKS = tasks_on("vm0", "fake/u1", memory_mib=2048)
# What differs between a rehearsal and a run by its nature: names and times of the run, and what only a run has.
VOLATILE = {"run_id", "receipt", "outcomes", "invocation", "warnings", "diff", "changed", "deprecations", "stopped"}
# A forecast names the table it was read from, a rehearsal's overlay with it.
VOLATILE |= {"forecast", "series", "backtest", "table_url"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each task of the playbook returned."""
    scratch = tmp_path_factory.mktemp("contract")
    fleet = Fleet(scratch / "fleet.json")
    listing = f"find {scratch}/fleet.json {scratch}/stores -type f -exec sha256sum {{}} + 2>/dev/null | sort"
    return play(TASKS, {"name": "fake", "uri": fleet.endpoint.uri}, scratch, look_by=listing)


def test_every_module_is_here() -> None:
    assert {name for name, _unused, _unused in TASKS} == {
        path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")
    }


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_check_mode_changes_nothing(results: dict[str, Any], name: str) -> None:
    assert results[f"{name}_before"] == results[f"{name}_after"] != ""


@pytest.mark.safety(rule=1)
@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_check_mode_reports_what_the_run_does(results: dict[str, Any], name: str) -> None:
    checked, ran = results[f"{name}_check"], results[name]
    assert checked["changed"] == ran["changed"]
    assert checked.get("diff") == ran.get("diff")
    if name == "telemetry_collect":  # two looks at a moving clock
        return
    assert {key: checked[key] for key in checked if key not in VOLATILE} == {
        key: ran[key] for key in ran if key not in VOLATILE
    }


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(("name", "changes"), [(name, changes) for name, _unused, changes in TASKS])
def test_the_first_run_changes_what_it_says_and_the_second_nothing(
    results: dict[str, Any], name: str, *, changes: bool
) -> None:
    assert results[name]["changed"] is changes
    assert results[f"{name}_again"]["changed"] is False


@pytest.mark.parametrize("name", [name for name, _unused, _unused in TASKS])
def test_only_who_has_nothing_to_say_of_a_young_fleet_fails_and_says_why(results: dict[str, Any], name: str) -> None:
    for suffix in ("_check", "", "_again"):
        assert results[name + suffix].get("code") == TOO_YOUNG.get(name)
