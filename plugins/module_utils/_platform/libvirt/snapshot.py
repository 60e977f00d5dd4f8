# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts and VMs of one endpoint in one pass.

Remote calls: seven for the endpoint, one per VM, and three more per running VM (two where no guest agent is connected).
None of them waits for a QEMU monitor, so a VM that hangs cannot hide the others.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Optional

from ..._core.errors import EndpointError, HeadroomError, RefusedError, UnreadableError
from ..._core.needs import needs
from ..._core.units import kib_to_mib
from ..._records.host import Host, NumaCell
from ..._records.snapshot import Gap
from ..._records.vm import VM
from ..base import Endpoint, Observation
from .capability import capabilities, refusal
from .description import (
    CPU_LIMITED,
    CPU_NOTHING,
    CPU_SHARED,
    CPU_UNKNOWN,
    HOST_UNKNOWN,
    OFF,
    RUNNING,
    Agent,
    Description,
    HostTraits,
    cpu_numbers,
    kib,
    number,
    parse,
    read_tag,
)
from .fields import effective_memory_mib, generation, read_fields
from .kernel import lacking
from .session import ENDPOINT_TIMEOUT, PLATFORM_REFUSED, VM_VANISHED, Session
from .vcpus import effective_vcpus

# virDomainState, from libvirt's stable ABI.
POWERS = ("unknown", RUNNING, RUNNING, "paused", "shutting_down", OFF, "crashed", "suspended")

ADDRESS_PARTS = ("domain", "bus", "slot", "function", "uuid", "device")  # of PCI, mediated and USB devices
AGENT_CHANNEL = "devices/channel/target[@name='org.qemu.guest_agent.0']"
AGENT_S = 8.0  # libvirt itself gives a guest agent 5 s to say that it is there
JOB_S = 5.0  # the answer waits for the VM's lock; who holds it so long hangs

# virDomainJobOperation, from libvirt's stable ABI.
JOBS = (
    "unknown",
    "start",
    "save",
    "restore",
    "incoming migration",
    "migration",
    "snapshot",
    "snapshot revert",
    "dump",
    "backup",
    "snapshot deletion",
)


def observe(session: Session) -> Observation:
    """Read everything. A VM that fails becomes a gap; an endpoint that fails raises EndpointError."""
    with needs("libvirt"):
        import libvirt
    endpoint = session.endpoint
    host = read_host(
        endpoint,
        capabilities_xml=session.ask(lambda connection: connection.getCapabilities()),
        node_info=session.ask(lambda connection: connection.getInfo()),
        name=session.ask(lambda connection: connection.getHostname()),
    )
    # The state alone: every other group of statistics may ask the VM's monitor.
    states = session.ask(lambda connection: connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0))
    saved = _uuids(session, libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
    transient = _uuids(session, libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT)
    traits = HostTraits(
        cpus=host.vcpus,
        cpu_control=_cpu_control(session, [domain for domain, _unused in states]),
        kernel_lacks=lacking(endpoint.uri),
    )
    vms: list[VM] = []
    gaps: list[Gap] = []
    for domain, stats in states:
        uuid = domain.UUIDString()
        try:
            description = describe(
                session,
                domain,
                state=stats.get("state.state", 0),
                managed_save=uuid in saved,
                persistent=uuid not in transient,
                host=traits,
            )
            vms.append(read_vm(endpoint, description, host=host))
        except HeadroomError as error:
            if error.code == ENDPOINT_TIMEOUT:
                session.check_pulse()
            elif isinstance(error, EndpointError):
                raise
            gaps.append(Gap(endpoint.name, domain.name(), error.code, error.message))
    return Observation((host,), tuple(sorted(vms, key=lambda vm: vm.unique_id)), tuple(gaps))


def describe(
    session: Session,
    domain: Any,
    *,
    state: int,
    managed_save: bool,
    persistent: bool,
    host: HostTraits = HOST_UNKNOWN,
) -> Description:
    """Read one domain. Raises RefusedError (``vm.changing``, ``vm.unreadable``, the session's), EndpointError."""
    with needs("libvirt"):
        import libvirt
    power = POWERS[state] if state < len(POWERS) else POWERS[0]
    inactive = parse(session.on(domain, lambda it: it.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    live: Optional[ET.Element] = None
    agent = Agent("vm.off", "it is off")
    job = ""
    if power not in (OFF, "crashed"):
        live = parse(session.on(domain, lambda it: it.XMLDesc(0)))
        if live.get("id") is None:  # only a domain that runs has one
            raise UnreadableError(
                "vm.changing", f"{domain.name()} went off while it was read.", advice="Observe again."
            )
        job = _job(session, domain)
        agent = _ask_agent(session, domain, live) if power == RUNNING else Agent("vm.paused", "it does not run")
    return Description(
        uuid=domain.UUIDString(),
        name=domain.name(),
        power=power,
        inactive=inactive,
        live=live,
        agent=agent,
        job=job,
        managed_save=managed_save,
        persistent=persistent,
        host=host,
    )


def read_vm(endpoint: Endpoint, description: Description, *, host: Host) -> VM:
    """The record of a described domain."""
    fields = read_fields(description)
    tag = read_tag(description)
    refused_code, refused = refusal(description) or ("", "")
    return VM(
        unique_id=unique_id(endpoint, description.uuid),
        endpoint=endpoint.name,
        name=description.name,
        host_id=host.host_id,
        host_set=tag.host_set or host.host_set,
        power=description.power,
        vcpus=effective_vcpus(fields),
        memory_mib=effective_memory_mib(fields),
        generation=generation(description),
        fields=fields,
        tenant=tag.tenant,
        owner=tag.owner,
        mode=tag.mode,
        warnings=tag.warnings,
        devices=_devices(description),
        refused=refused,
        refused_code=refused_code,
        capabilities=capabilities(description),
    )


def read_host(endpoint: Endpoint, *, capabilities_xml: str, node_info: list[Any], name: str) -> Host:
    """The record of the endpoint's one host; ``node_info`` as virNodeGetInfo has it: model, MiB, CPUs and more."""
    root = parse(capabilities_xml)
    uuid = root.findtext("host/uuid", default="")
    if not uuid:
        raise EndpointError(
            "endpoint.unreadable",
            f"The endpoint {endpoint.name} does not tell its host's UUID.",
            advice="Set host_uuid in libvirtd.conf.",
        )
    return Host(
        host_id=unique_id(endpoint, uuid),
        endpoint=endpoint.name,
        name=name,
        host_set=endpoint.host_set or endpoint.name,
        vcpus=node_info[2],
        vcpus_reserved=endpoint.vcpus_reserved,
        vcpus_allocation_ratio_ppm=endpoint.vcpus_allocation_ratio_ppm,
        memory_mib=node_info[1],
        memory_reserved_mib=endpoint.memory_reserved_mib,
        memory_allocation_ratio_ppm=endpoint.memory_allocation_ratio_ppm,
        numa=tuple(
            NumaCell(
                cell_id=number(cell.get("id"), "cell id"),
                cpus=len(cell.findall("cpus/cpu")),
                memory_mib=kib_to_mib(kib(cell, "memory") or 0),
            )
            for cell in root.findall("host/topology/cells/cell")
        ),
    )


def unique_id(endpoint: Endpoint, uuid: str) -> str:
    """Of a VM or a host."""
    return f"{endpoint.name}/{uuid}"


def read_agent(answer: dict[str, str]) -> Agent:
    """virDomainGetGuestVcpus: sets of vCPU numbers, "0-2,4"."""
    online = cpu_numbers(answer.get("online", ""))
    return Agent(
        known=len(cpu_numbers(answer.get("vcpus", ""))),
        online=len(online),
        fixed=len(online - cpu_numbers(answer.get("offlinable", ""))),
    )


def _uuids(session: Session, flags: int) -> set[str]:
    return {domain.UUIDString() for domain in session.ask(lambda connection: connection.listAllDomains(flags))}


def _cpu_control(session: Session, domains: list[Any]) -> str:
    """What the host can do with CPU time, by the first running VM that tells: libvirt looks into its control group."""
    for domain in domains:
        if domain.ID() < 0:
            continue
        try:
            # libvirt names one parameter, the shares, where the kernel has no quota.
            _type, parameters = session.on(domain, lambda it: it.schedulerType(), deadline_s=JOB_S)
        except RefusedError as error:
            if error.code == PLATFORM_REFUSED:
                return CPU_NOTHING
        except EndpointError as error:
            if error.code != ENDPOINT_TIMEOUT:
                raise
            session.check_pulse()
        else:
            return CPU_LIMITED if parameters > 1 else CPU_SHARED
    return CPU_UNKNOWN


def _job(session: Session, domain: Any) -> str:
    # A VM that arrives by migration has no statistics to give; it says so by an error of its own.
    stats = session.on(domain, lambda it: it.jobStats(0), deadline_s=JOB_S)
    if not stats.get("type", 0):
        return ""
    operation = stats.get("operation", 0)
    return JOBS[operation] if operation < len(JOBS) else JOBS[0]


def _ask_agent(session: Session, domain: Any, live: ET.Element) -> Agent:
    channel = live.find(AGENT_CHANNEL)
    if channel is None:
        return Agent("agent.absent", "it has no guest agent channel")
    if channel.get("state", "connected") != "connected":
        return Agent("agent.disconnected", "no guest agent runs in it")
    if session.read_only:
        return Agent("agent.needs_write_connection", "a read-only connection may not ask its guest agent")
    try:
        answer = session.on(domain, lambda it: it.guestVcpus(0), deadline_s=AGENT_S)
    except HeadroomError as error:
        if error.code == VM_VANISHED or (isinstance(error, EndpointError) and error.code != ENDPOINT_TIMEOUT):
            raise
        return Agent("agent.silent", f"its guest agent does not answer: {error.message.rstrip('.')}")
    if answer is None:  # libvirt's socket for reading, without the option read_only
        return Agent("agent.needs_write_connection", "a read-only connection may not ask its guest agent")
    return read_agent(answer)


def _devices(description: Description) -> tuple[str, ...]:
    root = description.inactive if description.live is None else description.live
    found = []
    for element in root.findall("devices/hostdev") + root.findall("devices/interface[@type='hostdev']"):
        address = element.find("source/address")
        where = {} if address is None else address.attrib
        parts = [where[key].removeprefix("0x") for key in ADDRESS_PARTS if key in where]
        found.append(":".join((element.get("type", "unknown"), *parts)))
    return tuple(sorted(found))
