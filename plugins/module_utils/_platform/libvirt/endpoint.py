# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two ways into libvirt."""

from __future__ import annotations

from ..._records.series import Sample
from ..base import Endpoint, Observation, Reader, Writer
from .guests import GuestAgents
from .session import Session
from .snapshot import observe
from .telemetry import sample
from .write import LibvirtWriter


class LibvirtReader:
    """Observes and samples; see ``base.Reader``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._agents = GuestAgents(session)

    def observe(self) -> Observation:
        """Hosts and VMs in one pass."""
        return observe(self._session)

    def sample(self) -> tuple[Sample, ...]:
        """Counters of every running VM."""
        return sample(self._session)

    def sample_guests(self) -> tuple[Sample, ...]:
        """What the guest agents say."""
        return self._agents.sample()

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()


def open_reader(endpoint: Endpoint) -> Reader:
    """Opened when first used; with the option ``read_only: "true"``, as a read-only connection.

    That one may ask no guest agent: what the guests themselves say is then not known.
    """
    return LibvirtReader(Session(endpoint, read_only=endpoint.options.get("read_only") == "true"))


def open_writer(endpoint: Endpoint) -> Writer:
    """Opened when first used. Only the apply engine may call this."""
    return LibvirtWriter(Session(endpoint, read_only=False))
