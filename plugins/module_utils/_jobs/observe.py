# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every endpoint once and keep what was seen: a snapshot artifact."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from .._core.clock import format_utc
from .._core.errors import EndpointError, HeadroomError
from .._platform.base import Observation
from .._platform.registry import open_reader
from .._records.snapshot import Gap, Snapshot
from .context import Result

if TYPE_CHECKING:
    from .._platform.base import Endpoint
    from .context import Context

MOST_ENDPOINTS_AT_ONCE = 8


def observe(context: Context) -> Result:
    """Store a snapshot and return its digest and counts. Raises ``endpoint.none``; an endpoint that fails is a gap."""
    snapshot = take_snapshot(context)
    digest = context.artifacts.put(snapshot)
    values = {
        "snapshot": digest,
        "taken_at": snapshot.taken_at,
        "vms": len(snapshot.vms),
        "hosts": len(snapshot.hosts),
        "gaps": gap_rows(snapshot),
    }
    return Result(changed=False, values=values, warnings=gap_warnings(snapshot))


def gap_rows(snapshot: Snapshot) -> list[dict[str, str]]:
    """What could not be seen, for programs."""
    return [{"endpoint": gap.endpoint, "subject": gap.subject, "code": gap.code} for gap in snapshot.gaps]


def gap_warnings(snapshot: Snapshot) -> tuple[str, ...]:
    """What could not be seen, for people."""
    return tuple(f"{gap.endpoint}, {gap.subject}: {gap.message} [{gap.code}]" for gap in snapshot.gaps)


def take_snapshot(context: Context) -> Snapshot:
    """Observe all endpoints side by side."""
    if not context.endpoints:
        raise HeadroomError("endpoint.none", "No endpoint was given.", advice="Set headroom_endpoints, or endpoints.")
    names = context.endpoints_by_name
    with ThreadPoolExecutor(max_workers=MOST_ENDPOINTS_AT_ONCE) as pool:
        found = list(pool.map(_observe, names.values()))
    return Snapshot(
        taken_at=format_utc(context.now),
        endpoints=tuple(sorted(names)),
        hosts=tuple(sorted((host for one in found for host in one.hosts), key=lambda host: host.host_id)),
        vms=tuple(sorted((vm for one in found for vm in one.vms), key=lambda vm: vm.unique_id)),
        gaps=tuple(gap for one in found for gap in one.gaps),
    )


def _observe(endpoint: Endpoint) -> Observation:
    try:
        with closing(open_reader(endpoint)) as reader:
            return reader.observe()
    except EndpointError as error:
        return Observation((), (), (Gap(endpoint.name, "endpoint", error.code, error.message),))
