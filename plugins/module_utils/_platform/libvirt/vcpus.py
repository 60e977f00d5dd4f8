# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vCPUs of a domain: in its guest, plugged, in its definition, and how many there may be at most."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any, Callable, Optional

from ..._core.errors import RefusedError
from ..._core.needs import needs
from ..._records.vm import (
    GROW,
    INVERSE_AT_NEXT_RESTART,
    INVERSE_LIVE,
    MAXIMUM_VCPUS,
    SHRINK,
    VCPUS,
    Value,
)
from .description import OFF, RUNNING, Description, integer, number, parse
from .field import CONFIG, Field, flag, of_config, of_live
from .operation import Operation, Setting, Why, always_live, attribute, definitions, is_kvm
from .session import PLATFORM_REFUSED

CONFIG_VCPUS = "config.vcpus"
LIVE_VCPUS = "live.vcpus"
GUEST_VCPUS = "guest.vcpus"
CONFIG_MAXIMUM_VCPUS = CONFIG + MAXIMUM_VCPUS

VCPUS_AGENT = "vcpus.agent"

# On TCG a vCPU took a guest 1 to 3 s. KVM is faster.
SETTLE_VCPUS_S = 30.0

# Architectures on which QEMU plugs vCPUs one by one (ppc64 plugs whole cores, aarch64 none).
HOTPLUG_ARCHITECTURES = ("x86_64", "i686", "s390x")

# More need an interrupt controller of another kind than QEMU's machines have by default (KVM_MAX_VCPUS was 288).
MAXIMUM_OF_MAXIMA = 255


def effective_vcpus(fields: Mapping[str, Value]) -> int:
    """What the guest can use: what it has on-line, else what is plugged, else what the next start brings."""
    return next((int(fields[name]) for name in (GUEST_VCPUS, LIVE_VCPUS, CONFIG_VCPUS) if name in fields), 0)


def current_vcpus(root: ET.Element) -> Optional[int]:
    """``<vcpu current=>``; absent, all of them."""
    element = root.find("vcpu")
    current = None if element is None else element.get("current")
    return maximum_vcpus(root) if current is None else number(current, "vcpu current")


def maximum_vcpus(root: ET.Element) -> Optional[int]:
    """The text of ``<vcpu>``."""
    return integer(root, "vcpu")


def _guest_vcpus(description: Description) -> Optional[int]:
    return None if description.agent.code else description.agent.online


def _set(name: str) -> Callable[[Any, int], object]:
    return lambda domain, value: domain.setVcpusFlags(value, flag(name))


def _set_guest_vcpus(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    return domain.setVcpusFlags(value, flag(GUEST_VCPUS) | libvirt.VIR_DOMAIN_VCPU_GUEST)


def _set_maximum(domain: Any, value: int) -> object:
    with needs("libvirt"):
        import libvirt
    current = current_vcpus(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))) or 0
    if value < current:  # libvirt would lower that as well, which is another field
        raise RefusedError(PLATFORM_REFUSED, f"{domain.name()} is to start with {current} vCPUs.")
    return domain.setVcpusFlags(value, flag(CONFIG_MAXIMUM_VCPUS) | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)


def _mask_current(root: ET.Element) -> None:
    element = root.find("vcpu")
    if element is not None:
        element.attrib.pop("current", None)  # libvirt writes it only where it differs from the maximum


def _mask_maximum(root: ET.Element) -> None:
    element = root.find("vcpu")
    if element is not None:
        element.text = ""


FIELDS = (
    Field(CONFIG_VCPUS, of_config(current_vcpus), _set(CONFIG_VCPUS), mask=_mask_current),
    Field(LIVE_VCPUS, of_live(current_vcpus), _set(LIVE_VCPUS), SETTLE_VCPUS_S),
    Field(GUEST_VCPUS, _guest_vcpus, _set_guest_vcpus, SETTLE_VCPUS_S, by_guest=True),
    Field(CONFIG_MAXIMUM_VCPUS, of_config(maximum_vcpus), _set_maximum, mask=_mask_maximum),
)


# --- what may be done -------------------------------------------------------------------------------------------------


def _laid_out(description: Description, _direction: str) -> Optional[Why]:
    if any(root.find("cputune/vcpupin") is not None for root in definitions(description)):
        return "vcpus.pinned", "its vCPUs are pinned one by one"
    if description.inactive.find("vcpus") is not None:
        return "vcpus.listed", "its vCPUs are listed one by one, and the list could not be restored as it is"
    return None


def _agent_silent(description: Description, _direction: str) -> Optional[Why]:
    agent = description.agent
    return (agent.code, agent.reason) if agent.code else None


def _cannot_plug(description: Description, direction: str) -> Optional[Why]:
    architecture = attribute(description.inactive, "os/type", "arch")
    if architecture not in HOTPLUG_ARCHITECTURES:
        return "vcpus.architecture", f"vCPUs of {architecture or 'this architecture'} are not plugged one by one"
    if direction == SHRINK and not is_kvm(description):
        # libvirt times out (code 68) though QEMU did it, and shows the old number until the VM is started again.
        return "vcpus.no_unplug", "QEMU without KVM does not confirm that a vCPU was unplugged"
    return None


def _fixed_layout(description: Description, _target: str) -> Optional[Why]:
    # With NUMA cells libvirt adds new vCPUs to the last cell and does not let them go again: there is no way back.
    for path, code, words in (
        ("cpu/numa", "maximum_vcpus.numa", "its NUMA cells name each vCPU, and libvirt takes none out of a cell"),
        ("cpu/topology", "maximum_vcpus.topology", "its sockets, cores and threads make up just this many vCPUs"),
    ):
        if description.inactive.find(path) is not None:
            return code, words
    return _laid_out(description, _target)


def _agent_bounds(description: Description, _direction: str) -> tuple[int, int]:
    agent = description.agent
    return max(1, agent.fixed), min(agent.known, _plugged(description), _maximum(description))


def _hotplug_bounds(description: Description, direction: str) -> tuple[int, int]:
    plugged = _plugged(description)
    if direction == GROW:
        return plugged + 1, _maximum(description)
    return max(1, _cold(description)), plugged - 1


def _config_bounds(description: Description, _direction: str) -> tuple[int, int]:
    return 1, _maximum(description)


def _maximum_bounds(description: Description, _target: str) -> tuple[int, int]:
    return current_vcpus(description.inactive) or 1, MAXIMUM_OF_MAXIMA


def _agent_fields(_description: Description) -> tuple[str, ...]:
    # The definition follows, so that a restart brings the size the guest has now.
    return GUEST_VCPUS, CONFIG_VCPUS


def _hotplug_fields(description: Description) -> tuple[str, ...]:
    # A plugged vCPU is of use once the guest has it on-line. Many guests do that by themselves, others must be asked.
    guest = () if description.agent.code else (GUEST_VCPUS,)
    return (LIVE_VCPUS, *guest, CONFIG_VCPUS)


def _hotplug_inverse(description: Description, _direction: str) -> str:
    return INVERSE_LIVE if is_kvm(description) else INVERSE_AT_NEXT_RESTART


def _maximum(description: Description) -> int:
    return min(maximum_vcpus(root) or 0 for root in definitions(description))


def _plugged(description: Description) -> int:
    return 0 if description.live is None else current_vcpus(description.live) or 0


def _cold(description: Description) -> int:
    """VCPUs that were there at the start and cannot be unplugged; where the list is missing, every one may be."""
    listed = [] if description.live is None else description.live.findall("vcpus/vcpu")
    if not listed:
        return _plugged(description)
    return sum(item.get("enabled") == "yes" and item.get("hotpluggable") != "yes" for item in listed)


OPERATIONS = (
    # Growing: first what the guest has but does not use, then more.
    Operation(VCPUS_AGENT, VCPUS, RUNNING, _agent_fields, (_laid_out, _agent_silent), _agent_bounds, always_live),
    Operation(
        "vcpus.hotplug", VCPUS, RUNNING, _hotplug_fields, (_laid_out, _cannot_plug), _hotplug_bounds, _hotplug_inverse
    ),
    Operation("vcpus.config", VCPUS, OFF, lambda _: (CONFIG_VCPUS,), (_laid_out,), _config_bounds, always_live),
)
SETTINGS = (Setting("vcpus.maximum", MAXIMUM_VCPUS, (_fixed_layout,), _maximum_bounds, cold=True),)
