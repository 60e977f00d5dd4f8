# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time of a domain: its limit, its share where the host is busy, and on which CPUs of the host its vCPUs run.

The limit is libvirt's ``global_quota``, of the whole domain: it stays what it is when the number of vCPUs changes, and
lets one vCPU use all of it. Its period is the kernel's default and is never written.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any, Callable, Optional

from ..._core.cpuset import format_cpuset
from ..._records.vm import CPU_LIMIT_MILLICORES, CPU_PINNING, CPU_SHARES, Value
from .description import CPU_LIMITED, CPU_NOTHING, CPU_UNKNOWN, Description, cpu_numbers, integer, unreadable
from .field import CONFIG, LIVE, both, both_families, drop, flag
from .operation import Setting, Why, between, definitions
from .vcpus import maximum_vcpus

PERIOD_US = 100_000  # of the kernel (cpu.cfs_period_us, cpu.max)
US_PER_MILLICORE = PERIOD_US // 1000
STEP_MILLICORES = 10  # libvirt takes no quota under 1 ms in a period
MOST_MILLICORES = 1_024_000

# What the kernel takes in both of its versions: cpu.shares 2 to 262144, cpu.weight 1 to 10000.
LEAST_SHARES, MOST_SHARES = 2, 10_000

QUOTA = "cputune/global_quota"
PERIOD = "cputune/global_period"
SHARES = "cputune/shares"
PINS = "cputune/vcpupin"
UNLIMITED = -1  # a quota; written out it reads 0 in the running VM, where it stands for an absent one, and so here


def _quota_us(root: ET.Element) -> int:
    text = (root.findtext(QUOTA) or "0").strip()
    try:
        return int(text)
    except ValueError as error:
        raise unreadable(f"<{QUOTA}> holds {text[:40]!r}, not a number") from error


def _limit(root: ET.Element) -> int:
    return max(0, _quota_us(root)) // US_PER_MILLICORE


def _set_limit(name: str) -> Callable[[Any, int], object]:
    # In the definition 0 takes the quota out again; a running VM takes no 0, and -1 for what it had without one.
    none = 0 if name.startswith(CONFIG) else UNLIMITED
    return lambda domain, value: domain.setSchedulerParametersFlags(
        {"global_quota": value * US_PER_MILLICORE or none}, flag(name)
    )


def _shares(root: ET.Element) -> Optional[int]:
    return integer(root, SHARES)


def _set_shares(name: str) -> Callable[[Any, int], object]:
    return lambda domain, value: domain.setSchedulerParametersFlags({"cpu_shares": value}, flag(name))


def _pinned(root: ET.Element) -> list[str]:
    """Numbers of the vCPUs that are pinned."""
    return [one.get("vcpu", "") for one in root.findall(PINS)]


def _pin(vcpu: str) -> Callable[[ET.Element], Optional[Value]]:
    def read(root: ET.Element) -> Optional[Value]:
        text = next((one.get("cpuset", "") for one in root.findall(PINS) if one.get("vcpu") == vcpu), None)
        return None if text is None else format_cpuset(cpu_numbers(text))

    return read


def _set_pin(name: str, vcpu: str) -> Callable[[Any, str], object]:
    def write(domain: Any, value: str) -> object:
        cpus = cpu_numbers(value)
        return domain.pinVcpuFlags(int(vcpu), tuple(cpu in cpus for cpu in range(max(cpus) + 1)), flag(name))

    return write


def _mask_quota(root: ET.Element) -> None:
    drop(root, "cputune", "global_quota")


def _mask_shares(root: ET.Element) -> None:
    for element in root.findall(SHARES):
        element.text = ""


def _mask_pins(root: ET.Element) -> None:
    for element in root.findall(PINS):
        element.attrib.pop("cpuset", None)


FIELDS = (
    *both(CPU_LIMIT_MILLICORES, _limit, _set_limit, _mask_quota),
    *both(CPU_SHARES, _shares, _set_shares, _mask_shares),
)
FAMILIES = both_families(CPU_PINNING, _pinned, _pin, _set_pin, _mask_pins)


# --- what may be done -------------------------------------------------------------------------------------------------


def _no_control(description: Description, _target: str) -> Optional[Why]:
    if description.host.cpu_control == CPU_UNKNOWN:
        return "cpu.unknown", "no VM runs on its host, so it is not known whether that can limit CPU time"
    if description.host.cpu_control == CPU_NOTHING:
        return "cpu.no_cgroup", "its host has no control group for CPU time"
    return None


def _no_bandwidth(description: Description, _target: str) -> Optional[Why]:
    if description.host.cpu_control != CPU_LIMITED:
        return "cpu.no_bandwidth", "the kernel of its host shares CPU time and does not limit it"
    return None


def _other_quota(description: Description, _target: str) -> Optional[Why]:
    for root in definitions(description):
        period = integer(root, PERIOD) or PERIOD_US
        if period != PERIOD_US:
            return "cpu_limit.period", f"its limit counts in periods of {period} µs, not of {PERIOD_US}"
        quota = _quota_us(root)
        if quota > 0 and quota % US_PER_MILLICORE:
            return "cpu_limit.fraction", f"its limit is {quota} µs, no whole millicores, which could not be restored"
    if _quota_us(description.inactive) < 0:
        return "cpu_limit.explicit", "its definition says that it has no limit, which could not be restored in words"
    return None


def _shares_absent(description: Description, _target: str) -> Optional[Why]:
    if all(root.find(SHARES) is not None for root in definitions(description)):
        return None
    return "field_absent", "it has no CPU shares; once written they cannot be taken out, and a 0 keeps it from starting"


def _pins_absent(description: Description, _target: str) -> Optional[Why]:
    for root in definitions(description):
        if set(_pinned(root)) != {str(number) for number in range(maximum_vcpus(root) or 0)}:
            return "field_absent", "not each of its vCPUs is pinned; a pin once written cannot be taken out"
    return None


def _pin_fields(description: Description) -> tuple[str, ...]:
    vcpus = sorted(_pinned(description.inactive), key=int)
    kinds = (CONFIG,) if description.live is None else (LIVE, CONFIG)
    return tuple(f"{kind}{CPU_PINNING}/{vcpu}" for kind in kinds for vcpu in vcpus)


def _host_cpus(description: Description, _target: str) -> tuple[int, int]:
    return 0, max(0, description.host.cpus - 1)


SETTINGS = (
    Setting(
        "cpu.limit",
        CPU_LIMIT_MILLICORES,
        (_no_control, _no_bandwidth, _other_quota),
        between(0, MOST_MILLICORES),
        step=STEP_MILLICORES,
    ),
    Setting("cpu.shares", CPU_SHARES, (_no_control, _shares_absent), between(LEAST_SHARES, MOST_SHARES)),
    Setting("cpu.pinning", CPU_PINNING, (_pins_absent,), _host_cpus, fields=_pin_fields),
)
