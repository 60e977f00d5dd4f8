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
    SET,
    SETTINGS,
    SHRINK,
    VCPUS,
    Capability,
    kind_of,
)

_AGENT = ("guest.vcpus", "config.vcpus")
_HOTPLUG = ("live.vcpus", "config.vcpus")
_BALLOON = ("live.memory_mib", "config.memory_mib")
_MINIMUM_MEMORY_MIB = 64
_MOST = 2**40


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
    return (*found, *_settings(fields))


def _settings(fields: dict[str, Any]) -> list[Capability]:
    """A setting for whichever fields the VM has: live and in the definition, or, a maximum, in the definition alone."""
    by_resource: dict[str, list[str]] = {}
    for name in (
        *(one for one in fields if one.startswith("live.")),
        *(one for one in fields if one.startswith("config.")),
    ):
        resource = name.partition(".")[2]
        if kind_of(resource) in SETTINGS:
            by_resource.setdefault(resource, []).append(name)
    return [
        Capability(
            operation=f"fake.{resource.partition('/')[0]}",
            resource=resource,
            direction=SET,
            allowed=True,
            fields=tuple(names),
            minimum=0,
            maximum=_MOST,
            inverse=INVERSE_LIVE,
        )
        for resource, names in by_resource.items()
    ]


def _capability(operation: str, resource: str, direction: str, *, allowed: bool = True, **rest: Any) -> Capability:
    return Capability(operation=operation, resource=resource, direction=direction, allowed=allowed, **rest)
