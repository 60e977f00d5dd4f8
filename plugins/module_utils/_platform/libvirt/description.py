# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read about one domain, parsed and unjudged: the input of every pure function of this platform."""

from __future__ import annotations

# The parser below refuses document types, so no entity can expand; size and depth are bounded as well.
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import Optional

from ..._core.cpuset import parse_cpuset
from ..._core.errors import UnreadableError

MAX_CHARACTERS = 4 * 2**20  # REMOTE_STRING_MAX of libvirt's protocol: no longer string comes over the wire
MAX_DEPTH = 64  # a domain nests about ten deep, metadata may nest further

NAMESPACE = "https://headroom.fleet/xmlns/vm/1"
NAMESPACES = "https://headroom.fleet/xmlns/vm/"  # of every version
MODE_IGNORE = "ignore"
MODES = (MODE_IGNORE, "recommend", "approve", "auto")
TAG_ATTRIBUTES = ("tenant", "owner", "mode", "host_set")

RUNNING = "running"
OFF = "off"

# What the control groups of a host can do with CPU time.
CPU_LIMITED = "limited"
CPU_SHARED = "shared"
CPU_NOTHING = "nothing"
CPU_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Agent:
    """What the guest agent said about the guest's vCPUs; ``code`` and ``reason`` tell why it said nothing."""

    code: str = ""
    reason: str = ""
    known: int = 0  # vCPUs that the guest has
    online: int = 0  # of these, the ones it uses
    fixed: int = 0  # of these, the ones it cannot take off-line (on x86 the boot CPU)


@dataclass(frozen=True)
class HostTraits:
    """What a domain's host can do, as far as the domain's capabilities hang on it."""

    cpus: int = 0
    cpu_control: str = CPU_UNKNOWN
    kernel_lacks: Optional[frozenset[str]] = None  # of what bandwidth limits need; None: not known


HOST_UNKNOWN = HostTraits()


@dataclass(frozen=True)
class Description:
    """One domain as one look saw it."""

    uuid: str
    name: str
    power: str
    inactive: ET.Element  # <domain> as the next start will read it
    live: Optional[ET.Element]  # <domain> as it runs; None: it does not
    agent: Agent
    job: str = ""  # backup, migration, snapshot...: what libvirt calls a job; empty: none
    managed_save: bool = False
    persistent: bool = True
    host: HostTraits = HOST_UNKNOWN


@dataclass(frozen=True)
class Tag:
    """What the VM's owner wrote into its metadata."""

    tenant: str = ""
    owner: str = ""
    mode: Optional[str] = None
    host_set: str = ""
    warnings: tuple[str, ...] = ()


class _Bounded(ET.TreeBuilder):
    """Builds a tree of bounded depth and refuses every document type, and with it every entity."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> ET.Element:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise unreadable(f"it nests deeper than {MAX_DEPTH} elements")
        return super().start(tag, attrs)

    def end(self, tag: str) -> ET.Element:
        self.depth -= 1
        return super().end(tag)

    def doctype(self, name: str, pubid: Optional[str], system: Optional[str]) -> None:  # noqa: ARG002 - expat's signature
        raise unreadable("it declares a document type")


def parse(text: str) -> ET.Element:
    """Read XML that libvirt gave. Raises ``vm.unreadable``."""
    if len(text) > MAX_CHARACTERS:
        raise unreadable(f"it has {len(text)} characters, more than {MAX_CHARACTERS}")
    parser = ET.XMLParser(target=_Bounded())  # noqa: S314 - see the import
    try:
        parser.feed(text)
        root: ET.Element = parser.close()
    except ET.ParseError as error:
        raise unreadable(str(error)) from error
    return root


def integer(root: ET.Element, path: str) -> Optional[int]:
    """The element's text as a number; None where there is no such element. Raises ``vm.unreadable``."""
    element = root.find(path)
    return None if element is None else number(element.text, path)


def kib(root: ET.Element, path: str) -> Optional[int]:
    """The element's size in KiB, the only unit that libvirt writes. Raises ``vm.unreadable``."""
    element = root.find(path)
    if element is None:
        return None
    if element.get("unit", "KiB") != "KiB":
        raise unreadable(f"<{path}> counts in {element.get('unit')}, not in KiB")
    return number(element.text, path)


def number(text: Optional[str], what: str) -> int:
    """A whole number of at least 0. Raises ``vm.unreadable``."""
    digits = (text or "").strip()
    if not digits.isdecimal():
        raise unreadable(f"<{what}> holds {digits[:40]!r}, not a number")
    return int(digits)


def cpu_numbers(text: str) -> frozenset[int]:
    """A set of CPUs as libvirt writes it: "0-2,4". Raises ``vm.unreadable``."""
    try:
        return parse_cpuset(text)
    except ValueError as error:
        raise unreadable(f"of CPU numbers, {error}") from error


def read_tag(description: Description) -> Tag:
    """The VM's own tag. One that cannot be understood, or two that differ, make the VM ``ignore``, with a warning."""
    found: list[ET.Element] = []
    for root in (description.inactive, description.live):
        if root is not None:
            found += [item for item in root.findall("metadata/*") if item.tag.startswith("{" + NAMESPACES)]
    if not found:
        return Tag()
    first = found[0]
    tag = Tag(
        tenant=first.get("tenant", ""),
        owner=first.get("owner", ""),
        mode=first.get("mode"),
        host_set=first.get("host_set", ""),
    )
    why = _misunderstood(found)
    if not why:
        return tag
    return Tag(
        tenant=tag.tenant,
        owner=tag.owner,
        mode=MODE_IGNORE,
        host_set=tag.host_set,
        warnings=(f"{description.name} is ignored: its headroom tag {why}.",),
    )


def _misunderstood(tags: list[ET.Element]) -> str:
    first = tags[0]
    if first.tag != "{" + NAMESPACE + "}vm":
        return f"is a {first.tag}, which this release does not know"
    if any(other.tag != first.tag or other.attrib != first.attrib for other in tags[1:]):
        return "stands there twice with different values, or differs between the running VM and its definition"
    unknown = sorted(set(first.attrib) - set(TAG_ATTRIBUTES))
    if unknown:
        return f"has the unknown attribute {unknown[0]}"
    if first.get("mode", MODE_IGNORE) not in MODES:
        return f"asks for the mode {first.get('mode')!r}; the modes are {', '.join(MODES)}"
    return ""


def unreadable(why: str) -> UnreadableError:
    """What libvirt gave cannot be meant."""
    return UnreadableError(
        "vm.unreadable", f"This is not XML that Headroom reads: {why}.", advice="Look at it with virsh dumpxml."
    )
