# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect and forecast, as stages that a user asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.clock import format_utc
from .._core.errors import HeadroomError
from .._forecast.engines import DEFAULT_ENGINES, engines_named
from .._forecast.request import Request
from .._plan.plan import metrics_of
from .._records.codec import encode
from .._records.snapshot import Gap, Snapshot
from .._telemetry.files import Layout
from .._telemetry.http import Server
from .._telemetry.prometheus import Query
from .backfill import backfill_file
from .collect import collect
from .context import Result
from .forecast import forecast
from .known import vms_by_id
from .outcomes import OutcomeRows
from .partitions import Workers
from .plan import read_policy
from .prometheus import query_prometheus
from .sampled import read_samplers
from .sizes import SeenAtCap
from .speaking import speaking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .context import Context

SHOWN = 5  # ids in a warning


def collect_telemetry(
    context: Context, *, duration_s: int, step_s: int, interval_s: int, guest_agent: bool = False
) -> Result:
    """Sample the endpoints into the telemetry store. Raises ``endpoint.none``, ``collect.times``, ``store.*``."""
    _need_endpoints(context)
    found = collect(
        context.endpoints,
        series=context.series,
        duration_s=duration_s,
        step_s=step_s,
        interval_s=interval_s,
        guest_agent=guest_agent,
    )
    values = {
        "started_at": found.started_at,
        "finished_at": found.finished_at,
        "vms": len(found.unique_ids),
        "samples": found.samples,
        "rows": found.rows,
        "silent": {metric: len(silent) for metric, silent in found.silent.items()},
        "gaps": encode(found.gaps),
    }
    return Result(changed=False, values=values, warnings=_of_gaps(found.gaps))


def collect_samplers(context: Context, folder: str, *, history_s: int, interval_s: int) -> Result:
    """Store what samplers kept. Raises ``endpoint.none``, ``sampler.*``, ``store.*``."""
    _need_endpoints(context)
    found = read_samplers(
        folder,
        context.endpoints,
        series=context.series,
        now=context.now,
        history_s=history_s,
        interval_s=interval_s,
    )
    values = {
        "started_at": format_utc(context.now - timedelta(seconds=history_s)),
        "finished_at": format_utc(context.now),
        "samples": found.samples,
        "rows": found.rows,
        "files": found.tally.files,
        "gaps": encode(tuple(found.gaps)),
        **_of_vms(found.vms),
    }
    late = (f"{found.late} samples are left out: they say that they were taken later than now.",) if found.late else ()
    return Result(changed=False, values=values, warnings=(*_of_gaps(found.gaps), *late))


def _need_endpoints(context: Context) -> None:
    if not context.endpoints_by_name:
        raise HeadroomError("endpoint.none", "No endpoint was given.", advice="Set headroom_endpoints, or endpoints.")


def _of_gaps(gaps: Sequence[Gap]) -> tuple[str, ...]:
    return tuple(f"{gap.endpoint}, {gap.subject}: {gap.message} [{gap.code}]" for gap in gaps)


def collect_prometheus(
    context: Context,
    server: Server,
    queries: Mapping[str, Query],
    *,
    history_s: int,
    step_s: int,
    interval_s: int,
    snapshot: Optional[str],
    vms: Optional[Mapping[str, str]],
) -> Result:
    """Read the last ``history_s`` from a Prometheus server. Raises ``prometheus.*``, ``http.*``, ``store.*``."""
    found = query_prometheus(
        server,
        queries,
        series=context.series,
        now=context.now,
        history_s=history_s,
        step_s=step_s,
        interval_s=interval_s,
        unique_ids=vms_by_id(context, snapshot=snapshot, vms=vms),
    )
    tally = found.tally
    values = {
        "started_at": found.start,
        "finished_at": found.end,
        "samples": tally.points,
        "rows": found.rows,
        "dropped": {metric: dict(reasons) for metric, reasons in tally.dropped.items()},
        "unknown_vms": len(tally.unknown),
        **_of_vms({metric: tally.vms.get(metric, set()) for metric in queries}),
    }
    warnings = [
        f"{metric}: {count} points are left out, {reason}."
        for metric, reasons in tally.dropped.items()
        for reason, count in reasons.items()
    ]
    if tally.unnamed:
        warnings.append(f"{tally.unnamed} series lack the labels that make a unique_id.")
    return Result(changed=False, values=values, warnings=(*warnings, *_unknown(tally.unknown)))


def collect_file(
    context: Context, path: str, layout: Layout, *, snapshot: Optional[str], vms: Optional[Mapping[str, str]]
) -> Result:
    """Store the rows of a Parquet or CSV file. Raises ``file.*``, ``series.*``, ``store.*``."""
    layout = replace(layout, unique_ids=vms_by_id(context, snapshot=snapshot, vms=vms))
    tally = backfill_file(path, series=context.series, layout=layout).tally
    values = {"rows": tally.rows, "unknown_vms": len(tally.unknown), **_of_vms(tally.vms)}
    return Result(changed=False, values=values, warnings=tuple(_unknown(tally.unknown)))


def _of_vms(vms: Mapping[str, set[str]]) -> dict[str, Any]:
    """Numbers of VMs: that told anything, that told nothing of a metric."""
    everyone: set[str] = set().union(*vms.values())
    silent = {metric: len(everyone - told) for metric, told in vms.items()}
    return {
        "vms": len(everyone),
        "silent": {metric: count for metric, count in silent.items() if count},
    }


def _unknown(ids: set[str]) -> list[str]:
    some = ", ".join(sorted(ids)[:SHOWN])
    return [f"{len(ids)} ids are no known VM's and are left out: {some}."] if ids else []


def forecast_demand(
    context: Context,
    *,
    snapshot: str,
    series: Optional[str],
    horizon_s: int,
    interval_s: int,
    lead_s: int,
    history_s: int,
    series_interval_s: int,
    quantiles: Sequence[str],
    target: str,
    engines: Sequence[str] = DEFAULT_ENGINES,
    costly_vms: int = Request.costly_vms,
    trained: bool = True,
    workers: str = "",
    policy_text: str = "",
    policy_name: str = "",
) -> Result:
    """Forecast the demand of every VM of a snapshot. ``series``: digest of the one series header to forecast from.

    With ``trained`` the models of quantiles speak that stand for its VMs. ``workers``: address of a Dask scheduler;
    its workers ask the models of outcomes. The sizing policy says what is planned, whose demand is forecast therefore,
    and from where on a VM was held back.

    Raises ``forecast.request``, ``forecast.engine``, ``forecast.rows``, ``series.*``, ``artifact.*``, ``policy.*``,
    ``store.*``, ``workers.*``.
    """
    policy, _text = read_policy(policy_text, policy_name)
    request = Request(
        now=context.now,
        metrics=metrics_of(policy),
        horizon_s=horizon_s,
        interval_s=interval_s,
        lead_s=lead_s,
        quantiles=tuple(quantiles),
        target=target,
        history_s=history_s,
        series_interval_s=series_interval_s,
        costly_vms=costly_vms,
    )
    seen = context.artifacts.get(Snapshot, snapshot)
    unique_ids = [vm.unique_id for vm in seen.vms]
    request.check(vms=len(unique_ids))
    models, refused = speaking(context, request, unique_ids) if trained else (None, ())
    found = forecast(
        request,
        artifacts=context.artifacts,
        series=context.series,
        unique_ids=unique_ids,
        series_digest=series,
        engines=engines_named(engines),
        models=models,
        snapshot=seen,
        outcomes=OutcomeRows(context, seen, request, policy),
        held=SeenAtCap(context, seen, request),
        workers=Workers(workers) if workers else None,
    )
    values = {"forecast": found.digest, "series": found.series, "rows": found.rows, "engines": found.engines}
    return Result(changed=False, values=values, warnings=refused + found.warnings)
