# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How forecasts did, summed per VM, metric and UTC day. Each interval enters once: ``until_ms`` says how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection, TextClause

_FIGURES = ("scored", "violated", "missed", "loss", "naive_loss", "covered", "banded")
_COLUMNS = ("unique_id", "metric", "day", *_FIGURES, "until_ms")


@dataclass(frozen=True)
class Score:
    """Of one day. Losses are shares of the size, summed over the intervals scored."""

    unique_id: str
    metric: str
    day: int  # days since 1970 UTC
    scored: int  # intervals
    violated: int
    missed: int  # intervals that were forecast, and could not be scored
    loss: float  # pinball, at the policy's quantile
    naive_loss: float
    covered: float  # by the interval of 90 %; ties count in part
    banded: int  # intervals scored that had one
    until_ms: int  # end of the newest interval looked at


@dataclass(frozen=True)
class Total:
    """Of a fleet's metric over some days."""

    metric: str
    series: int
    scored: int
    violated: int
    missed: int
    loss: float
    naive_loss: float
    covered: float
    banded: int


def looked_until(
    connection: Connection, unique_ids: Optional[Collection[str]] = None, *, since_day: int
) -> dict[tuple[str, str], int]:
    """How far each (unique_id, metric), of all or of these VMs, was looked at, in ms, where it was since that day."""
    import sqlalchemy

    query = "SELECT unique_id, metric, MAX(until_ms) AS until_ms FROM score WHERE day >= :since_day"
    group = " GROUP BY unique_id, metric"
    if unique_ids is None:
        rows = connection.execute(sqlalchemy.text(query + group), {"since_day": since_day})
    else:
        values = {"unique_ids": list(unique_ids), "since_day": since_day}
        rows = connection.execute(_of_these(f"{query} AND unique_id IN :unique_ids{group}"), values)
    return {(row.unique_id, row.metric): int(row.until_ms) for row in rows}


def add(connection: Connection, scores: Iterable[Score]) -> None:
    """Add these figures to those of the same day."""
    import sqlalchemy

    sums = ", ".join(f"{name} = score.{name} + excluded.{name}" for name in _FIGURES)
    query = (
        f"INSERT INTO score ({', '.join(_COLUMNS)}) "  # noqa: S608 - the columns above
        f"VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
        f"ON CONFLICT (unique_id, metric, day) DO UPDATE SET {sums}, until_ms = excluded.until_ms"
    )
    if rows := [vars(one) for one in scores]:
        connection.execute(sqlalchemy.text(query), rows)


def days(
    connection: Connection, unique_ids: Collection[str], *, metrics: Collection[str], first_day: int, last_day: int
) -> tuple[Score, ...]:
    """The figures of these VMs and metrics on these days, the oldest first."""
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM score "  # noqa: S608 - the columns above
        "WHERE unique_id IN :unique_ids AND metric IN :metrics AND day >= :first_day AND day <= :last_day "
        "ORDER BY unique_id, metric, day"
    )
    values = {"unique_ids": list(unique_ids), "metrics": list(metrics), "first_day": first_day, "last_day": last_day}
    rows = connection.execute(_of_these(query, "metrics"), values).all()
    return tuple(Score(*row) for row in rows)


def totals(connection: Connection, *, endpoints: Iterable[str], since_day: int) -> tuple[Total, ...]:
    """Sums since that day over all VMs of these endpoints, metric by metric."""
    import sqlalchemy

    sums = ", ".join(f"SUM({name}) AS {name}" for name in _FIGURES)
    query = (
        f"SELECT metric, COUNT(DISTINCT unique_id) AS series, {sums} FROM score "  # noqa: S608 - the columns above
        "WHERE substr(unique_id, 1, :length) = :prefix AND day >= :since_day GROUP BY metric"
    )
    found: dict[str, Total] = {}
    for endpoint in sorted(set(endpoints)):
        values = {"prefix": f"{endpoint}/", "length": len(endpoint) + 1, "since_day": since_day}
        for row in connection.execute(sqlalchemy.text(query), values).mappings():
            known = found.get(row["metric"], Total(row["metric"], 0, 0, 0, 0, 0.0, 0.0, 0.0, 0))
            # PostgreSQL's sum of whole numbers is a decimal one.
            before = {name: getattr(known, name) for name in ("series", *_FIGURES)}
            summed = {name: figure + type(figure)(row[name]) for name, figure in before.items()}
            found[row["metric"]] = Total(row["metric"], **summed)
    return tuple(found[metric] for metric in sorted(found))


def _of_these(query: str, *lists: str) -> TextClause:
    import sqlalchemy

    names = ("unique_ids", *lists)
    return sqlalchemy.text(query).bindparams(*(sqlalchemy.bindparam(name, expanding=True) for name in names))
