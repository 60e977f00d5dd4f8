# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings: the table of what a sizing policy can say about a VM, and what it comes to for one."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Optional

from .._core.errors import HeadroomError
from .._core.units import PERCENT
from .._records.vm import (
    CPU_LIMIT_MILLICORES,
    CPU_SHARES,
    DIRECTIONS,
    DISK_BYTES_PER_S,
    DISK_IOPS,
    INTERFACE_INBOUND_BITS_PER_S,
    INTERFACE_OUTBOUND_BITS_PER_S,
    MEMORY_MIB,
    VCPUS,
)
from .kinds import Integer, Percent, PerDirection, Quantile, Share, Word
from .load import Document, Node
from .windows import Window, Windows

# Modes from the strictest to the freest.
MODE_IGNORE, MODE_RECOMMEND, MODE_APPROVE, MODE_AUTO = MODES = ("ignore", "recommend", "approve", "auto")

# How a layer follows demand. Careful: a shrink needs a full history and waits long after the last act. Elastic: for
# what can be lifted within seconds, a shrink needs a fresh metric and waits minutes, and a grow waits for nothing.
PROFILE_NONE, PROFILE_CAREFUL, PROFILE_ELASTIC = PROFILES = ("none", "careful", "elastic")

# Whether the guard lets a layer grow.
GUARD_NONE, GUARD_GROW = GUARDED = ("none", "grow")

_PERCENT = Integer(1, 100)
_SIZING: dict[str, Any] = {
    "quantile": Quantile(),
    "target_use_percent": _PERCENT,
    "shrink_target_use_percent": _PERCENT,
    "minimum_change_percent": Integer(0, 1000),
    "step_limit": PerDirection(Share()),
}
_LIMIT: dict[str, Any] = {
    "profile": Word(PROFILES),
    "shrink_hold_minutes": Integer(0, 60 * 24 * 366),
    **_SIZING,
}

# Every setting of ``defaults`` and of a rule's ``set``. Names end in their unit; bounds keep slips of the hand out.
SETTINGS: dict[str, Any] = {
    "mode": PerDirection(Word(MODES)),
    "priority": Integer(0, 1000),
    "restarts": Word(("never",)),
    "windows": Windows(),
    "cost": {"per_vcpu": Integer(0, 10**9), "per_memory_gib": Integer(0, 10**9)},
    "vcpus": {"minimum": Integer(1, 4096), "maximum": Integer(1, 4096), "declared": Integer(0, 4096), **_SIZING},
    "memory": {
        "minimum_mib": Integer(1, 2**26),
        "maximum_mib": Integer(1, 2**26),
        "declared_mib": Integer(0, 2**26),
        "granule_mib": Integer(1, 2**16),
        "guest_floor_percent": Integer(0, 1000),
        "error_budget_percent": Percent(),
        "calm_swap_kib_per_s": Integer(1, 2**32),
        "calm_major_faults_per_s": Integer(1, 2**32),
        **_SIZING,
    },
    "cpu_limit": {"minimum_millicores": Integer(1, 2**22), "minimum_percent": Integer(0, 100), **_LIMIT},
    "cpu_shares": {"minimum": Integer(2, 2**18), "maximum": Integer(2, 2**18), **_LIMIT},
    "disk_limit": {
        "minimum_iops": Integer(1, 2**32),
        "maximum_iops": Integer(1, 2**32),
        "minimum_bytes_per_s": Integer(1, 2**50),
        "maximum_bytes_per_s": Integer(1, 2**50),
        **_LIMIT,
    },
    "network_limit": {
        "minimum_bits_per_s": Integer(1, 2**50),
        "maximum_bits_per_s": Integer(1, 2**50),
        **_LIMIT,
    },
    "guard": {
        "cpu_limit": Word(GUARDED),
        "disk_limit": Word(GUARDED),
        "network_limit": Word(GUARDED),
        "vcpus": Word(GUARDED),
        "memory": Word(GUARDED),
        "freshness_minutes": Integer(1, 60 * 24),
        "saturated_percent": Percent(),
        "delay_percent": Percent(),
        "memory_used_percent": Percent(),
        "swap_kib_per_s": Integer(1, 2**32),
        "major_faults_per_s": Integer(1, 2**32),
        "cpu_jump_percent": Integer(101, 10_000),
        "disk_jump_percent": Integer(101, 10_000),
        "network_jump_percent": Integer(101, 10_000),
        "memory_jump_percent": Integer(101, 10_000),
        "memory_jump_mib": Integer(0, 2**20),
    },
    "service": {"slo": Word(("slo4",)), "error_budget_percent": Percent()},
    "grow": {"hold_minutes": Integer(0, 60 * 24 * 366)},
    "shrink": {
        "hold_hours": Integer(0, 24 * 366),
        "history_days": Integer(0, 366),
        "freshness_minutes": Integer(1, 60 * 24),
        "coverage_percent": Integer(0, 100),
    },
}

# Resource -> its section of the text, and the unit that the names of its sizes end in.
SECTIONS = {
    VCPUS: ("vcpus", ""),
    MEMORY_MIB: ("memory", "_mib"),
    CPU_LIMIT_MILLICORES: ("cpu_limit", "_millicores"),
    CPU_SHARES: ("cpu_shares", ""),
    DISK_IOPS: ("disk_limit", "_iops"),
    DISK_BYTES_PER_S: ("disk_limit", "_bytes_per_s"),
    INTERFACE_INBOUND_BITS_PER_S: ("network_limit", "_bits_per_s"),
    INTERFACE_OUTBOUND_BITS_PER_S: ("network_limit", "_bits_per_s"),
}
# Section -> the setting of ``guard`` that says how far it grows at once. What has none is left to the plans.
JUMPS = {
    "vcpus": "cpu_jump_percent",
    "memory": "memory_jump_percent",
    "cpu_limit": "cpu_jump_percent",
    "disk_limit": "disk_jump_percent",
    "network_limit": "network_jump_percent",
}
CALM = ("memory.calm_swap_kib_per_s", "memory.calm_major_faults_per_s")
# Settings of ``guard`` from which on something is a want.
THRESHOLDS = ("saturated_percent", "delay_percent", "memory_used_percent", "swap_kib_per_s", "major_faults_per_s")
# What sizes are multiples of where the section has no key for it: rates that people can read.
_GRANULES = {DISK_BYTES_PER_S: 100_000, INTERFACE_INBOUND_BITS_PER_S: 100_000, INTERFACE_OUTBOUND_BITS_PER_S: 100_000}
# What a section without such a key comes to. A limit goes up to the size that it limits, whatever that is.
_BUILT_IN = {
    "maximum": 2**53 - 1,
    "declared": 0,
    "guest_floor_percent": 0,
    "minimum_percent": 0,
    "profile": PROFILE_CAREFUL,
    "shrink_hold_minutes": 0,
}


class Setting(NamedTuple):
    """A value and the line it stands on; 0: the shipped policy."""

    value: Any
    line: int


@dataclass(frozen=True)
class Sizing:
    """How one resource is sized; minimum, maximum, declared and granule in the resource's unit.

    ``declared``: what the workload is said to need, until the VM is known for long enough; 0: nobody says.
    ``error_budget_percent``: share of its intervals that a VM may get too little in, a decimal number.
    ``minimum_percent``: of the size that a limit limits. ``shrink_hold_minutes``: of the elastic profile alone.
    """

    minimum: int
    maximum: int
    declared: int
    granule: int
    quantile: str
    target_use_percent: int
    shrink_target_use_percent: int
    guest_floor_percent: int
    error_budget_percent: str
    minimum_change_percent: int
    profile: str
    minimum_percent: int
    shrink_hold_minutes: int
    step_limit_percent: dict[str, Optional[int]]  # by direction; None: no limit
    lines: dict[str, int]  # of the names above

    @property
    def error_budget(self) -> float:
        """As a share of one, the nearest there is: who was short in just so many intervals is within it."""
        return float(Decimal(self.error_budget_percent) / PERCENT)


@dataclass(frozen=True)
class Guard:
    """What the guard takes for a want, and how far a VM grows then."""

    grows: dict[str, bool]  # by resource or limit
    thresholds: dict[str, float]  # by the name of the setting
    freshness_minutes: int
    jump_percent: dict[str, int]  # by resource or limit: of what it has
    jump_least: dict[str, int]  # more at least, in the unit of the size


@dataclass(frozen=True)
class Settings:
    """What holds for one VM. ``lines``: dotted name of each setting in the text -> its line."""

    mode: dict[str, str]  # by direction
    priority: int
    windows: tuple[Window, ...]  # empty: always
    cost_per_vcpu: int
    cost_per_memory_gib: int
    sizing: dict[str, Sizing]  # by resource or limit
    guard: Guard
    calm: dict[str, int]  # by name: from where on a guest was short of memory, and keeps what it has for a day
    slo: str  # service class
    grow_hold_minutes: int
    shrink_hold_hours: int
    history_days: int
    freshness_minutes: int
    coverage_percent: int
    lines: dict[str, int]


def read_settings(
    document: Document, node: Node, *, schema: dict[str, Any], path: str, prefix: str = ""
) -> dict[str, Setting]:
    """Read a block into dotted names. Raises ``policy.invalid``."""
    found: dict[str, Setting] = {}
    for key, entry in document.mapping(node, known=schema, path=path).items():
        kind, where, name = schema[key], f"{path}.{key}", f"{prefix}{key}"
        if isinstance(kind, dict):
            found.update(read_settings(document, entry.node, schema=kind, path=where, prefix=f"{name}."))
        elif not isinstance(kind, PerDirection):
            found[name] = Setting(kind.read(document, entry.node, where), entry.line)
        elif entry.node.id == "mapping":
            for direction, part in document.mapping(entry.node, known=DIRECTIONS, path=where).items():
                value = kind.kind.read(document, part.node, f"{where}.{direction}")
                found[f"{name}.{direction}"] = Setting(value, part.line)
        else:
            value = kind.kind.read(document, entry.node, where)
            found.update({f"{name}.{direction}": Setting(value, entry.line) for direction in DIRECTIONS})
    return found


def build_settings(flat: dict[str, Setting], *, name: str) -> Settings:
    """Put dotted names together. Raises ``policy.invalid`` for values that contradict each other."""
    value = {key: setting.value for key, setting in flat.items()}
    return Settings(
        mode={direction: value[f"mode.{direction}"] for direction in DIRECTIONS},
        priority=value["priority"],
        windows=value["windows"],
        cost_per_vcpu=value["cost.per_vcpu"],
        cost_per_memory_gib=value["cost.per_memory_gib"],
        sizing={resource: _build_sizing(flat, resource, name) for resource in SECTIONS},
        guard=_build_guard(value),
        calm={name: value[name] for name in CALM},
        slo=value["service.slo"],
        grow_hold_minutes=value["grow.hold_minutes"],
        shrink_hold_hours=value["shrink.hold_hours"],
        history_days=value["shrink.history_days"],
        freshness_minutes=value["shrink.freshness_minutes"],
        coverage_percent=value["shrink.coverage_percent"],
        lines={key: setting.line for key, setting in flat.items()},
    )


def _build_guard(value: dict[str, Any]) -> Guard:
    jumps = {resource: JUMPS[section] for resource, (section, _unused) in SECTIONS.items() if section in JUMPS}
    return Guard(
        grows={
            resource: section in JUMPS and value[f"guard.{section}"] == GUARD_GROW
            for resource, (section, _unused) in SECTIONS.items()
        },
        thresholds={name: float(value[f"guard.{name}"]) for name in THRESHOLDS},
        freshness_minutes=value["guard.freshness_minutes"],
        jump_percent={resource: value[f"guard.{name}"] for resource, name in jumps.items()},
        jump_least={**dict.fromkeys(jumps, 1), MEMORY_MIB: value["guard.memory_jump_mib"]},
    )


def _build_sizing(flat: dict[str, Setting], resource: str, name: str) -> Sizing:
    section, unit = SECTIONS[resource]
    names = {key: f"{key}{unit}" for key in ("minimum", "maximum", "declared", "granule")}
    built_in = {**_BUILT_IN, "granule": _GRANULES.get(resource, 1)}
    keys = {
        "minimum": flat[f"{section}.minimum{unit}"],
        **{key: flat.get(f"{section}.{names.get(key, key)}", Setting(value, 0)) for key, value in built_in.items()},
        **{key: flat[f"{section}.{key}"] for key in _SIZING if key != "step_limit"},
        "error_budget_percent": _error_budget(flat, section),
    }
    steps = {direction: flat[f"{section}.step_limit.{direction}"] for direction in DIRECTIONS}
    sizing = Sizing(
        step_limit_percent={direction: step.value for direction, step in steps.items()},
        lines={
            **{key: setting.line for key, setting in keys.items()},
            **{f"step_limit.{direction}": step.line for direction, step in steps.items()},
        },
        **{key: setting.value for key, setting in keys.items()},
    )
    _agree(sizing, section=section, name=name)
    return sizing


def _error_budget(flat: dict[str, Setting], section: str) -> Setting:
    """A resource's own budget is never more than what the VM may get too little of anything in."""
    keys = (f"{section}.error_budget_percent", "service.error_budget_percent")
    return min((flat[key] for key in keys if key in flat), key=lambda setting: Decimal(setting.value))


def _agree(sizing: Sizing, *, section: str, name: str) -> None:
    """Refuse settings that contradict each other, wherever each of them came from."""
    limits = [step for step in sizing.step_limit_percent.values() if step is not None]
    lowest = -(-sizing.minimum // sizing.granule) * sizing.granule
    for wrong, keys, what in (
        (sizing.minimum > sizing.maximum, ("minimum", "maximum"), "the minimum is above the maximum"),
        (lowest > sizing.maximum, ("granule", "maximum"), "no size between minimum and maximum fits the granule"),
        (
            sizing.shrink_target_use_percent > sizing.target_use_percent,
            ("shrink_target_use_percent", "target_use_percent"),
            "shrink_target_use_percent is above target_use_percent: what shrinks would grow again",
        ),
        (
            any(step < sizing.minimum_change_percent for step in limits),
            ("step_limit.grow", "step_limit.shrink", "minimum_change_percent"),
            "step_limit is below minimum_change_percent: no step would ever be large enough",
        ),
    ):
        if wrong:
            line = max(sizing.lines[key] for key in keys)
            raise HeadroomError(
                "policy.invalid",
                f"{name}:{line}: in {section}, {what}.",
                advice="Lines: " + ", ".join(f"{key} {sizing.lines[key]}" for key in keys) + " (0: shipped policy).",
                file=name,
                line=line,
            )
