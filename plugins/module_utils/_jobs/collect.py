# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect telemetry: sample every endpoint for a while, and store what it says as intervals."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional

from .._core.clock import format_utc, utc_now
from .._core.errors import HeadroomError
from .._platform.base import Endpoint, Reader
from .._platform.registry import open_reader
from .._records.series import AGENT, HOST, METRICS, PERIODS_S, Sample
from .._records.snapshot import Gap
from .._store.delta import NO_VERSION
from .._store.series import SeriesStore
from .._telemetry.intervals import combined
from .._telemetry.pieces import Pieces
from .known import known_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

THREADS = 16  # endpoints sampled at once; a sample is one call that mostly waits


@dataclass(frozen=True)
class Collection:
    """What came of it."""

    started_at: str
    finished_at: str
    samples: int
    rows: int
    version: int  # of the telemetry table, with these rows
    unique_ids: tuple[str, ...]  # VMs that gave a sample
    silent: dict[str, tuple[str, ...]]  # metric -> VMs sampled that gave no rate of it: unknown, not 0
    gaps: tuple[Gap, ...]  # endpoints that failed, each kind of failure once


def collect(
    endpoints: Sequence[Endpoint],
    *,
    series: SeriesStore,
    duration_s: float = 60,
    step_s: float = 5,
    interval_s: int = 300,
    guest_agent: bool = False,
    clock: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _: None,
) -> Collection:
    """Sample every ``step_s`` for ``duration_s``, each endpoint on its own: one that is slow or fails delays no other.

    An endpoint that fails is asked again at the next step; what lies between is a gap, never filled. Intervals are
    stored as they end, so that a long collection loses little when it dies and holds little in memory. With
    ``guest_agent`` the guests are asked as well, on connections of their own. Raises what ``SeriesStore.merge``
    raises, and ``collect.times``.
    """
    if not 0 < step_s <= duration_s:
        raise HeadroomError(
            "collect.times",
            f"With a step of {step_s} s there is no pair of samples within {duration_s} s.",
            advice="Give a duration of at least one step; 60 s and 5 s are usual.",
        )
    started_at = format_utc(clock())
    gathered = _Gathered(series, step_s=step_s, interval_s=interval_s)
    sources = [_Source(endpoint) for endpoint in endpoints]
    if guest_agent:
        sources += [_Source(endpoint, kind=AGENT) for endpoint in endpoints]
    rounds = int(duration_s / step_s) + 1
    pools = {
        kind: ThreadPoolExecutor(max_workers=max(1, min(THREADS, len(endpoints))), thread_name_prefix=kind)
        for kind in (HOST, AGENT)  # apart, so that no guest holds up a host
    }
    begin = monotonic()
    try:
        for number in range(rounds):
            sleep(max(0.0, begin + number * step_s - monotonic()))
            for source in sources:
                source.ask(pools[source.kind], at_s=number * step_s)
            gathered.add(sources, now=clock())
            progress(f"sample {number + 1} of {rounds}")
        wait([source.pending for source in sources if source.pending], timeout=step_s)
    finally:
        for source in sources:
            source.finish()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
    gathered.add(sources, now=clock())
    gathered.store()
    return Collection(
        started_at=started_at,
        finished_at=format_utc(clock()),
        samples=gathered.samples,
        rows=gathered.rows,
        version=gathered.version,
        unique_ids=tuple(sorted(gathered.unique_ids)),
        silent=gathered.silent(),
        gaps=tuple(gap for source in sources for gap in source.gaps.values()),
    )


class _Gathered:
    """What was sampled: intervals that have ended are stored, samples of the one under way are kept."""

    def __init__(self, series: SeriesStore, *, step_s: float, interval_s: int) -> None:
        self.samples = 0
        self.rows = 0
        self.version = NO_VERSION
        self._series, self._step_s, self._interval_s = series, step_s, interval_s
        self._heard: set[tuple[str, str]] = set()  # VM, metric
        self._pieces = Pieces(step_s=step_s, interval_s=interval_s)
        self._slot: Optional[int] = None  # the interval under way, counted from the epoch

    def add(self, sources: Sequence[_Source], *, now: datetime) -> None:
        """Take what the sources have. An interval is over when its successor is a step old."""
        for source in sources:
            self._pieces.add(source.samples)
            self.samples += sum(sample.source == HOST for sample in source.samples)
            source.samples = []
        slot = int(now.timestamp() - self._step_s) // self._interval_s
        if self._slot is None:
            self._slot = slot
        elif slot > self._slot:  # a clock that was set back ends no interval
            self.store(before_s=slot * self._interval_s)
            self._slot = slot

    @property
    def unique_ids(self) -> set[str]:
        """Of the VMs that gave a sample."""
        return self._pieces.unique_ids

    def silent(self) -> dict[str, tuple[str, ...]]:
        """Metric -> VMs that gave no rate of it."""
        found = {
            metric: tuple(one for one in sorted(self.unique_ids) if (one, metric) not in self._heard)
            for metric in METRICS
        }
        return {metric: unique_ids for metric, unique_ids in found.items() if unique_ids}

    def store(self, *, before_s: Optional[int] = None) -> None:
        """Store the intervals that are not stored yet: those that begin before this time, or all."""
        table = self._pieces.take(before_s=before_s)
        self._heard.update(zip(table["unique_id"].to_pylist(), table["metric"].to_pylist()))
        self.rows += table.num_rows
        self.version = self._series.merge(combined(known_rows(self._series, table), table))


class _Source:
    """One endpoint while it is sampled. Its reader is used by one thread at a time: a call waits for the last one."""

    def __init__(self, endpoint: Endpoint, *, kind: str = HOST) -> None:
        self.endpoint = endpoint
        self.kind = kind
        self.samples: list[Sample] = []
        self.gaps: dict[str, Gap] = {}
        self.pending: Optional[Future[tuple[Sample, ...]]] = None
        self._reader: Optional[Reader] = None
        self._due_s = 0.0  # since the begin

    def ask(self, pool: ThreadPoolExecutor, *, at_s: float) -> None:
        """Take the last answer and ask again when it is time, unless the last call is still under way."""
        if self._settled() and at_s >= self._due_s:
            self._due_s = at_s + PERIODS_S.get(self.kind, 0.0)
            self.pending = pool.submit(self._sample)

    def finish(self) -> None:
        """Take the last answer and let go of the connection, which a call that still hangs keeps."""
        if self._settled():
            self._close()

    def _settled(self) -> bool:
        if self.pending is None:
            return True
        if not self.pending.done():
            if self.kind == HOST:  # guests may take their time
                self._gap("telemetry.slow", "It did not answer within the step.")
            return False
        try:
            self.samples.extend(self.pending.result())
        except HeadroomError as error:
            self._gap(error.code, error.message)
            self._close()
        self.pending = None
        return True

    def _sample(self) -> tuple[Sample, ...]:
        if self._reader is None:
            self._reader = open_reader(self.endpoint)
        return self._reader.sample() if self.kind == HOST else self._reader.sample_guests()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _gap(self, code: str, message: str) -> None:
        self.gaps.setdefault(code, Gap(self.endpoint.name, "endpoint", code, message))
