# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's libvirt, connections to it, and guests of the tests' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

# This file is read before the collection can be imported, so its imports of it are in the fixtures.
if TYPE_CHECKING:
    from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint, Writer


@pytest.fixture(scope="module")
def lab() -> Any:
    from tests.integration import guests

    connection = guests.connect()
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    from tests.integration import guests

    return guests.ENDPOINT


@pytest.fixture(scope="module")
def reader(endpoint: Endpoint) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_reader

    it = open_reader(endpoint)
    yield it
    it.close()


@pytest.fixture(scope="module")
def writer(endpoint: Endpoint) -> Any:
    from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.endpoint import open_writer

    it = open_writer(endpoint)
    yield it
    it.close()


@pytest.fixture(scope="module")
def spare(lab: Any, writer: Writer) -> Any:
    """A running guest with 2 of 4 vCPUs and 384 of 512 MiB, whose agent answers."""
    from tests.integration import guests

    it = guests.Spare(guests.define(lab, guests.definition(lab, vcpus=2, memory_mib=384)))
    try:
        guests.start(it, writer)
        yield it
    finally:
        guests.remove(it.domain)


@pytest.fixture
def off(lab: Any) -> Any:
    """A guest that is off, with all of its 4 vCPUs and 512 MiB: its definition names no ``current``."""
    from tests.integration import guests

    it = guests.Spare(guests.define(lab, guests.definition(lab, vcpus=4, memory_mib=512)))
    yield it
    guests.remove(it.domain)
