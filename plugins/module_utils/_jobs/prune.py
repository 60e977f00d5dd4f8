# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget what is old and nothing needs: rows, artifacts, telemetry, rehearsals that were left behind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Optional

from .._core.clock import utc_now
from .._core.errors import HeadroomError
from .._policy.sizing import LONGEST_WINDOW_HOURS
from .._store import lineage, pruning, retention
from .._store.delta import location, shown
from .context import Result, drop_rehearsal, rehearsals_before

if TYPE_CHECKING:
    from datetime import datetime

    from .._store.lineage import Lineage
    from .context import Context

# Acts count in a rolling budget for as long as a policy may say.
LEAST_RECORDS_DAYS = LONGEST_WINDOW_HOURS // 24
# Journal rows stay a little longer than the receipts that tell of them.
JOURNAL_MARGIN = timedelta(days=1)
# Days of telemetry that are over for so long are compacted: late points still come before.
SETTLED = timedelta(days=1)
# Artifacts whose lineage is noted in one transaction: acts wait for each.
NOTED_AT_ONCE = 500


def prune(context: Context, *, records_days: int, telemetry_days: int, rehearsal_days: int) -> Result:
    """Remove what is older than these ages, and return how much of each kind.

    Nothing goes that an unsettled or owed act, an approval, a reference, a rolling budget or a kept artifact needs, nor
    telemetry that a kept series header names, nor any row of the audit log. Raises ``prune.age``, ``store.*``,
    ``artifact.edited``.
    """
    for name, days, least in (
        ("records_days", records_days, LEAST_RECORDS_DAYS),
        ("telemetry_days", telemetry_days, 1),
        ("rehearsal_days", rehearsal_days, 1),
    ):
        if days < least:
            raise HeadroomError("prune.age", f"{name} is {days}.", advice=f"Give {least} days or more.")
    now = min(context.now, utc_now())  # a pinned clock makes nothing older than it is
    records_before = now - timedelta(days=records_days)
    telemetry = context.url("telemetry")
    removed = _prune_rows(context, before=records_before)
    gone, versions = _artifacts(context, before=records_before, table=shown(location(telemetry)))
    for name in gone:
        context.artifacts.remove(name, written_before=records_before)
    retained = retention.retain(
        telemetry,
        oldest=now - timedelta(days=telemetry_days),
        settled=now - SETTLED,
        versions=versions,
        dry_run=context.check,
    )
    left_behind = rehearsals_before(now - timedelta(days=rehearsal_days))
    for run_id in left_behind:
        if not context.check:
            drop_rehearsal(run_id)
    removed = {
        **removed,
        "artifact": len(gone),
        "telemetry_row": retained.rows,
        "telemetry_file": retained.files,
        "rehearsal": len(left_behind),
    }
    changed = any(removed.values()) or bool(retained.days)
    return Result(changed=changed, values={"removed": removed, "compacted_days": retained.days})


def _prune_rows(context: Context, *, before: datetime) -> dict[str, int]:
    database = context.database
    age_ms = round((utc_now() - before + JOURNAL_MARGIN).total_seconds() * 1000)
    with database.transaction() as connection:
        before_ms = database.now_ms(connection) - age_ms  # rows bear the database's clock
    return pruning.prune(database, before_ms=before_ms, run_id=context.run, who=context.who)


def _artifacts(context: Context, *, before: datetime, table: str) -> tuple[list[str], set[int]]:
    """What may go, and the versions of the telemetry table that headers among the rest name.

    An artifact refers to every digest that stands in it. What is young stays, with all it refers to. Each is read by
    the first prune that meets it, and never again.
    """
    with context.database.transaction() as connection:
        known = lineage.known(connection)
        roots = pruning.needed(connection, since_ms=round(before.timestamp() * 1000))
    written = dict(context.artifacts.objects())
    old = {name for name, written_at in written.items() if written_at and written_at < before}
    kept: set[str] = set()
    fresh: dict[str, Lineage] = {}
    versions: set[int] = set()
    pending = [name for name in written if name not in old and ".part-" not in name]
    pending += sorted(roots & written.keys())
    while pending:
        name = pending.pop()
        if name in kept:
            continue
        kept.add(name)
        found = known.get(name) or _read(context, name)
        if found is None:
            continue
        if name not in known:
            fresh[name] = found
        if len(fresh) >= NOTED_AT_ONCE:
            with context.database.transaction() as connection:
                lineage.note(connection, fresh)
            fresh = {}
        pending += found.refers_to & written.keys() - kept
        if found.table == table:
            versions.add(found.table_version)
    with context.database.transaction() as connection:
        lineage.note(connection, fresh)
        lineage.forget(connection, known.keys() - kept)
    return sorted(old - kept), versions


def _read(context: Context, name: str) -> Optional[Lineage]:
    try:
        return lineage.read(context.artifacts.get_bytes(name))
    except HeadroomError as error:
        if error.code != "artifact.missing":
            raise
        return None  # another prune was quicker
