# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of a disk by forecast on a real guest: planned, applied, found by libvirt, and undone to the bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback, verify_receipt
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Writer
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import DISK_BYTES_PER_S, DISK_IOPS
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes
from tests.functional.bench import STOP, TERMS
from tests.integration.guests import ENDPOINT, Spare, guest_with_disk
from tests.unit._plan.fleets import FREE, NOW, forecast

pytestmark = pytest.mark.lab

POLICY = f"{FREE}  disk_limit: {{profile: elastic, minimum_change_percent: 0, step_limit: none}}\n"
UPPERS = {DISK_IOPS: 140, DISK_BYTES_PER_S: 7_000_000}
LIMITS = {"total_iops_sec": 400, "total_bytes_sec": 20_000_000}  # of which those are 35 %
NONE = dict.fromkeys(LIMITS, 0)
NAMED = dataclasses.replace(ENDPOINT, name="e")  # as the hand-made forecast calls it


@pytest.fixture(scope="module")
def guest(lab: Any, writer: Writer) -> Any:
    with guest_with_disk(lab, writer) as it:
        yield it


def tuned(it: Spare) -> list[dict[str, int]]:
    """What libvirt says of the disk's limits, of the guest that runs and of its definition."""
    found = [
        it.domain.blockIoTune("vda", flag)
        for flag in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    ]
    return [{name: one[name] for name in LIMITS} for one in found]


@pytest.mark.safety(rule=6)
def test_a_planned_limit_of_a_disk_is_in_force_until_it_is_undone(guest: Spare, tmp_path: Path) -> None:
    urls = {name: str(tmp_path / name) for name in ("artifacts", "state")}
    uuid, before = guest.domain.UUIDString(), guest.inactive
    assert tuned(guest) == [NONE, NONE]

    def context(**values: Any) -> Context:
        return Context(now=NOW, who="ann", endpoints=(NAMED,), urls=urls, **values)

    def planned() -> dict[str, Any]:
        known = context()
        header, table = forecast({(uuid, limit): upper for limit, upper in UPPERS.items()})
        header = dataclasses.replace(header, table=known.artifacts.put_bytes(table_bytes(table)))
        digests = {"snapshot": known.artifacts.put(take_snapshot(known)), "forecast": known.artifacts.put(header)}
        return plan(known, **digests, policy_text=POLICY, policy_name="p.yml", scope=[f"e/{uuid}"]).values

    made = planned()
    assert {one["resource"]: one["after"] for one in made["actions"]} == {
        "disk_iops/vda": LIMITS["total_iops_sec"],
        "disk_bytes_per_s/vda": LIMITS["total_bytes_sec"],
    }
    apply(context(check=True), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True)
    assert (tuned(guest), guest.inactive) == ([NONE, NONE], before)
    done = apply(context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True).values
    assert done["states"] == {"done": 2}
    assert tuned(guest) == [LIMITS, LIMITS]
    assert verify_receipt(context(), receipt=done["receipt"]).values["verified"]
    assert planned()["actions"] == []
    assert rollback(context(), receipt=done["receipt"], stop=STOP, terms=TERMS).values["states"] == {"done": 2}
    assert (tuned(guest), guest.inactive) == ([NONE, NONE], before)
