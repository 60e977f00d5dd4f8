# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of the state store may go. The audit log is not among them: it is one chain from its first row on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._records.model import RETIRED, ROLLED_BACK
from .._records.receipt import DONE
from . import audit
from .holds import REVERTED_TWICE
from .journal import UNSETTLED_STATES

if TYPE_CHECKING:
    from sqlalchemy import Connection, TextClause

    from .db import Database

ROWS_AT_ONCE = 2000  # in one transaction: acts wait meanwhile

# Of each VM and resource the newest act stays: hold times count from it.
_NEWEST_ACT = """state = :done AND NOT EXISTS (
    SELECT 1 FROM journal AS later WHERE later.unique_id = journal.unique_id AND later.resource = journal.resource
    AND later.state = :done AND later.updated_at_ms > journal.updated_at_ms)"""
# Table, its key, and which rows go; all times are of the last change that still counts, and before :before_ms.
_RULES = (
    (
        "journal",
        "endpoint, token, action_id",
        f"""updated_at_ms < :before_ms AND state NOT IN :unsettled
        AND unique_id NOT IN ({REVERTED_TWICE}) AND NOT ({_NEWEST_ACT})""",
    ),
    (
        "released",
        "unique_id",
        "at_ms < :before_ms AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.unique_id = released.unique_id)",
    ),
    ("approval", "approval_id", "expires_at_ms < :before_ms"),
    ("hold", "unique_id", "until_ms < :before_ms"),
    ("lease", "endpoint", "expires_at_ms < :before_ms"),
    ("reference", "name", "at_ms < :before_ms"),
    ("model", "purpose, metric, lead_s, model", "since_ms < :before_ms AND status IN :over"),
    ("issued", "forecast", "until_ms < :before_ms"),
    ("score", "unique_id, metric, day", "day < :before_ms / 86400000"),
    (
        "standing",
        "unique_id, metric",
        """since_day < :before_ms / 86400000 AND NOT EXISTS (SELECT 1 FROM score
        WHERE score.unique_id = standing.unique_id AND score.metric = standing.metric)""",
    ),
    ("wish", "unique_id, resource", "until_ms < :before_ms"),
)


def prune(database: Database, *, before_ms: int, run_id: str, who: str) -> dict[str, int]:
    """Remove settled rows older than this, say so in the audit log, and return how many of each table.

    What stays, however old: acts that recovery looks at, what keeps a VM held, the newest act on each VM and resource,
    approvals and holds that have not run out so long ago, and how a VM stands that was scored since. The caller's
    ``before_ms`` lies before every rolling window, and before the days that the scorecard looks back on.
    """
    removed = {}
    for table, key, condition in _RULES:
        text = (
            f"DELETE FROM {table} WHERE ({key}) IN "  # noqa: S608 - the table above
            f"(SELECT {key} FROM {table} WHERE {condition} LIMIT :most)"
        )
        removed[table] = 0
        more = True
        while more:
            with database.transaction() as connection:
                statement, values = _bound(text, before_ms)
                count = connection.execute(statement, {**values, "most": ROWS_AT_ONCE}).rowcount
                if count:
                    body = {table: count}
                    audit.append(database, connection, run_id=run_id, who=who, event="state.pruned", body=body)
            removed[table] += count
            more = count == ROWS_AT_ONCE
    return removed


def needed(connection: Connection, *, since_ms: int) -> frozenset[str]:
    """Digests of artifacts that rows refer to: plans of acts unsettled or younger, of approvals, references, models.

    An older act that is kept for its hold time alone does not keep its plan.
    """
    text = """SELECT plan FROM journal WHERE updated_at_ms >= :before_ms OR state IN :unsettled
        UNION SELECT plan FROM approval UNION SELECT digest FROM reference UNION SELECT model FROM model"""
    statement, values = _bound(text, since_ms)
    return frozenset(connection.execute(statement, values).scalars())


def _bound(text: str, before_ms: int) -> tuple[TextClause, dict[str, Any]]:
    """The statement with those of the values below that it names."""
    import sqlalchemy

    known: dict[str, Any] = {"unsettled": UNSETTLED_STATES, "done": DONE, "over": (RETIRED, ROLLED_BACK)}
    used = {name: value for name, value in known.items() if f":{name}" in text}
    lists = [name for name, value in used.items() if isinstance(value, tuple)]
    statement = sqlalchemy.text(text).bindparams(*(sqlalchemy.bindparam(name, expanding=True) for name in lists))
    return statement, {**used, "before_ms": before_ms}
