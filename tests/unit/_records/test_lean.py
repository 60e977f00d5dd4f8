# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A snapshot cut at its canonical marks says what the whole one says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.canonical import canonical_bytes
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records import lean as lean_module
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import encode_artifact
from ansible_collections.headroom.fleet.plugins.module_utils._records.lean import read_lean
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap, Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import Capability
from tests.unit._plan.fleets import host, snapshot, vm

STRANGE = 'x"],"devices":[{"capabilities":["\\'


def stored(seen: Snapshot) -> bytes:
    return canonical_bytes(encode_artifact(seen))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_it_has_what_the_whole_snapshot_has(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean_module, "_BATCH", 2)
    odd = vm("odd", tags=(STRANGE,), owner=STRANGE, capabilities=(Capability("o", "vcpus", "grow", True, STRANGE),))
    vms = [odd, vm("b", capabilities=()), vm("c", memory_mib=512, devices=("gpu",))][:count]
    seen = snapshot(vms, [host(name=STRANGE)], gaps=(Gap("e", STRANGE, "c", "m"),))
    lean = read_lean(stored(seen))
    assert replace(lean.snapshot, vms=()) == replace(seen, vms=())
    assert [lean.vm(row) for row in range(count)] == list(seen.vms)
    short = [(one.unique_id, one.name, one.host_id, one.vcpus, one.memory_mib, one.fields) for one in seen.vms]
    assert [
        (one.unique_id, one.name, one.host_id, one.vcpus, one.memory_mib, one.fields) for one in lean.snapshot.vms
    ] == short


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda data: data.replace(b"headroom.snapshot/1", b"headroom.plan/1"), "schema.other"),
        (lambda data: data[:-1], "record.invalid"),
        (lambda data: data.replace(b'"devices":', b'"gadgets":'), "record.invalid"),
        (lambda data: data.replace(b'"vcpus":2,', b""), "record.invalid"),
        (lambda data: data.replace(b'"vms":[', b'"vms": ['), "record.invalid"),
        (lambda data: b"{" + data, "json.invalid"),
        (lambda _data: b"", "json.invalid"),
    ],
)
def test_what_is_no_snapshot_is_one_error(spoil: object, code: str) -> None:
    with pytest.raises(HeadroomError) as caught:
        read_lean(spoil(stored(snapshot([vm("a"), vm("b")]))))
    assert caught.value.code == code
