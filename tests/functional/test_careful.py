# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The careful profile through the plan job: days and nights are planned and applied, each in processes of its own."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.decision import decision
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VCPUS
from ansible_collections.headroom.fleet.plugins.module_utils._store import wishes
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes
from tests.unit._plan.fleets import FREE, forecast

from .bench import STOP, TERMS
from .fleets import NOW, Fleet

POLICY = FREE.replace("hold_hours: 0", "hold_hours: 24") + (
    "budgets: {at_once: {per_host: 4, per_host_set: 4, per_tenant: 4, per_platform: 4}, window: none}\n"
)
EVERY = 2  # hours from one plan to the next


class Days:
    """The VMs e/u0 of four and e/u1 of eight vCPUs, which both need 2.6 by day and 0.4 by night."""

    def __init__(self, root: Path) -> None:
        self.root, self.hour = root, 0
        self.fleet = Fleet(root / "fleet.json", name="e", vms=2)
        for uuid, vcpus in (("u0", 4), ("u1", 8)):
            names = ("guest.vcpus", "live.vcpus", "config.vcpus")
            self.fleet.change(uuid, fields={**self.fleet.fields(uuid), **dict.fromkeys(names, vcpus)})

    @property
    def now(self) -> datetime:
        return NOW + timedelta(hours=self.hour)

    def context(self, *, check: bool = False) -> Context:
        urls = {name: str(self.root / name) for name in ("artifacts", "telemetry")}
        urls["state"] = str(self.root / "state.db")
        return Context(now=self.now, who="ann", endpoints=(self.fleet.endpoint,), urls=urls, check=check)

    def need(self, hours: int = 0) -> int:
        """In millicores; the day goes from eight to twenty."""
        return 2600 if 8 <= (self.now.hour + hours) % 24 < 20 else 400

    def plan(self, *, check: bool = False, policy: str = POLICY) -> dict[str, Any]:
        """By a forecast of the next two hours, and the use of the last ones."""
        context = self.context(check=check)
        names = [(name, VCPUS) for name in ("u0", "u1")]
        header, table = forecast(dict.fromkeys(names, self.need()), recent=dict.fromkeys(names, self.need(-EVERY)))
        header = dataclasses.replace(
            header,
            horizon_s=90 * 86_400,  # its rows stand for all times
            table=context.artifacts.put_bytes(table_bytes(table)),
            choices=tuple(dataclasses.replace(one, observed_until=format_utc(self.now)) for one in header.choices),
        )
        digests = {
            "snapshot": context.artifacts.put(take_snapshot(context)),
            "forecast": context.artifacts.put(header),
        }
        found = plan(context, **digests, policy_text=policy, policy_name="p.yml").values
        context.close()
        return found

    def go(self, hours: int) -> list[tuple[int, str, int, int]]:
        """Plan and apply for so long: (hour, VM, before, after) of each act on vCPUs."""
        acts = []
        for _unused in range(0, hours, EVERY):
            made = self.plan()
            if made["actions"]:
                self.apply(made["plan"])
            acts += [(self.hour, one["vm"], one["before"], one["after"]) for one in made["actions"]]
            self.hour += EVERY
        return acts

    def apply(self, digest: str) -> str:
        done = apply(self.context(), plan=digest, stop=STOP, terms=TERMS, pinned_clock=True).values
        assert set(done["states"]) == {"done"}
        return done["receipt"]

    def wishes(self) -> Any:
        with self.context().database.transaction() as connection:
            return wishes.known(connection)


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Days:
    found = Days(tmp_path)
    monkeypatch.setattr(Database, "now_ms", lambda _self, _connection: int(found.now.timestamp() * 1000))
    return found


@pytest.mark.safety(rule=2)
def test_no_size_goes_down_at_night_and_up_in_the_morning(days: Days) -> None:
    assert days.go(6 * 24) == [(24, "vm1", 8, 4)]  # what its days need, though it comes at noon or at night
    assert days.fleet.fields("u0")["guest.vcpus"] == 4


@pytest.mark.safety(rule=2)
def test_a_hold_that_ends_at_night_leaves_what_the_day_needed(days: Days) -> None:
    days.hour = 12  # midnight
    assert days.go(2 * 24) == [(36, "vm1", 8, 4)]


@pytest.mark.safety(rule=2)
def test_a_size_that_was_not_wanted_for_a_day_goes(days: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    days.go(24)
    monkeypatch.setattr(Days, "need", lambda _self, _hours=0: 400)  # from noon on, two hours after it was needed
    assert days.go(48) == [(24, "vm1", 8, 4), (46, "vm0", 4, 1), (48, "vm1", 4, 1)]


@pytest.mark.safety(rule=1)
def test_a_rehearsal_plans_the_same_and_notes_nothing(days: Days) -> None:
    assert days.plan(check=True)["actions"] == []
    days.go(24)
    before = days.wishes()
    first, again = days.plan(check=True), days.plan(check=True)
    assert days.wishes() == before
    real = days.plan()
    assert first == again == real
    assert [one["after"] for one in real["actions"]] == [4]
    assert days.wishes() != before


@pytest.mark.safety(rule=13)
def test_a_decision_says_when_the_size_was_wanted(days: Days) -> None:
    days.go(10)
    told = decision(days.context(), vm="e/u0", plan=days.plan()["plan"]).values["text"]
    line = POLICY.splitlines().index("  shrink: {hold_hours: 24}") + 1
    assert f"vcpus: stay (hold_time; p.yml:{line}: " in told
    assert "because it wanted 4 vCPU 2 h ago: it shrinks when it wanted less for 24 h" in told


def test_without_a_hold_time_nothing_is_noted(days: Days) -> None:
    days.hour = 12
    made = days.plan(policy=POLICY.replace("hold_hours: 24", "hold_hours: 0"))
    assert [one["after"] for one in made["actions"]] == [1, 1]
    assert days.wishes() == {}


@pytest.mark.safety(rule=9)
def test_an_undo_waits_for_nothing(days: Days) -> None:
    days.go(24)
    made = days.plan()
    receipt = days.apply(made["plan"])
    undone = rollback(days.context(), receipt=receipt, stop=STOP, terms=TERMS).values
    assert (undone["states"], days.fleet.fields("u1")["guest.vcpus"]) == ({"done": 1}, 8)
