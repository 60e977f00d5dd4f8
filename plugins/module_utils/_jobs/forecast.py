# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecast demand: read the series, forecast, store the series header, the table and the forecast."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional

from .._core.clock import format_utc
from .._core.errors import HeadroomError
from .._forecast.engines import ENGINES, Engine
from .._forecast.forecast import make_forecast, names_of
from .._forecast.quantile_engine import FleetModels
from .._forecast.request import Request
from .._forecast.together import Together
from .._records.forecast import JOINED_BY, Forecast
from .._records.series import Series
from .._store.artifacts import ArtifactStore
from .._store.series import SeriesStore
from .._store.tables import table_bytes
from .partitions import gather

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._forecast.forecast import Held
    from .._records.snapshot import Snapshot
    from .outcomes import OutcomeRows
    from .partitions import Workers


@dataclass(frozen=True)
class Forecasted:
    """What came of it."""

    digest: str  # of the forecast
    series: str  # digest of the series header
    rows: int
    engines: dict[str, int]  # for how many series each engine speaks at some quantile; "": those without history
    warnings: tuple[str, ...]


def forecast(
    request: Request,
    *,
    artifacts: ArtifactStore,
    series: SeriesStore,
    unique_ids: Sequence[str],
    series_digest: Optional[str] = None,
    engines: Sequence[Engine] = ENGINES,
    models: Optional[FleetModels] = None,
    snapshot: Optional[Snapshot] = None,
    outcomes: Optional[OutcomeRows] = None,
    held: Optional[Held] = None,
    workers: Optional[Workers] = None,
) -> Forecasted:
    """Forecast these VMs once, as one fleet.

    With ``series_digest`` the rows are exactly those that the header names, whatever was written since, and
    ``series.changed`` is raised if the store no longer has them. With ``snapshot``, which says who is where, it also
    holds the joint demand of every host and host set, and with ``outcomes`` what the outcome models say of the same
    telemetry: in this process as it is read, or by ``workers``. ``held`` is for ``make_forecast``. Otherwise raises
    what the stores raise.
    """
    if series_digest is None:
        pinned = None
        scan = series.scan(
            unique_ids,
            metrics=request.metrics,
            start=request.start,
            end=request.cutoff,
            interval_s=request.series_interval_s,
        )
    else:
        pinned = artifacts.get(Series, series_digest)
        request = replace(request, series_interval_s=pinned.interval_s)
        scan = series.pinned(pinned)
    if outcomes is not None:
        outcomes.hear(scan)
    together = None if snapshot is None else Together(snapshot, request)
    tables = scan.tables() if outcomes is None or workers is not None else outcomes.watched(scan.tables())
    table, choices, notes = make_forecast(
        tables, request, unique_ids=unique_ids, engines=engines, models=models, together=together, held=held
    )
    header = scan.header()
    if pinned is not None and header != pinned:
        raise HeadroomError(
            "series.changed",
            f"The telemetry no longer holds the rows that {series_digest} names.",
            advice="Forecast again without a pinned series.",
        )
    if outcomes is not None and workers is not None:
        gather(outcomes, series, header, workers)
    header_digest = artifacts.put(header)
    said = None if outcomes is None else outcomes.table()
    digest = artifacts.put(
        Forecast(
            series=header_digest,
            made_at=format_utc(request.now),
            cutoff=format_utc(request.cutoff),
            target=request.target,
            horizon_s=request.horizon_s,
            interval_s=request.interval_s,
            quantiles=request.quantiles,
            engines=names_of(engines, models),
            models=() if models is None else tuple(sorted(models.models)),
            table=artifacts.put_bytes(table_bytes(table)),
            rows=table.num_rows,
            choices=choices,
            places=() if together is None else together.demands(),
            outcomes="" if said is None else artifacts.put_bytes(table_bytes(said)),
        )
    )
    spoken = Counter(name for choice in choices for name in choice.engine.split(JOINED_BY))
    silent = (f"{spoken['']} of {len(choices)} series have no history.",) if spoken[""] else ()
    unpriced = () if outcomes is None else outcomes.warnings()
    return Forecasted(digest, header_digest, table.num_rows, dict(sorted(spoken.items())), silent + notes + unpriced)
