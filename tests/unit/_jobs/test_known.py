# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._jobs.context import Context
from ansible_collections.headroom.fleet.plugins.module_utils._jobs.known import vms_by_id
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import VM


def vm(endpoint, uuid, name):
    return VM(f"{endpoint}/{uuid}", endpoint, name, "h", "s", "running", 1, 1024, "g", {})


@pytest.fixture
def known(tmp_path):
    """Ids as ``vms_by_id`` has them, of a snapshot of these VMs."""

    def by_id(*vms, given=None):
        context = Context(now=datetime(2026, 3, 1, tzinfo=UTC), who="me", urls={"artifacts": str(tmp_path)})
        snapshot = context.artifacts.put(Snapshot("2026-03-01T00:00:00Z", ("e", "f"), (), vms))
        return vms_by_id(context, snapshot=snapshot, vms=given)

    return by_id


def test_a_vm_is_known_by_its_identifier_its_uuid_and_its_name(known):
    assert known(vm("e", "1", "web"), vm("e", "2", "db"), given={"host7": "e/2"}) == {
        "e/1": "e/1", "1": "e/1", "web": "e/1", "e/2": "e/2", "2": "e/2", "db": "e/2", "host7": "e/2",
    }  # fmt: skip


def test_no_name_stands_in_the_way_of_another_vms_uuid_or_identifier(known):
    found = known(vm("e", "1", "web"), vm("e", "2", "1"), vm("e", "3", "e/1"))
    assert (found["e/1"], found["1"]) == ("e/1", "e/1")


def test_what_two_vms_share_names_neither(known):
    found = known(vm("e", "1", "web"), vm("f", "1", "web"), vm("f", "2", "1"))
    assert not {"web", "1"} & found.keys()
