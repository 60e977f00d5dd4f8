# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect telemetry from files that samplers on the hypervisors kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.errors import HeadroomError
from .._core.needs import needs
from .._platform.base import Endpoint
from .._platform.libvirt.telemetry import read_samples
from .._records.series import DAY_S, HOST, Sample
from .._records.snapshot import Gap
from .._store.series import SeriesStore
from .._telemetry.intervals import fuller
from .._telemetry.pieces import Pieces
from .._telemetry.sampler import Round, SamplerReader, Tally, files_in, folder_of
from .backfill import MERGE_ROWS
from .known import known_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

PIECE_SAMPLES = 20_000  # at once in memory: about 100 MB
SAMPLES_MISSING = "sampler.missing"


@dataclass
class Sampled:
    """What came of it."""

    samples: int = 0
    rows: int = 0
    late: int = 0  # rounds that say that they are later than now
    vms: dict[str, set[str]] = field(default_factory=dict)  # metric -> VMs with a row
    tally: Tally = field(default_factory=Tally)
    gaps: list[Gap] = field(default_factory=list)


def read_samplers(
    folder: str,
    endpoints: Sequence[Endpoint],
    *,
    series: SeriesStore,
    now: datetime,
    history_s: int,
    interval_s: int = 300,
) -> Sampled:
    """Store as intervals what the files say of the last ``history_s`` before ``now``; each endpoint has a folder in it.

    What is wrong with one endpoint's files is a gap of it. To read again what was read changes nothing. Raises
    ``sampler.*``, ``store.*``.
    """
    with needs("pyarrow"):
        import pyarrow as pa
    if interval_s < 1 or DAY_S % interval_s or history_s < interval_s:
        raise HeadroomError(
            "sampler.request",
            f"In {history_s} s there are no intervals of {interval_s} s, or these do not divide the day.",
            advice="Nothing was read; correct the options.",
        )
    root = Path(folder)
    if not root.is_dir():
        raise HeadroomError(
            "sampler.folder", f"There is no folder {folder}.", advice="Fetch the samples into it: sampler_fetch."
        )
    found = Sampled()
    _look_for_strangers(root, endpoints, found)
    held: list[pa.Table] = []
    for endpoint in endpoints:
        for table in _intervals(root, endpoint, found, now=now, history_s=history_s, interval_s=interval_s):
            held.append(table)
            if sum(one.num_rows for one in held) >= MERGE_ROWS:
                _store(series, pa.concat_tables(held), found)
                held = []
    if held:
        _store(series, pa.concat_tables(held), found)
    return found


def _look_for_strangers(root: Path, endpoints: Sequence[Endpoint], found: Sampled) -> None:
    known = {folder_of(endpoint.name) for endpoint in endpoints}
    for path in sorted(root.iterdir()):
        if path.is_dir() and path.name not in known:
            found.gaps.append(Gap(path.name, "endpoint", "sampler.stranger", "There is no endpoint of that name."))


def _intervals(
    root: Path, endpoint: Endpoint, found: Sampled, *, now: datetime, history_s: int, interval_s: int
) -> Iterator[pa.Table]:
    """The intervals of one endpoint, a piece at a time; each interval is in one piece."""
    pieces = Pieces(step_s=0, interval_s=interval_s)
    border_s = 0
    try:
        for one in _rounds(root, endpoint, found, since=now - timedelta(seconds=history_s)):
            if one.taken_at > now:
                found.late += 1
                continue
            pieces.step_s = max(pieces.step_s, one.step_s)
            samples = _samples(endpoint, one)
            found.samples += sum(sample.source == HOST for sample in samples)
            pieces.add(samples)
            slot_s = int(one.taken_at.timestamp() - one.step_s) // interval_s * interval_s
            if slot_s > border_s and len(pieces) >= PIECE_SAMPLES:
                border_s = slot_s
                yield pieces.take(before_s=border_s)
    except OSError as error:
        found.gaps.append(Gap(endpoint.name, "endpoint", "sampler.unreadable", f"Its samples cannot be read: {error}."))
    yield pieces.take()


def _rounds(root: Path, endpoint: Endpoint, found: Sampled, *, since: datetime) -> Iterator[Round]:
    """What its files say. Raises OSError."""
    folder = root / folder_of(endpoint.name)
    paths = files_in(folder, since=since) if folder.is_dir() else []
    if not paths:
        found.gaps.append(Gap(endpoint.name, "endpoint", SAMPLES_MISSING, "There are no samples of it of that time."))
    reader = SamplerReader(found.tally)
    for path in paths:
        damaged = found.tally.damaged
        with path.open("rb") as stream:
            yield from reader.read(stream)
        if found.tally.damaged > damaged:
            gap = Gap(endpoint.name, path.name, "sampler.damaged", "A part of this file cannot be read.")
            found.gaps.append(gap)


def _samples(endpoint: Endpoint, one: Round) -> tuple[Sample, ...]:
    return tuple(
        sample
        for uuid, boot, stats in one.vms
        for sample in read_samples(endpoint, uuid, boot=f"{boot}/{one.stretch}", stats=stats, taken_at=one.taken_at)
    )


def _store(series: SeriesStore, table: pa.Table, found: Sampled) -> None:
    with needs("pyarrow"):
        import pyarrow.compute as pc
    series.merge(fuller(known_rows(series, table), table))
    found.rows += table.num_rows
    for metric in pc.unique(table["metric"]).to_pylist():
        of_metric = table.filter(pc.equal(table["metric"], metric))["unique_id"]
        found.vms.setdefault(metric, set()).update(pc.unique(of_metric).to_pylist())
