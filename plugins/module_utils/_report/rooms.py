# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room of hosts and host sets: what they can serve, what will be asked of them, how long that fits, what then.

Advice is for people: no plan adds a host, moves a VM to another or starts one more instance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Optional

from .._core.clock import format_utc, parse_utc
from .._records.hostset import FULL, GROWING, HOST, HOST_SET, Joint, Outlook, outlook, usable
from .._records.plan import Decision
from .._records.vm import GROW, VM, Capability
from .facts import METRIC_OF, Facts
from .words import count, demand, resource_word, size

LEVEL = "0.9"  # of demand: the quantile that headroom is kept to, else the next one above that was forecast
SHIPPED_RESERVE = 1  # hosts that may be lost, where no policy says so
ADVISED_DAYS = 90  # a host takes weeks to buy and to set up; what comes later can wait
AT_MAXIMUM = ".at_maximum"  # ends the code of a capability that says so
RESOURCE_OF = {metric: resource for resource, metric in METRIC_OF.items()}


@dataclass(frozen=True)
class Room:
    """One resource of one place; amounts in the metric's unit."""

    joint: Joint
    name: str
    resource: str
    host_set: str
    hosts: int
    lost: int  # hosts whose loss it is kept for
    usable: int
    expected: int
    level: str  # quantile of ``expected``
    apart: int  # the sum of the VMs' own quantiles
    outlook: Outlook

    @property
    def left(self) -> int:
        """Headroom; negative: missing."""
        return self.usable - self.expected


@dataclass(frozen=True)
class Advice:
    """What a person should do where no size helps; ``by`` is RFC 3339, "": now."""

    what: str
    why: str
    by: str
    unique_id: str = ""  # of the VM that it is about


def rooms(facts: Facts) -> tuple[Room, ...]:
    """Every host set and host that the forecast speaks of and the snapshot knows, those with least left first."""
    if facts.forecast is None:
        return ()
    quantiles = facts.forecast.quantiles
    place = next((number for number, one in enumerate(quantiles) if float(one) >= float(LEVEL)), len(quantiles) - 1)
    members = defaultdict(list)
    for host in facts.snapshot.hosts:
        members[HOST, host.host_id].append(host)
        members[HOST_SET, host.host_set].append(host)
    found = []
    for joint in facts.forecast.places:
        hosts, resource = members[joint.kind, joint.place], RESOURCE_OF.get(joint.metric)
        if not hosts or resource is None:
            continue
        wanted = facts.policy.reserve_of(joint.place).hosts if facts.policy else SHIPPED_RESERVE
        lost = min(wanted, len(hosts) - 1) if joint.kind == HOST_SET else 0
        room = usable(hosts, resource, lost=lost)
        found.append(
            Room(
                joint=joint,
                name=hosts[0].name if joint.kind == HOST else joint.place,
                resource=resource,
                host_set=hosts[0].host_set,
                hosts=len(hosts),
                lost=lost,
                usable=room,
                expected=joint.quantiles[place],
                level=quantiles[place],
                apart=joint.apart[place],
                outlook=outlook(joint.growth, room),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.left / max(one.usable, 1), one.name, one.resource)))


def advice(facts: Facts, found: tuple[Room, ...]) -> tuple[Advice, ...]:
    """What no size of a VM solves: host sets that run full, hosts that do alone, VMs at their maximum."""
    full = {(one.host_set, one.resource) for one in found if one.joint.kind == HOST_SET and _runs_full(one)}
    told = [
        *(_more_hosts(one, facts) for one in found if one.joint.kind == HOST_SET and _runs_full(one)),
        *(
            _fewer_vms(one)
            for one in found
            if one.joint.kind == HOST and one.hosts and one.left < 0 and (one.host_set, one.resource) not in full
        ),
        *_more_instances(facts),
    ]
    return tuple(sorted(told, key=lambda one: one.by))


def _runs_full(room: Room) -> bool:
    ends = room.outlook
    return room.left < 0 or ends.state == FULL or (ends.state == GROWING and 0 <= ends.days <= ADVISED_DAYS)


def _more_hosts(room: Room, facts: Facts) -> Advice:
    """As many hosts of the usual size as keep it from running full for ADVISED_DAYS."""
    growth, ends = room.joint.growth, room.outlook
    then = room.expected
    if growth is not None:
        then = max(then, int(growth.after(ADVISED_DAYS)[1]))
    each = max(room.usable // max(room.hosts - room.lost, 1), 1)
    hosts = max(-(-(then - room.usable) // each), 1)
    now = room.left < 0 or ends.state == FULL
    why = f"{resource_word(room.resource)}: {demand(room.resource, room.expected)} expected of "
    why += f"{demand(room.resource, room.usable)} usable with {count(room.lost, 'host')} lost"
    if ends.state == GROWING:
        why += f"; full in {days_words(ends)}"
    earliest = max(ends.earliest, 0)
    by = "" if now or facts.forecast is None else _later(facts.forecast.cutoff, earliest)
    return Advice(f"Add {count(hosts, 'host')} to host set {room.name or '(none)'}, or move VMs away", why, by)


def _fewer_vms(room: Room) -> Advice:
    why = f"{resource_word(room.resource)}: {demand(room.resource, room.expected)} expected of "
    why += f"{demand(room.resource, room.usable)} usable; its host set has room"
    return Advice(f"Move VMs from {room.name} to other hosts of {room.host_set or 'its host set'}", why, "")


def _more_instances(facts: Facts) -> Iterator[Advice]:
    machines = {vm.unique_id: vm for vm in facts.snapshot.vms}
    for decision in facts.plan.decisions if facts.plan else ():
        vm = machines.get(decision.unique_id)
        most = _reach(vm, decision) if vm else None
        if most is not None and decision.size_wanted > most:
            least = -(-decision.size_wanted // max(most, 1))
            why = f"{resource_word(decision.resource)}: {size(decision.resource, decision.size_wanted)} wanted, "
            why += f"and its platform gives it at most {size(decision.resource, most)} while it runs"
            what = f"{decision.vm_name}: spread its work over {count(least, 'instance')}, or raise its maximum"
            yield Advice(what, why, "", decision.unique_id)


def _reach(vm: VM, decision: Decision) -> Optional[int]:
    """The largest size it can be given; None where something else than a maximum stands in the way."""
    ways = [one for one in vm.capabilities if (one.resource, one.direction) == (decision.resource, GROW)]
    if not any(_ends(one) for one in ways):
        return None
    return max([decision.size_now, *(one.maximum for one in ways if one.allowed)])


def _ends(way: Capability) -> bool:
    return way.allowed or way.code.endswith(AT_MAXIMUM)


def days_words(ends: Outlook) -> str:
    """Say days and interval, as in "30 d (21 to 50)"; an end that is out of sight is open."""
    latest = f"to {ends.latest:,}" if ends.latest >= 0 else "or more"
    return f"{ends.days:,} d ({ends.earliest:,} {latest})"


def _later(moment: str, days: int) -> str:
    return format_utc(parse_utc(moment) + timedelta(days=days))
