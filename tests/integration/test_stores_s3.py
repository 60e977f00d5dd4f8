# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts and telemetry on an S3-compatible server: the tests of a folder, two writers, credentials, faults."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.headroom.fleet.plugins.module_utils._core.errors import HeadroomError
from ansible_collections.headroom.fleet.plugins.module_utils._records.snapshot import Snapshot
from ansible_collections.headroom.fleet.plugins.module_utils._store.artifacts import ArtifactStore
from ansible_collections.headroom.fleet.plugins.module_utils._store.series import SeriesStore
from tests.servers.s3 import S3, running
from tests.unit._store import test_retention
from tests.unit._store.test_series import WRITER

# Its tests, with the fixture telemetry_url of this module.
globals().update({name: value for name, value in vars(test_retention).items() if not name.startswith("__")})

START = datetime(2026, 3, 1, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running() as started:
        yield started


@pytest.fixture
def s3(server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, found through the environment alone."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def telemetry_url(s3: S3, request: pytest.FixtureRequest) -> str:
    return s3.url(re.sub(r"\W+", "-", request.node.name).strip("-"))


def refusal(call) -> HeadroomError:
    with pytest.raises(HeadroomError) as caught:
        call()
    return caught.value


def test_artifacts_are_written_once_read_listed_and_removed(s3: S3) -> None:
    store = ArtifactStore(s3.url("artifacts"))
    snapshot = Snapshot("2026-01-01T00:00:00Z", (), (), ())
    digest = store.put(snapshot)
    assert ArtifactStore(s3.url("artifacts")).put(snapshot) == digest
    assert store.get(Snapshot, digest) == snapshot
    ((name, written_at),) = store.objects()
    assert name == digest
    assert written_at is not None
    store.remove(digest, written_before=written_at)
    assert len(s3.content("artifacts")) == 1
    store.remove(digest, written_before=written_at + timedelta(seconds=1))
    assert s3.content("artifacts") == {}
    assert refusal(lambda: store.get(Snapshot, digest)).code == "artifact.missing"
    assert list(store.objects()) == []
    assert store.put(snapshot) == digest  # what was listed before is not believed


def test_two_writers_at_once_lose_nothing(s3: S3, telemetry_url: str) -> None:
    count = 4
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, telemetry_url, name, START.isoformat(), str(count)],
            env={**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    said = [writer.communicate("go\n", timeout=240) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], said
    assert s3.secret not in repr(said)
    got = SeriesStore(telemetry_url).read(None, start=START, end=START + timedelta(hours=4), interval_s=300).to_pylist()
    assert [(r["unique_id"], r["mean"]) for r in got] == [
        (vm, float(slot)) for vm in ("lab/one", "lab/shared", "lab/two") for slot in range(count)
    ]


def test_no_secret_reaches_what_is_stored(s3: S3, telemetry_url: str) -> None:
    test_retention.write(telemetry_url, days=1)
    ArtifactStore(s3.url("headers")).put(test_retention.header(telemetry_url))
    name = telemetry_url.rpartition("/")[2]
    stored = {**s3.content("headers"), **s3.content(name)}
    assert len(stored) > 4
    assert not [key for key, data in stored.items() if s3.secret.encode() in data]


@pytest.mark.parametrize("store", [ArtifactStore, SeriesStore])
@pytest.mark.parametrize("url", ["s3://tester:canary@headroom/x", "s3://headroom/x?secret=canary"])
def test_credentials_in_a_url_are_refused_and_not_repeated(store: type, url: str) -> None:
    error = refusal(lambda: store(url))
    assert error.code == "store.credentials"
    assert "canary" not in str(error)


def test_a_bucket_that_is_not_there_and_a_service_that_does_not_answer(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "sha256:" + 64 * "0"
    snapshot = Snapshot("2026-01-01T00:00:00Z", (), (), ())
    assert refusal(lambda: ArtifactStore("s3://no-such-bucket/x").put(snapshot)).code == "store.unwritable"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for call, code in (
        (lambda: ArtifactStore("s3://headroom/x").get_bytes(digest), "store.unreachable"),
        (lambda: list(ArtifactStore("s3://headroom/x").objects()), "store.unreachable"),
        (lambda: ArtifactStore("s3://headroom/x").put(snapshot), "store.unwritable"),
    ):
        error = refusal(call)
        assert (error.code, s3.secret in str(error)) == (code, False)
    s3fs.S3FileSystem.clear_instance_cache()
