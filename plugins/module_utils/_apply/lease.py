# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leases of one run: taken in a fixed order, renewed while it lives, given back at its end."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core.clock import wait_until
from .._core.errors import HeadroomError
from .._store import leases

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._store.db import Database


@dataclass(frozen=True)
class LeaseTerms:
    """How long a lease outlives its holder's last word, and how long to wait for one that another run holds."""

    ttl_s: float = 30.0  # a few missed renewals; also what the next run waits for after a crash
    wait_s: float = 45.0  # longer than ttl_s, so that a dead run's lease is simply waited out


DEFAULT_TERMS = LeaseTerms()


@contextmanager
def held(database: Database, endpoints: Iterable[str], *, run_id: str, terms: LeaseTerms) -> Iterator[dict[str, int]]:
    """Hold the lease of every endpoint; gives their fencing tokens. Raises ``lease.held``."""
    tokens: dict[str, int] = {}
    ended = threading.Event()
    keeper = threading.Thread(target=_renew, args=(database, tokens, terms, ended), daemon=True)
    try:
        keeper.start()  # first: to wait for one lease can take longer than the one before lasts
        for endpoint in sorted(endpoints):  # always the same order: two runs cannot each hold what the other wants
            tokens[endpoint] = _acquire(database, endpoint, run_id=run_id, terms=terms)
        yield tokens
    finally:
        ended.set()
        if keeper.is_alive():
            keeper.join()
        for endpoint, token in tokens.items():
            leases.release(database, endpoint, token=token)


def _acquire(database: Database, endpoint: str, *, run_id: str, terms: LeaseTerms) -> int:
    refusals: list[HeadroomError] = []

    def attempt() -> int:
        try:
            return leases.acquire(database, endpoint, holder=run_id, ttl_s=terms.ttl_s)
        except HeadroomError as error:
            if error.code != "lease.held":
                raise
            refusals.append(error)
            return 0

    token = wait_until(attempt, timeout_s=terms.wait_s, poll_s=0.5)
    if not token:
        raise refusals[-1]
    return token


def _renew(database: Database, tokens: dict[str, int], terms: LeaseTerms, ended: threading.Event) -> None:
    while not ended.wait(terms.ttl_s / 3):
        for endpoint, token in list(tokens.items()):
            try:
                leases.renew(database, endpoint, token=token, ttl_s=terms.ttl_s)
            except HeadroomError:
                # The fence before the next write finds the same and stops the run with a clear error.
                continue
