# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the outcome models about a fleet in partitions of VMs: one map step, here or by the workers of a Dask cluster.

A partition is the series header of some of the VMs: whoever is given one reads exactly those rows, at the version that
the header names. What is said of a VM hangs on that VM alone, so that the result has the same bytes however the fleet
is cut, and in whatever order the parts are done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from .._core.errors import HeadroomError
from .._core.needs import needs
from .models import libraries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._records.series import Series
    from .._store.series import SeriesStore
    from .outcomes import OutcomeRows, Said

    Part = TypeVar("Part")
    Shared = TypeVar("Shared")
    Made = TypeVar("Made")

PARTITION_VMS = 1000
CONNECT_S = 30


@dataclass(frozen=True)
class Workers:
    """Where partitions are worked on."""

    address: str = ""  # of a Dask scheduler; "": in this process
    vms: int = PARTITION_VMS  # of a partition, at most


@dataclass(frozen=True)
class Source:
    """What every partition needs, sent to each worker once: where telemetry is, and the models."""

    series: SeriesStore
    rows: OutcomeRows


def gather(rows: OutcomeRows, series: SeriesStore, header: Series, workers: Workers) -> None:
    """Add to ``rows`` what the models say of a header's VMs. Raises ``series.changed``, ``workers.*``, ``store.*``."""
    read = 0
    for said, count in mapped(learn, Source(series, rows), partitions(header, workers.vms), address=workers.address):
        rows.add(said)
        read += count
    if read != header.rows:
        raise HeadroomError(
            "series.changed",
            f"The workers read {read} rows of telemetry where there are {header.rows}.",
            advice="Let every worker reach the same telemetry store, and forecast again.",
        )


def partitions(header: Series, vms: int) -> list[Series]:
    """The same rows as headers of at most so many VMs; their number and digest of rows are those of the whole."""
    ids = header.unique_ids
    return [replace(header, unique_ids=ids[first : first + vms]) for first in range(0, len(ids), vms)]


def learn(source: Source, part: Series) -> tuple[Said, int]:
    """The map step: read a partition and ask the models about it. Also how many rows were read."""
    scan = source.series.pinned(part)
    mine = source.rows.only(part.unique_ids)
    for _unused in mine.watched(scan.tables()):
        pass
    return mine.said(), scan.header().rows


def mapped(
    step: Callable[[Shared, Part], Made], shared: Shared, parts: Iterable[Part], *, address: str = ""
) -> Iterator[Made]:
    """Yield ``step(shared, part)`` of each part, in the order in which they are done.

    Workers import the step by its name: the collection must be on their path, with the libraries of the controller.
    Raises ``workers.unreachable``, ``workers.foreign``, ``workers.lost``, and what the step raises.
    """
    if not address:
        for part in parts:
            yield step(shared, part)
        return
    with needs("distributed"):
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise _unreachable(address) from error
    with client:
        _check(client, address)
        sent = client.scatter(shared, broadcast=True)
        asked = [client.submit(step, sent, part, pure=False) for part in parts]
        try:
            for _future, made in as_completed(asked, loop=client.loop, with_results=True):
                yield made
        except KilledWorker as error:
            raise HeadroomError(
                "workers.lost",
                "Workers of the Dask cluster ended again and again in the midst of a partition.",
                advice="See their logs; give each of them more memory.",
            ) from error


def _check(client: Any, address: str) -> None:
    """Other libraries might round differently."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
        client.run(import_module, __name__)
        found: dict[str, dict[str, str]] = client.run(libraries)
    except OSError as error:
        raise _unreachable(address) from error
    except ImportError as error:
        raise _foreign(f"have no collection: {error}") from error
    others = sorted(worker for worker, theirs in found.items() if theirs != libraries())
    if others:
        raise _foreign(f"have other libraries than the controller: {', '.join(others)}")


def _unreachable(address: str) -> HeadroomError:
    return HeadroomError(
        "workers.unreachable",
        f"No Dask scheduler with workers answers at {address}.",
        advice="Start one and its workers, or leave the address empty to work in one process.",
    )


def _foreign(why: str) -> HeadroomError:
    return HeadroomError(
        "workers.foreign",
        f"Workers of the Dask cluster {why}.",
        advice="Install the controller's release of headroom.fleet and of its libraries there, on their PYTHONPATH.",
    )
