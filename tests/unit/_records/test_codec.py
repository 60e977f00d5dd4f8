# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records are read strictly: one clear error for whatever does not fit."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.codec import (
    decode_artifact,
    encode,
    encode_artifact,
)
from ansible_collections.headroom.fleet.plugins.module_utils._records.host import Host, NumaCell
from ansible_collections.headroom.fleet.plugins.module_utils._records.receipt import Receipt
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Gap, Snapshot

HOST = Host("e/h", "e", "h", "s", 4, 0, 4_000_000, 1024, 0, 1_000_000, (NumaCell(0, 4, 1024),))
SNAPSHOT = Snapshot("2026-01-01T00:00:00Z", ("e",), (HOST,), (), (Gap("e", "endpoint", "x", "y"),))


def test_round_trip():
    assert decode_artifact(Snapshot, encode_artifact(SNAPSHOT)) == SNAPSHOT


def changed(**values):
    return {**encode_artifact(SNAPSHOT), **values}


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        ([], "schema.missing", "names no schema"),
        ({**encode(SNAPSHOT)}, "schema.missing", "names no schema"),
        (changed(schema="headroom.snapshot/9"), "schema.newer", "reads version 1"),
        (changed(schema="headroom.snapshot/0"), "schema.older", "reads version 1"),
        (changed(schema="headroom.plan/1"), "schema.other", "not a snapshot"),
        (changed(extra=1), "record.invalid", r"\$.extra is not a field"),
        (changed(taken_at=5), "record.invalid", r"\$.taken_at must be str"),
        (changed(hosts=[{**encode(HOST), "vcpus": True}]), "record.invalid", r"\$.hosts\[0\].vcpus must be int"),
        (changed(hosts={}), "record.invalid", r"\$.hosts must be a list"),
        ({key: value for key, value in changed().items() if key != "vms"}, "record.invalid", r"\$.vms is missing"),
    ],
)
def test_what_does_not_fit(data, code, path):
    with pytest.raises(HeadroomError, match=path) as caught:
        decode_artifact(Snapshot, data)
    assert caught.value.code == code


def test_every_artifact_kind_is_frozen():
    for kind in (Snapshot, Receipt):
        assert dataclasses.fields(kind)
        with pytest.raises(dataclasses.FrozenInstanceError):
            SNAPSHOT.taken_at = ""
