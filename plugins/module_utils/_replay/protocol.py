# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a replay is measured by: which VMs are reported and which may be tuned on, when, and what counts as good.

Without a protocol file one is derived from the trace alone, so that two people get the same: VMs fall to the report or
to tuning by the SHA-256 of their id, the last third of the time is scored, pools are 16 report VMs in order of their
hash. Nothing that is tuned or trained may look at the report VMs within the scored window.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Union

from .._core.clock import format_utc
from .._core.errors import HeadroomError
from .trace import DAY, STEP_S, TARGETS, Floor

if TYPE_CHECKING:
    from collections.abc import Collection

HOUR_S = 3600
POOL_VMS = 16
REPORT_OF_FIVE = 3  # VMs of five to report, by hash; the others may be tuned on
LEAST_TO_SPLIT = 20  # VMs; of fewer all are reported, and the operating points that are shipped are used
LEADS_S = (0, 300, 3600)
FLOORS = {"cpu": 0.1, "memory": 256.0, "share": 0.2}  # vCPU, MiB, share of capacity


@dataclass(frozen=True)
class Slo:
    """What a policy may do to the VMs, in percent: of samples, of demand, of the worst VM's samples, of VMs."""

    violations: float = 0.5
    unserved: float = 0.5
    worst_vm: float = 2.0
    vms_within_1pct: float = 90.0


@dataclass(frozen=True)
class ReplayProtocol:
    """The rules of one bench; times are UTC, ``scored_to`` is the first moment that is not scored."""

    scored_from: datetime
    scored_to: datetime
    report_ids: tuple[str, ...]
    tune_ids: tuple[str, ...] = ()
    pools: tuple[tuple[str, ...], ...] = ()
    leads_s: tuple[int, ...] = LEADS_S
    decide_every_s: int = HOUR_S
    tick_s: int = STEP_S
    floors: dict[str, float] = field(default_factory=lambda: dict(FLOORS))
    slo4: Slo = field(default_factory=Slo)
    trace: str = ""  # name of the file it was made for

    def floor(self, target: str) -> Floor:
        """The least size of a target."""
        return Floor(self.floors[target], self.floors["share"])

    def ids(self, which: str) -> tuple[str, ...]:
        """``report`` or ``tune``; ``all``: empty, which stands for every VM of the trace."""
        return {"report": self.report_ids, "tune": self.tune_ids, "all": ()}[which]


def read_protocol(text: Union[str, bytes]) -> ReplayProtocol:
    """Read a protocol file. Raises ``protocol.invalid``; fields that are not known are left aside."""
    try:
        said = json.loads(text)
        made = ReplayProtocol(
            scored_from=_moment(said["scored_from"]),
            scored_to=_moment(said["scored_to"]),
            report_ids=_names(said["report_ids"]),
            tune_ids=_names(said.get("tune_ids", [])),
            pools=tuple(_names(pool) for pool in said.get("pools") or []),
            leads_s=tuple(int(lead) for lead in said.get("leads_s", LEADS_S)),
            decide_every_s=int(said.get("decide_every_s", HOUR_S)),
            tick_s=int(said.get("tick_s", STEP_S)),
            floors={name: float(said["floor"][name]) for name in (*TARGETS, "share")},
            slo4=Slo(**{name: float(said["slo4"][name]) for name in asdict(Slo())}),
            trace=str(said.get("trace", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said_so = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise HeadroomError(
            "protocol.invalid", f"The protocol file cannot be read: {said_so}.", advice="Leave it out to derive one."
        ) from error
    wrong = (
        (made.scored_from >= made.scored_to, "scored_to is not after scored_from"),
        (not made.report_ids, "there are no report_ids"),
        (bool(set(made.report_ids) & set(made.tune_ids)), "a VM is both reported and tuned on"),
        (made.tick_s != STEP_S, f"tick_s is not {STEP_S}"),
        (
            made.decide_every_s < STEP_S or bool(made.decide_every_s % STEP_S),
            f"decide_every_s is no multiple of {STEP_S}",
        ),
        (any(lead < 0 or lead % STEP_S for lead in made.leads_s), f"a lead is no multiple of {STEP_S}"),
    )
    for holds, why in wrong:
        if holds:
            raise HeadroomError(
                "protocol.invalid",
                f"The protocol file cannot be used: {why}.",
                advice="Leave the protocol out: one is derived from the telemetry and written out, to begin from.",
            )
    return made


def write_protocol(protocol: ReplayProtocol) -> str:
    """The protocol as the text of a file."""
    said: dict[str, Any] = asdict(protocol)
    said["floor"] = said.pop("floors")
    for name in ("scored_from", "scored_to"):
        said[name] = format_utc(said[name])
    return json.dumps(said, indent=1, sort_keys=True) + "\n"


def derive_protocol(unique_ids: Collection[str], *, start: datetime, end: datetime, trace: str = "") -> ReplayProtocol:
    """Split the VMs by hash and score the last third of [start, end), from a whole hour on.

    Raises ``trace.short`` for less than three days: a day of history is the least a policy needs.
    """
    if end - start < timedelta(seconds=3 * DAY * STEP_S):
        raise HeadroomError(
            "trace.short", f"The trace covers {end - start}.", advice="A replay needs three days, better four weeks."
        )
    by_hash = sorted(unique_ids, key=_hash)
    split = len(by_hash) >= LEAST_TO_SPLIT
    report = [name for name in by_hash if not split or int(_hash(name), 16) % 5 < REPORT_OF_FIVE]
    whole_hours = (start + (end - start) * 2 / 3).replace(minute=0, second=0, microsecond=0)
    pools = [tuple(report[at : at + POOL_VMS]) for at in range(0, len(report) - POOL_VMS + 1, POOL_VMS)]
    return ReplayProtocol(
        scored_from=whole_hours,
        scored_to=end,
        report_ids=tuple(sorted(report)),
        tune_ids=tuple(sorted(set(by_hash) - set(report))),
        pools=tuple(pools) or (tuple(report),),
        trace=trace,
    )


def _hash(unique_id: str) -> str:
    return hashlib.sha256(unique_id.encode()).hexdigest()


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _names(names: Collection[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError("ids are a list of strings")
    return tuple(names)
