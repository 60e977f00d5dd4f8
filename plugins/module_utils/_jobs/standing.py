# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How forecasts did and who is only recommended for, of a fleet or of one VM, as the state store has it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Optional

from .._core.needs import needs
from .._forecast.scorecard import WINDOW_DAYS, may_return, shares
from .._records.demand import DEMANDS
from .._records.vm import RESOURCES
from .._report.trust import Demoted, Measured, Scorecard, Trust
from .._store import scores, standings
from .scorecard import daily_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from .._records.snapshot import Snapshot
    from .._store.standings import Standing

EPOCH = date(1970, 1, 1)


def fleet_scorecard(connection: Connection, snapshot: Snapshot, *, now: datetime) -> Scorecard:
    """Of all VMs of the snapshot's endpoints, up to today."""
    ids = {vm.unique_id for vm in snapshot.vms}
    found = standings.standings(connection)
    demoted = [
        Demoted(one.unique_id, one.metric, _since(one), _may_return(one), one.reason)
        for _unused, one in sorted(found.items())
        if one.demoted and one.unique_id in ids
    ]
    since_day = (now.date() - EPOCH).days - WINDOW_DAYS + 1
    totals = [
        Trust(
            metric=one.metric,
            vms=one.series,
            scored=one.scored,
            violated=one.violated,
            missed=one.missed,
            loss=one.loss,
            naive_loss=one.naive_loss,
            covered=one.covered,
            banded=one.banded,
        )
        for one in scores.totals(connection, endpoints=snapshot.endpoints, since_day=since_day)
    ]
    return Scorecard(WINDOW_DAYS, tuple(demoted), tuple(totals))


def measured(connection: Connection, unique_ids: Collection[str], *, now: datetime) -> dict[tuple[str, str], Measured]:
    """How often the interval of 90 % held what came, by (unique_id, metric), where that is known."""
    last_day = (now.date() - EPOCH).days
    metrics = [DEMANDS[resource].metric for resource in RESOURCES]
    found: dict[tuple[str, str], Measured] = {}
    for one in scores.days(
        connection, unique_ids, metrics=metrics, first_day=last_day - WINDOW_DAYS + 1, last_day=last_day
    ):
        key = (one.unique_id, one.metric)
        before = found.get(key, Measured(0, 0, 0.0))
        if one.banded:
            found[key] = Measured(before.days + 1, before.banded + one.banded, before.covered + one.covered)
    return found


def vm_scorecard(connection: Connection, unique_id: str, *, now: datetime) -> dict[str, dict[str, Any]]:
    """By resource: how one VM stands, and its figures up to today; none where nothing was scored."""
    last_day = (now.date() - EPOCH).days
    first_day, metrics = last_day - WINDOW_DAYS + 1, [DEMANDS[resource].metric for resource in RESOURCES]
    known = scores.days(connection, [unique_id], metrics=metrics, first_day=first_day, last_day=last_day)
    found = standings.standings(connection, [unique_id])
    card: dict[str, dict[str, Any]] = {}
    for resource in RESOURCES:
        metric = DEMANDS[resource].metric
        figures = [one for one in known if one.metric == metric]
        standing = found.get((unique_id, metric))
        if figures or standing:
            daily = daily_of(figures, [unique_id], last_day=last_day)
            summed = shares(daily, daily.scored > 0)
            card[resource] = {
                "demoted": bool(standing and standing.demoted),
                "since": _since(standing) if standing else "",
                "may_return": _may_return(standing) if standing and standing.demoted else "",
                "reason": standing.reason if standing else "",
                "days": int(summed.days[0]),
                "intervals": int(summed.scored[0]),
                "missed": sum(one.missed for one in figures),
                "violated_percent": _percent(summed.violated[0]),
                "loss_percent": _percent(summed.loss[0]),
                "naive_loss_percent": _percent(summed.naive_loss[0]),
                "covered_percent": _percent(summed.covered[0]),
            }
    return card


def scorecard_lines(card: dict[str, dict[str, Any]]) -> list[str]:
    """The same of the demoted, for people."""
    return [
        f"{resource} is only recommended for since {one['since']}, at least until {one['may_return']}: {one['reason']}"
        for resource, one in card.items()
        if one["demoted"]
    ]


def _since(standing: Standing) -> str:
    """A standing changes on the day after the last one that counted."""
    return _date(standing.since_day + 1)


def _may_return(standing: Standing) -> str:
    return _date(may_return(standing.since_day) + 1)


def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()


def _percent(share: float) -> Optional[float]:
    with needs("numpy"):
        import numpy as np
    return None if np.isnan(share) else round(float(share) * 100, 3)
