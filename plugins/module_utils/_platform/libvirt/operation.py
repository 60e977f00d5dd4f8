# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a way of changing a domain is: a row that says when it exists, what stands in its way, and how far it goes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Callable, Optional

from ..._records.vm import INVERSE_LIVE
from .description import Description

Why = tuple[str, str]  # stable code, and the words for people: of a VM a predicate, of an operation a clause
Obstacles = tuple[Callable[[Description, str], Optional[Why]], ...]  # of an operation's direction, a setting's target

KVM = "kvm"

NO_TARGET = ("",)


@dataclass(frozen=True)
class Operation:
    """One way to change a planned resource. ``bounds``: the lowest and highest size that all fields take together."""

    name: str
    resource: str
    power: str
    fields: Callable[[Description], tuple[str, ...]]
    obstacles: Obstacles
    bounds: Callable[[Description, str], tuple[int, int]]
    inverse: Callable[[Description, str], str]
    step: Callable[[Description], int] = lambda _description: 1


@dataclass(frozen=True)
class Setting:
    """One way to put a setting to a value, in the definition and, unless ``cold``, in the VM that runs."""

    name: str
    resource: str
    obstacles: Obstacles
    bounds: Callable[[Description, str], tuple[int, int]]
    targets: Callable[[ET.Element], Iterable[str]] = lambda _root: NO_TARGET
    fields: Optional[Callable[[Description], tuple[str, ...]]] = None  # where there is more than one of each
    step: int = 1
    cold: bool = False  # in force from the next start


def between(minimum: int, maximum: int) -> Callable[[Description, str], tuple[int, int]]:
    """Bounds that are the same for every domain."""
    return lambda _description, _target: (minimum, maximum)


def always_live(_description: Description, _direction: str) -> str:
    """The class of an inverse that takes effect at once."""
    return INVERSE_LIVE


def is_kvm(description: Description) -> bool:
    """Whether the domain runs on KVM, not on QEMU's own emulation."""
    return description.inactive.get("type") == KVM


def definitions(description: Description) -> tuple[ET.Element, ...]:
    """The definition, and the domain as it runs where it does."""
    return (description.inactive,) if description.live is None else (description.inactive, description.live)


def attribute(root: ET.Element, path: str, name: str) -> str:
    """An attribute of the first such element; "" where there is none."""
    element = root.find(path)
    return "" if element is None else element.get(name, "")
