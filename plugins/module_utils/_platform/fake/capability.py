# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be done to a fake VM: the operations of real ones, so that every way of acting and undoing can be tested."""

from __future__ import annotations

from typing import Any

from ..._records.vm import (
    GROW,
    INVERSE_AT_NEXT_RESTART,
    INVERSE_LIVE,
    MEMORY_MIB,
    SHRINK,
    VCPUS,
    Capability,
)

_AGENT = ("guest.vcpus", "config.vcpus")
_HOTPLUG = ("live.vcpus", "config.vcpus")
_BALLOON = ("live.memory_mib", "config.memory_mib")
_MINIMUM_MEMORY_MIB = 64


def capabilities(vm: dict[str, Any]) -> tuple[Capability, ...]:
    """As ``libvirt.capability``: the agent where one answers, else hot-plug, whose undoing waits for a restart."""
    fields, maxima = vm["fields"], vm["maxima"]
    agent = "guest.vcpus" in fields
    silent: dict[str, Any] = {"allowed": False, "code": "agent_silent", "reason": "The guest agent does not answer."}
    by_agent: dict[str, Any] = {"fields": _AGENT, "inverse": INVERSE_LIVE} if agent else silent
    stays: dict[str, Any] = {
        "allowed": False,
        "code": "no_live_inverse",
        "reason": "This platform takes no vCPU out of a running guest.",
    }
    found = [
        _capability("vcpus.agent", VCPUS, GROW, minimum=1, maximum=fields["live.vcpus"], **by_agent),
        _capability(
            "vcpus.hotplug",
            VCPUS,
            GROW,
            minimum=1,
            maximum=maxima["vcpus"],
            fields=_HOTPLUG,
            inverse=INVERSE_AT_NEXT_RESTART,
        ),
        _capability("vcpus.agent", VCPUS, SHRINK, minimum=1, maximum=fields["live.vcpus"], **by_agent),
        _capability("vcpus.hotplug", VCPUS, SHRINK, **stays),
    ]
    balloon: dict[str, Any] = {
        "minimum": _MINIMUM_MEMORY_MIB,
        "maximum": maxima["memory_mib"],
        "fields": _BALLOON,
        "inverse": INVERSE_LIVE,
    }
    found += [_capability("memory.balloon", MEMORY_MIB, direction, **balloon) for direction in (GROW, SHRINK)]
    return tuple(found)


def _capability(operation: str, resource: str, direction: str, *, allowed: bool = True, **rest: Any) -> Capability:
    return Capability(operation=operation, resource=resource, direction=direction, allowed=allowed, **rest)
