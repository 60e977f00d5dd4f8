# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect and forecast, as stages that a user asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .._core.errors import HeadroomError
from .._forecast.request import Request
from .._records.codec import encode
from .._records.series import CPU_MILLICORES, MEMORY_USED_MIB
from .._records.snapshot import Snapshot
from .collect import collect
from .context import Result
from .forecast import forecast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import Context


def collect_telemetry(context: Context, *, duration_s: int, step_s: int, interval_s: int) -> Result:
    """Sample the endpoints into the telemetry store. Raises ``endpoint.none``, ``collect.times``, ``store.*``."""
    if not context.endpoints_by_name:
        raise HeadroomError("endpoint.none", "No endpoint was given.", advice="Set headroom_endpoints, or endpoints.")
    found = collect(
        context.endpoints, series=context.series, duration_s=duration_s, step_s=step_s, interval_s=interval_s
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
    warnings = tuple(f"{gap.endpoint}, {gap.subject}: {gap.message} [{gap.code}]" for gap in found.gaps)
    return Result(changed=False, values=values, warnings=warnings)


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
) -> Result:
    """Forecast the demand of every VM of a snapshot. ``series``: digest of the one series header to forecast from.

    Raises ``forecast.request``, ``series.*``, ``artifact.*``, ``store.*``.
    """
    request = Request(
        now=context.now,
        metrics=(CPU_MILLICORES, MEMORY_USED_MIB),
        horizon_s=horizon_s,
        interval_s=interval_s,
        lead_s=lead_s,
        quantiles=tuple(quantiles),
        target=target,
        history_s=history_s,
        series_interval_s=series_interval_s,
    )
    found = forecast(
        request,
        artifacts=context.artifacts,
        series=context.series,
        unique_ids=[vm.unique_id for vm in context.artifacts.get(Snapshot, snapshot).vms],
        series_digest=series,
    )
    values = {"forecast": found.digest, "series": found.series, "rows": found.rows, "engines": found.engines}
    return Result(changed=False, values=values, warnings=found.warnings)
