# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact store: immutable objects named by the SHA-256 of their bytes, on any fsspec URL."""

from __future__ import annotations

import re
import secrets
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from .._core.canonical import MAX_BYTES, canonical_bytes, digest_bytes, parse_json
from .._core.clock import utc_now
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.codec import Artifact, decode_artifact, encode_artifact
from .urls import refuse_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

A = TypeVar("A", bound=Artifact)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[0-9a-f]{64}(\.part-[0-9a-f]{8})?")
# An object that is put again after so long is written again: to pruning it is as new as what will refer to it.
FRESH = timedelta(days=1)
# Protocols of fsspec that have no folders: to make one there would make a bucket, of whatever name was mistyped.
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"})
# Under which of these a filesystem of fsspec says when an object was written.
_WRITTEN_AT = ("LastModified", "mtime", "last_modified", "modified", "updated", "created")


class ArtifactStore:
    """Objects at ``URL/ab/abcd...``; with ``overlay_url`` (a rehearsal) writes go there, the store stays untouched."""

    def __init__(self, url: str, *, overlay_url: str = "") -> None:
        with needs("fsspec"):
            import fsspec
        refuse_credentials(url, "artifact")
        try:
            self._places = [fsspec.core.url_to_fs(place) for place in (overlay_url, url) if place]
        except (OSError, ValueError, ImportError) as error:
            raise HeadroomError(
                "store.unreachable", f"The artifact store cannot be opened: {error}.", advice="Check the artifacts URL."
            ) from error

    def put(self, artifact: Artifact) -> str:
        """Store a record and return its digest. Raises ``artifact.too_large`` for one that could not be read again."""
        data = canonical_bytes(encode_artifact(artifact))
        if len(data) > MAX_BYTES:
            raise HeadroomError(
                "artifact.too_large",
                f"This {artifact.KIND} has {len(data)} bytes, more than {MAX_BYTES}.",
                advice="Do it for a part of the fleet at a time: limit the hosts of the play.",
            )
        return self.put_bytes(data)

    def get(self, kind: type[A], digest: str) -> A:
        """Read a record of this kind; raises as ``get_bytes`` and ``decode_artifact``."""
        return decode_artifact(kind, self.get_json(digest))

    def get_json(self, digest: str) -> Any:
        """Read the plain JSON of any record."""
        return parse_json(self.get_bytes(digest))

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and return their digest. What is there already, and is FRESH, is not written again."""
        name = digest_bytes(data)
        filesystem, root = self._places[0]
        path = _path(root, name)
        try:
            if _is_fresh(filesystem, path):
                return name
            if _has_folders(filesystem):
                filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            # A reader never sees half an object: it appears under its name once it is whole.
            part = f"{path}.part-{secrets.token_hex(4)}"
            try:
                filesystem.pipe_file(part, data)
                filesystem.mv(part, path)
            except _faults():
                if filesystem.exists(part):
                    filesystem.rm(part)
                raise
        except _faults() as error:
            raise HeadroomError(
                "store.unwritable",
                f"The artifact store cannot be written: {error}.",
                advice="Check its space and rights.",
            ) from error
        return name

    def url(self, digest: str) -> str:
        """Where an object lies, or would lie, for programs that read it themselves."""
        filesystem, root = self._places[0]
        return str(filesystem.unstrip_protocol(_path(root, digest)))

    def get_bytes(self, digest: str) -> bytes:
        """Read and check. Raises ``artifact.name``, ``.missing`` and ``.edited``, and ``store.unreachable``."""
        if not _DIGEST.fullmatch(digest):
            raise HeadroomError(
                "artifact.name",
                f"{digest!r} is not a digest.",
                advice="Give the sha256:... that the earlier stage returned.",
            )
        for filesystem, root in self._places:
            try:
                data = bytes(filesystem.cat_file(_path(root, digest)))
            except FileNotFoundError:
                continue
            except _faults() as error:
                raise _unreadable(error) from error
            if digest_bytes(data) != digest:
                raise HeadroomError(
                    "artifact.edited",
                    f"The artifact {digest} does not have the content of its name: it was edited or damaged.",
                    advice="Make it again; a plan is changed through the sizing policy, never by hand.",
                )
            return data
        raise HeadroomError(
            "artifact.missing",
            f"There is no artifact {digest}.",
            advice="Use the same artifacts URL as the stage that made it.",
        )

    def objects(self) -> Iterator[tuple[str, Optional[datetime]]]:
        """Name and time of writing (None: the filesystem does not say) of all that the store itself holds.

        A name is a digest, or that of a part of an object whose writer died.
        """
        filesystem, root = self._places[-1]
        try:
            filesystem.invalidate_cache()  # of listings: others write and prune as well
            found = filesystem.find(root, detail=True)
            filesystem.invalidate_cache()
        except FileNotFoundError:
            return
        except _faults() as error:
            raise _unreadable(error) from error
        for path, info in found.items():
            name = path.rpartition("/")[2]
            if _NAME.fullmatch(name):
                yield f"sha256:{name}", _written_at(info)

    def remove(self, name: str, *, written_before: datetime) -> None:
        """Remove what ``objects`` named, unless it was written again meanwhile. A rehearsal removes its own alone."""
        filesystem, root = self._places[0]
        path = _path(root, name)
        try:
            written_at = _written_at(filesystem.info(path))
            if written_at and written_at < written_before:
                filesystem.rm_file(path)
        except FileNotFoundError:
            return
        except _faults() as error:
            raise HeadroomError(
                "store.unwritable", f"An artifact cannot be removed: {error}.", advice="Check the store's rights."
            ) from error


def _has_folders(filesystem: Any) -> bool:
    names = filesystem.protocol
    return _BUCKETS.isdisjoint((names,) if isinstance(names, str) else names)


def _is_fresh(filesystem: Any, path: str) -> bool:
    try:
        written_at = _written_at(filesystem.info(path))
    except FileNotFoundError:
        return False
    return written_at is None or utc_now() - written_at < FRESH


def _written_at(info: dict[str, Any]) -> Optional[datetime]:
    found = next((info[key] for key in _WRITTEN_AT if info.get(key) is not None), None)
    if isinstance(found, (int, float)):
        return datetime.fromtimestamp(found, timezone.utc)
    return found if isinstance(found, datetime) and found.tzinfo else None


def _faults() -> tuple[type[Exception], ...]:
    """What a filesystem raises when it does not work: OSError, and for S3 what its library does not make one of."""
    botocore = sys.modules.get("botocore.exceptions")
    return (OSError, botocore.BotoCoreError) if botocore else (OSError,)


def _unreadable(error: Exception) -> HeadroomError:
    return HeadroomError(
        "store.unreachable",
        f"The artifact store cannot be read: {error}.",
        advice="Check the artifacts URL, and that its service answers.",
    )


def _path(root: str, digest: str) -> str:
    name = digest.partition(":")[2]
    return f"{root}/{name[:2]}/{name}"
