# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed anywhere on real libvirt: settled by the next apply, undone to the very bytes, and the guest still starts."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._apply.lease import LeaseTerms
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.apply import apply, rollback
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.observe import take_snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._plan.resize import make_resize
from ansible_collections.headroom.fleet.plugins.module_utils._plan.state import PlanState
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Current, Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._policy.default import DEFAULT_POLICY
from ansible_collections.headroom.fleet.plugins.module_utils._policy.sizing import load_policy
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Plan

from .killing import kill_at
from .steps import KILLERS, STEPS

pytestmark = pytest.mark.lab

LAB = Path(os.environ.get("HEADROOM_LAB") or "/var/tmp/headroom-lab")
ENDPOINT = Endpoint(
    name="lab",
    uri=os.environ.get("HEADROOM_LAB_URI") or f"qemu+unix:///system?socket={LAB}/run/libvirt-sock",
    vcpus_allocation_ratio_ppm=16_000_000,  # the lab's guests together have more vCPUs than a small machine
)
GUEST = "batch1"
LAB_PROGRAM = Path(__file__).parent.parent / "lab/lab.py"
TERMS = LeaseTerms(ttl_s=4, wait_s=20)

# Which size is asked for, by how much it changes, and the operation that must come of it: under KVM vCPUs are plugged.
ACTS = {
    "vCPU fewer": ("vcpus", -1, "vcpus."),
    "vCPU more": ("vcpus", +1, "vcpus."),
    "memory fewer": ("memory_mib", -64, "memory.balloon"),
    "memory more": ("memory_mib", +64, "memory.balloon"),
}
ALWAYS_STEPS = ("begun", "acted")


def cases() -> list[Any]:
    """Every step x killer x act; ``make test`` runs each act at two steps."""
    return [
        pytest.param(
            act, step, killer, marks=[] if step in ALWAYS_STEPS and killer == "module" else [pytest.mark.kills]
        )
        for act, step, killer in itertools.product(ACTS, STEPS, KILLERS)
    ]


class Guest:
    """The guest under test, as libvirt itself sees it."""

    def __init__(self) -> None:
        self.connection = libvirt.open(ENDPOINT.uri)
        self.domain = self.connection.lookupByName(GUEST)
        self.unique_id = f"lab/{self.domain.UUIDString()}"

    @property
    def inactive(self) -> str:
        """The definition, byte for byte."""
        xml: str = self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        return xml

    def current(self) -> Current:
        """All named fields, through a fresh connection."""
        writer = open_writer(ENDPOINT)
        try:
            return writer.current(self.unique_id)
        finally:
            writer.close()


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    """One guest; after all its kills it must still start."""
    found = Guest()
    yield found
    found.domain.destroy()
    found.domain.create()
    # Once more by the lab: it plugs all vCPUs under TCG, where a running guest gives none back.
    found.domain.destroy()
    found.connection.close()
    subprocess.run([sys.executable, LAB_PROGRAM, "up"], check=True, stdout=subprocess.DEVNULL)


def planned(context: Context, guest: Guest, act: str) -> Plan:
    """A one-action plan that nobody needs to approve."""
    resource, change, operation = ACTS[act]
    snapshot = take_snapshot(context)
    size = getattr(next(vm for vm in snapshot.vms if vm.unique_id == guest.unique_id), resource) + change
    made = make_resize(
        snapshot,
        unique_id=guest.unique_id,
        vcpus=size if resource == "vcpus" else None,
        memory_mib=size if resource == "memory_mib" else None,
        policy=load_policy(DEFAULT_POLICY, name="shipped"),
        state=PlanState(),
        now=context.now,
        snapshot_digest=context.artifacts.put(snapshot),
        policy_digest="",
    )
    (action,) = made.actions
    assert action.operation.startswith(operation)
    return dataclasses.replace(made, actions=(dataclasses.replace(action, mode="auto"),))


@pytest.mark.safety(rule=8)
@pytest.mark.parametrize(("act", "step", "killer"), cases())
def test_killed_on_libvirt(tmp_path: Path, guest: Guest, act: str, step: str, killer: str) -> None:
    urls = {"artifacts": str(tmp_path / "artifacts"), "state": str(tmp_path / "state.db")}

    def context() -> Context:
        return Context(now=datetime.now(UTC), who="tester", endpoints=(ENDPOINT,), urls=urls)

    xml, fields = guest.inactive, guest.current().fields
    first = context()
    made = planned(first, guest, act)
    digest = first.artifacts.put(made)
    after = {**fields, **{change.field: change.after for change in made.actions[0].changes}}
    endpoints = [{"name": ENDPOINT.name, "uri": ENDPOINT.uri, "vcpus_allocation_ratio": 16}]
    kill_at(tmp_path, {"plan": digest, "endpoints": endpoints, **urls}, step=STEPS[step], killer=killer)

    applied = apply(first, plan=digest, stop=threading.Event(), terms=TERMS)

    assert set(applied.values["states"]) <= {"done", "already_done"}, applied.values
    assert guest.current().fields == after
    undone = rollback(context(), plan=digest, stop=threading.Event(), terms=TERMS)
    assert undone.values["states"] == {"done": 1}, undone.values
    assert guest.inactive == xml
    assert guest.current().fields == fields
