# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains as libvirt 9.0 writes them, shortened to what matters, and what is read from them."""

from __future__ import annotations

from typing import Any

from ansible_collections.headroom.fleet.plugins.module_utils._platform.libvirt.description import (
    Agent,
    Description,
    HostTraits,
    parse,
)

HOST = HostTraits(cpus=4, cpu_control="limited", kernel_lacks=frozenset())
UUID = "458888c9-118f-5ce5-98fd-bf1dbc58a6f9"

DOMAIN = """\
<domain type='{kind}'{identity}>
  <name>web1</name>
  <uuid>{uuid}</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='KiB'>{memory}</memory>
  <currentMemory unit='KiB'>{current_memory}</currentMemory>
  <vcpu placement='static'{current}>4</vcpu>
  {more}
  <os><type arch='{arch}' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    {devices}
    <memballoon model='{balloon}'><stats period='5'/></memballoon>
  </devices>
</domain>
"""


def domain_xml(
    *,
    live: bool = False,
    kind: str = "qemu",
    vcpus: int = 4,
    memory: int = 512 * 1024,
    current_memory: int = 256 * 1024,
    metadata: str = "",
    more: str = "",
    devices: str = "",
    balloon: str = "virtio",
    arch: str = "x86_64",
) -> str:
    """The definition, or, with ``live``, the domain as it runs."""
    return DOMAIN.format(
        kind=kind,
        identity=" id='1'" if live else "",
        uuid=UUID,
        metadata=metadata,
        memory=memory,
        current_memory=current_memory,
        current="" if vcpus == 4 else f" current='{vcpus}'",
        more=more,
        devices=devices,
        balloon=balloon,
        arch=arch,
    )


def running(
    *,
    vcpus: int = 2,
    online: int | None = None,
    agent: Agent | None = None,
    config: dict[str, Any] | None = None,
    cold: int | None = None,
    power: str = "running",
    job: str = "",
    managed_save: bool = False,
    persistent: bool = True,
    host: HostTraits = HOST,
    **shared: Any,
) -> Description:
    """A running domain whose agent tells of as many vCPUs on-line as are plugged; both definitions are alike."""
    listed = "".join(
        f"<vcpu id='{number}' enabled='{'yes' if number < vcpus else 'no'}'"
        f" hotpluggable='{'no' if number < (vcpus if cold is None else cold) else 'yes'}'/>"
        for number in range(4)
    )
    more = shared.pop("more", "")
    return Description(
        uuid=UUID,
        name="web1",
        power=power,
        inactive=parse(domain_xml(**{"vcpus": vcpus, **shared, "more": more, **(config or {})})),
        live=parse(domain_xml(live=True, vcpus=vcpus, more=f"{more}<vcpus>{listed}</vcpus>", **shared)),
        agent=agent or Agent(known=vcpus, online=vcpus if online is None else online, fixed=1),
        job=job,
        managed_save=managed_save,
        persistent=persistent,
        host=host,
    )


def powered_off(*, host: HostTraits = HOST, **definition: Any) -> Description:
    """A domain that is off."""
    return Description(
        uuid=UUID,
        name="web1",
        power="off",
        inactive=parse(domain_xml(**definition)),
        live=None,
        agent=Agent("vm.off", "it is off"),
        host=host,
    )
