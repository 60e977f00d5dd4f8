# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel of an endpoint's host was built without, where that is this machine's own."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Optional
from urllib.parse import urlsplit

CONFIG = Path("/proc/config.gz")  # there where the kernel was built with IKCONFIG_PROC

# What libvirt has tc set up for an average (virNetDevBandwidthSet): a class and a queue of packets that come in to the
# guest, a filter with a policer for those that it sends.
SHAPING = {
    "inbound": frozenset({"NET_SCH_HTB", "NET_SCH_SFQ", "NET_CLS_FW"}),
    "outbound": frozenset({"NET_SCH_INGRESS", "NET_CLS_U32", "NET_ACT_POLICE"}),
}


def lacking(uri: str, *, config: Path = CONFIG) -> Optional[frozenset[str]]:
    """Which options of SHAPING the kernel was built without; None: not known, for it is elsewhere or does not tell."""
    if urlsplit(uri).netloc:
        return None
    try:
        text = gzip.decompress(config.read_bytes()).decode("ascii", "replace")
    except (OSError, EOFError, zlib.error):
        return None
    built = {line.partition("=")[0] for line in text.splitlines() if line.endswith(("=y", "=m"))}
    return frozenset(option for options in SHAPING.values() for option in options if f"CONFIG_{option}" not in built)
