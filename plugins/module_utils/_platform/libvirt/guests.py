# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guests themselves say, through their agents. It needs a read-write connection, though nothing is written.

The guest is not trusted: what it says is bounded, and nonsense is as good as silence.
"""

from __future__ import annotations

import math
import time
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Callable, Optional

from ..._core.clock import utc_now
from ..._core.errors import EndpointError, RefusedError
from ..._core.needs import needs
from ..._core.units import PPM
from ..._records.series import AGENT, GUEST_FILESYSTEM_USED_PPM, GUEST_LOAD_MILLI, PERIODS_S, Sample
from .session import ENDPOINT_TIMEOUT, Session
from .snapshot import unique_id

if TYPE_CHECKING:
    from datetime import datetime

ASK_S = 6.0  # libvirt gives an agent 5 s to wake up, and then says itself that it does not answer
MOST_FILESYSTEMS = 256
# Always full, by their nature.
IMAGES = {"cd9660", "cramfs", "erofs", "iso9660", "romfs", "squashfs", "udf"}
HIGHEST_LOAD = 1_000_000.0
# Multiples of it, less their whole part, fill the span from 0 to 1 evenly, also every tenth of them (Weyl 1916).
GOLDEN_RATIO = 0.6180339887498949


class GuestAgents:
    """The agents of one endpoint's running VMs. One that is silent is not asked again."""

    def __init__(
        self,
        session: Session,
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._clock = clock
        self._monotonic = monotonic
        self._silent: set[str] = set()

    def sample(self) -> tuple[Sample, ...]:
        """Ask one after another, for at most a period; nothing on a read-only connection. Raises EndpointError.

        Each period begins with another one, so that where they are too many all get their turn, also of a collection
        that is started anew every few minutes.
        """
        if self._session.read_only:
            return ()
        with needs("libvirt"):
            import libvirt
        end = self._monotonic() + PERIODS_S[AGENT]
        samples: list[Sample] = []
        active = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        found = self._session.ask(lambda connection: connection.listAllDomains(active))
        domains = sorted(((domain.UUIDString(), domain) for domain in found), key=itemgetter(0))
        period = self._clock().timestamp() // PERIODS_S[AGENT]
        first = int(period * GOLDEN_RATIO % 1 * len(domains))
        for uuid, domain in domains[first:] + domains[:first]:
            if uuid in self._silent or self._monotonic() > end:
                continue
            gauges = self._ask(domain)
            if gauges is None:
                self._silent.add(uuid)
                continue
            samples.append(
                Sample(
                    unique_id=unique_id(self._session.endpoint, uuid),
                    taken_at=self._clock(),
                    boot_id=str(domain.ID()),
                    gauges=gauges,
                    source=AGENT,
                )
            )
        return tuple(samples)

    def _ask(self, domain: Any) -> Optional[dict[str, int]]:
        with needs("libvirt"):
            import libvirt
        # Libraries before 11.2 do not know how to ask for the load.
        topics = libvirt.VIR_DOMAIN_GUEST_INFO_FILESYSTEM | getattr(libvirt, "VIR_DOMAIN_GUEST_INFO_LOAD", 0)
        try:
            answer = self._session.on(domain, lambda it: it.guestInfo(topics, 0), deadline_s=ASK_S, retry=False)
        except RefusedError:
            return None
        except EndpointError as error:
            if error.code != ENDPOINT_TIMEOUT:
                raise
            self._session.check_pulse()
            return None
        return read_guest_info(answer)


def read_guest_info(answer: dict[str, Any]) -> dict[str, int]:
    """Gauges from what virDomainGetGuestInfo returns, whatever the guest put into it."""
    gauges: dict[str, int] = {}
    count = answer.get("fs.count")
    used = [
        share
        for number in range(min(count, MOST_FILESYSTEMS) if isinstance(count, int) else 0)
        if (share := _used_ppm(answer, f"fs.{number}")) is not None
    ]
    if used:
        gauges[GUEST_FILESYSTEM_USED_PPM] = max(used)
    load = answer.get("load.1m")
    if isinstance(load, float) and math.isfinite(load) and 0 <= load <= HIGHEST_LOAD:
        gauges[GUEST_LOAD_MILLI] = round(load * 1000)
    return gauges


def _used_ppm(answer: dict[str, Any], filesystem: str) -> Optional[int]:
    if answer.get(f"{filesystem}.fstype") in IMAGES:
        return None
    used, total = answer.get(f"{filesystem}.used-bytes"), answer.get(f"{filesystem}.total-bytes")
    if not isinstance(used, int) or not isinstance(total, int) or not 0 <= used <= total or not total:
        return None
    return used * PPM // total
