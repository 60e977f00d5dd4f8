# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long acts took, from the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy

from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action, Change, Inverse
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import DONE, REVERTED
from ansible_collections.headroom.fleet.plugins.module_utils._store import journal, leads
from ansible_collections.headroom.fleet.plugins.module_utils._store.db import Database
from ansible_collections.headroom.fleet.plugins.module_utils._store.leads import Lead

ACT = Action(
    action_id="a0001",
    unique_id="e/u1",
    vm_name="a",
    endpoint="e",
    host_id="e/h",
    host_set="e",
    tenant="",
    operation="cpu.limit",
    resource="cpu_limit_millicores",
    direction="shrink",
    mode="auto",
    size_before=2000,
    size_after=1000,
    changes=(Change("live.cpu_limit_millicores", 0, 1000),),
    generation="",
    inverse=Inverse("cpu.limit", "live"),
    restart=False,
    reason="",
)


@pytest.fixture
def database(state_url: str) -> Iterator[Database]:
    opened = Database(state_url)
    yield opened
    opened.close()


def act(
    database: Database,
    took_ms: int,
    *,
    token: int,
    action: Action = ACT,
    state: str = DONE,
    code: str = "",
    days: int = 0,
) -> None:
    """An act of this length, begun so many days ago."""
    with database.transaction() as connection:
        values = {"run_id": "run", "who": "ann", "token": token}
        journal.begin(database, connection, action, plan="p", purpose="size", **values)
        where = {"endpoint": action.endpoint, "action_id": action.action_id}
        journal.move(database, connection, state=state, code=code, **where, **values)
        connection.execute(
            sqlalchemy.text(
                "UPDATE journal SET begun_at_ms = begun_at_ms - :ago, updated_at_ms = begun_at_ms - :ago + :took "
                "WHERE token = :token"
            ),
            {"ago": days * 86_400_000, "took": took_ms, "token": token},
        )


def measured(database: Database) -> dict[tuple[str, str], Lead]:
    with database.transaction() as connection:
        return leads.measured(database, connection)


def test_leads_are_of_acts_that_ended_well_by_endpoint_and_operation(database: Database) -> None:
    for number in range(1, 21):
        act(database, number * 100, token=number)
    for number in range(21, 26):
        act(database, 7, token=number, action=replace(ACT, endpoint="f"))
    for number in range(31, 40):  # none of these counts
        act(database, 99_999, token=number, state=REVERTED)
        act(database, 99_999, token=number + 10, code=journal.RECOVERED)
        act(database, 99_999, token=number + 20, days=29)
    assert measured(database) == {("e", "cpu.limit"): Lead(20, 1000, 1900), ("f", "cpu.limit"): Lead(5, 7, 7)}


def test_of_few_acts_nothing_is_said(database: Database) -> None:
    for number in range(1, 5):
        act(database, 10, token=number)
    assert measured(database) == {}
