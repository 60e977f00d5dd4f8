# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting one named field of one domain. Only the apply engine obtains this."""

from __future__ import annotations

from typing import Any

from ..._core.errors import HeadroomError, RefusedError
from ..._records.vm import Value
from ..base import GUEST_REFUSED, Current
from .capability import refusal
from .description import Description
from .fields import find_field, generation, read_fields
from .session import PLATFORM_REFUSED, Session
from .snapshot import describe

WRITE_S = 90.0  # libvirt waits up to 30 s for the VM's lock and then 5 s for each vCPU to be let go


class LibvirtWriter:
    """Writes through typed setters only; see ``base.Writer``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def current(self, unique_id: str) -> Current:
        """Both definitions and the guest agent, read afresh."""
        description = self._describe(self._domain(unique_id))
        refused_code, refused = refusal(description) or ("", "")
        return Current(generation(description), read_fields(description), refused, refused_code)

    def write(self, unique_id: str, field: str, value: Value) -> None:
        """Set the field unless it has the value already.

        Never tried twice: when the connection breaks or the deadline passes, an EndpointError says that it is not known
        whether the field was set; ``current`` tells.
        """
        row = find_field(field)
        if row is None:
            raise RefusedError(
                PLATFORM_REFUSED, f"libvirt has no field {field!r}.", advice="Make the plan again with this release."
            )
        domain = self._domain(unique_id)
        before = row.read(self._describe(domain))
        if before == value:
            return
        if before is None:
            raise RefusedError(
                GUEST_REFUSED if row.by_guest else PLATFORM_REFUSED,
                f"{domain.name()} has no {field} now.",
                advice="Check that the VM runs and that its guest agent answers.",
            )
        try:
            self._session.on(domain, lambda it: row.write(it, value), deadline_s=WRITE_S, retry=False)
        except RefusedError as error:
            if error.code != PLATFORM_REFUSED or not row.by_guest:
                raise
            raise RefusedError(GUEST_REFUSED, error.message, advice=error.advice, **error.details) from error

    def settle_s(self, field: str) -> float:
        """From the field's row."""
        row = find_field(field)
        return 0.0 if row is None else row.settle_s

    def close(self) -> None:
        """Let go of the connection."""
        self._session.close()

    def _domain(self, unique_id: str) -> Any:
        endpoint, _unused, uuid = unique_id.rpartition("/")
        if endpoint != self._session.endpoint.name:
            raise HeadroomError(
                "endpoint.other",
                f"{unique_id} is no VM of the endpoint {self._session.endpoint.name}.",
                advice="Make the plan again: an endpoint's name is part of every VM's id.",
            )
        return self._session.call(lambda connection: connection.lookupByUUIDString(uuid))

    def _describe(self, domain: Any) -> Description:
        state, _reason = self._session.on(domain, lambda it: it.state(0))
        return describe(
            self._session,
            domain,
            state=state,
            managed_save=bool(self._session.on(domain, lambda it: it.hasManagedSaveImage(0))),
            persistent=bool(self._session.on(domain, lambda it: it.isPersistent())),
        )
