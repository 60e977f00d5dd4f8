# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact store: named by content, checked on reading, whole or absent."""

from __future__ import annotations

import os

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import utc_now
from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._store import artifacts
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import FRESH, ArtifactStore

EMPTY = Snapshot("2026-01-01T00:00:00Z", (), (), ())


def code_of(call):
    with pytest.raises(HeadroomError) as caught:
        call()
    return caught.value.code


def test_round_trip_and_once_only(tmp_path):
    store = ArtifactStore(str(tmp_path))
    digest = store.put(EMPTY)
    assert store.put(EMPTY) == digest
    assert store.get(Snapshot, digest) == EMPTY
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.safety(rule=7)
def test_an_artifact_edited_by_hand_is_refused(tmp_path):
    store = ArtifactStore(str(tmp_path))
    digest = store.put(EMPTY)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes().replace(b"2026", b"2027"))
    assert code_of(lambda: store.get(Snapshot, digest)) == "artifact.edited"


def test_names_that_are_no_digests_never_reach_the_disk(tmp_path):
    store = ArtifactStore(str(tmp_path))
    for name in ("", "sha256:../../etc/passwd", "sha256:" + 64 * "G", "latest"):
        assert code_of(lambda name=name: store.get_bytes(name)) == "artifact.name"
    assert code_of(lambda: store.get_bytes("sha256:" + 64 * "0")) == "artifact.missing"


def test_a_rehearsal_writes_into_its_overlay_only(tmp_path):
    base = ArtifactStore(str(tmp_path / "base"))
    kept = base.put_bytes(b"kept")
    rehearsal = ArtifactStore(str(tmp_path / "base"), overlay_url=str(tmp_path / "overlay"))
    made = rehearsal.put_bytes(b"made")
    assert (rehearsal.get_bytes(kept), rehearsal.get_bytes(made)) == (b"kept", b"made")
    assert code_of(lambda: base.get_bytes(made)) == "artifact.missing"


@pytest.mark.safety(rule=7)
def test_what_could_not_be_read_again_is_not_stored(tmp_path, monkeypatch):
    store = ArtifactStore(str(tmp_path))
    monkeypatch.setattr(artifacts, "MAX_BYTES", 50)
    assert code_of(lambda: store.put(EMPTY)) == "artifact.too_large"
    assert list(tmp_path.rglob("*")) == []


def test_on_another_filesystem():
    store = ArtifactStore("memory://headroom")
    assert store.get(Snapshot, store.put(EMPTY)) == EMPTY


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    assert code_of(lambda: ArtifactStore(str(tmp_path / "file")).put(EMPTY)) == "store.unwritable"


def test_objects_are_listed_and_removed_if_nobody_wrote_them_again(tmp_path):
    store = ArtifactStore(str(tmp_path))
    assert list(store.objects()) == []
    digest = store.put(EMPTY)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    (path.parent / f"{path.name}.part-0123abcd").write_bytes(b"half")
    (path.parent / "README").write_text("not ours")
    assert sorted(name for name, _unused in store.objects()) == [digest, f"{digest}.part-0123abcd"]
    old = utc_now() - 2 * FRESH
    os.utime(path, (old.timestamp(), old.timestamp()))
    assert store.put(EMPTY) == digest  # whoever is about to refer to it makes it new
    store.remove(digest, written_before=old + FRESH)
    assert store.get(Snapshot, digest) == EMPTY
    for name in (digest, f"{digest}.part-0123abcd", digest):
        store.remove(name, written_before=utc_now() + FRESH)
    assert list(store.objects()) == []
    assert (path.parent / "README").exists()


def test_a_rehearsal_removes_nothing_of_the_store(tmp_path):
    base = ArtifactStore(str(tmp_path / "base"))
    digest = base.put(EMPTY)
    rehearsal = ArtifactStore(str(tmp_path / "base"), overlay_url=str(tmp_path / "overlay"))
    assert [name for name, _unused in rehearsal.objects()] == [digest]
    rehearsal.remove(digest, written_before=utc_now() + FRESH)
    assert base.get(Snapshot, digest) == EMPTY
