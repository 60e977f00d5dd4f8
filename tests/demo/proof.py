# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo proves: the last interval is libvirt's, a second cycle plans nothing, a second apply does nothing."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loads import CPU, INTERVAL_S
from stage import PLAYBOOKS, DemoError, Stage, say

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stores(stage: Stage) -> Iterator[Any]:
    """The demo's stores, as the jobs see them."""
    if os.environ["HEADROOM_COLLECTIONS"] not in sys.path:
        sys.path.insert(0, os.environ["HEADROOM_COLLECTIONS"])
    from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
    from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context

    context = Context(now=datetime.now(UTC), who="demo", urls=stage.urls)
    try:
        yield context
    except HeadroomError as error:
        raise DemoError(str(error)) from error
    finally:
        context.close()


def first_plan(stage: Stage, cycle: dict[str, Any]) -> Any:
    """The plan of the cycle, as a record."""
    with stores(stage) as context:
        from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan

        return context.artifacts.get(Plan, cycle["plan"])


def last_interval(stage: Stage, ids: dict[str, str], *, filled_until: datetime) -> None:
    """The newest interval of each of these VMs was sampled, not back-filled."""
    with stores(stage) as context:
        rows = context.series.read(
            sorted(ids.values()),
            metrics=(CPU,),
            start=filled_until - timedelta(hours=1),
            end=datetime.now(UTC) + timedelta(seconds=INTERVAL_S),
            interval_s=INTERVAL_S,
        ).to_pylist()
    for name, unique_id in ids.items():
        newest = max((row for row in rows if row["unique_id"] == unique_id), key=lambda row: row["ds"])
        if newest["ds"] < filled_until:
            raise DemoError(f"the last interval of {name} is a back-filled one, of {newest['ds']:%H:%M}")
        say(
            f"  {name}: the interval of {newest['ds']:%H:%M} is libvirt's: {newest['samples']} samples, "
            f"{newest['mean'] / 1000:.2f} vCPU on average, {newest['maximum'] / 1000:.2f} at most"
        )


def second_cycle(stage: Stage, cycle: dict[str, Any]) -> None:
    """On a fresh snapshot, with the telemetry and the clock of the first cycle, nothing is left to do."""
    with stores(stage) as context:
        from ansible_collections.headroom.fleet.plugins.module_utils._records.forecast import Forecast

        made_at = context.artifacts.get(Forecast, cycle["forecast"]).made_at
    say(f"a second cycle, with the telemetry of the first and its clock ({made_at}), on a fresh snapshot")
    second = stage.play(
        "second",
        PLAYBOOKS / "cycle.yml",
        headroom_series=cycle["series"],
        headroom_now=made_at,
        report_dir=str(stage.root / "report-second"),
    )
    if second["snapshot"] == cycle["snapshot"]:
        raise DemoError("the second cycle took no snapshot of its own")
    actions = first_plan(stage, second).actions
    if actions:
        acts = ", ".join(f"{one.vm_name} {one.resource} {one.size_before} to {one.size_after}" for one in actions)
        raise DemoError(f"the second cycle should plan nothing, and plans: {acts}")
    say("  it plans zero actions")


def second_apply(stage: Stage, cycle: dict[str, Any]) -> None:
    """Applied again, every action of the first plan is found done."""
    count = len(first_plan(stage, cycle).actions)
    say("the first plan, applied again")
    states = stage.play("again", PLAYBOOKS / "apply.yml", headroom_plan=cycle["plan"])["states"]
    if states != {"already_done": count}:
        raise DemoError(f"applied again, the {count} actions should all be already_done, and are: {states}")
    say(f"  all {count} actions are already_done")
