# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Telemetry from a Prometheus server, or anything that answers its range queries.

One query per metric, evaluated at a step finer than the interval; mean, p95 and maximum are then made of the points as
they are made of libvirt's samples. The alternative, ``max_over_time`` and ``quantile_over_time`` over a subquery, has
the server evaluate each query three times, hides how many points an interval had, and cannot tell a gap from a quiet
hour.

Prometheus evaluates a query AT a time and stamps it: of a rate over a window that is its END. So a point at t stands
for the step that ends at t, and the interval that starts at ds is made of the points in (ds, ds + interval_s]. A time
without a point (stale, not scraped) is a gap and lowers the coverage; so does a point that says nothing: NaN, an
infinity, a negative value, or two series of one VM that contradict one another.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from .._core.errors import HeadroomError
from .._records.series import METRICS
from .http import Server, StatusError, post
from .rates import StepsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_BYTES = 2**25  # of one answer: about a million points, a few hundred megabytes while they are read
MOST_POINTS = 11_000  # of one series in one answer, a limit of Prometheus itself
API = "/api/v1/query_range"
LABEL = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
ERROR_CHARACTERS = 300

NOT_A_NUMBER = "not_a_number"
NEGATIVE = "negative"
AMBIGUOUS = "ambiguous"


@dataclass(frozen=True)
class Query:
    """What gives one metric."""

    query: str  # PromQL with one series per VM
    unique_id: str = "{unique_id}"  # of the VM, or its id as the source knows it; {label} is the label's value
    factor: float = 1.0  # value * factor is in the metric's unit


@dataclass
class Tally:
    """What became telemetry, and what did not."""

    points: int = 0  # taken
    vms: dict[str, set[str]] = field(default_factory=dict)  # metric -> VMs with a point
    dropped: dict[str, Counter[str]] = field(default_factory=dict)  # metric -> reason -> points
    unknown: set[str] = field(default_factory=set)  # ids that are no VM's
    unnamed: int = 0  # series without the labels that make the id

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        self.points += other.points
        self.unknown |= other.unknown
        self.unnamed += other.unnamed
        for metric, vms in other.vms.items():
            self.vms.setdefault(metric, set()).update(vms)
        for metric, dropped in other.dropped.items():
            self.dropped.setdefault(metric, Counter()).update(dropped)


@dataclass(frozen=True)
class Span:
    """The points in (start_s, end_s], one each step_s."""

    start_s: int
    end_s: int
    step_s: int


def read_span(
    server: Server,
    metric: str,
    query: Query,
    span: Span,
    *,
    unique_ids: Optional[Mapping[str, str]],
    builder: StepsBuilder,
    tally: Tally,
) -> None:
    """Ask for one metric in one span and add its steps.

    ``unique_ids``: id as the source has it -> VM; None: the ids are VMs. Raises ``prometheus.query``,
    ``prometheus.answer`` and what ``http.post`` raises.
    """
    form = {
        "query": query.query,
        "start": str(span.start_s + span.step_s),
        "end": str(span.end_s),
        "step": str(span.step_s),
        "timeout": f"{server.timeout_s:g}s",
    }
    try:
        body = post(server, API, form, most_bytes=MOST_BYTES)
    except HeadroomError as refused:
        said = _words(refused)
        if not said:
            raise
        raise HeadroomError(
            "prometheus.query",
            f"The query of {metric} is refused: {said[:ERROR_CHARACTERS]}.",
            advice="Try it in the server's own console; it must give one series per VM.",
        ) from refused
    add_answer(body, metric, query, span, unique_ids=unique_ids, builder=builder, tally=tally)


def add_answer(
    body: bytes,
    metric: str,
    query: Query,
    span: Span,
    *,
    unique_ids: Optional[Mapping[str, str]],
    builder: StepsBuilder,
    tally: Tally,
) -> None:
    """Add the steps of an answer. Raises ``prometheus.answer``: then the builder holds nothing of it."""
    series_of: dict[str, list[list[tuple[float, float]]]] = {}
    dropped: Counter[str] = Counter()
    for labels, values in _matrix(body, metric):
        unique_id = _named(labels, query, unique_ids, tally)
        points = [_point(value, span, metric) for value in values]  # read before the VM counts: all must be sound
        if unique_id is not None:
            series_of.setdefault(unique_id, []).append(points)
    place, step_us = METRICS.index(metric), span.step_s * 1_000_000
    for unique_id, series in series_of.items():
        for at_s, value in series[0] if len(series) == 1 else _agreed(series, dropped):
            scaled = value * query.factor
            if not math.isfinite(scaled):
                dropped[NOT_A_NUMBER] += 1
            elif scaled < 0:
                dropped[NEGATIVE] += 1
            else:
                end_us = round(at_s * 1_000_000)
                builder.add(unique_id, place, end_us - step_us, end_us, scaled)
                tally.points += 1
                tally.vms.setdefault(metric, set()).add(unique_id)
    if dropped:
        tally.dropped.setdefault(metric, Counter()).update(dropped)


def _agreed(series: list[list[tuple[float, float]]], dropped: Counter[str]) -> Iterable[tuple[float, float]]:
    """The points of several series of one VM, as after a migration, less those where they contradict one another."""
    said: dict[float, set[float]] = {}
    for at_s, value in (point for points in series for point in points):
        said.setdefault(at_s, set()).add(value)
    for at_s, values in sorted(said.items()):
        if len(values) == 1:
            yield at_s, values.pop()
        else:
            dropped[AMBIGUOUS] += 1


def _named(
    labels: Mapping[str, str], query: Query, unique_ids: Optional[Mapping[str, str]], tally: Tally
) -> Optional[str]:
    """The VM of a series; None where it has none, which is counted."""
    if not all(labels.get(label) for label in LABEL.findall(query.unique_id)):
        tally.unnamed += 1
        return None
    given = LABEL.sub(lambda found: labels[found[1]], query.unique_id)
    if unique_ids is None:
        return given
    if given not in unique_ids:
        tally.unknown.add(given)
        return None
    return unique_ids[given]


def _matrix(body: bytes, metric: str) -> list[tuple[dict[str, str], list[Any]]]:
    """The series of an answer: labels and points. Raises ``prometheus.answer``."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _strange(metric, "it is no JSON") from error
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict) or answer.get("status") != "success" or data.get("resultType") != "matrix":
        raise _strange(metric, "it is not the result of a range query")
    found = []
    for one in data["result"] if isinstance(data.get("result"), list) else [None]:
        labels, values = (one.get("metric"), one.get("values")) if isinstance(one, dict) else (None, None)
        if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
            raise _strange(metric, "a series has no labels")
        if not isinstance(values, list):
            raise _strange(metric, "a series has no plain values")
        found.append((labels, values))
    return found


def _point(point: Any, span: Span, metric: str) -> tuple[float, float]:
    """Time and value; Prometheus writes values as text, for JSON has no NaN."""
    if (
        not isinstance(point, list)
        or len(point) != 2  # noqa: PLR2004 - time and value
        or not isinstance(point[0], (int, float))
        or not isinstance(point[1], str)
    ):
        raise _strange(metric, "a point is not a time and a text")
    try:
        value = float(point[1])
    except ValueError as error:
        raise _strange(metric, "a value is no number") from error
    if not span.start_s < point[0] <= span.end_s:
        raise _strange(metric, "a point lies outside the time asked for")
    return point[0], value


def _strange(metric: str, why: str) -> HeadroomError:
    return HeadroomError(
        "prometheus.answer",
        f"The answer to the query of {metric} cannot be read: {why}.",
        advice="Check that the URL is that of a Prometheus server; native histograms need histogram_quantile.",
    )


def _words(refused: HeadroomError) -> str:
    """What the server says of a query that it refused; "" where it said nothing, or not in its own form."""
    if not isinstance(refused, StatusError):
        return ""
    try:
        return str(json.loads(refused.body)["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
