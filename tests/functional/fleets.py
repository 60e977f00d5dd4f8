# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake fleets and hand-made plans for functional tests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._core.clock import format_utc
from ansible_collections.headroom.fleet.plugins.module_utils._platform.base import Endpoint
from ansible_collections.headroom.fleet.plugins.module_utils._platform.registry import open_reader, open_writer
from ansible_collections.headroom.fleet.plugins.module_utils._records.action import Action, Change, Inverse
from ansible_collections.headroom.fleet.plugins.module_utils._records.plan import Budget, Limits, Plan
from ansible_collections.headroom.fleet.plugins.module_utils._records.vm import SET

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MAC = "52:54:00:00:00:01"
BANDWIDTHS = ("interface_inbound_bits_per_s", "interface_outbound_bits_per_s")
WIDE = Limits(per_host=100, per_host_set=100, per_tenant=100, per_platform=100)


class Fleet:
    """A fake fleet in a file, with a few questions tests ask of it."""

    def __init__(self, path: Path, *, vms: int = 3, hosts: int = 1, name: str = "fake") -> None:
        self.path = path
        self.endpoint = Endpoint(name=name, uri=f"fake://{path}")
        self.save(
            {
                "hosts": [{"name": f"h{n}", "vcpus": 16 * vms, "memory_mib": 8192 * vms} for n in range(hosts)],
                "vms": {f"u{n}": vm(n, host=f"h{n % hosts}") for n in range(vms)},
                "writes": 0,
            }
        )

    def load(self) -> dict[str, Any]:
        """The whole file."""
        return json.loads(self.path.read_bytes())

    def save(self, fleet: dict[str, Any]) -> None:
        """Replace the whole file."""
        self.path.write_text(json.dumps(fleet))

    def change(self, uuid: str, **values: Any) -> None:
        """Set keys of one VM."""
        fleet = self.load()
        fleet["vms"][uuid].update(values)
        self.save(fleet)

    def fields(self, uuid: str) -> dict[str, Any]:
        """The fields of one VM as they stand."""
        return self.load()["vms"][uuid]["fields"]

    @property
    def writes(self) -> int:
        """How many writes the platform was sent."""
        return self.load()["writes"]

    def generation(self, uuid: str) -> str:
        """The VM's generation, as the gate reads it."""
        return open_writer(self.endpoint).current(f"{self.endpoint.name}/{uuid}").generation

    def observe(self) -> Any:
        """One observation."""
        return open_reader(self.endpoint).observe()


def vm(number: int, *, host: str) -> dict[str, Any]:
    """A fake VM with 2 of 8 vCPUs (4 of them plugged), 1 of 4 GiB, a disk, an interface, and no limits."""
    limits = (
        "cpu_limit_millicores",
        "disk_iops/vda",
        "disk_bytes_per_s/vda",
        *(f"{name}/{MAC}" for name in BANDWIDTHS),
    )
    return {
        "name": f"vm{number}",
        "host": host,
        "tenant": "t",
        "fields": {
            "guest.vcpus": 2,
            "live.vcpus": 4,
            "config.vcpus": 2,
            "live.memory_mib": 1024,
            "config.memory_mib": 1024,
            "config.maximum_vcpus": 8,
            "config.maximum_memory_mib": 4096,
            **{f"{kind}.{name}": 0 for name in limits for kind in ("live", "config")},
            **{f"{kind}.cpu_shares": 1024 for kind in ("live", "config")},
            **{f"{kind}.cpu_pinning": "0-3" for kind in ("live", "config")},
            **{f"{kind}.memory_stats_period_s": 0 for kind in ("live", "config")},
        },
        "maxima": {"vcpus": 8, "memory_mib": 4096},
        "load": {"cpu_millicores": 500, "memory_used_mib": 300},
    }


# operation -> (resource, fields, inverse)
OPERATIONS = {
    "vcpus.agent": ("vcpus", ("guest.vcpus", "config.vcpus"), "live"),
    "vcpus.hotplug": ("vcpus", ("live.vcpus", "config.vcpus"), "at_next_restart"),
    "memory.balloon": ("memory_mib", ("live.memory_mib", "config.memory_mib"), "live"),
    **{
        f"fake.{name.partition('/')[0]}": (name, (f"live.{name}", f"config.{name}"), "live")
        for name in (
            "cpu_limit_millicores",
            "cpu_shares",
            "cpu_pinning",
            "disk_iops/vda",
            "disk_bytes_per_s/vda",
            *(f"{name}/{MAC}" for name in BANDWIDTHS),
            "memory_stats_period_s",
        )
    },
    **{f"fake.{name}": (name, (f"config.{name}",), "live") for name in ("maximum_vcpus", "maximum_memory_mib")},
}


def action(fleet: Fleet, uuid: str, operation: str, size: int | str, *, number: int = 1, **values: Any) -> Action:
    """An action on a fake VM from what the fleet says now."""
    resource, names, when = OPERATIONS[operation]
    now = fleet.fields(uuid)
    size_now = now[names[0]]
    direction = SET if operation.startswith("fake.") else "grow" if size > size_now else "shrink"
    is_number = isinstance(size, int)
    data: dict[str, Any] = {
        "action_id": f"a{number:04}",
        "unique_id": f"{fleet.endpoint.name}/{uuid}",
        "vm_name": fleet.load()["vms"][uuid]["name"],
        "endpoint": fleet.endpoint.name,
        "host_id": f"{fleet.endpoint.name}/{fleet.load()['vms'][uuid]['host']}",
        "host_set": fleet.endpoint.name,
        "tenant": "t",
        "operation": operation,
        "resource": resource,
        "direction": direction,
        "mode": "auto",
        "size_before": size_now if is_number else 0,
        "size_after": size if is_number else 0,
        "changes": tuple(Change(name, now[name], size) for name in names),
        "generation": fleet.generation(uuid),
        "inverse": Inverse(operation, when),
        "restart": False,
        "reason": "test",
        **values,
    }
    return Action(**data)


def plan(*actions: Action, purpose: str = "size", budget: Budget | None = None, now: datetime = NOW) -> Plan:
    """A plan of these actions, with a wide budget."""
    return Plan(
        made_at=format_utc(now),
        expires_at=format_utc(now + timedelta(hours=24)),
        scope=tuple(sorted({one.unique_id for one in actions})),
        purpose=purpose,
        policy="",
        snapshot="",
        forecast="",
        budget=budget or Budget(WIDE),
        actions=actions,
    )
