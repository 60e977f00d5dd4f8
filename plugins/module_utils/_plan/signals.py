# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells that a VM is short of something now: one table of signals over the newest telemetry.

A limit hides the demand above it, so that use alone says no more than that the limit is reached; time ready to run and
not let run says that there was more. A platform that tells more (throttled periods, ready time, pressure stall
information) is a metric and a row here. An OOM kill is seen where something in the guest counts them; a balloon of
libvirt does not (virDomainMemoryStats has no such number), so there only swapping and major faults tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Optional

from .._core.clock import format_ms
from .._core.needs import needs
from .._policy.settings import SECTIONS, Guard
from .._policy.sizing import SizingPolicy
from .._records.demand import DEMANDS
from .._records.plan import Signalled
from .._records.series import (
    CPU_DELAY_MILLICORES,
    CPU_MILLICORES,
    MEMORY_MAJOR_FAULTS_PER_S,
    MEMORY_OOM_KILLS_PER_S,
    MEMORY_SWAP_BYTES_PER_S,
    MEMORY_USED_MIB,
)
from .._records.vm import (
    CPU_LIMIT_MILLICORES,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    INTERFACE_INBOUND_BITS_PER_S,
    INTERFACE_OUTBOUND_BITS_PER_S,
    LIMITS,
    MEMORY_MIB,
    VCPUS,
    VM,
)
from .layers import Layer
from .pressure import SIGNS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Doubles = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]


OOM = "oom"  # code of the signal that brooks no delay


@dataclass(frozen=True)
class Signal:
    """One metric of one layer, and from where on it is a want."""

    code: str
    resource: str
    metric: str
    setting: str  # threshold in the policy's ``guard``; "": anything above 0
    text: str
    per_unit: int = 1  # of the metric in one unit of the setting
    share: bool = False  # the setting is a percentage of what the VM has
    peak: bool = False  # the interval's maximum counts where it is known, else its mean


def _of_pressure(code: str, metric: str, setting: str) -> Signal:
    """A sign that keeps memory from shrinking, too; the guard has a threshold of its own."""
    sign = SIGNS[metric]
    return Signal(code, MEMORY_MIB, metric, setting, sign.text, per_unit=sign.per_unit)


SIGNALS = (
    Signal(
        "saturated", CPU_LIMIT_MILLICORES, CPU_MILLICORES, "saturated_percent", "it used {share} of its limit",
        share=True, peak=True,
    ),
    Signal(
        "delayed", CPU_LIMIT_MILLICORES, CPU_DELAY_MILLICORES, "delay_percent",
        "under its limit it was ready to run and not let run for {amount}, {share} of it", share=True,
    ),
    Signal(
        "saturated", VCPUS, CPU_MILLICORES, "saturated_percent", "it used {share} of its vCPUs", share=True, peak=True
    ),
    _of_pressure(OOM, MEMORY_OOM_KILLS_PER_S, ""),
    Signal(
        "saturated", MEMORY_MIB, MEMORY_USED_MIB, "memory_used_percent",
        "it used {share} of its memory, and could give none of it back", share=True, peak=True,
    ),
    _of_pressure("swaps", MEMORY_SWAP_BYTES_PER_S, "swap_kib_per_s"),
    _of_pressure("faults", MEMORY_MAJOR_FAULTS_PER_S, "major_faults_per_s"),
    *(
        Signal("saturated", limit, DEMANDS[limit].metric, "saturated_percent", text, share=True, peak=True)
        for limit, text in (
            (DISK_IOPS, "its disks used {share} of the limit of one"),
            (DISK_BYTES_PER_S, "its disks used {share} of the limit of one"),
            (INTERFACE_INBOUND_BITS_PER_S, "its interfaces received {share} of the limit of one"),
            (INTERFACE_OUTBOUND_BITS_PER_S, "its interfaces sent {share} of the limit of one"),
        )
    ),
)  # fmt: skip


def signals_by(policy: SizingPolicy) -> tuple[Signal, ...]:
    """Those of what the policy has planned."""
    planned = {resource for resource in SECTIONS if policy.quantiles(resource)}
    return tuple(signal for signal in SIGNALS if signal.resource in planned)


class Reading(NamedTuple):
    """The newest interval of a metric of one VM; ``maximum`` NaN where the interval has none."""

    mean: float
    maximum: float
    start_ms: int


class Want(NamedTuple):
    """A signal that is given, and by how much."""

    signal: Signal
    value: float  # in the metric's unit
    start_ms: int  # of the interval that gives it

    def record(self, interval_s: int) -> Signalled:
        """As a decision keeps it."""
        value = f"{self.value:.6f}".rstrip("0").rstrip(".")
        return Signalled(self.signal.code, self.signal.metric, value, format_ms(self.start_ms), interval_s)

    def told(self, layer: Layer) -> str:
        """Say it to people."""
        demand = DEMANDS[layer.kind]
        has = layer.size * demand.per_unit
        return self.signal.text.format(
            share=f"{100 * self.value / has:.1f} %" if has else "all",
            amount=demand.amount(round(self.value)),
            rate=round(self.value / self.signal.per_unit),
        )


@dataclass(frozen=True)
class Late:
    """The newest intervals of V VMs, by metric; NaN where there is none."""

    mean: Mapping[str, Doubles]  # [V]
    maximum: Mapping[str, Doubles]  # [V]
    start_ms: Mapping[str, Integers]  # [V]

    def of(self, row: int) -> dict[str, Reading]:
        """By metric, of one VM."""
        return {
            metric: Reading(float(mean[row]), float(self.maximum[metric][row]), int(self.start_ms[metric][row]))
            for metric, mean in self.mean.items()
        }


def suspects(late: Late, has: Mapping[str, Doubles], policy: SizingPolicy) -> Integers:
    """Rows of the VMs that may be short of something, by the strictest words of the policy for whatever VM.

    ``has``: resource or limit -> what VMs have of it [V], in the metric's unit.
    """
    with needs("numpy"):
        import numpy as np
    found = np.zeros(len(next(iter(has.values()))), dtype=np.bool_)
    for signal in signals_by(policy):
        value = late.mean[signal.metric]
        if signal.peak:
            value = np.fmax(value, late.maximum[signal.metric])
        if not signal.setting:
            found |= value > 0
            continue
        threshold = policy.least(f"guard.{signal.setting}") * signal.per_unit
        found |= value >= (threshold / 100 * has[signal.resource] if signal.share else threshold)
    return np.flatnonzero(found)


def wants(vm: VM, layer: Layer, guard: Guard, late: Mapping[str, Reading], *, since_ms: int) -> list[Want]:
    """The signals that a layer of this VM gives, from intervals that began since then.

    Of CPU only the layer that binds gives any: the limit while one is in force, else the vCPUs.
    """
    if layer.whole and layer.size >= layer.whole:
        return []
    if any(limited.size == layer.resource and vm.has(name) < vm.whole(name) for name, limited in LIMITS.items()):
        return []
    found = []
    for signal in SIGNALS:
        reading = late.get(signal.metric) if signal.resource == layer.kind else None
        value = _value(signal, reading)
        if reading is None or value is None or reading.start_ms < since_ms:
            continue
        has = layer.size * DEMANDS[layer.kind].per_unit
        threshold = guard.thresholds[signal.setting] * signal.per_unit if signal.setting else 0.0
        if value > 0 and value >= (threshold / 100 * has if signal.share else threshold):
            found.append(Want(signal, value, reading.start_ms))
    return found


def _value(signal: Signal, reading: Optional[Reading]) -> Optional[float]:
    """None where it is not known."""
    if reading is None:
        return None
    known = [one for one in (reading.mean, *([reading.maximum] if signal.peak else [])) if not math.isnan(one)]
    return max(known, default=None)
