# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a run: gather what the stores know of it, and let the report stage tell it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from .._core.clock import format_utc, parse_utc
from .._core.errors import HeadroomError
from .._records.forecast import Forecast
from .._records.plan import Plan
from .._records.receipt import FAILED, OWED, Receipt
from .._records.series import Series
from .._records.snapshot import Snapshot
from .._records.vm import GROW, RESOURCES, SHRINK
from .._report.cards import MOST_CARDS
from .._report.curves import read_curves
from .._report.facts import METRIC_OF, Facts, Held, Owed
from .._report.markdown import markdown as markdown_text
from .._report.metrics import metrics as metrics_text
from .._report.page import page
from .._report.view import View, build_view
from .._store import holds, journal, killswitch
from .._store.tables import table_from_bytes
from .context import Result

if TYPE_CHECKING:
    import pyarrow as pa

    from .context import Context

# How much of the past a chart shows: several horizons, so that the forecast is a visible part of it.
HORIZONS_BACK = 6
LEAST_BACK = timedelta(hours=6)
MOST_BACK = timedelta(days=7)


@dataclass(frozen=True)
class Files:
    """Where the forms of the report go; "": not wanted."""

    html: str = ""
    markdown: str = ""
    metrics: str = ""


def report(
    context: Context, *, files: Files, plan: str = "", receipt: str = "", snapshot: str = "", started_at: str = ""
) -> Result:
    """Report on what these digests name; a receipt names its plan, and a plan its snapshot and forecast.

    Raises ``report.nothing``, ``report.unwritable``, ``artifact.*``, ``store.*``. Where only the past cannot be read,
    the charts are without it and a warning says so.
    """
    facts = _facts(context, plan=plan, receipt=receipt, snapshot=snapshot, started_at=started_at)
    view = build_view(facts)
    ids = frozenset(machine.unique_id for machine in view.machines[:MOST_CARDS])
    warnings: list[str] = []
    past, future = _tables(context, facts, ids, warnings)
    interval_s = facts.forecast.interval_s if facts.forecast else 0
    curves = read_curves(past, future, interval_s=interval_s, unique_ids=ids)
    view = replace(view, facts=replace(facts, curves=curves))
    forms: tuple[tuple[str, Callable[[], str]], ...] = (
        (files.html, lambda: page(view)),
        (files.markdown, lambda: markdown_text(view)),
        (files.metrics, lambda: metrics_text(view, before=_read(files.metrics))),
    )
    for path, make in forms:
        if path:
            _write(path, make())
    return Result(changed=False, values={**vars(files), **_summary(view)}, warnings=tuple(warnings))


def _facts(context: Context, *, plan: str, receipt: str, snapshot: str, started_at: str) -> Facts:
    artifacts = context.artifacts
    done = artifacts.get(Receipt, receipt) if receipt else None
    plan = plan or (done.plan if done else "")
    made = artifacts.get(Plan, plan) if plan else None
    snapshot = (made.snapshot if made else "") or snapshot
    if not snapshot:
        raise HeadroomError(
            "report.nothing",
            "There is nothing to report on: no plan, no receipt, no snapshot was named.",
            advice="Give the digest that allocation_plan or allocation_apply returned.",
        )
    forecast = artifacts.get(Forecast, made.forecast) if made and made.forecast else None
    seen = artifacts.get(Snapshot, snapshot)
    owed, held, kill_switch = _state(context, seen)
    return Facts(
        run_id=context.run_id or (done.run_id if done else context.run),
        made_at=format_utc(context.now),
        started_at=started_at or seen.taken_at,
        snapshot=seen,
        plan=made,
        forecast=forecast,
        receipt=done,
        owed=owed,
        held=held,
        kill_switch=kill_switch,
        rehearsal=context.check,
        digests={
            "snapshot": snapshot,
            "series": forecast.series if forecast else "",
            "forecast": made.forecast if made else "",
            "forecast table": forecast.table if forecast else "",
            "sizing policy": made.policy if made else "",
            "plan": plan,
            "receipt": receipt,
        },
    )


def _state(context: Context, seen: Snapshot) -> tuple[tuple[Owed, ...], tuple[Held, ...], str]:
    """What is owed on the endpoints seen, what is held, and who turned the kill switch on and why."""
    with context.database.transaction() as connection:
        entries = [entry for endpoint in seen.endpoints for entry in journal.unsettled(connection, endpoint)]
        held = holds.in_force(context.database, connection)
        switch = killswitch.read(connection)
    owed = tuple(
        Owed(
            unique_id=entry.unique_id,
            resource=entry.resource,
            run_id=entry.run_id,
            action_id=entry.action_id,
            since=_time(entry.updated_at_ms),
            message=entry.message,
            failed=entry.state == FAILED,
        )
        for entry in entries
        if entry.state in (OWED, FAILED)
    )
    holding = tuple(
        Held(hold.unique_id, hold.who, hold.reason, "" if hold.until_ms is None else _time(hold.until_ms))
        for _unused, hold in sorted(held.items())
    )
    return owed, holding, f"{switch.who}: {switch.reason}" if switch.on else ""


def _tables(
    context: Context, facts: Facts, ids: frozenset[str], warnings: list[str]
) -> tuple[Optional[pa.Table], Optional[pa.Table]]:
    """The recent past of these VMs and the forecast's table."""
    forecast = facts.forecast
    if forecast is None:
        return None, None
    future = table_from_bytes(context.artifacts.get_bytes(forecast.table))
    cutoff = parse_utc(forecast.cutoff)
    back = min(max(timedelta(seconds=HORIZONS_BACK * forecast.horizon_s), LEAST_BACK), MOST_BACK)
    series = context.artifacts.get(Series, forecast.series)
    try:
        past = context.series.read(
            sorted(ids),
            metrics=tuple(METRIC_OF.values()),
            start=cutoff - back,
            end=cutoff,
            interval_s=series.interval_s,
            version=series.table_version,
        )
    except HeadroomError as error:
        warnings.append(f"The charts are without the past: {error}")
        past = None
    return past, future


def _summary(view: View) -> dict[str, Any]:
    """Counts for a playbook's output."""
    sums = view.done if view.facts.receipt else view.planned
    moved = {
        name: {resource: sums[resource, direction].amount for resource in RESOURCES}
        for name, direction in (("given_back", SHRINK), ("handed_out", GROW))
    }
    return {
        "vms": len(view.facts.snapshot.vms),
        "grow": view.count(GROW),
        "shrink": view.count(SHRINK),
        "refused": view.count("refused"),
        "stay": view.staying,
        "owed": len(view.facts.owed),
        "state": view.state,
        **moved,
    }


def _time(ms: int) -> str:
    return format_utc(datetime.fromtimestamp(ms / 1000, timezone.utc))


def _read(path: str) -> str:
    """The metrics of the run before; none where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def _write(path: str, text: str) -> None:
    """A reader sees the old file or the new one, never a part: node_exporter may look at any moment."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text, encoding="utf-8")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str, error: Exception) -> HeadroomError:
    return HeadroomError(
        "report.unwritable",
        f"The report {path} cannot be written: {error}.",
        advice="Name a file in a folder that can be written.",
    )
