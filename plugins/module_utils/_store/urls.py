# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs of the artifact and telemetry stores: records and messages name them, so they hold no credentials."""

from __future__ import annotations

from urllib.parse import urlsplit

from .._core.errors import HeadroomError


def refuse_credentials(url: str, store: str) -> None:
    """Raises ``store.credentials``, which does not repeat the URL. A path may hold any character."""
    for one in url.split("::"):  # fsspec chains URLs so
        try:
            parts = urlsplit(one)
        except ValueError as error:
            raise _refused(store) from error
        if parts.scheme not in ("", "file") and ("@" in parts.netloc or parts.query):
            raise _refused(store)


def _refused(store: str) -> HeadroomError:
    return HeadroomError(
        "store.credentials",
        f"The URL of the {store} store holds credentials.",
        advice="Give them in the environment (AWS_ACCESS_KEY_ID, ...), not in the URL.",
    )
