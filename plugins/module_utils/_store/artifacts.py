# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact store: immutable objects named by the SHA-256 of their bytes, on any fsspec URL."""

from __future__ import annotations

import re
import secrets
from typing import Any, TypeVar

from .._core.canonical import canonical_bytes, digest_bytes, parse_json
from .._core.errors import HeadroomError
from .._core.needs import needs
from .._records.codec import Artifact, decode_artifact, encode_artifact

A = TypeVar("A", bound=Artifact)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArtifactStore:
    """Objects at ``URL/ab/abcd...``; with ``overlay_url`` (a rehearsal) writes go there, the store stays untouched."""

    def __init__(self, url: str, *, overlay_url: str = "") -> None:
        with needs("fsspec"):
            import fsspec
        try:
            self._places = [fsspec.core.url_to_fs(place) for place in (overlay_url, url) if place]
        except (OSError, ValueError, ImportError) as error:
            raise HeadroomError(
                "store.unreachable", f"The artifact store cannot be opened: {error}.", advice="Check the artifacts URL."
            ) from error

    def put(self, artifact: Artifact) -> str:
        """Store a record and return its digest."""
        return self.put_bytes(canonical_bytes(encode_artifact(artifact)))

    def get(self, kind: type[A], digest: str) -> A:
        """Read a record of this kind; raises as ``get_bytes`` and ``decode_artifact``."""
        return decode_artifact(kind, self.get_json(digest))

    def get_json(self, digest: str) -> Any:
        """Read the plain JSON of any record."""
        return parse_json(self.get_bytes(digest))

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and return their digest. What is there already is not written again."""
        name = digest_bytes(data)
        filesystem, root = self._places[0]
        path = _path(root, name)
        try:
            if filesystem.exists(path):
                return name
            filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
            # A reader never sees half an object: it appears under its name once it is whole.
            part = f"{path}.part-{secrets.token_hex(4)}"
            try:
                filesystem.pipe_file(part, data)
                filesystem.mv(part, path)
            except OSError:
                if filesystem.exists(part):
                    filesystem.rm(part)
                raise
        except OSError as error:
            raise HeadroomError(
                "store.unwritable",
                f"The artifact store cannot be written: {error}.",
                advice="Check its space and rights.",
            ) from error
        return name

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
            except OSError as error:
                raise HeadroomError(
                    "store.unreachable",
                    f"The artifact store cannot be read: {error}.",
                    advice="Check the artifacts URL.",
                ) from error
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


def _path(root: str, digest: str) -> str:
    name = digest.partition(":")[2]
    return f"{root}/{name[:2]}/{name}"
