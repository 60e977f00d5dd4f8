# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a run: gather what the stores know of it, and let the report stage tell it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from .._core.clock import format_ms, format_utc, parse_utc
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._policy.sizing import load_policy
from .._records.backtest import Backtest
from .._records.forecast import Forecast
from .._records.model import CANARY, CURRENT
from .._records.plan import Plan
from .._records.receipt import FAILED, OWED, Receipt
from .._records.series import Series
from .._records.snapshot import Snapshot
from .._records.vm import GROW, RESOURCES, SHRINK
from .._report.cards import MOST_CARDS
from .._report.curves import Expectation, read_curves
from .._report.facts import METRIC_OF, BudgetUse, Facts, Held, Owed
from .._report.markdown import markdown as markdown_text
from .._report.metrics import metrics as metrics_text
from .._report.page import page
from .._report.trust import Speaking
from .._report.view import View, build_view
from .._report.violations import LIMITS, Violations, find_violations
from .._store import budgets, holds, journal, killswitch
from .._store.tables import table_from_bytes
from .context import Result
from .models import models_listed
from .plan import plan_before
from .standing import fleet_scorecard, measured

if TYPE_CHECKING:
    import pyarrow as pa

    from .context import Context

# How much of the past a chart shows: several horizons, so that the forecast is a visible part of it.
HORIZONS_BACK = 6
LEAST_BACK = timedelta(hours=6)
MOST_BACK = timedelta(days=7)
# Violations are looked for over a day, and over less where that were more rows: a report must not take long.
VIOLATIONS_BACK = timedelta(days=1)
LEAST_VIOLATIONS_BACK = timedelta(hours=1)
MOST_ROWS_READ = 20_000_000
_OF_A_MODEL = tuple(one.name for one in fields(Speaking))


@dataclass(frozen=True)
class Files:
    """Where the forms of the report go; "": not wanted."""

    html: str = ""
    markdown: str = ""
    metrics: str = ""


def report(
    context: Context,
    *,
    files: Files,
    plan: str = "",
    receipt: str = "",
    snapshot: str = "",
    backtest: str = "",
    started_at: str = "",
) -> Result:
    """Report on what these digests name; a receipt names its plan, and a plan its snapshot and forecast.

    Raises ``report.nothing``, ``report.unwritable``, ``artifact.*``, ``store.*``. Where only the past cannot be read,
    the report is without it and a warning says so.
    """
    facts = _facts(context, plan=plan, receipt=receipt, snapshot=snapshot, started_at=started_at)
    if backtest:
        facts = replace(facts, backtest=context.artifacts.get(Backtest, backtest))
    view = build_view(facts)
    warnings: list[str] = []
    if facts.forecast:
        ids = frozenset(machine.unique_id for machine in view.machines[:MOST_CARDS]) if files.html else frozenset()
        view = replace(view, facts=_with_past(context, facts, facts.forecast, ids, warnings))
    forms: tuple[tuple[str, Callable[[], str]], ...] = (
        (files.html, lambda: page(view)),
        (files.markdown, lambda: markdown_text(view)),
        (files.metrics, lambda: metrics_text(view, before=_read(files.metrics))),
    )
    for path, make in forms:
        if path:
            write_file(path, make())
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
    facts = Facts(
        run_id=context.run_id or (done.run_id if done else context.run),
        made_at=format_utc(context.now),
        started_at=started_at,
        snapshot=artifacts.get(Snapshot, snapshot),
        plan=made,
        policy=load_policy(artifacts.get_bytes(made.policy), name="sizing policy") if made and made.policy else None,
        forecast=forecast,
        receipt=done,
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
    return _with_state(context, facts)


def _with_state(context: Context, facts: Facts) -> Facts:
    """Add what the state store says now: what is owed, holds, budget used, the scorecard, the kill switch."""
    with context.database.transaction() as connection:
        entries = [entry for endpoint in facts.snapshot.endpoints for entry in journal.unsettled(connection, endpoint)]
        held = holds.in_force(context.database, connection)
        used = budgets.used_in_window(context.database, connection, facts.plan.budget) if facts.plan else []
        switch = killswitch.read(connection)
        card = fleet_scorecard(connection, facts.snapshot, now=context.now)
    listed = models_listed(context, [vm.unique_id for vm in facts.snapshot.vms])
    owed = tuple(
        Owed(
            unique_id=entry.unique_id,
            resource=entry.resource,
            run_id=entry.run_id,
            action_id=entry.action_id,
            since=format_ms(entry.updated_at_ms),
            message=entry.message,
            failed=entry.state == FAILED,
        )
        for entry in entries
        if entry.state in (OWED, FAILED)
    )
    holding = tuple(
        Held(hold.unique_id, hold.who, hold.reason, "" if hold.until_ms is None else format_ms(hold.until_ms))
        for _unused, hold in sorted(held.items())
    )
    return replace(
        facts,
        owed=owed,
        held=holding,
        budget_used=tuple(BudgetUse(*one) for one in used),
        scorecard=card,
        models=tuple(
            Speaking(**{name: one[name] for name in _OF_A_MODEL if name in one}) for one in listed if _speaks(one)
        ),
        kill_switch=f"{switch.who}: {switch.reason}" if switch.on else "",
    )


def _with_past(context: Context, facts: Facts, forecast: Forecast, ids: frozenset[str], warnings: list[str]) -> Facts:
    """Add the curves of these VMs and the violations of all; where the past cannot be read, the forecast alone."""
    series = context.artifacts.get(Series, forecast.series)
    future = Expectation(forecast, table_from_bytes(context.artifacts.get_bytes(forecast.table))) if ids else None
    past, violations, earlier = None, None, None
    try:
        past = _past(context, forecast, series, ids) if ids else None
        violations = _violations(context, facts.snapshot, forecast, series)
        earlier = _earlier(context, facts) if ids else None
    except HeadroomError as error:
        warnings.append(f"The report is without the past, or a part of it: {error}")
    curves = read_curves(past, future, earlier, unique_ids=ids)
    with context.database.transaction() as connection:
        known = measured(connection, ids, now=context.now) if ids else {}
    return replace(facts, curves=curves, violations=violations, measured=known)


def _speaks(listed: dict[str, Any]) -> bool:
    return listed["status"] in (CANARY, CURRENT)


def _earlier(context: Context, facts: Facts) -> Optional[Expectation]:
    """What the plan before this one expected; None where there was none, or not of the same target."""
    before = plan_before(context, facts.plan, facts.digests["plan"]) if facts.plan else None
    if before is None or facts.forecast is None:
        return None
    forecast = context.artifacts.get(Forecast, before.forecast)
    if forecast.target != facts.forecast.target:
        return None
    return Expectation(forecast, table_from_bytes(context.artifacts.get_bytes(forecast.table)))


def _past(context: Context, forecast: Forecast, series: Series, ids: frozenset[str]) -> pa.Table:
    """What these VMs used: up to the cutoff as the forecast read it, and since then as it is known by now."""
    with needs("pyarrow"):
        import pyarrow as pa
    cutoff, horizon = parse_utc(forecast.cutoff), timedelta(seconds=forecast.horizon_s)
    back = min(max(HORIZONS_BACK * horizon, LEAST_BACK), MOST_BACK)
    spans: tuple[tuple[datetime, datetime, Optional[int]], ...] = (
        (cutoff - back, cutoff, series.table_version),
        (cutoff, min(cutoff + horizon, context.now), None),
    )
    metrics = tuple(METRIC_OF.values())
    return pa.concat_tables(
        context.series.read(
            sorted(ids), metrics=metrics, start=start, end=end, interval_s=series.interval_s, version=version
        )
        for start, end, version in spans
        if start < end
    )


def _violations(context: Context, seen: Snapshot, forecast: Forecast, series: Series) -> Violations:
    """Look at the last day before the cutoff, as the forecast read it."""
    end = parse_utc(forecast.cutoff)
    rows_per_interval = max(1, len(seen.vms) * len(LIMITS))
    affordable = timedelta(seconds=MOST_ROWS_READ // rows_per_interval * series.interval_s)
    start = end - max(min(VIOLATIONS_BACK, affordable), LEAST_VIOLATIONS_BACK)
    scan = context.series.scan(
        [vm.unique_id for vm in seen.vms],
        metrics=tuple(LIMITS),
        start=start,
        end=end,
        interval_s=series.interval_s,
        version=series.table_version,
    )
    found = find_violations(scan.tables(), vms=seen.vms)
    return Violations(format_utc(start), format_utc(end), series.interval_s, found)


def _summary(view: View) -> dict[str, Any]:
    """Counts for a playbook's output."""
    moved = {
        name: {resource: view.moved.amounts[resource, direction] for resource in RESOURCES}
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


def _read(path: str) -> str:
    """The metrics of the run before; none where there is no such file."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error


def write_file(path: str, text: str) -> None:
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
