# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect telemetry: sample every endpoint for a while, and store what it says as intervals."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Callable, Optional

from .._core.clock import format_utc, utc_now
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._platform.base import Endpoint, Reader
from .._platform.registry import open_reader
from .._records.series import METRICS, Sample
from .._records.snapshot import Gap
from .._store.series import SeriesStore
from .._telemetry.intervals import combined, intervals
from .._telemetry.rates import Steps, rates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pyarrow as pa

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
    clock: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[str], None] = lambda _: None,
) -> Collection:
    """Sample every ``step_s`` for ``duration_s``, each endpoint on its own: one that is slow or fails delays no other.

    An endpoint that fails is asked again at the next step; what lies between is a gap, never filled. Raises what
    ``SeriesStore.merge`` raises, and ``collect.times``.
    """
    if not 0 < step_s <= duration_s:
        raise HeadroomError(
            "collect.times",
            f"With a step of {step_s} s there is no pair of samples within {duration_s} s.",
            advice="Give a duration of at least one step; 60 s and 5 s are usual.",
        )
    started_at = format_utc(clock())
    sources = [_Source(endpoint) for endpoint in endpoints]
    rounds = int(duration_s / step_s) + 1
    pool = ThreadPoolExecutor(max_workers=max(1, min(THREADS, len(sources))), thread_name_prefix="sample")
    begin = monotonic()
    try:
        for number in range(rounds):
            sleep(max(0.0, begin + number * step_s - monotonic()))
            for source in sources:
                source.ask(pool)
            progress(f"sample {number + 1} of {rounds}")
        wait([source.pending for source in sources if source.pending], timeout=step_s)
    finally:
        for source in sources:
            source.finish()
        pool.shutdown(wait=False, cancel_futures=True)
    samples = [sample for source in sources for sample in source.samples]
    steps = rates(samples, step_s=step_s)
    table = intervals(steps, interval_s=interval_s)
    version = series.merge(_joined(table, series=series, interval_s=interval_s))
    silent = {metric: _silent(steps, metric) for metric in METRICS}
    return Collection(
        started_at=started_at,
        finished_at=format_utc(clock()),
        samples=len(samples),
        rows=table.num_rows,
        version=version,
        unique_ids=steps.unique_ids,
        silent={metric: unique_ids for metric, unique_ids in silent.items() if unique_ids},
        gaps=tuple(gap for source in sources for gap in source.gaps.values()),
    )


def _joined(table: pa.Table, *, series: SeriesStore, interval_s: int) -> pa.Table:
    """Join the rows with what an earlier collection saw of the same intervals."""
    if not table.num_rows:
        return table
    with needs("pyarrow"):
        import pyarrow.compute as pc
    span = pc.min_max(table["ds"]).as_py()
    known = series.read(
        pc.unique(table["unique_id"]).to_pylist(),
        start=span["min"],
        end=span["max"] + timedelta(seconds=interval_s),
        interval_s=interval_s,
    )
    return combined(known, table)


def _silent(steps: Steps, metric: str) -> tuple[str, ...]:
    heard = {steps.unique_ids[vm] for vm in steps.vm[steps.metric == steps.metrics.index(metric)].tolist()}
    return tuple(unique_id for unique_id in steps.unique_ids if unique_id not in heard)


class _Source:
    """One endpoint while it is sampled. Its reader is used by one thread at a time: a call waits for the last one."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.samples: list[Sample] = []
        self.gaps: dict[str, Gap] = {}
        self.pending: Optional[Future[tuple[Sample, ...]]] = None
        self._reader: Optional[Reader] = None

    def ask(self, pool: ThreadPoolExecutor) -> None:
        """Take the last answer and ask again, unless the last call is still under way."""
        if self._settled():
            self.pending = pool.submit(self._sample)

    def finish(self) -> None:
        """Take the last answer and let go of the connection, which a call that still hangs keeps."""
        if self._settled():
            self._close()

    def _settled(self) -> bool:
        if self.pending is None:
            return True
        if not self.pending.done():
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
        return self._reader.sample()

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _gap(self, code: str, message: str) -> None:
        self.gaps.setdefault(code, Gap(self.endpoint.name, "endpoint", code, message))
