# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which platform serves an endpoint, by the scheme of its URI. To add one: a folder and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .._core.errors import EndpointError, HeadroomError
from .fake import endpoint as fake
from .libvirt import endpoint as libvirt

if TYPE_CHECKING:
    from .base import Endpoint, Reader, Writer

# Scheme of the URI up to "+" or ":" -> the platform's endpoint module.
_PLATFORMS: dict[str, tuple[Callable[[Endpoint], Reader], Callable[[Endpoint], Writer]]] = {
    "fake": (fake.open_reader, fake.open_writer),
    "qemu": (libvirt.open_reader, libvirt.open_writer),
}


def open_reader(endpoint: Endpoint) -> Reader:
    """Connect for observation. Raises ``endpoint.scheme``, EndpointError."""
    return _platform(endpoint)[0](endpoint)


def open_writer(endpoint: Endpoint) -> Writer:
    """Connect for writing; for ``_apply`` alone. Raises as ``open_reader``, and ``endpoint.read_only``."""
    if endpoint.options.get("read_only") == "true":
        raise EndpointError(
            "endpoint.read_only",
            f"The endpoint {endpoint.name} is there to be read only.",
            advice="Remove read_only from it once acts are to be applied.",
        )
    return _platform(endpoint)[1](endpoint)


def _platform(endpoint: Endpoint) -> tuple[Callable[[Endpoint], Reader], Callable[[Endpoint], Writer]]:
    scheme = endpoint.uri.partition(":")[0].partition("+")[0]
    if scheme not in _PLATFORMS:
        raise HeadroomError(
            "endpoint.scheme",
            f"Endpoint {endpoint.name} has a URI of no known platform ({scheme}).",
            advice=f"Known are: {', '.join(sorted(_PLATFORMS))}.",
        )
    return _PLATFORMS[scheme]
