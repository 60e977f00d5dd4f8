# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CPU limit by forecast on a real guest: planned, approved, applied, found by libvirt, and undone to the bytes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback, verify_receipt
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.approve import approve
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.plan import plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VCPUS
from ansible_collections.headroom.fleet.plugins.module_utils._store.tables import table_bytes
from tests.functional.bench import STOP, TERMS
from tests.functional.test_limits import POLICY
from tests.integration.guests import ENDPOINT, Spare
from tests.unit._plan.fleets import NOW, forecast

pytestmark = pytest.mark.lab

UPPER_MILLICORES = 800  # of two vCPUs, which are right for it
LIMIT_MILLICORES = 1240  # of which 800 are 65 %, in steps of ten
NAMED = dataclasses.replace(ENDPOINT, name="e")  # as the hand-made forecast calls it


def quota(it: Spare) -> tuple[int, int]:
    """CPU time per period of 100 ms, of the guest that runs and of its definition; -1 or 0: no limit."""
    live, config = (
        it.domain.schedulerParametersFlags(flag)["global_quota"]
        for flag in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    )
    return live, config


@pytest.mark.safety(rule=6)
def test_a_planned_limit_is_in_force_until_it_is_undone(spare: Spare, tmp_path: Path) -> None:
    urls = {"artifacts": str(tmp_path / "artifacts"), "state": str(tmp_path / "state.db")}
    uuid, before, none = spare.domain.UUIDString(), spare.inactive, quota(spare)
    assert max(none) <= 0

    def context() -> Context:
        return Context(now=NOW, who="ann", endpoints=(NAMED,), urls=urls)

    def planned() -> dict[str, Any]:
        known = context()
        header, table = forecast({(uuid, VCPUS): UPPER_MILLICORES})
        header = dataclasses.replace(header, table=known.artifacts.put_bytes(table_bytes(table)))
        digests = {"snapshot": known.artifacts.put(take_snapshot(known)), "forecast": known.artifacts.put(header)}
        return plan(known, **digests, policy_text=POLICY, policy_name="p.yml", scope=[f"e/{uuid}"]).values

    made = planned()
    assert [(one["resource"], one["after"]) for one in made["actions"]] == [("cpu_limit_millicores", LIMIT_MILLICORES)]
    held_back = apply(context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True)
    assert (held_back.changed, quota(spare)) == (False, none)  # nobody has approved it
    approve(context(), plan=made["plan"])
    done = apply(context(), plan=made["plan"], stop=STOP, terms=TERMS, pinned_clock=True).values
    assert done["states"] == {"done": 1}
    assert quota(spare) == (LIMIT_MILLICORES * 100, LIMIT_MILLICORES * 100)
    assert verify_receipt(context(), receipt=done["receipt"]).values["verified"]
    assert planned()["actions"] == []
    assert rollback(context(), receipt=done["receipt"], stop=STOP, terms=TERMS).values["states"] == {"done": 1}
    assert (quota(spare), spare.inactive) == (none, before)
