# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back-test the forecasts: read the series, score past origins, store the table per VM and the scores of the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from .._core.canonical import digest
from .._core.clock import format_utc
from .._forecast.backtest import Rolling, back_test
from .._forecast.engines import DEFAULT_ENGINES, engines_named
from .._forecast.request import Request
from .._records.backtest import SELECTED, Backtest, Interval, Score
from .._records.series import CPU_MILLICORES, MEMORY_USED_MIB
from .._records.snapshot import Snapshot
from .._store.tables import table_bytes
from .context import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import Context

METRICS = (CPU_MILLICORES, MEMORY_USED_MIB)


def backtest_forecast(
    context: Context,
    *,
    snapshot: Optional[str] = None,
    origins: int = 24,
    step_s: int = 7 * 3600,
    horizon_s: int = 3600,
    interval_s: int = 300,
    lead_s: int = 0,
    history_s: int = 28 * 86_400,
    series_interval_s: int = 300,
    quantiles: Sequence[str] = ("0.05", "0.1", "0.5", "0.9", "0.95", "0.98"),
    target: str = "maximum",
    engines: Sequence[str] = DEFAULT_ENGINES,
    costly_vms: int = Request.costly_vms,
    most_vms: int = 1000,
) -> Result:
    """Score the forecasts that would have been made at past origins, for VMs of a snapshot, else of the telemetry.

    Of more than ``most_vms`` a sample is taken, always the same one. Raises ``forecast.*``, ``series.*``,
    ``artifact.*``, ``store.*``.
    """
    request = Request(
        now=context.now,
        metrics=METRICS,
        horizon_s=horizon_s,
        interval_s=interval_s,
        lead_s=lead_s,
        quantiles=tuple(quantiles),
        target=target,
        history_s=history_s,
        series_interval_s=series_interval_s,
        costly_vms=costly_vms,
    )
    rolling = Rolling(request, origins=origins, step_s=step_s)
    rolling.check()
    chosen = engines_named(engines)
    everyone = _vms(context, rolling, snapshot)
    some = sorted(sorted(everyone, key=digest)[:most_vms])
    scan = context.series.scan(
        some, metrics=METRICS, start=rolling.start, end=rolling.end, interval_s=series_interval_s
    )
    table, scores, intervals, warnings = back_test(scan.tables(), rolling, unique_ids=some, engines=chosen)
    header = context.artifacts.put(scan.header())
    record = Backtest(
        series=header,
        made_at=format_utc(request.now),
        origins=tuple(format_utc(cutoff) for cutoff in rolling.cutoffs),
        target=target,
        horizon_s=horizon_s,
        interval_s=interval_s,
        lead_s=lead_s,
        history_s=history_s,
        quantiles=request.quantiles,
        engines=tuple(engine.name for engine in chosen),
        table=context.artifacts.put_bytes(table_bytes(table)),
        rows=table.num_rows,
        scores=scores,
        intervals=intervals,
    )
    if len(some) < len(everyone):
        warnings += (f"{len(some)} of {len(everyone)} VMs were tested, always the same sample.",)
    if not scores:
        warnings += ("No origin has both a past and a truth to score.",)
    values = {
        "backtest": context.artifacts.put(record),
        "table": record.table,
        "table_url": context.artifacts.url(record.table),
        "series": header,
        "rows": record.rows,
        "selected": _summary(scores, intervals),
        "msg": _shown(record),
    }
    return Result(changed=False, values=values, warnings=warnings)


def _vms(context: Context, rolling: Rolling, snapshot: Optional[str]) -> list[str]:
    if snapshot:
        return [vm.unique_id for vm in context.artifacts.get(Snapshot, snapshot).vms]
    request = rolling.request
    found = context.series.scan(
        None, metrics=METRICS, start=rolling.start, end=rolling.end, interval_s=request.series_interval_s
    )
    return list(found.unique_ids)


def _summary(scores: Sequence[Score], intervals: Sequence[Interval]) -> dict[str, Any]:
    """Of the selection alone, by metric: what a program would act on. Decimal strings."""
    found: dict[str, Any] = {}
    for score in scores:
        if score.engine == SELECTED:
            of_metric = found.setdefault(score.metric, {"vms": score.vms, "quantiles": {}, "intervals": {}})
            of_metric["quantiles"][score.quantile] = {
                "pinball": score.pinball,
                "of_naive": _of_naive(score),
                "coverage": f"{score.coverage_ppm / 1e6:.4f}",
                "bias": score.bias,
                "worst_pinball": score.worst_pinball,
                "worst_coverage": f"{score.worst_coverage_ppm / 1e6:.4f}",
            }
    for interval in intervals:
        if interval.engine == SELECTED:
            name = f"{interval.lower}-{interval.upper}"
            found[interval.metric]["intervals"][name] = f"{interval.coverage_ppm / 1e6:.4f}"
    return found


def _shown(record: Backtest) -> str:
    """Draw a table for people: engines down, quantiles across."""
    cells = {(score.metric, score.engine, score.quantile): score for score in record.scores}
    lines = []
    for metric in dict.fromkeys(score.metric for score in record.scores):
        vms = max(score.vms for score in record.scores if score.metric == metric)
        lines.append(
            f"{metric}, {vms} VMs, {len(record.origins)} origins: pinball loss as a share of naive's (coverage)"
        )
        lines.append(f"{'':21}" + "".join(f"{quantile:>14}" for quantile in record.quantiles))
        for engine in (SELECTED, *record.engines):
            row = [cells.get((metric, engine, quantile)) for quantile in record.quantiles]
            shown = (f"{_of_naive(one)} ({one.coverage_ppm / 1e6:.3f})" if one else "-" for one in row)
            lines.append(f"{engine:21}" + "".join(f"{cell:>14}" for cell in shown))
        lines += [
            f"between {one.lower} and {one.upper}: {one.coverage_ppm / 1e4:.1f} % of the truth"
            for one in record.intervals
            if (one.metric, one.engine) == (metric, SELECTED)
        ]
    return "\n".join(lines)


def _of_naive(score: Score) -> str:
    """Pinball loss as a share of naive's; "-" where naive made no error."""
    naive = float(score.naive_pinball)
    return f"{float(score.pinball) / naive:.3f}" if naive else "-"
